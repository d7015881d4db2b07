//! Owes: each end goes where it belongs, strangers are counted, and no accept is asked for too many or too few.

use super::*;
use std::fs::File;
use std::os::fd::AsRawFd;

fn socket() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

fn at(port: u16) -> Option<SocketAddr> {
    Some(([127, 0, 0, 1], port).into())
}

/// A gate with a seat for each port, each with its accept pending.
fn seated<const N: usize>(ports: [u16; N]) -> (Rendezvous<()>, Key, [Key; N]) {
    let mut meeting = Rendezvous::new(N, 0);
    let gate = meeting.open_gate((), 3);
    let seats = ports.map(|port| {
        let seat = meeting.sit(gate);
        meeting.accept_queued(gate);
        meeting.locate(seat, at(port));
        seat
    });
    (meeting, gate, seats)
}

fn arrive(meeting: &mut Rendezvous<()>, gate: Key, peer: Option<SocketAddr>, socket: OwnedFd) {
    match meeting.whose_is(gate, peer) {
        Some(seat) => meeting.arrived(seat, socket, &mut Vec::new()),
        None => meeting.turn_away(gate, peer),
    }
}

#[test]
fn each_seat_gets_the_socket_that_came_from_its_own_address() {
    let (mut meeting, gate, [first, second]) = seated([1, 2]);
    let (for_first, for_second) = (socket(), socket());
    let expected = (for_first.as_raw_fd(), for_second.as_raw_fd());
    arrive(&mut meeting, gate, at(2), for_second);
    arrive(&mut meeting, gate, at(1), for_first);
    let accepted = |left: Left| left.ends.0.unwrap().as_raw_fd();
    assert_eq!((accepted(meeting.leave(first)), accepted(meeting.leave(second))), expected);
    assert_eq!(meeting.strangers(), 0);
}

#[test]
fn a_seat_is_met_when_both_halves_are_there_in_whatever_order() {
    let (mut meeting, gate, [one, other]) = seated([1, 2]);
    meeting.connected(one, socket(), &mut Vec::new());
    assert!(matches!(meeting.progress(one), Progress::Waiting));
    arrive(&mut meeting, gate, at(1), socket());
    arrive(&mut meeting, gate, at(2), socket());
    assert!(matches!(meeting.progress(other), Progress::Waiting));
    meeting.connected(other, socket(), &mut Vec::new());
    assert!(matches!((meeting.progress(one), meeting.progress(other)), (Progress::Met, Progress::Met)));
}

#[test]
fn a_stranger_is_counted_and_its_accept_made_again() {
    let (mut meeting, gate, [seat]) = seated([1]);
    for (count, peer) in [at(7), None, at(7)].into_iter().enumerate() {
        meeting.accept_landed(gate, false);
        arrive(&mut meeting, gate, peer, socket());
        assert!(matches!(meeting.progress(seat), Progress::Waiting));
        assert_eq!((meeting.strangers_at(gate), meeting.balance(gate)), (count as u64 + 1, Balance::Short));
        meeting.accept_queued(gate);
    }
}

#[test]
fn the_address_of_one_gate_is_a_stranger_at_another() {
    let (mut meeting, gate, [seat]) = seated([1]);
    let other = meeting.open_gate((), 3);
    arrive(&mut meeting, other, at(1), socket());
    assert!(matches!(meeting.progress(seat), Progress::Waiting));
    assert_eq!((meeting.strangers_at(gate), meeting.strangers_at(other), meeting.strangers()), (0, 1, 1));
}

#[test]
fn what_was_given_up_is_no_stranger_when_it_turns_up() {
    let (mut meeting, gate, [first, second, third]) = seated([1, 2, 3]);
    [first, second, third].into_iter().for_each(|seat| drop(meeting.leave(seat)));
    assert!(meeting.is_retired(gate));
    for port in [2, 1, 3] {
        meeting.turn_away(gate, at(port));
    }
    assert_eq!(meeting.strangers(), 0);
    meeting.turn_away(gate, at(2));
    assert_eq!(meeting.strangers(), 1, "who comes from the same address later is someone else");
}

#[test]
fn what_could_not_be_located_is_no_stranger_when_it_arrives() {
    let (mut meeting, gate, [seat]) = seated([1]);
    meeting.locate(seat, None);
    meeting.locate_failed(seat, io::Error::from_raw_os_error(105));
    arrive(&mut meeting, gate, at(1), socket());
    assert_eq!(meeting.strangers(), 0);
    arrive(&mut meeting, gate, at(2), socket());
    assert_eq!(meeting.strangers(), 1, "one connection of ours is one");
    assert_eq!(meeting.leave(seat).error.unwrap().step(), Step::Verify);
}

#[test]
fn the_seat_that_has_waited_longest_bears_a_failed_accept() {
    let (mut meeting, gate, [first, second]) = seated([1, 2]);
    let fail = |meeting: &mut Rendezvous<()>| {
        meeting.accept_landed(gate, false);
        meeting.accept_failed(gate, io::Error::from_raw_os_error(24), &mut Vec::new())
    };
    assert!(fail(&mut meeting));
    assert!(matches!((meeting.progress(first), meeting.progress(second)), (Progress::Failed, Progress::Waiting)));
    meeting.accept_queued(gate);
    assert!(!fail(&mut meeting), "there is an accept for whoever waits");
    assert!(matches!(meeting.progress(second), Progress::Waiting));
    assert_eq!(meeting.balance(gate), Balance::Even);
    let error = meeting.leave(first).error.unwrap();
    assert_eq!((error.step(), error.raw_os_error()), (Step::Accept, Some(24)));
}

#[test]
fn the_first_error_of_a_seat_stays() {
    let (mut meeting, _, [seat]) = seated([1]);
    meeting.lost(seat, &mut Vec::new());
    assert!(matches!(meeting.progress(seat), Progress::Lost));
    meeting.connect_failed(seat, io::Error::from_raw_os_error(99), &mut Vec::new());
    meeting.connect_failed(seat, io::Error::from_raw_os_error(13), &mut Vec::new());
    let error = meeting.leave(seat).error.unwrap();
    assert_eq!((error.step(), error.raw_os_error()), (Step::Connect, Some(99)));
}

#[test]
fn accepts_are_called_off_when_nobody_lacks_one_any_more() {
    let (mut meeting, gate, [first, second]) = seated([1, 2]);
    drop(meeting.leave(first));
    assert_eq!(meeting.balance(gate), Balance::Even, "none is called off while someone waits");
    drop(meeting.leave(second));
    for _ in 0..2 {
        assert_eq!(meeting.balance(gate), Balance::Over);
        meeting.accept_called_off(gate);
    }
    assert_eq!(meeting.balance(gate), Balance::Even);
}

#[test]
fn nobody_sits_down_where_an_accept_that_was_called_off_may_take_the_wake_of_another() {
    let (mut meeting, gate, [seat]) = seated([1]);
    meeting.connect_failed(seat, io::Error::from_raw_os_error(99), &mut Vec::new());
    assert_eq!(meeting.balance(gate), Balance::Over);
    assert!(meeting.admits(gate, 1, 9));
    meeting.accept_called_off(gate);
    assert!(!meeting.admits(gate, 1, 9));
}

#[test]
fn a_closed_gate_stays_until_the_last_seat_and_the_last_accept_have_gone() {
    let (mut meeting, gate, [seat]) = seated([1]);
    meeting.close_gate(gate);
    assert!(!meeting.is_over(gate));
    meeting.accept_landed(gate, false);
    arrive(&mut meeting, gate, at(1), socket());
    assert!(!meeting.is_over(gate), "its connect is not through yet");
    drop(meeting.leave(seat));
    assert!(meeting.is_over(gate));
}

#[test]
fn a_gate_admits_as_many_as_it_has_room_for_and_serves_so_many_in_its_life() {
    let (mut meeting, gate, [seat, _]) = seated([1, 2]);
    assert!(meeting.admits(gate, 1, 3) && !meeting.admits(gate, 2, 3) && !meeting.admits(gate, 2, 9));
    arrive(&mut meeting, gate, at(1), socket());
    assert!(meeting.admits(gate, 2, 9), "who has met takes no room");
    drop(meeting.leave(seat));
    assert!(!meeting.admits(gate, 2, 3), "who has left has been served");
}

#[test]
fn of_two_who_came_from_the_same_address_the_later_one_is_ours() {
    let (mut meeting, gate, [seat]) = seated([1]);
    let ours = socket();
    let expected = ours.as_raw_fd();
    for socket in [socket(), ours] {
        meeting.accept_landed(gate, false);
        arrive(&mut meeting, gate, at(1), socket);
        meeting.accept_queued(gate);
    }
    assert_eq!((meeting.strangers(), meeting.wanting(gate)), (1, 0));
    assert_eq!(meeting.leave(seat).ends.0.unwrap().as_raw_fd(), expected);
}

#[test]
fn a_seat_whose_accepted_end_was_someone_elses_wants_one_again() {
    let (mut meeting, gate, [seat]) = seated([1]);
    meeting.board(seat, 7);
    meeting.accept_landed(gate, false);
    arrive(&mut meeting, gate, at(1), socket());
    meeting.connected(seat, socket(), &mut Vec::new());
    meeting.was_another(seat);
    assert!(matches!(meeting.progress(seat), Progress::Waiting));
    assert_eq!((meeting.strangers(), meeting.balance(gate)), (1, Balance::Short));
}

#[test]
fn a_connection_whose_connect_is_not_through_may_still_turn_up_whoever_came_from_its_address() {
    let (mut meeting, gate, [seat]) = seated([1]);
    meeting.board(seat, 7);
    arrive(&mut meeting, gate, at(1), socket());
    drop(meeting.leave(seat));
    assert!(meeting.is_retired(gate));
    meeting.turn_away(gate, at(1));
    assert_eq!(meeting.strangers(), 0);
}

#[test]
fn who_has_left_again_is_a_stranger_unless_a_connect_of_ours_from_there_has_failed() {
    let (mut meeting, gate, [seat]) = seated([1]);
    assert_eq!((meeting.whose_is(gate, at(1)), meeting.whose_is(gate, at(2))), (Some(seat), None));
    meeting.came_and_left(seat);
    assert_eq!(meeting.strangers(), 1, "ours is alive: this one had the port before");
    meeting.connect_failed(seat, io::Error::from_raw_os_error(110), &mut Vec::new());
    meeting.came_and_left(seat);
    assert_eq!(meeting.strangers(), 1);
}
