//! A pipe in memory that works, and breaks in one way at a time.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::fault::Fault;

/// More than the checks write if they do not try how much that may be.
const ROOM: usize = 3 << 19;

pub(crate) struct Broken {
    fault: Fault,
    /// Held for a whole poll: between its look and its waker, the other end must not write.
    turn: Arc<Mutex<()>>,
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
    read_since_shut: usize,
    last_write: Instant,
    thread: ThreadId,
}

/// One direction.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    unflushed: usize,
    shut: bool,
    writer_dropped: bool,
    reader_dropped: bool,
    /// How much lay unread when the writer was dropped.
    at_drop: usize,
    writer_waited: bool,
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
    let turn = Arc::default();
    let end = |reads: &Arc<Mutex<Lane>>, writes: &Arc<Mutex<Lane>>| Broken {
        fault,
        turn: Arc::clone(&turn),
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
        read_since_shut: 0,
        last_write: Instant::now(),
        thread: thread::current().id(),
    };
    (end(&lanes[0], &lanes[1]), end(&lanes[1], &lanes[0]))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
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
        if self.is(Fault::WakesReadersWithoutEnd) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn wait_to_write(&mut self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is(Fault::TakesNothingInsteadOfWaiting) {
            return Poll::Ready(Ok(0));
        }
        if self.is(Fault::WakesWritersWithoutEnd) {
            cx.waker().wake_by_ref();
        }
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

    /// Spoils what is read, if that is what is wrong.
    fn spoil(&mut self, bytes: &mut [u8], writer_waited: bool) {
        const FAR_ON: usize = 700_000;
        const MEGABYTES: usize = 6_000_000;
        let begin = self.count[0];
        self.count[0] += bytes.len();
        let place = match self.fault {
            Fault::CorruptsAByte if self.count[1] == 0 && !writer_waited => FAR_ON.checked_sub(begin),
            Fault::CorruptsWhereBothFlow if self.count[1] > FAR_ON => FAR_ON.checked_sub(begin),
            Fault::CorruptsAfterMegabytes => MEGABYTES.checked_sub(begin),
            Fault::CorruptsAfterManyTurns => (self.turns == 500).then_some(0),
            Fault::CorruptsAfterThousandsOfTurns => (self.turns == 5000).then_some(0),
            _ => None,
        };
        if let Some(byte) = place.and_then(|place| bytes.get_mut(place)) {
            *byte = !*byte;
        }
    }

    /// Returns what a read comes to that the fault decides.
    fn read_by_fault(&mut self, room: usize) -> Option<io::Result<()>> {
        let lane = lock(&self.reads);
        let (unread, dropped, shut) = (lane.bytes.len(), lane.writer_dropped, lane.shut);
        let reset = match self.fault {
            Fault::ResetsOnDrop => dropped && !shut && unread == 0 && lane.at_drop == 0,
            Fault::ResetsAfterShutdown => dropped && shut && unread == 0 && !self.told_the_end,
            Fault::ErrsBeforeBytes => dropped && unread > 0 && lane.at_drop < 4096,
            Fault::WorksOnOneThread => thread::current().id() != self.thread,
            _ => false,
        };
        drop(lane);
        if reset {
            return Some(Err(ErrorKind::ConnectionReset.into()));
        }
        let ends = match self.fault {
            Fault::EndsOnALargeBuffer => room > 1 << 16,
            Fault::CutsLongAnswers => self.read_since_shut > 100_000,
            _ => self.ended,
        };
        ends.then_some(Ok(()))
    }
}

impl Broken {
    /// Writes what there is room for, and keeps at most `most` of it.
    fn write(mut self: Pin<&mut Self>, cx: &Context<'_>, bytes: &[u8], most: usize) -> Poll<io::Result<usize>> {
        let turn = Arc::clone(&self.turn);
        let _turn = lock(&turn);
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
        let kept = bytes.len().min(most);
        let meant = match &pending {
            Some(pending) if self.is(Fault::WritesForWhoWasPending) => &pending[..pending.len().min(bytes.len())],
            _ => &bytes[..kept],
        };
        let idle = self.last_write.elapsed() > Duration::from_millis(1);
        self.last_write = Instant::now();
        if idle && self.count[1] > 0 && self.is(Fault::LosesTheFirstWriteAfterAPause) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let whole = bytes.len() - kept + meant.len();
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
        Poll::Ready(Ok(whole + usize::from(self.is(Fault::TakesMoreThanItIsGiven))))
    }

    /// What a shutdown does to the direction that it should leave alone.
    fn forget_on_shutdown(&self) {
        let mut lane = lock(&self.reads);
        if match self.fault {
            Fault::ForgetsUnreadOnShutdown => lane.bytes.len() > 1000,
            Fault::ForgetsUnreadWhenBothAreShut => lane.shut,
            _ => false,
        } {
            lane.bytes.clear();
        }
        if self.is(Fault::ForgetsItsReaderOnShutdown) {
            lane.reader = None;
        }
    }
}

impl AsyncRead for Broken {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let turn = Arc::clone(&self.turn);
        let _turn = lock(&turn);
        let room = buf.remaining();
        if room == 0 {
            self.ended |= self.is(Fault::EndsOnAnEmptyRead);
            return Poll::Ready(Ok(()));
        }
        if let Some(result) = self.read_by_fault(room) {
            return Poll::Ready(result);
        }
        let lane = lock(&self.reads);
        let (count, shut) = (lane.bytes.len().min(room), lane.shut);
        let over = shut || lane.writer_dropped;
        drop(lane);
        let elsewhere = thread::current().id() != self.thread;
        let held_up = self.write_pending.is_some() && self.is(Fault::ReadsNothingWhileWriting)
            || elsewhere && self.is(Fault::WaitsOnOtherThreads);
        let once = if shut { Fault::TellsTheEndOnce } else { Fault::TellsOfADropOnce };
        if held_up || (count == 0 && (!over || (self.told_the_end && self.is(once)))) {
            return self.wait_to_read(cx, room);
        }
        let meant_for = self.read_pending.take();
        if count == 0 {
            self.told_the_end = true;
            return Poll::Ready(Ok(()));
        }
        if self.shut {
            self.read_since_shut += count;
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
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let most = if self.is(Fault::LosesTheTailOfAWrite) { 1 << 16 } else { usize::MAX };
        self.write(cx, bytes, most)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        if self.is(Fault::WritesSlicesBackwards) && slices.len() == 8 {
            slices.reverse();
        }
        if self.is(Fault::LosesSlicesPastSixteen) && slices.len() > 16 {
            let kept = slices[..16].iter().map(|slice| slice.len()).sum();
            return self.write(cx, &slices.concat(), kept);
        }
        self.write(cx, &slices.concat(), usize::MAX)
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
        self.forget_on_shutdown();
        let mut lane = lock(&self.writes);
        let is_much = lane.unflushed > 1 << 16;
        if self.is(if is_much { Fault::ForgetsMuchThatWasNotFlushed } else { Fault::ForgetsWhatWasNotFlushed }) {
            let flushed = lane.bytes.len() - lane.unflushed;
            lane.bytes.truncate(flushed);
        }
        if self.told_the_end && self.is(Fault::ShutsInSilenceAfterTheEnd) {
            return Poll::Ready(Ok(()));
        }
        lane.shut = true;
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
        lane.at_drop = lane.bytes.len();
        if self.is(Fault::ForgetsMuchWhenDropped) && !lane.shut && lane.at_drop > 4096 {
            lane.bytes.clear();
        }
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
