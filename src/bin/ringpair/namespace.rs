//! A network namespace of its own: clean counters, all ports, no other connections.

mod forbidden;

use std::fmt;
use std::fs;
use std::io::{self, Error, Write as _};
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::libc::{IFF_UP, NLM_F_ACK, NLM_F_REQUEST, RTM_NEWLINK};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};
use nix::unistd::{getgid, getuid};

use self::forbidden::what_forbids;

// No doc comment: clap would make it the help of the command.
#[derive(clap::Args)]
pub(crate) struct Network {
    /// Require a network namespace of its own, instead of using the host's if none is available
    #[arg(long, conflicts_with = "host_netns")]
    netns: bool,

    /// Use the host's network namespace: ports, sockets, TIME_WAIT and counters are shared with other programs
    #[arg(long)]
    host_netns: bool,
}

/// Moves this process, which must have one thread still, to the network namespace that was asked for. Returns whether that is
/// its own, and notes it on stderr if none is available and `says_so`.
pub(crate) fn choose(network: &Network, says_so: bool) -> io::Result<bool> {
    if network.host_netns {
        return Ok(false);
    }
    // A namespace that is entered and lacks `lo` cannot be left again: another process tries first.
    match tried().and_then(|_| Ok(enter()?)) {
        Ok(_) => Ok(true),
        Err(error) if network.netns => Err(error),
        Err(_) if !says_so => Ok(false),
        Err(error) => {
            let _ = writeln!(io::stderr(), "note: {error}; sockets, TIME_WAIT and counters are shared with the host");
            Ok(false)
        }
    }
}

/// Moves this process to a namespace, for the command that it then executes. The command keeps its user and group: without a
/// map, a user namespace shows both as 65534.
pub(crate) fn enter_for_a_command() -> io::Result<()> {
    tried()?;
    let (uid, gid) = (getuid(), getgid());
    enter()?;
    if getuid() != uid {
        map_to_itself("uid_map", uid.as_raw())?;
        fs::write("/proc/self/setgroups", "deny").map_err(unmapped)?; // else an ordinary user may write no gid_map
        map_to_itself("gid_map", gid.as_raw())?;
    }
    Ok(())
}

fn map_to_itself(map: &str, number: u32) -> io::Result<()> {
    fs::write(format!("/proc/self/{map}"), format!("{number} {number} 1")).map_err(unmapped)
}

fn unmapped(error: Error) -> Error {
    Error::new(error.kind(), format!("{NONE}: users cannot be mapped: {error}"))
}

/// The hidden command that only tries.
pub(crate) const TRY: &str = "try-netns";

/// Its exit codes. Nothing is sent through a pipe: a seccomp filter may kill for `pipe2`.
const IN_A_USER_NAMESPACE: u8 = 200;
const LOOPBACK_IS_DOWN: u8 = 201;

pub(crate) fn run_try() -> ExitCode {
    ExitCode::from(match enter() {
        Ok(Privilege::Privileged) => 0,
        Ok(Privilege::User) => IN_A_USER_NAMESPACE,
        Err(Refused::Loopback(_)) => LOOPBACK_IS_DOWN,
        Err(Refused::Namespace(errno)) => u8::try_from(errno as i32).unwrap_or(u8::MAX), // 133 is the largest
    })
}

/// Finds out whether a network namespace of its own is available, and how, without entering one.
pub(crate) fn tried() -> io::Result<Privilege> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(TRY).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status();
    let status = status.map_err(|error| Error::new(error.kind(), format!("{NONE}: it cannot be tried: {error}")))?;
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Ok(Privilege::Privileged),
        Some(IN_A_USER_NAMESPACE) => Ok(Privilege::User),
        Some(LOOPBACK_IS_DOWN) => Err(Refused::Loopback(Error::other("rtnetlink(7) refuses to bring it up")).into()),
        Some(errno @ 1..IN_A_USER_NAMESPACE) => Err(Refused::Namespace(Errno::from_raw(errno.into())).into()),
        _ => Err(Error::other(format!("{NONE}: trying it ended with {status}"))),
    }
}

const NONE: &str = "no network namespace of its own is available";

/// What lets this process enter a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Privilege {
    /// CAP_SYS_ADMIN.
    #[serde(rename = "cap_sys_admin")]
    Privileged,
    /// User namespaces, which anyone may make here.
    #[serde(rename = "user_namespace")]
    User,
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Privilege::Privileged => "with CAP_SYS_ADMIN",
            Privilege::User => "in a user namespace",
        })
    }
}

/// Why no namespace could be entered.
enum Refused {
    Namespace(Errno),
    Loopback(Error),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        match refused {
            Refused::Namespace(errno) => {
                let takes = "that takes CAP_SYS_ADMIN or a user namespace";
                let why = format!("{NONE}: {takes}, {} ({errno})", what_forbids(errno));
                Error::new(Error::from(errno).kind(), why)
            }
            Refused::Loopback(error) => Error::new(error.kind(), format!("{NONE}: its lo stays down: {error}")),
        }
    }
}

/// Enters a new network namespace and brings its `lo` up. Without CAP_SYS_ADMIN, enters a user namespace first.
fn enter() -> Result<Privilege, Refused> {
    let outcome = match unshare(CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) => unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map(|()| Privilege::User),
        outcome => outcome.map(|()| Privilege::Privileged),
    };
    let privilege = outcome.map_err(Refused::Namespace)?;
    bring_loopback_up().map_err(Refused::Loopback)?;
    Ok(privilege)
}

/// `lo` is the first interface of every namespace.
const LOOPBACK: i32 = 1;

/// One message of `rtnetlink(7)`: RTM_NEWLINK for `lo`, with the flag to change and its new value.
fn bring_loopback_up() -> io::Result<()> {
    const HEADER: usize = 16;
    const LENGTH: usize = HEADER + 16;
    const NUMBER: u32 = 1;
    let flags = (NLM_F_REQUEST | NLM_F_ACK) as u16;
    let up = (IFF_UP as u32).to_ne_bytes();
    let mut message = Vec::with_capacity(LENGTH);
    message.extend((LENGTH as u32).to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(NUMBER.to_ne_bytes());
    message.extend([0; 4]); // to the kernel
    message.extend([0; 4]); // of any family, any type
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(up); // its flags
    message.extend(up); // those of them to change

    let netlink = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    sendto(netlink.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 256];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // NLMSG_ERROR: a header, then a negative errno, or zero for done.
    match answer[..length].get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(Error::from_raw_os_error(-error)),
        None => Err(Errno::EBADMSG.into()),
    }
}
