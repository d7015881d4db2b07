mod orders;

use super::*;

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Halves whose connects began at these ports and are not through.
fn begun(ports: &[u16]) -> Matching<u16, &'static str> {
    let mut halves = Matching::with_room(ports.len());
    for _ in ports {
        halves.add();
    }
    halves.locate(|half| Some(at(ports[half])));
    halves
}

fn pairs<C, A>(halves: &mut Matching<C, A>) -> Vec<(A, C)> {
    halves.take_pairs().collect()
}

#[test]
fn halves_are_numbered_from_zero() {
    let mut halves = Matching::<(), ()>::with_room(2);
    assert_eq!((halves.len(), halves.add(), halves.add(), halves.len()), (0, 0, 1, 2));
}

#[test]
fn a_half_with_both_ends_has_met() {
    let mut halves = begun(&[1, 2]);
    assert_eq!((halves.met(), halves.without_accepted()), (0, 2));
    assert_eq!(halves.arrived(Some(at(1)), true, "first"), None);
    assert_eq!((halves.met(), halves.without_accepted()), (0, 1));
    assert_eq!(halves.connected(0, at(1), 1, |_| true), None);
    assert_eq!((halves.met(), halves.without_accepted()), (1, 1));
    assert_eq!(halves.connected(1, at(2), 2, |_| unreachable!("nothing was accepted")), None);
    assert_eq!((halves.met(), halves.without_accepted()), (1, 1));
    assert_eq!(halves.arrived(Some(at(2)), true, "second"), None);
    assert_eq!((halves.met(), halves.without_accepted()), (2, 0));
    assert_eq!(pairs(&mut halves), [("first", 1), ("second", 2)]);
}

#[test]
fn the_first_unmet_half_tells_whether_it_has_connected() {
    let mut halves = begun(&[1, 2]);
    assert!(!halves.first_unmet_has_connected());
    halves.connected(1, at(2), 2, |_| true);
    assert!(!halves.first_unmet_has_connected());
    halves.connected(0, at(1), 1, |_| true);
    assert!(halves.first_unmet_has_connected());
    halves.arrived(Some(at(1)), true, "first");
    assert!(halves.first_unmet_has_connected());
    halves.arrived(Some(at(2)), true, "second");
    assert!(!halves.first_unmet_has_connected());
}

#[test]
fn a_half_is_located_once() {
    let mut halves = begun(&[1]);
    halves.locate(|_| unreachable!("it is known"));
    halves.add();
    halves.locate(|half| {
        assert_eq!(half, 1);
        None
    });
    halves.locate(|half| Some(at(half as u16 + 1)));
    assert!(halves.may_be_ours(at(2)));
}

#[test]
fn only_located_halves_have_an_address() {
    let mut halves = begun(&[1]);
    assert!(halves.may_be_ours(at(1)));
    assert!(!halves.may_be_ours(at(2)));
    assert!(!halves.may_be_ours(([127, 0, 0, 2], 1).into()));
    halves.add();
    assert_eq!(halves.arrived(None, true, "unknown"), Some("unknown"));
    halves.connected(1, at(2), 2, |_| true);
    assert!(halves.may_be_ours(at(2)));
    assert!(!halves.may_be_ours(at(3)));
}

#[test]
fn any_connection_may_be_that_of_a_half_without_an_address() {
    let mut halves = begun(&[1]);
    halves.add();
    assert!(halves.may_be_ours(at(7)));
    assert_eq!(halves.arrived(Some(at(7)), true, "no half's yet"), Some("no half's yet"));
}

#[test]
fn a_connection_from_elsewhere_comes_back() {
    let mut halves = begun(&[1]);
    assert_eq!(halves.arrived(Some(at(9)), true, "stranger"), Some("stranger"));
    assert_eq!(halves.without_accepted(), 1);
}

#[test]
fn a_dead_connection_comes_back() {
    let mut halves = begun(&[1]);
    assert_eq!(halves.arrived(Some(at(1)), false, "dead"), Some("dead"));
    assert_eq!(halves.arrived(Some(at(1)), true, "ours"), None);
    assert_eq!(halves.arrived(Some(at(1)), false, "dead"), Some("dead"));
}

#[test]
fn a_later_connection_replaces_an_older_one() {
    let mut halves = begun(&[1]);
    assert_eq!(halves.arrived(Some(at(1)), true, "older"), None);
    assert_eq!(halves.arrived(Some(at(1)), true, "ours"), Some("older"));
    assert_eq!(halves.connected(0, at(1), 1, |accepted| *accepted == "ours"), None);
    assert_eq!(pairs(&mut halves), [("ours", 1)]);
}

#[test]
fn a_dead_candidate_comes_back_when_the_connect_has_connected() {
    let mut halves = begun(&[1]);
    assert_eq!(halves.arrived(Some(at(1)), true, "older"), None);
    assert_eq!(halves.connected(0, at(1), 1, |_| false), Some("older"));
    assert_eq!((halves.met(), halves.without_accepted()), (0, 1));
    assert_eq!(halves.arrived(Some(at(1)), true, "ours"), None);
    assert_eq!(pairs(&mut halves), [("ours", 1)]);
}

#[test]
fn a_half_that_has_met_takes_no_other_connection() {
    let mut halves = begun(&[1]);
    halves.connected(0, at(1), 1, |_| true);
    halves.arrived(Some(at(1)), true, "ours");
    assert!(!halves.may_be_ours(at(1)));
    assert_eq!(halves.arrived(Some(at(1)), true, "stranger"), Some("stranger"));
    assert_eq!(pairs(&mut halves), [("ours", 1)]);
}

/// The kernel gives the same port to connects to two listeners.
#[test]
fn a_new_half_may_begin_at_the_port_of_a_kept_one() {
    let mut halves = begun(&[1, 2]);
    halves.connected(0, at(1), 1, |_| true);
    halves.arrived(Some(at(1)), true, "kept");
    halves.keep_met();
    let (first, second) = (halves.add(), halves.add());
    assert_eq!((first, second), (1, 2));
    halves.locate(|half| Some(at([7, 5, 1][half])));
    assert_eq!(halves.arrived(Some(at(1)), true, "new"), None);
    halves.connected(second, at(1), 2, |_| true);
    assert_eq!(halves.met(), 2);
    halves.keep_met();
    assert_eq!(pairs(&mut halves), [("kept", 1), ("new", 2)]);
}

#[test]
fn only_met_halves_are_kept_or_taken() {
    let mut halves = begun(&[1, 2, 3]);
    halves.arrived(Some(at(1)), true, "first");
    halves.connected(1, at(2), 2, |_| true);
    halves.connected(2, at(3), 3, |_| true);
    halves.arrived(Some(at(3)), true, "third");
    halves.keep_met();
    assert_eq!(halves.len(), 1);
    halves.add();
    assert_eq!(pairs(&mut halves), [("third", 3)]);
    assert_eq!(halves.len(), 0);
}

#[test]
fn cleared_halves_are_gone() {
    let mut halves = begun(&[1, 2]);
    halves.clear();
    assert_eq!((halves.len(), halves.may_be_ours(at(1)), halves.add()), (0, false, 0));
}

/// The order of the connects decides nothing but speed, so this looks at the hint itself.
#[test]
fn the_next_half_is_looked_at_first() {
    let mut halves = begun(&[1, 2, 3]);
    halves.arrived(Some(at(2)), true, "second");
    assert_eq!(halves.next, 2);
    halves.arrived(Some(at(9)), true, "stranger");
    assert_eq!(halves.next, 2);
    halves.connected(1, at(2), 2, |_| true);
    halves.keep_met();
    assert_eq!(halves.next, 1);
    drop(pairs(&mut halves));
    assert_eq!(halves.next, 0);
    halves.next = 1;
    halves.clear();
    assert_eq!(halves.next, 0);
}
