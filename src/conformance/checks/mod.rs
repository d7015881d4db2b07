//! The checks: what each promises, and how it is run. A check is told from one end, `near`, and is run from either.
//!
//! A check should fail for what it says and for nothing else. So each keeps to plain means apart from its subject: reads have
//! room for the bytes that are left, bytes are written first if nothing has to wait for them, and every write is flushed.

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

/// The figures that the checks work with; see [`Conformance`](super::Conformance).
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) transfer: usize,
    pub(super) most_in_flight: usize,
    pub(super) idle: Duration,
    /// How long a part of a check may go on that can be cut short.
    pub(super) patience: Duration,
    pub(super) face: Face,
}

/// What a check works with: a fresh pair, and the figures.
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
    pub(super) from: From,
    pub(super) run: for<'p> fn(Scene<'p>) -> Act<'p>,
}

/// From where a check is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    EitherEnd,
    /// The check does the same at both ends.
    OneEnd,
}

macro_rules! checks {
    ($($name:literal $promise:literal $from:ident $body:path;)+) => {
        &[$(Check { name: $name, promise: $promise, from: From::$from, run: |scene| Box::pin($body(scene)) }),+]
    };
}

/// The check that lets time pass.
pub(super) const IDLE: &str = "idle-stream-still-works";

pub(super) static CHECKS: &[Check] = checks! {
    "bytes-arrive-in-order"
        "many bytes, written in chunks of many sizes, are read as they were written"
        EitherEnd moving::bytes_arrive_in_order;
    "both-directions-at-once"
        "many bytes each way, through the four halves of `tokio::io::split`"
        EitherEnd moving::both_directions_at_once;
    "requests-and-answers"
        "thousands of requests of eight bytes, each answered before the next"
        OneEnd moving::requests_and_answers;
    "idle-stream-still-works"
        "bytes arrive each way after a pause, as they did before it"
        OneEnd moving::idle_stream_still_works;
    "writes-of-any-size"
        "single writes of 1 byte to 1 MiB arrive whole"
        EitherEnd shapes::writes_of_any_size;
    "reads-into-any-size"
        "reads into buffers of 2 bytes to 1 MiB bring every byte, and no end of file"
        EitherEnd shapes::reads_into_any_size;
    "small-reads-lose-nothing"
        "bytes that do not fit into a reader's buffer of one byte are there for the next read"
        EitherEnd shapes::small_reads_lose_nothing;
    "read-appends-to-its-buffer"
        "a read leaves alone what a `ReadBuf` holds already, and puts its bytes after that"
        EitherEnd shapes::read_appends_to_its_buffer;
    "empty-read-takes-nothing"
        "a read into no room neither takes bytes nor ends the stream"
        EitherEnd shapes::empty_read_takes_nothing;
    "empty-write-sends-nothing"
        "a write of no bytes takes none, and is no end of file to the peer"
        EitherEnd shapes::empty_write_sends_nothing;
    "vectored-writes-keep-order"
        "slices arrive one after the other, with empty ones among them"
        EitherEnd shapes::vectored_writes_keep_order;
    "vectored-writes-of-many-slices"
        "9 to 1025 slices in one write arrive whole, and so do large ones"
        EitherEnd shapes::vectored_writes_of_many_slices;
    "flush-of-nothing-completes"
        "a flush completes before anything was written, and again right after it"
        EitherEnd shapes::flush_of_nothing_completes;
    "write-wakes-reader"
        "a write of a single byte wakes a pending read"
        EitherEnd waiting::write_wakes_reader;
    "shutdown-wakes-reader"
        "a shutdown wakes the peer's pending read, which returns end of file"
        EitherEnd waiting::shutdown_wakes_reader;
    "drop-wakes-reader"
        "a drop wakes the peer's pending read, which returns end of file or an error"
        EitherEnd waiting::drop_wakes_reader;
    "pending-read-stays-quiet"
        "a read with nothing to read does not wake its task again and again, but does when bytes come"
        EitherEnd waiting::pending_read_stays_quiet;
    "write-blocks-without-reader"
        "a write is left pending at last if the peer does not read"
        EitherEnd waiting::write_blocks_without_reader;
    "pending-write-stays-quiet"
        "a write with no room does not wake its task again and again"
        EitherEnd waiting::pending_write_stays_quiet;
    "read-wakes-writer"
        "a read wakes the peer's pending write, and the bytes that follow arrive in order"
        EitherEnd waiting::read_wakes_writer;
    "drop-wakes-writer"
        "a drop wakes the peer's pending write, whatever it returns"
        EitherEnd waiting::drop_wakes_writer;
    "pending-read-allows-writes"
        "an end can write while its read is pending, and its peer's"
        EitherEnd waiting::pending_read_allows_writes;
    "pending-write-allows-reads"
        "an end can read while its write is pending"
        EitherEnd waiting::pending_write_allows_reads;
    "read-wakes-last-poller"
        "a pending read that a second task polls wakes the second task"
        EitherEnd waiting::read_wakes_last_poller;
    "write-wakes-last-poller"
        "a pending write that a second task polls wakes the second task"
        EitherEnd waiting::write_wakes_last_poller;
    "reader-and-writer-wake-separately"
        "if one task waits to read and another to write, each is woken for its own"
        EitherEnd waiting::reader_and_writer_wake_separately;
    "cancelled-read-loses-nothing"
        "bytes that arrive after a read was given up are there for the next one, however many reads are given up"
        EitherEnd cancelling::cancelled_read_loses_nothing;
    "cancelled-write-sends-nothing"
        "no byte of a write that was given up while pending is sent, and other bytes can be written after it"
        EitherEnd cancelling::cancelled_write_sends_nothing;
    "shutdown-sends-what-was-written"
        "bytes that were written and not flushed arrive before end of file"
        EitherEnd shutting::shutdown_sends_what_was_written;
    "shutdown-sends-much-that-was-written"
        "the same for more bytes than most buffers hold"
        EitherEnd shutting::shutdown_sends_much_that_was_written;
    "shutdown-keeps-unread-bytes"
        "an end that has shut down can still read what had arrived before"
        EitherEnd shutting::shutdown_keeps_unread_bytes;
    "shutdown-leaves-read-pending"
        "a read that is pending during a shutdown of its own end is woken by the peer's next write"
        EitherEnd shutting::shutdown_leaves_read_pending;
    "bytes-survive-both-shutdowns"
        "if both ends write and shut down before either reads, every byte arrives"
        EitherEnd shutting::bytes_survive_both_shutdowns;
    "half-close-keeps-other-direction"
        "after a shutdown the peer reads end of file and can answer"
        EitherEnd shutting::half_close_keeps_other_direction;
    "half-close-allows-long-answer"
        "and the answer may be longer than any buffer"
        EitherEnd shutting::half_close_allows_long_answer;
    "eof-stays"
        "every read after end of file is end of file, whatever its buffer, also after bytes went the other way, and after the peer is dropped"
        EitherEnd shutting::eof_stays;
    "write-after-shutdown-fails"
        "a write and flush after a shutdown of the same end is an error, and the peer reads none of it"
        EitherEnd shutting::write_after_shutdown_fails;
    "second-shutdown-succeeds"
        "it succeeds, and the other direction goes on"
        EitherEnd shutting::second_shutdown_succeeds;
    "eof-after-shutdown-and-drop"
        "after a shutdown and a drop every byte arrives, and then end of file, not an error"
        EitherEnd dropping::eof_after_shutdown_and_drop;
    "eof-after-drop"
        "after a drop alone the peer reads end of file, or `UnexpectedEof`; any other error is a *reset on drop*"
        EitherEnd dropping::eof_after_drop;
    "flushed-bytes-survive-drop"
        "many bytes that were written and flushed arrive although the writer is dropped, and then end of file as above"
        EitherEnd dropping::flushed_bytes_survive_drop;
    "received-bytes-come-before-an-error"
        "bytes that had arrived before a drop are read before its end of file or error"
        EitherEnd dropping::received_bytes_come_before_an_error;
    "read-ends-after-drop"
        "after a drop every read returns end of file or an error"
        EitherEnd dropping::read_ends_after_drop;
    "write-fails-after-drop"
        "a write to a dropped peer fails at last"
        EitherEnd dropping::write_fails_after_drop;
};
