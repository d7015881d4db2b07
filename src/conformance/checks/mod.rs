//! The checks: what each promises, and how it runs. A check describes the near end, and runs from each end in turn.
//!
//! A check should fail only for its promise. So everything else in it is simple: reads have room for the remaining bytes, bytes
//! are written before they are awaited, and every write is flushed.

mod cancelling;
mod dropping;
mod moving;
mod shapes;
mod shutting;
mod waiting;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::end::End;
use super::verdict::Verdict;

/// The traits that the checked stream implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    /// Those of `tokio::io`.
    Tokio,
    /// Those of `futures::io`.
    Futures,
    /// [`OwnedBufStream`](super::OwnedBufStream).
    Owned,
}

/// The settings of the checks; see [`Conformance`](super::Conformance).
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) transfer: usize,
    pub(super) max_in_flight: usize,
    pub(super) idle: Duration,
    /// How long a transfer may take before it is cut short.
    pub(super) patience: Duration,
    pub(super) face: Face,
}

/// What a check works with: a fresh pair, and the settings.
pub(super) struct Scene<'p> {
    pub(super) near: End<'p>,
    pub(super) far: End<'p>,
    pub(super) plan: Plan,
}

const NEVER_BLOCKED: &str = "no write was left pending";

type Act<'p> = Pin<Box<dyn Future<Output = Verdict> + 'p>>;

pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) promise: &'static str,
    pub(super) runs: Runs,
    pub(super) run: for<'p> fn(Scene<'p>) -> Act<'p>,
}

/// How often a check runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// From each end.
    Twice,
    /// The check does the same at both ends.
    Once,
}

macro_rules! checks {
    ($($name:literal $promise:literal $runs:ident $body:path;)+) => {
        &[$(Check { name: $name, promise: $promise, runs: Runs::$runs, run: |scene| Box::pin($body(scene)) }),+]
    };
}

/// The check that pauses.
pub(super) const IDLE: &str = "idle-stream-still-works";

pub(super) static CHECKS: &[Check] = checks! {
    "bytes-arrive-in-order"
        "many bytes, written in chunks of many sizes, are read as they were written"
        Twice moving::bytes_arrive_in_order;
    "both-directions-at-once"
        "many bytes each way, through the four halves of `tokio::io::split`"
        Twice moving::both_directions_at_once;
    "requests-and-answers"
        "thousands of requests of eight bytes, each answered before the next"
        Once moving::requests_and_answers;
    "idle-stream-still-works"
        "bytes arrive each way after a pause, as they did before it"
        Once moving::idle_stream_still_works;
    "writes-of-any-size"
        "single writes of 1 byte to 1 MiB arrive whole"
        Twice shapes::writes_of_any_size;
    "reads-into-any-size"
        "reads into buffers of 2 bytes to 1 MiB bring every byte, and no end of file"
        Twice shapes::reads_into_any_size;
    "small-reads-lose-nothing"
        "bytes that do not fit into a reader's buffer of one byte are there for the next read"
        Twice shapes::small_reads_lose_nothing;
    "read-appends-to-its-buffer"
        "a read keeps what a `ReadBuf` already holds, and appends its bytes"
        Twice shapes::read_appends_to_its_buffer;
    "empty-read-takes-nothing"
        "a read into no room neither takes bytes nor ends the stream"
        Twice shapes::empty_read_takes_nothing;
    "empty-write-sends-nothing"
        "a write of no bytes takes none, and is no end of file to the peer"
        Twice shapes::empty_write_sends_nothing;
    "vectored-writes-keep-order"
        "slices arrive one after the other, with empty ones among them"
        Twice shapes::vectored_writes_keep_order;
    "vectored-writes-of-many-slices"
        "9 to 1025 slices in one write arrive whole, and so do large ones"
        Twice shapes::vectored_writes_of_many_slices;
    "flush-of-nothing-completes"
        "a flush completes before anything was written, and again right after it"
        Twice shapes::flush_of_nothing_completes;
    "write-wakes-reader"
        "a write of a single byte wakes a pending read"
        Twice waiting::write_wakes_reader;
    "shutdown-wakes-reader"
        "a shutdown wakes the peer's pending read, which returns end of file"
        Twice waiting::shutdown_wakes_reader;
    "drop-wakes-reader"
        "a drop wakes the peer's pending read, which returns end of file or an error"
        Twice waiting::drop_wakes_reader;
    "pending-read-stays-quiet"
        "a read with nothing to read does not wake its task in a loop, but does when bytes arrive"
        Twice waiting::pending_read_stays_quiet;
    "write-blocks-without-reader"
        "a write blocks eventually if the peer does not read"
        Twice waiting::write_blocks_without_reader;
    "pending-write-stays-quiet"
        "a write without room does not wake its task in a loop"
        Twice waiting::pending_write_stays_quiet;
    "read-wakes-writer"
        "a read wakes the peer's pending write, and the bytes that follow arrive in order"
        Twice waiting::read_wakes_writer;
    "drop-wakes-writer"
        "a drop wakes the peer's pending write, whatever it returns"
        Twice waiting::drop_wakes_writer;
    "pending-read-allows-writes"
        "an end can write while its read is pending, and its peer's"
        Twice waiting::pending_read_allows_writes;
    "pending-write-allows-reads"
        "an end can read while its write is pending"
        Twice waiting::pending_write_allows_reads;
    "read-wakes-last-poller"
        "a pending read that a second task polls wakes the second task"
        Twice waiting::read_wakes_last_poller;
    "write-wakes-last-poller"
        "a pending write that a second task polls wakes the second task"
        Twice waiting::write_wakes_last_poller;
    "reader-and-writer-wake-separately"
        "if one task waits to read and another to write, each is woken for its own operation"
        Twice waiting::reader_and_writer_wake_separately;
    "cancelled-read-loses-nothing"
        "bytes that arrive after a read was cancelled are there for the next read, however many reads are cancelled"
        Twice cancelling::cancelled_read_loses_nothing;
    "cancelled-write-sends-nothing"
        "no byte of a cancelled pending write is sent, and other bytes can be written after it"
        Twice cancelling::cancelled_write_sends_nothing;
    "shutdown-sends-what-was-written"
        "bytes that were written and not flushed arrive before end of file"
        Twice shutting::shutdown_sends_what_was_written;
    "shutdown-sends-much-that-was-written"
        "the same for more bytes than most buffers hold"
        Twice shutting::shutdown_sends_much_that_was_written;
    "shutdown-keeps-unread-bytes"
        "an end that has shut down can still read what had arrived before"
        Twice shutting::shutdown_keeps_unread_bytes;
    "shutdown-leaves-read-pending"
        "a read that is pending during a shutdown of its own end is woken by the peer's next write"
        Twice shutting::shutdown_leaves_read_pending;
    "bytes-survive-both-shutdowns"
        "if both ends write and shut down before either reads, every byte arrives"
        Twice shutting::bytes_survive_both_shutdowns;
    "half-close-keeps-other-direction"
        "after a shutdown the peer reads end of file and can answer"
        Twice shutting::half_close_keeps_other_direction;
    "half-close-allows-long-answer"
        "and the answer may be longer than any buffer"
        Twice shutting::half_close_allows_long_answer;
    "eof-stays"
        "every read after end of file is end of file, whatever its buffer, also after bytes went the other way, and after the peer is dropped"
        Twice shutting::eof_stays;
    "write-after-shutdown-fails"
        "a write and flush after a shutdown of the same end is an error or takes no bytes, and the peer reads none of it"
        Twice shutting::write_after_shutdown_fails;
    "second-shutdown-succeeds"
        "it succeeds, and the other direction goes on"
        Twice shutting::second_shutdown_succeeds;
    "eof-after-shutdown-and-drop"
        "after a shutdown and a drop every byte arrives, and then end of file, not an error"
        Twice dropping::eof_after_shutdown_and_drop;
    "eof-after-drop"
        "after a drop alone the peer reads end of file, or `UnexpectedEof`; any other error is a *reset on drop*"
        Twice dropping::eof_after_drop;
    "flushed-bytes-survive-drop"
        "many bytes that were written and flushed arrive although the writer is dropped, and then end of file as above"
        Twice dropping::flushed_bytes_survive_drop;
    "received-bytes-come-before-an-error"
        "bytes that had arrived before a drop are read before its end of file or error"
        Twice dropping::received_bytes_come_before_an_error;
    "read-ends-after-drop"
        "after a drop every read returns end of file or an error"
        Twice dropping::read_ends_after_drop;
    "write-fails-after-drop"
        "a write to a dropped peer fails eventually"
        Twice dropping::write_fails_after_drop;
};
