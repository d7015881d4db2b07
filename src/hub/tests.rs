//! Owes: whoever holds the engine for a while leaves nobody behind who waits for something that does not come.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Wake;

use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::*;
use crate::engine::backlog;
use crate::options::{PairOptions, Plan};
use crate::rendezvous::Progress;
use crate::source::Source;

/// Longer than anything here takes that comes at all.
const LONG: Duration = Duration::from_secs(20);

/// Calls `test` once for each engine.
fn on_every_engine(test: impl Fn(Plan)) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    if crate::ring_or_skip(&name) {
        test(PairOptions::new().backend(Backend::Uring).plan().unwrap());
    }
    #[cfg(feature = "epoll")]
    test(PairOptions::new().backend(Backend::Epoll).plan().unwrap());
}

/// A hub with someone seated who lacks the accepted end, and waits for it.
fn hub_where_one_waits(plan: &Plan) -> (Arc<Hub>, Key, Key) {
    let hub = Hub::open(plan.choice, true).unwrap();
    let (gate, seat) = hub.with(|state| {
        let gate = state.open_gate(plan).unwrap();
        let seat = state.meeting.sit(gate);
        state.queue_accept(gate);
        assert!(state.turn());
        (gate, seat)
    });
    (hub, gate, seat)
}

fn stranger(hub: &Hub, gate: Key) -> TcpStream {
    let target = hub.with(|state| state.meeting.listener(gate).target().as_socket().unwrap());
    TcpStream::connect(target).unwrap()
}

#[test]
fn who_follows_does_not_wait_for_those_whom_a_leader_wakes() {
    /// A waker that is not through before somebody else is.
    struct Slow(Mutex<Receiver<()>>);

    impl Wake for Slow {
        fn wake(self: Arc<Self>) {
            assert!(self.0.lock().unwrap().recv_timeout(LONG).is_ok(), "the follower waits for this waker");
        }
    }

    on_every_engine(|plan| {
        let (hub, _, seat) = hub_where_one_waits(&plan);
        let (sender, follower_is_through) = channel();
        hub.with(|state| state.park(seat, &Arc::new(Slow(Mutex::new(follower_is_through))).into()));
        assert!(matches!(hub.with(State::wait), Some(Wait::Lead)));
        let Some(Wait::Follow(returns)) = hub.with(State::wait) else { panic!("there is a leader") };
        let (follower, (locked, follower_has_the_lock)) = (Arc::clone(&hub), channel());
        let follows = std::thread::spawn(move || {
            let state = follower.shared.lock();
            locked.send(()).unwrap();
            follower.follow_from(state, returns, 2 * LONG);
            let _ = sender.send(()); // where nobody waits for it any more, the test has failed
        });
        follower_has_the_lock.recv().unwrap();
        hub.lead(Duration::ZERO).unwrap();
        follows.join().unwrap();
    });
}

#[test]
fn a_waker_that_panics_takes_no_wake_from_those_who_come_after_it() {
    struct Panicking;

    impl Wake for Panicking {
        fn wake(self: Arc<Self>) {
            panic!("as the test wants it");
        }
    }

    struct Telling(Mutex<Sender<()>>);

    impl Wake for Telling {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().send(()).unwrap();
        }
    }

    on_every_engine(|plan| {
        let (hub, gate, first) = hub_where_one_waits(&plan);
        let (sender, woken) = channel();
        let woke = catch_unwind(AssertUnwindSafe(|| {
            hub.with(|state| {
                let second = state.meeting.sit(gate);
                state.park(first, &Arc::new(Panicking).into());
                state.park(second, &Arc::new(Telling(Mutex::new(sender))).into());
                state.meeting.wake_all(&mut state.woken);
            });
        }));
        assert!(woke.is_err());
        woken.try_recv().unwrap();
    });
}

#[test]
fn nobody_comes_to_a_barred_listener_and_who_is_there_already_is_turned_away() {
    on_every_engine(|plan| {
        let listener = Listener::open(&plan, true, None).unwrap();
        let target = listener.target();
        let early = TcpStream::connect(target.as_socket().unwrap()).unwrap();
        // Its last packet may be on its way when the connect returns.
        nix::poll::poll(&mut [PollFd::new(listener.socket().as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        backlog::bar(listener.socket().as_fd()).unwrap();
        assert_eq!(
            TcpStream::connect(target.as_socket().unwrap()).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        let mut turned_away = Vec::new();
        listener.drain(2, |peer| turned_away.push(peer.as_socket().unwrap())).unwrap();
        assert_eq!(turned_away, [early.local_addr().unwrap()]);
    });
}

#[test]
fn no_more_are_turned_away_than_were_there() {
    on_every_engine(|plan| {
        let listener = Listener::open(&plan, true, None).unwrap();
        let _strangers = [(); 3].map(|()| TcpStream::connect(listener.target().as_socket().unwrap()).unwrap());
        while backlog::waiting_at(listener.socket().as_fd()).unwrap() < 3 {
            std::thread::yield_now(); // the last packet of one may be on its way
        }
        let drain = |most| {
            let mut turned_away = 0;
            listener.drain(most, |_| turned_away += 1).unwrap();
            turned_away
        };
        assert_eq!((drain(2), drain(2), drain(2)), (2, 1, 0));
    });
}

#[test]
fn an_accept_that_fails_leaves_no_connection_in_the_backlog_that_another_waits_for() {
    on_every_engine(|plan| {
        let hub = Hub::open(plan.choice, true).unwrap();
        hub.with(|state| {
            let gate = state.open_gate(&plan).unwrap();
            let connected = TcpStream::connect(state.meeting.listener(gate).target().as_socket().unwrap()).unwrap();
            let seats = [state.meeting.sit(gate), state.meeting.sit(gate)];
            state.meeting.locate(seats[1], Some(connected.local_addr().unwrap()));
            // Two accepts that sleep; the connection wakes one of them, and it cannot get a descriptor.
            seats.iter().for_each(|_| state.meeting.accept_queued(gate));
            let result = Err(Errno::EMFILE.into());
            state.route(Landing::Accepted { gate, result, called_off: false });
            while !state.turn() {}
            assert!(matches!(state.meeting.progress(seats[0]), Progress::Failed));
            assert!(state.meeting.halves(seats[1]).1, "the connection has not been accepted");
        });
    });
}

#[test]
fn a_start_that_fails_launches_what_it_has_queued_for_others() {
    on_every_engine(|plan| {
        let (hub, gate, _) = hub_where_one_waits(&plan);
        let _stranger = stranger(&hub, gate);
        hub.shared.wait(LONG).unwrap();
        // Sockets can be opened here, and not be bound: by then the stranger is turned away, and one more accept is wanted.
        let mut nowhere = plan.clone();
        nowhere.address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let (_, opened) = Source::lasting(plan, Arc::clone(&hub))
            .start(2, |state, _| state.open_connecting(&nowhere, 2).map(drop))
            .unwrap();
        assert_eq!(opened.unwrap_err().step(), Step::Bind);
        assert!(!hub.with_nobody_woken(|state| state.owes_a_turn()));
    });
}

#[test]
fn who_stops_for_others_to_have_their_turn_launches_what_they_wait_for() {
    on_every_engine(|plan| {
        let (hub, gate, _) = hub_where_one_waits(&plan);
        let strangers: Vec<_> = (0..2 * ROUNDS).map(|_| stranger(&hub, gate)).collect();
        let (settled, queued) = hub.with(|state| (state.turn(), state.queued));
        assert!(!settled && !queued, "settled: {settled}, queued: {queued}");
        hub.shared.wait(LONG).unwrap();
        while !hub.with(State::turn) {}
        assert_eq!(hub.with(|state| state.meeting.strangers()), strangers.len() as u64);
    });
}
