//! The checks: what each promises, and how it is run. A check is told from one end, `near`, and is run from either.
//!
//! So that a check fails for what it says and for nothing else, none leans on what another is about: bytes that are not the
//! matter are read by reads into as much room as there are bytes left, what is to be read is written first where nobody has
//! to wait for it, and each write but those of one check is flushed.

mod cancelling;
mod ending;
mod moving;
mod shapes;
mod waiting;

use std::future::Future;
use std::pin::Pin;

use super::end::End;
use super::verdict::Verdict;

/// What a check has to work with: a fresh pair, how many bytes to send where it is to be many, and how many may be under
/// way to a reader.
pub(super) struct Scene<'p> {
    pub(super) near: End<'p>,
    pub(super) far: End<'p>,
    pub(super) transfer: usize,
    pub(super) most_in_flight: usize,
}

type Act<'p> = Pin<Box<dyn Future<Output = Verdict> + 'p>>;

pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) promise: &'static str,
    pub(super) run: for<'p> fn(Scene<'p>) -> Act<'p>,
}

macro_rules! checks {
    ($($name:literal $promise:literal $body:path;)+) => {
        &[$(Check { name: $name, promise: $promise, run: |scene| Box::pin($body(scene)) }),+]
    };
}

pub(super) static CHECKS: &[Check] = checks! {
    "bytes-arrive-whole-and-in-order"
        "many bytes that are written in chunks of many sizes are read as they were written"
        moving::bytes_arrive_whole_and_in_order;
    "both-directions-flow-at-once"
        "many bytes each way, through the four halves of `tokio::io::split`"
        moving::both_directions_flow_at_once;
    "requests-and-answers-take-turns"
        "a thousand requests of eight bytes, each answered before the next"
        moving::requests_and_answers_take_turns;
    "a-small-buffer-loses-nothing"
        "what does not fit into a reader's buffer is there for the next read"
        shapes::a_small_buffer_loses_nothing;
    "a-read-goes-on-where-its-buffer-is-filled-to"
        "what a `ReadBuf` holds already is left alone, and what is read comes after it"
        shapes::a_read_goes_on_where_its_buffer_is_filled_to;
    "an-empty-read-takes-nothing"
        "a read into no room neither takes bytes nor ends the stream"
        shapes::an_empty_read_takes_nothing;
    "an-empty-write-sends-nothing"
        "a write of no bytes takes none, and is no end of file to the peer"
        shapes::an_empty_write_sends_nothing;
    "vectored-writes-keep-their-order"
        "slices arrive one after the other, empty ones among them, and no more is said to be written than was given"
        shapes::vectored_writes_keep_their_order;
    "a-flush-of-nothing-completes"
        "a flush is through before anything was written, and another right after it"
        shapes::a_flush_of_nothing_completes;
    "a-pending-read-is-woken-by-a-write"
        "be it of a single byte"
        waiting::a_pending_read_is_woken_by_a_write;
    "a-pending-read-is-woken-by-end-of-file"
        "when the peer shuts down"
        waiting::a_pending_read_is_woken_by_end_of_file;
    "a-pending-read-is-woken-when-the-peer-is-dropped"
        "and ends with end of file or an error"
        waiting::a_pending_read_is_woken_when_the_peer_is_dropped;
    "a-write-without-a-reader-is-pending-at-last"
        "a writer cannot write without end what nobody reads"
        waiting::a_write_without_a_reader_is_pending_at_last;
    "a-pending-write-is-woken-by-a-read"
        "and what is written then comes after what was"
        waiting::a_pending_write_is_woken_by_a_read;
    "a-pending-write-is-woken-when-the-peer-is-dropped"
        "whatever it ends with"
        waiting::a_pending_write_is_woken_when_the_peer_is_dropped;
    "a-pending-read-holds-up-no-write"
        "an end can write while it waits for something to read"
        waiting::a_pending_read_holds_up_no_write;
    "a-pending-write-holds-up-no-read"
        "an end can read while it waits for room to write"
        waiting::a_pending_write_holds_up_no_read;
    "a-read-wakes-who-polled-it-last"
        "a pending read that another task polls wakes that one"
        waiting::a_read_wakes_who_polled_it_last;
    "a-write-wakes-who-polled-it-last"
        "a pending write that another task polls wakes that one"
        waiting::a_write_wakes_who_polled_it_last;
    "a-read-and-a-write-wake-a-task-each"
        "where one task waits to read and another to write, each is woken for its own"
        waiting::a_read_and_a_write_wake_a_task_each;
    "a-cancelled-read-loses-nothing"
        "what arrives after a read was given up is there for the next, also where many are given up while bytes flow"
        cancelling::a_cancelled_read_loses_nothing;
    "a-cancelled-write-sends-nothing"
        "of a write that was given up while pending no byte is sent, and other bytes can be written after it"
        cancelling::a_cancelled_write_sends_nothing;
    "end-of-file-comes-after-the-last-byte"
        "a shutdown sends what was written and not flushed"
        ending::end_of_file_comes_after_the_last_byte;
    "end-of-file-stays"
        "every read after end of file is end of file"
        ending::end_of_file_stays;
    "after-a-shutdown-the-other-direction-goes-on"
        "who has shut down can read on, until the peer shuts down too"
        ending::after_a_shutdown_the_other_direction_goes_on;
    "a-write-after-a-shutdown-is-an-error"
        "at the end that was shut down"
        ending::a_write_after_a_shutdown_is_an_error;
    "a-second-shutdown-is-harmless"
        "it succeeds, and the other direction goes on"
        ending::a_second_shutdown_is_harmless;
    "what-was-flushed-outlives-its-writer"
        "it can be read after the end that wrote it was dropped"
        ending::what_was_flushed_outlives_its_writer;
    "a-read-ends-after-the-peer-was-dropped"
        "with end of file or an error, again and again"
        ending::a_read_ends_after_the_peer_was_dropped;
    "a-write-fails-at-last-after-the-peer-was-dropped"
        "a writer cannot write without end to nobody"
        ending::a_write_fails_at_last_after_the_peer_was_dropped;
};
