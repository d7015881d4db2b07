//! A pipe in memory that works, and breaks in one way at a time.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is wrong with a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// One byte far on is not the one that was written, where no writer had to wait.
    CorruptsAByte,
    /// A byte is wrong once an end has both read and written much.
    CorruptsWhereBothFlow,
    /// A byte is wrong once an end has turned from reading to writing often.
    CorruptsAfterManyTurns,
    /// What does not fit into a buffer of one byte is thrown away.
    ForgetsWhatDoesNotFit,
    /// A reader's buffer is filled from its beginning, whatever it holds.
    FillsFromTheBeginning,
    /// A read into no room is taken for end of file.
    EndsOnAnEmptyRead,
    /// A write of no bytes is taken for end of file.
    EndsOnAnEmptyWrite,
    /// Slices are written last to first.
    WritesSlicesBackwards,
    /// A flush waits for a write that has yet to come.
    FlushesOnlyWhatIsThere,
    /// A write of one byte is not worth a wake.
    SleepsThroughAByte,
    /// A shutdown does not wake.
    SleepsThroughShutdown,
    /// That the peer's writing end was dropped does not wake who reads.
    SleepsThroughAWritersDrop,
    /// That the peer's reading end was dropped does not wake who writes.
    SleepsThroughAReadersDrop,
    /// It takes all that is written, however much lies unread.
    HasNoEnd,
    /// The first time that a write is pending no waker is kept.
    KeepsNoWriterAtFirst,
    /// An end whose read is pending cannot write.
    WritesNothingWhileReading,
    /// An end whose write is pending cannot read.
    ReadsNothingWhileWriting,
    /// The first waker of a reader is kept until it was woken.
    KeepsTheFirstReader,
    /// The first waker of a writer is kept until it was woken.
    KeepsTheFirstWriter,
    /// An end has one place for a waker, be it for reading or for writing.
    HasOnePlaceForAWaker,
    /// What is read is meant for the read that was pending, and what the next has no room for is lost.
    ReadsForWhoWasPending,
    /// What is written are the bytes of the write that was pending.
    WritesForWhoWasPending,
    /// A shutdown throws away what was not flushed.
    ForgetsWhatWasNotFlushed,
    /// End of file is told once, and reads after it wait for ever.
    TellsTheEndOnce,
    /// Who shuts down reads end of file.
    ShutsBothDown,
    /// What is written after a shutdown is thrown away, and said to be written.
    SwallowsAfterShutdown,
    /// A second shutdown is refused.
    ShutsDownOnce,
    /// A dropped end takes along what it wrote and nobody has read.
    ForgetsWhenDropped,
    /// Only who was waiting when an end is dropped is told of that; who reads later waits for ever.
    TellsOfDropsInPersonOnly,
    /// What is written to a dropped end is thrown away, and said to be written.
    SwallowsAfterDrop,
}

/// More than the checks write where they do not try how much that may be.
const ROOM: usize = 3 << 19;

pub(crate) struct Broken {
    fault: Fault,
    reads: Arc<Mutex<Lane>>,
    writes: Arc<Mutex<Lane>>,
    /// Bytes that this end has read, and written.
    count: [usize; 2],
    turns: usize,
    has_read: bool,
    read_pending: Option<usize>,
    write_pending: Option<Vec<u8>>,
    is_dirty: bool,
    told_the_end: bool,
    ended: bool,
    shut: bool,
}

/// One direction.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    unflushed: usize,
    shut: bool,
    writer_dropped: bool,
    reader_dropped: bool,
    writer_waited: bool,
    told_reader: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Lane {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let (front, back) = self.bytes.as_slices();
        let of_front = front.len().min(count);
        let taken = [&front[..of_front], &back[..count - of_front]].concat();
        self.bytes.drain(..count);
        taken
    }
}

pub(crate) fn pair(fault: Fault) -> (Broken, Broken) {
    let lanes = [(); 2].map(|()| Arc::new(Mutex::new(Lane::default())));
    let end = |reads: &Arc<Mutex<Lane>>, writes: &Arc<Mutex<Lane>>| Broken {
        fault,
        reads: reads.clone(),
        writes: writes.clone(),
        count: [0; 2],
        turns: 0,
        has_read: false,
        read_pending: None,
        write_pending: None,
        is_dirty: false,
        told_the_end: false,
        ended: false,
        shut: false,
    };
    (end(&lanes[0], &lanes[1]), end(&lanes[1], &lanes[0]))
}

fn lock(lane: &Arc<Mutex<Lane>>) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap()
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl Broken {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn wait_to_read(&mut self, cx: &Context<'_>, room: usize) -> Poll<io::Result<()>> {
        self.read_pending.get_or_insert(room);
        let mut lane = lock(&self.reads);
        if !(self.is(Fault::KeepsTheFirstReader) && lane.reader.is_some()) {
            lane.reader = Some(cx.waker().clone());
        }
        if self.is(Fault::HasOnePlaceForAWaker) {
            lock(&self.writes).writer = None;
        }
        Poll::Pending
    }

    fn wait_to_write(&mut self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let again = self.write_pending.is_some();
        self.write_pending.get_or_insert_with(|| bytes.to_vec());
        let mut lane = lock(&self.writes);
        lane.writer_waited = true;
        let keeps = again || !self.is(Fault::KeepsNoWriterAtFirst);
        if keeps && !(self.is(Fault::KeepsTheFirstWriter) && lane.writer.is_some()) {
            lane.writer = Some(cx.waker().clone());
        }
        if self.is(Fault::HasOnePlaceForAWaker) {
            lock(&self.reads).reader = None;
        }
        Poll::Pending
    }

    /// Spoils what is read, where that is what is wrong.
    fn spoil(&mut self, bytes: &mut [u8], writer_waited: bool) {
        const FAR_ON: usize = 700_000;
        let begin = self.count[0];
        self.count[0] += bytes.len();
        let spoils = match self.fault {
            Fault::CorruptsAByte => self.count[1] == 0 && !writer_waited,
            Fault::CorruptsWhereBothFlow => self.count[1] > FAR_ON,
            Fault::CorruptsAfterManyTurns => self.turns == 500,
            _ => return,
        };
        let place = if self.is(Fault::CorruptsAfterManyTurns) { Some(0) } else { FAR_ON.checked_sub(begin) };
        if let Some(byte) = place.filter(|_| spoils).and_then(|place| bytes.get_mut(place)) {
            *byte = !*byte;
        }
    }
}

impl AsyncRead for Broken {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        if room == 0 {
            self.ended |= self.is(Fault::EndsOnAnEmptyRead);
            return Poll::Ready(Ok(()));
        }
        if self.ended || (self.shut && self.is(Fault::ShutsBothDown)) {
            return Poll::Ready(Ok(()));
        }
        let lane = lock(&self.reads);
        let (count, shut) = (lane.bytes.len().min(room), lane.shut);
        let over = shut || lane.writer_dropped;
        let not_told = lane.writer_dropped && !lane.told_reader && self.is(Fault::TellsOfDropsInPersonOnly);
        drop(lane);
        let held_up = self.write_pending.is_some() && self.is(Fault::ReadsNothingWhileWriting);
        let told_enough = self.told_the_end && self.is(Fault::TellsTheEndOnce);
        if held_up || (count == 0 && (!over || not_told || told_enough)) {
            return self.wait_to_read(cx, room);
        }
        let meant_for = self.read_pending.take();
        if count == 0 {
            self.told_the_end = shut;
            return Poll::Ready(Ok(()));
        }
        if self.is(Fault::FillsFromTheBeginning) {
            buf.clear();
        }
        self.has_read = true;
        let mut lane = lock(&self.reads);
        let (mut bytes, writer_waited) = (lane.take(count), lane.writer_waited);
        drop(lane);
        self.spoil(&mut bytes, writer_waited);
        buf.put_slice(&bytes);
        let mut lane = lock(&self.reads);
        lane.unflushed = 0;
        let mut lost = 0;
        if self.is(Fault::ForgetsWhatDoesNotFit) && room == 1 {
            lost = lane.bytes.len();
        }
        if self.is(Fault::ReadsForWhoWasPending) {
            lost = meant_for.unwrap_or(0).saturating_sub(count).min(lane.bytes.len());
        }
        lane.bytes.drain(..lost);
        wake(&mut lane.writer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Broken {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut lane = lock(&self.writes);
        if lane.shut {
            let swallows = self.is(Fault::SwallowsAfterShutdown);
            return Poll::Ready(if swallows { Ok(bytes.len()) } else { Err(ErrorKind::BrokenPipe.into()) });
        }
        if lane.reader_dropped {
            let swallows = self.is(Fault::SwallowsAfterDrop);
            return Poll::Ready(if swallows { Ok(bytes.len()) } else { Err(ErrorKind::BrokenPipe.into()) });
        }
        if bytes.is_empty() {
            lane.shut |= self.is(Fault::EndsOnAnEmptyWrite);
            return Poll::Ready(Ok(0));
        }
        let room = if self.is(Fault::HasNoEnd) { usize::MAX } else { ROOM - lane.bytes.len() };
        drop(lane);
        let held_up = self.read_pending.is_some() && self.is(Fault::WritesNothingWhileReading);
        if room == 0 || held_up {
            return self.wait_to_write(cx, bytes);
        }
        let pending = self.write_pending.take();
        let bytes = &bytes[..bytes.len().min(room)];
        let meant = match &pending {
            Some(pending) if self.is(Fault::WritesForWhoWasPending) => &pending[..pending.len().min(bytes.len())],
            _ => bytes,
        };
        self.turns += usize::from(self.has_read);
        self.has_read = false;
        self.is_dirty = true;
        self.count[1] += meant.len();
        let mut lane = lock(&self.writes);
        lane.bytes.extend(meant);
        lane.unflushed += meant.len();
        if !(meant.len() == 1 && self.is(Fault::SleepsThroughAByte)) {
            wake(&mut lane.reader);
        }
        Poll::Ready(Ok(meant.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        if self.is(Fault::WritesSlicesBackwards) {
            slices.reverse();
        }
        self.poll_write(cx, &slices.concat())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is(Fault::FlushesOnlyWhatIsThere) && !self.is_dirty {
            return Poll::Pending;
        }
        self.is_dirty = false;
        lock(&self.writes).unflushed = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shut && self.is(Fault::ShutsDownOnce) {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        }
        self.shut = true;
        let mut lane = lock(&self.writes);
        lane.shut = true;
        if self.is(Fault::ForgetsWhatWasNotFlushed) {
            let flushed = lane.bytes.len() - lane.unflushed;
            lane.bytes.truncate(flushed);
        }
        if !self.is(Fault::SleepsThroughShutdown) {
            wake(&mut lane.reader);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        let mut lane = lock(&self.writes);
        lane.writer_dropped = true;
        if self.is(Fault::ForgetsWhenDropped) {
            lane.bytes.clear();
        }
        lane.told_reader = lane.reader.is_some();
        if !self.is(Fault::SleepsThroughAWritersDrop) {
            wake(&mut lane.reader);
        }
        drop(lane);
        let mut lane = lock(&self.reads);
        lane.reader_dropped = true;
        if !self.is(Fault::SleepsThroughAReadersDrop) {
            wake(&mut lane.writer);
        }
    }
}
