//! Events in any order, with strangers, as the kernel may bring them.

use std::cell::Cell;
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any};
use proptest::sample::Index;
use proptest::{prop_oneof, proptest};

use super::*;

/// Few ports, so that strangers come from ports which halves get later.
const PORTS: u16 = 5;

#[derive(Clone, Debug)]
enum Event {
    Begin { port: u16 },
    Establish(Index),
    Stranger { port: u16 },
    Reset(Index),
    Arrive(Index),
    Connected(Index),
    KeepMet,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..PORTS).prop_map(|port| Event::Begin { port }),
        4 => any::<Index>().prop_map(Event::Establish),
        4 => (0..PORTS).prop_map(|port| Event::Stranger { port }),
        1 => any::<Index>().prop_map(Event::Reset),
        8 => any::<Index>().prop_map(Event::Arrive),
        4 => any::<Index>().prop_map(Event::Connected),
        1 => Just(Event::KeepMet),
    ];
    vec(event, 0..60)
}

/// An accepted connection.
struct Connection {
    port: u16,
    /// The connect that it belongs to, unless it is a stranger's.
    connect: Option<usize>,
    lives: Cell<bool>,
}

/// One of our connects.
struct Connect {
    /// Unique, also after the halves before it have gone.
    name: usize,
    port: u16,
    is_established: bool,
    has_connected: bool,
    has_arrived: bool,
}

impl Connect {
    fn has_met(&self) -> bool {
        self.has_connected && self.has_arrived
    }
}

/// What the kernel does at one listener, and what must come of it.
#[derive(Default)]
struct Kernel {
    halves: Vec<Connect>,
    /// Halves that were kept. Their listener is gone.
    kept: usize,
    names: usize,
    backlog: Vec<Rc<Connection>>,
    /// Connections that were accepted and did not come back. Nothing else but a half holds them.
    accepted: Vec<Rc<Connection>>,
}

struct World {
    kernel: Kernel,
    matching: Matching<usize, Rc<Connection>>,
}

impl Kernel {
    fn begin(&mut self, port: u16) -> bool {
        let is_free = !self.uses(port);
        if is_free {
            let name = self.names;
            self.names += 1;
            self.halves.push(Connect { name, port, is_established: false, has_connected: false, has_arrived: false });
        }
        is_free
    }

    /// Whether one of our connects to this listener has the port. Strangers give theirs up: they close, with FIN.
    fn uses(&self, port: u16) -> bool {
        self.halves[self.kept..].iter().any(|half| half.port == port)
    }

    /// A handshake ends what was alive between the same two addresses.
    fn enter_backlog(&mut self, port: u16, connect: Option<usize>) {
        self.at_listener().filter(|other| other.port == port).for_each(|other| other.lives.set(false));
        self.backlog.push(Rc::new(Connection { port, connect, lives: Cell::new(true) }));
    }

    /// Connections of this listener. Those of kept halves belong to an earlier one.
    fn at_listener(&self) -> impl Iterator<Item = &Rc<Connection>> {
        let kept: Vec<usize> = self.halves[..self.kept].iter().map(|half| half.name).collect();
        let is_older = move |connection: &&Rc<Connection>| connection.connect.is_some_and(|name| kept.contains(&name));
        self.backlog.iter().chain(&self.accepted).filter(move |connection| !is_older(connection))
    }

    /// A stranger's connection comes back once. One of ours never does.
    fn came_back(&mut self, connection: Option<Rc<Connection>>) {
        let Some(connection) = connection else { return };
        assert_eq!(connection.connect, None, "one of ours came back");
        let place = self.accepted.iter().position(|other| Rc::ptr_eq(other, &connection));
        self.accepted.remove(place.expect("it came back before"));
    }

    fn number_of(&self, pick: Index, wanted: impl Fn(&Connect) -> bool) -> Option<usize> {
        let numbers: Vec<usize> = (0..self.halves.len()).filter(|number| wanted(&self.halves[*number])).collect();
        (!numbers.is_empty()).then(|| *pick.get(&numbers))
    }
}

impl World {
    fn new() -> World {
        World { kernel: Kernel::default(), matching: Matching::with_room(0) }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Begin { port } => {
                if self.kernel.begin(port) {
                    assert_eq!(self.matching.add(), self.kernel.halves.len() - 1);
                }
            }
            Event::Establish(pick) => {
                if let Some(half) = self.kernel.number_of(pick, |half| !half.is_established) {
                    self.establish(half);
                }
            }
            Event::Stranger { port } if self.kernel.uses(port) => {}
            Event::Stranger { port } => self.kernel.enter_backlog(port, None),
            Event::Reset(pick) => {
                let strangers: Vec<_> = self.kernel.at_listener().filter(|other| other.connect.is_none()).collect();
                if !strangers.is_empty() {
                    pick.get(&strangers).lives.set(false);
                }
            }
            Event::Arrive(_) if self.kernel.backlog.is_empty() => {}
            Event::Arrive(pick) => self.arrive(pick.index(self.kernel.backlog.len())),
            Event::Connected(pick) => {
                if let Some(half) = self.kernel.number_of(pick, |half| half.is_established && !half.has_connected) {
                    self.connected(half);
                }
            }
            Event::KeepMet => self.keep_met(),
        }
        self.check();
    }

    fn establish(&mut self, half: usize) {
        let connect = &mut self.kernel.halves[half];
        connect.is_established = true;
        let (port, name) = (connect.port, connect.name);
        self.kernel.enter_backlog(port, Some(name));
    }

    fn arrive(&mut self, place: usize) {
        let World { kernel, matching } = self;
        matching.locate(|half| kernel.halves.get(half).map(|half| at(half.port)));
        let connection = kernel.backlog.remove(place);
        if let Some(half) = kernel.halves.iter_mut().find(|half| Some(half.name) == connection.connect) {
            half.has_arrived = true;
        }
        kernel.accepted.push(Rc::clone(&connection));
        let returned = matching.arrived(Some(at(connection.port)), connection.lives.get(), connection);
        kernel.came_back(returned);
    }

    fn connected(&mut self, half: usize) {
        let connect = &mut self.kernel.halves[half];
        connect.has_connected = true;
        let returned = self.matching.connected(half, at(connect.port), connect.name, |accepted| accepted.lives.get());
        self.kernel.came_back(returned);
    }

    /// Goes on at a fresh listener with the halves that have met.
    fn keep_met(&mut self) {
        self.matching.keep_met();
        self.kernel.halves.retain(Connect::has_met);
        self.kernel.kept = self.kernel.halves.len();
        self.kernel.backlog.clear();
        let names: Vec<usize> = self.kernel.halves.iter().map(|half| half.name).collect();
        self.kernel.accepted.retain(|accepted| accepted.connect.is_some_and(|name| names.contains(&name)));
    }

    fn check(&self) {
        let World { kernel, matching } = self;
        let met = kernel.halves.iter().filter(|half| half.has_met()).count();
        assert_eq!((matching.len(), matching.met()), (kernel.halves.len(), met));
        let first_unmet = kernel.halves.iter().find(|half| !half.has_met());
        assert_eq!(matching.first_unmet_has_connected(), first_unmet.is_some_and(|half| half.has_connected));
        assert_eq!(matching.without_accepted(), matching.len() - kernel.accepted.len());
        for connection in &kernel.accepted {
            assert_eq!(Rc::strong_count(connection), 2, "it was dropped and did not come back");
        }
    }

    /// Lets everything arrive.
    fn finish(&mut self) {
        for half in 0..self.kernel.halves.len() {
            if !self.kernel.halves[half].is_established {
                self.establish(half);
            }
            if !self.kernel.halves[half].has_connected {
                self.connected(half);
            }
        }
        while !self.kernel.backlog.is_empty() {
            self.arrive(0);
            self.check();
        }
    }

    /// Takes all pairs, which are the met halves in their order.
    fn take_pairs(mut self) {
        let names: Vec<usize> = self.kernel.halves.iter().filter(|half| half.has_met()).map(|half| half.name).collect();
        let pairs = pairs(&mut self.matching);
        assert_eq!(pairs.iter().map(|(_, name)| *name).collect::<Vec<_>>(), names);
        for (accepted, name) in &pairs {
            assert_eq!(accepted.connect, Some(*name), "a half has met another's connection");
            assert!(accepted.lives.get());
        }
        assert_eq!(self.matching.len(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_each_half_meets_its_own_connection(events in events()) {
        let mut world = World::new();
        events.iter().for_each(|event| world.apply(event));
        world.finish();
        assert_eq!(world.matching.met(), world.matching.len());
        world.take_pairs();
    }

    #[test]
    fn an_attempt_cut_short_yields_the_met_halves(events in events()) {
        let mut world = World::new();
        events.iter().for_each(|event| world.apply(event));
        world.take_pairs();
    }
}
