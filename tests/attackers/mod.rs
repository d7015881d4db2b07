//! Strangers: processes that connect to every listener on loopback, as fast as they can, and write at once.
//!
//! They run this test binary: [`attack_if_told`] turns a test's process into a stranger. Each line on standard input is an
//! order; the answer is a line with counts. They end with their input.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each file uses a part; a panic fails the test

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use crate::common::{leave_all_descriptors, test_name};

const ATTACKER: &str = "RINGPAIR_TEST_ATTACKER";
/// The strangers' hop count, if not the default.
const HOPS: &str = "RINGPAIR_TEST_ATTACKER_HOPS";
/// The hop count that passes a factory's gate.
pub(crate) const FULL_HOPS: u32 = 255;
const ANSWER: &str = "the strangers' toll:";

/// What strangers write to every listener.
const BYTES: &[u8] = b"a stranger's bytes";

/// How many connections a stranger keeps open before it closes the oldest.
const HELD: usize = 128;
/// The same for filling a backlog several times. Stays below the 1,024 descriptors of an ordinary user, because a search for
/// listeners needs one.
const HOARDED: usize = 900;

/// How many connects are tried in a row between checks for orders and listeners.
const BLAST: usize = 256;

/// What strangers do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Rest,
    /// Connect to every listening port on loopback: some write; some reset at once, some send FIN, some stay.
    Everything,
    /// The same, but close nothing.
    Hoard,
    /// The same as `Everything`, to this listener only.
    One(SocketAddr),
    /// The same, to each of these ports of 127.0.0.1 in turn, listening or not.
    Ports(RangeInclusive<u16>),
}

/// What strangers have done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Toll {
    /// Connects that sent a SYN.
    pub(crate) attempts: u64,
    /// Of those, connects that completed.
    pub(crate) completed: u64,
    /// Of those, connects with an unknown outcome when they were closed.
    pub(crate) unsettled: u64,
    /// Bytes that strangers received.
    pub(crate) received: u64,
}

/// Some of them.
pub(crate) struct Attackers(Vec<Attacker>);

struct Attacker {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Attackers {
    /// Starts `count` strangers with this hop count. They rest until they get an order.
    pub(crate) fn new(count: usize, hops: Option<u32>) -> Attackers {
        Attackers((0..count).map(|_| Attacker::start(hops)).collect())
    }

    /// Gives all strangers an order. Returns the sum of what they have done so far.
    pub(crate) fn tell(&mut self, order: &Order) -> Toll {
        self.0.iter_mut().for_each(|attacker| attacker.tell(order));
        let mut all = Toll::default();
        self.0.iter_mut().for_each(|attacker| all += attacker.answer());
        all
    }
}

impl Attacker {
    fn start(hops: Option<u32>) -> Attacker {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.envs(hops.map(|hops| (HOPS, hops.to_string())));
        command.args([&test_name(), "--exact", "--nocapture", "--test-threads=1"]).env(ATTACKER, "1");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, answers) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        Attacker { process, orders, answers }
    }

    fn tell(&mut self, order: &Order) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
    }

    fn answer(&mut self) -> Toll {
        let lines = self.answers.by_ref().lines().map(Result::unwrap);
        let told = lines.filter_map(|line| line.strip_prefix(ANSWER).map(Toll::parse)).next();
        told.expect("a stranger has ended; see its own output")
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.orders = None; // a stranger ends with its input
        let _ = self.process.wait();
    }
}

/// Runs this process as a stranger if it was started as one. The first line of each test that has [`Attackers`].
pub(crate) fn attack_if_told() {
    if std::env::var_os(ATTACKER).is_none() {
        return;
    }
    leave_all_descriptors();
    let (sender, orders) = channel();
    std::thread::spawn(move || std::io::stdin().lines().try_for_each(|line| sender.send(Order::parse(&line.unwrap()))));
    let hops = std::env::var(HOPS).ok().map(|hops| hops.parse().unwrap());
    Stranger { hops, ..Stranger::default() }.follow(&orders);
    std::process::exit(0);
}

#[derive(Default)]
struct Stranger {
    toll: Toll,
    hops: Option<u32>,
    /// Open connections, and their targets.
    held: VecDeque<(Socket, SocketAddr, bool)>,
    struck: usize,
}

impl Stranger {
    fn follow(&mut self, orders: &Receiver<Order>) {
        let mut order = Order::Rest;
        loop {
            let told = match order {
                Order::Rest => orders.recv().map_err(|_| TryRecvError::Disconnected),
                _ => orders.try_recv(),
            };
            match told {
                Ok(new) => {
                    if matches!(new, Order::Rest) {
                        self.let_go_of_all_but(0);
                    }
                    println!("\n{ANSWER}{}", self.toll);
                    order = new;
                }
                Err(TryRecvError::Empty) => self.attack(&order),
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn attack(&mut self, order: &Order) {
        match order {
            Order::Rest => {}
            Order::Everything => self.strike_each(listening(), HELD),
            Order::Hoard => self.strike_each(listening(), HOARDED),
            Order::One(target) => self.strike_each(vec![*target], HELD),
            Order::Ports(ports) => {
                for _ in 0..BLAST {
                    let port = ports.start() + (self.struck % ports.len()) as u16;
                    self.strike((Ipv4Addr::LOCALHOST, port).into(), HELD);
                }
            }
        }
    }

    /// Connects to each target in turn until it stops listening. Searching for listeners costs as much as many connects.
    fn strike_each(&mut self, mut targets: Vec<SocketAddr>, most: usize) {
        for _ in 0..BLAST {
            targets.retain(|target| self.strike(*target, most));
        }
    }

    /// Makes one connection, and treats it by turn. False if the target does not listen.
    fn strike(&mut self, target: SocketAddr, most: usize) -> bool {
        self.struck += 1;
        let Ok(socket) = Socket::new(Domain::for_address(target), Type::STREAM, None) else {
            self.let_go_of_all_but(most / 2);
            return true;
        };
        socket.set_nonblocking(true).unwrap();
        if let Some(hops) = self.hops {
            send_with_hops(&socket, target, hops);
        }
        if target.is_ipv4() {
            socket.set_reuse_address(true).unwrap();
            if socket.bind(&self.place().into()).is_err() {
                return true; // the address is still in use by this process
            }
        }
        match socket.connect(&target.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
            Err(_) => return true, // no SYN was sent: there is no free port
        }
        self.toll.attempts += 1;
        let Some(through) = is_through(&socket, target) else { return false };
        self.toll.completed += u64::from(through);
        let manner = if most == HOARDED { 0 } else { self.struck % 5 };
        if through && manner != 1 {
            let _ = (&socket).write(BYTES); // fails if it has already been reset
        }
        match manner {
            // Stays.
            0 | 1 => {}
            // Resets at once.
            2 | 3 => socket.set_linger(Some(Duration::ZERO)).unwrap(),
            // Sends FIN and closes, or stays half-closed if the handshake has not completed.
            _ => drop(socket.shutdown(std::net::Shutdown::Write)),
        }
        if manner < 2 || !through {
            self.held.push_back((socket, target, through));
            self.let_go_of_all_but(most);
        }
        true
    }

    /// Returns the local address of the next connection: an address of this process alone, and a port outside of the kernel's
    /// range. A connect never uses a bound port, whatever its address, so strangers must not use up a narrow range.
    fn place(&self) -> SocketAddr {
        const FIRST: u16 = 1_024;
        const FIRST_GIVEN_OUT: u16 = 32_768; // or a later one: see net.ipv4.ip_local_port_range
        let [.., high, low] = std::process::id().to_be_bytes();
        let port = FIRST + (self.struck % usize::from(FIRST_GIVEN_OUT - FIRST)) as u16;
        (Ipv4Addr::new(127, 77, high, low), port).into()
    }

    fn let_go_of_all_but(&mut self, most: usize) {
        while self.held.len() > most {
            let Some((mut socket, target, through)) = self.held.pop_front() else { return };
            if !through {
                match is_through(&socket, target) {
                    Some(true) => self.toll.completed += 1,
                    Some(false) => self.toll.unsettled += 1,
                    None => {}
                }
            }
            let mut bytes = [0; 64];
            while let Ok(count @ 1..) = socket.read(&mut bytes) {
                self.toll.received += count as u64;
            }
        }
    }
}

/// Sets a socket's hop count.
pub(crate) fn send_with_hops(socket: &Socket, target: SocketAddr, hops: u32) {
    match target {
        SocketAddr::V4(_) => socket.set_ttl_v4(hops),
        SocketAddr::V6(_) => socket.set_unicast_hops_v6(hops),
    }
    .unwrap();
}

/// Whether a connect has completed or failed; `None` while it is in progress.
pub(crate) fn is_through(socket: &Socket, target: SocketAddr) -> Option<bool> {
    match socket.connect(&target.into()) {
        Ok(()) => Some(true),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            // A reset after the handshake: the connection was accepted and turned away.
            Some(Errno::EISCONN | Errno::ECONNRESET) => Some(true),
            Some(Errno::EALREADY | Errno::EINPROGRESS) => Some(false),
            _ => None,
        },
    }
}

/// Returns all listeners on this network's loopback.
fn listening() -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(table) = File::open(table) else { continue };
        // Listeners come first, so reading line by line makes the kernel skip the many other sockets.
        let lines = BufReader::with_capacity(150, table).lines().skip(1).map_while(Result::ok);
        found.extend(lines.map_while(|line| listener(&line)));
    }
    found
}

/// Returns the address of a line if it is a listener's: `sl local_address rem_address st …`.
fn listener(line: &str) -> Option<SocketAddr> {
    const LISTENS: &str = "0A";
    let mut words = line.split_whitespace();
    let (local, state) = (words.nth(1)?, words.nth(1)?);
    let (address, port) = local.split_once(':').filter(|_| state == LISTENS)?;
    // Each word of 32 bits is in the order of this machine.
    let words = (0..address.len() / 8).map(|word| u32::from_str_radix(&address[8 * word..8 * word + 8], 16));
    let bytes: Vec<u8> = words.flat_map(|word| word.unwrap().to_ne_bytes()).collect();
    let address = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(four) => IpAddr::from(four),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).unwrap()).into(),
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).unwrap()))
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Rest => write!(f, "rest"),
            Order::Everything => write!(f, "everything"),
            Order::Hoard => write!(f, "hoard"),
            Order::One(target) => write!(f, "one {target}"),
            Order::Ports(ports) => write!(f, "ports {} {}", ports.start(), ports.end()),
        }
    }
}

impl Order {
    fn parse(line: &str) -> Order {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["rest"] => Order::Rest,
            ["everything"] => Order::Everything,
            ["hoard"] => Order::Hoard,
            ["one", target] => Order::One(target.parse().unwrap()),
            ["ports", first, last] => Order::Ports(first.parse().unwrap()..=last.parse().unwrap()),
            _ => panic!("no order: {line}"),
        }
    }
}

impl fmt::Display for Toll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.attempts, self.completed, self.unsettled, self.received)
    }
}

impl Toll {
    fn parse(line: &str) -> Toll {
        let mut numbers = line.split(' ').map(|number| number.parse().unwrap());
        let mut next = || numbers.next().unwrap();
        Toll { attempts: next(), completed: next(), unsettled: next(), received: next() }
    }
}

impl Toll {
    /// Returns the difference.
    pub(crate) fn since(self, before: Toll) -> Toll {
        Toll {
            attempts: self.attempts - before.attempts,
            completed: self.completed - before.completed,
            unsettled: self.unsettled - before.unsettled,
            received: self.received - before.received,
        }
    }
}

impl std::ops::AddAssign for Toll {
    fn add_assign(&mut self, more: Toll) {
        self.attempts += more.attempts;
        self.completed += more.completed;
        self.unsettled += more.unsettled;
        self.received += more.received;
    }
}
