//! Writes reports to standard output and to files.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Error, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Prints lines. A missing reader is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(about("stdout")(error)),
        _ => Ok(()),
    }
}

/// Adds the subject to an error.
pub(crate) fn about(what: &str) -> impl FnOnce(Error) -> Error + use<> {
    let what = what.to_owned();
    move |error| Error::new(error.kind(), format!("{what}: {error}"))
}

/// A file that an option names. It keeps its old content until the new content is complete.
pub(crate) struct Target {
    option: &'static str,
    path: PathBuf,
    file: File,
    /// The temporary file and its destination; `None` for a device or a pipe, which is written directly.
    beside: Option<(PathBuf, PathBuf)>,
}

impl Target {
    /// Opens a file for writing. Without a write, the old content stays.
    pub(crate) fn open(option: &'static str, path: &Path) -> io::Result<Target> {
        opened(path).map_err(about_option(option, path)).map(|(file, beside)| Target {
            option,
            path: path.to_owned(),
            file,
            beside,
        })
    }

    pub(crate) fn write(mut self, text: &str) -> io::Result<()> {
        let written = self.file.write_all(text.as_bytes());
        let renamed = written.and_then(|()| match self.beside.take() {
            Some((temporary, target)) => {
                fs::rename(&temporary, target).inspect_err(|_| drop(fs::remove_file(&temporary)))
            }
            None => Ok(()),
        });
        renamed.map_err(about_option(self.option, &self.path))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.beside {
            let _ = fs::remove_file(temporary); // a leftover harms nothing
        }
    }
}

/// Says which option named the file.
pub(crate) fn about_option(option: &str, path: &Path) -> impl FnOnce(Error) -> Error + use<> {
    about(&format!("{option} {}", path.display()))
}

fn opened(path: &Path) -> io::Result<(File, Option<(PathBuf, PathBuf)>)> {
    let old = match fs::metadata(path) {
        Ok(old) => Some(old),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let target = match &old {
        Some(_) => {
            let file = OpenOptions::new().write(true).open(path)?; // refuses a folder, and what may not be written to
            if !file.metadata()?.is_file() {
                return Ok((file, None));
            }
            path.canonicalize()?
        }
        None => path.to_owned(),
    };
    let name = target.file_name().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "it names no file"))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    let temporary = target.with_file_name(hidden);
    let file = File::create_new(&temporary).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Error::new(error.kind(), "another option names this file, too"),
        _ => error,
    })?;
    if let Some(old) = old {
        file.set_permissions(old.permissions())?;
    }
    Ok((file, Some((temporary, target))))
}

/// Escapes characters that are not printable, so that a text from a file stays on its line and cannot control a terminal.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |letter| matches!(letter, '"' | '\'' | '\\');
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match plain(letter) {
            true => shown.push(letter),
            false => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_content_until_all_is_written() -> io::Result<()> {
        let folder = std::env::temp_dir().join(format!("ringpair-target-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let path = folder.join("report");
        fs::write(&path, "old")?;
        drop(Target::open("--json", &path)?);
        assert_eq!(fs::read_to_string(&path)?, "old");
        let target = Target::open("--json", &path)?;
        let twice = Target::open("--html", &path).err().map(|error| error.to_string());
        assert_eq!(twice, Some(format!("--html {}: another option names this file, too", path.display())));
        assert_eq!(fs::read_to_string(&path)?, "old");
        target.write("new")?;
        assert_eq!((fs::read_to_string(&path)?, fs::read_dir(&folder)?.count()), ("new".to_owned(), 1));
        fs::remove_dir_all(folder)
    }

    #[test]
    fn a_device_is_written_to_and_not_replaced() -> io::Result<()> {
        use std::os::unix::fs::FileTypeExt;

        Target::open("--json", Path::new("/dev/null"))?.write("{}")?;
        assert!(fs::metadata("/dev/null")?.file_type().is_char_device());
        Ok(())
    }

    #[test]
    fn only_what_cannot_be_printed_is_escaped() {
        assert_eq!(escaped("a 'b' \"c\" \\ 1/3: ä€, 日本"), "a 'b' \"c\" \\ 1/3: ä€, 日本");
        assert_eq!(escaped("a\nclean\r\t\u{1b}[2J\u{9b}2J\u{7f}"), r"a\nclean\r\t\u{1b}[2J\u{9b}2J\u{7f}");
        assert_eq!(escaped("\u{202e}\u{2028}\u{200b}\0"), r"\u{202e}\u{2028}\u{200b}\0");
    }
}
