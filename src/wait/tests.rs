use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc;

use nix::sys::eventfd::EventFd;

use super::*;

/// A waker that sends its number.
struct Sends(mpsc::Sender<u32>, u32);

impl Wake for Sends {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(self.1);
    }
}

const LONG: Duration = Duration::from_secs(20);

fn register(waiting: &mut Waiting, waker: &Waker, descriptor: Option<BorrowedFd<'_>>, until: Instant) {
    waiting.register(waker, descriptor, until).unwrap();
}

#[test]
fn a_deadline_starts_when_it_is_first_asked_for() {
    let mut deadline = Deadline::after(LONG);
    let first = deadline.start().unwrap();
    assert_eq!(deadline.start(), Some(first));
    assert!(Deadline::after(Duration::MAX).start().is_some());
    let mut over = Deadline::after(Duration::ZERO);
    assert_eq!(over.start(), None);
    over.reset();
    assert_eq!((over.at, over.timeout()), (None, Duration::ZERO));
}

#[test]
fn a_readable_descriptor_wakes_its_call_alone() {
    let (told, tells) = mpsc::channel();
    let descriptors: Vec<EventFd> = (0..3).map(|_| EventFd::new().unwrap()).collect();
    let mut waits: Vec<Waiting> = descriptors.iter().map(|_| Waiting::default()).collect();
    for (number, (waiting, descriptor)) in waits.iter_mut().zip(&descriptors).enumerate() {
        let waker = Arc::new(Sends(told.clone(), number as u32)).into();
        register(waiting, &waker, Some(descriptor.as_fd()), Instant::now() + 10 * LONG);
    }
    for number in [1, 0, 2] {
        descriptors[number as usize].write(1).unwrap();
        assert_eq!(tells.recv_timeout(LONG), Ok(number));
    }
    assert!(tells.try_recv().is_err());
    for (waiting, descriptor) in waits.iter_mut().zip(&descriptors) {
        waiting.end(Some(descriptor.as_fd()));
    }
}

#[test]
fn a_call_is_woken_at_its_deadline_and_again_when_renewed() {
    let (told, tells) = mpsc::channel();
    let (mut late, mut soon) = (Waiting::default(), Waiting::default());
    let waker = |number| Arc::new(Sends(told.clone(), number)).into();
    register(&mut late, &waker(1), None, Instant::now() + 10 * LONG);
    for _ in 0..3 {
        register(&mut soon, &waker(2), None, Instant::now() + Duration::from_millis(2));
        assert_eq!(tells.recv_timeout(LONG), Ok(2));
    }
    soon.end(None);
    late.end(None);
    assert!(tells.try_recv().is_err());
}

#[test]
fn a_waker_that_panics_or_registers_disturbs_no_other() {
    struct Panics(AtomicU32);
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
            let mut own = Waiting::default();
            register(&mut own, Waker::noop(), None, Instant::now() + LONG);
            own.end(None);
            std::panic::resume_unwind(Box::new("as the test wants it")); // no message of the panic hook
        }
    }
    let (told, tells) = mpsc::channel();
    let panics = Arc::new(Panics(AtomicU32::new(0)));
    let (mut first, mut second) = (Waiting::default(), Waiting::default());
    register(&mut first, &Arc::clone(&panics).into(), None, Instant::now());
    register(&mut second, &Arc::new(Sends(told, 7)).into(), None, Instant::now() + Duration::from_millis(5));
    assert_eq!(tells.recv_timeout(LONG), Ok(7));
    assert_eq!(panics.0.load(SeqCst), 1);
    first.end(None);
    second.end(None);
}

#[test]
fn a_blocking_wait_ends_by_a_readable_descriptor_or_a_nap() {
    let descriptor = EventFd::new().unwrap();
    block_on(descriptor.as_fd(), Instant::now()).unwrap();
    block_on(descriptor.as_fd(), Instant::now() + LONG).unwrap(); // a nap
    descriptor.write(1).unwrap();
    block_on(descriptor.as_fd(), Instant::now() + LONG).unwrap();
}
