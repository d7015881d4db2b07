//! Comparing writes takes time in proportion to their bytes, however few bytes each write moves.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::num::NonZeroUsize;

use super::{Script, Turn};

thread_local! {
    static COMPARED: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn count(bytes: usize) {
    COMPARED.set(COMPARED.get() + bytes);
}

/// Writes all of it, each time offering all that is left. Returns how many bytes were compared.
fn compared(script: Script, bytes: &[u8]) -> usize {
    let mut script = script.max_write_size(NonZeroUsize::MIN);
    for begin in 0..bytes.len() {
        assert!(matches!(script.write(&bytes[begin..]), Turn::Moved(1)));
    }
    script.verify().unwrap();
    COMPARED.take()
}

#[test]
fn short_writes_compare_each_byte_twice() {
    for size in [1 << 10, 1 << 14, 1 << 20] {
        let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        assert_eq!(compared(Script::new().expect(&bytes), &bytes), 2 * size);
        let pieces = bytes.chunks(7).fold(Script::new(), Script::expect);
        assert_eq!(compared(pieces, &bytes), 2 * size);
    }
}

#[test]
fn short_writes_look_once_for_the_byte_that_ends_them() {
    for size in [1 << 10, 1 << 14, 1 << 20] {
        let mut line = vec![b'x'; size];
        line[size - 1] = b'\n';
        assert!(compared(Script::new().expect_until(b'\n'), &line) <= 2 * size);
        let lines = b"0123456\n".repeat(size / 8);
        let script = (0..size / 8).fold(Script::new(), |script, _| script.expect("0").expect_until(b'\n'));
        assert!(compared(script, &lines) <= 2 * lines.len());
    }
}
