//! Former names of checks, so that a check that was left out by its former name stays left out.

/// Old name, new name.
const RENAMED: &[(&str, &str)] = &[
    ("bytes-arrive-whole-and-in-order", "bytes-arrive-in-order"),
    ("both-directions-flow-at-once", "both-directions-at-once"),
    ("requests-and-answers-take-turns", "requests-and-answers"),
    ("a-small-buffer-loses-nothing", "small-reads-lose-nothing"),
    ("a-read-goes-on-where-its-buffer-is-filled-to", "read-appends-to-its-buffer"),
    ("an-empty-read-takes-nothing", "empty-read-takes-nothing"),
    ("an-empty-write-sends-nothing", "empty-write-sends-nothing"),
    ("vectored-writes-keep-their-order", "vectored-writes-keep-order"),
    ("a-flush-of-nothing-completes", "flush-of-nothing-completes"),
    ("a-pending-read-is-woken-by-a-write", "write-wakes-reader"),
    ("a-pending-read-is-woken-by-end-of-file", "shutdown-wakes-reader"),
    ("a-pending-read-is-woken-when-the-peer-is-dropped", "drop-wakes-reader"),
    ("a-write-without-a-reader-is-pending-at-last", "write-blocks-without-reader"),
    ("a-pending-write-is-woken-by-a-read", "read-wakes-writer"),
    ("a-pending-write-is-woken-when-the-peer-is-dropped", "drop-wakes-writer"),
    ("a-pending-read-holds-up-no-write", "pending-read-allows-writes"),
    ("a-pending-write-holds-up-no-read", "pending-write-allows-reads"),
    ("a-read-wakes-who-polled-it-last", "read-wakes-last-poller"),
    ("a-write-wakes-who-polled-it-last", "write-wakes-last-poller"),
    ("a-read-and-a-write-wake-a-task-each", "reader-and-writer-wake-separately"),
    ("a-cancelled-read-loses-nothing", "cancelled-read-loses-nothing"),
    ("a-cancelled-write-sends-nothing", "cancelled-write-sends-nothing"),
    ("end-of-file-comes-after-the-last-byte", "shutdown-sends-what-was-written"),
    ("end-of-file-stays", "eof-stays"),
    ("after-a-shutdown-the-other-direction-goes-on", "half-close-keeps-other-direction"),
    ("a-write-after-a-shutdown-is-an-error", "write-after-shutdown-fails"),
    ("a-second-shutdown-is-harmless", "second-shutdown-succeeds"),
    ("what-was-flushed-outlives-its-writer", "flushed-bytes-survive-drop"),
    ("a-read-ends-after-the-peer-was-dropped", "read-ends-after-drop"),
    ("a-write-fails-at-last-after-the-peer-was-dropped", "write-fails-after-drop"),
];

/// Returns the current name of a check.
pub(super) fn current(name: &str) -> &str {
    RENAMED.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changelog_lists_every_old_name() {
        let changelog = include_str!("../../CHANGELOG.md");
        for (old, new) in RENAMED {
            assert!(changelog.contains(&format!("| `{old}` | `{new}` |")), "{old}");
            assert!(super::super::checks().any(|(name, _)| name == *new), "{new}");
            assert_eq!(current(old), *new);
        }
        assert_eq!(current("eof-stays"), "eof-stays");
    }
}
