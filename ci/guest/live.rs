//! Holds as many live pairs at once as its argument says, for ci/kernels, and says how much memory each of them takes: all
//! that the kernel has given away for them, this process included. While all are there, each carries a byte both ways.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use ringpair::{PairFactory, PairOptions};

/// Far fewer than an address has ephemeral ports.
const PAIRS_PER_ADDRESS: usize = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(1).ok_or("how many?")?.parse()?;
    let factories = (1..=count.div_ceil(PAIRS_PER_ADDRESS)).map(factory).collect::<ringpair::Result<Vec<_>>>()?;
    for factory in &factories {
        // What is there but once is not theirs.
        carry_a_byte_both_ways(&mut factory.pair_blocking()?)?;
    }

    let (free, sockets, begin) = (number("/proc/meminfo", "MemFree:")?, number(SOCKSTAT, "inuse")?, Instant::now());
    let mut pairs = Vec::with_capacity(count);
    for factory in &factories {
        pairs.append(&mut factory.pairs_blocking(PAIRS_PER_ADDRESS.min(count - pairs.len()))?);
    }
    let took = begin.elapsed().as_secs();
    pairs.iter_mut().try_for_each(carry_a_byte_both_ways)?;
    let held = (number(SOCKSTAT, "inuse")? - sockets) / 2;
    let memory = (free - number("/proc/meminfo", "MemFree:")?) as f64 / count as f64;

    drop(pairs);
    let left = (number(SOCKSTAT, "inuse")? - sockets, number(SOCKSTAT, "tw")?);
    if (held, left) != (count as i64, (0, 0)) {
        return Err(format!("{held} of {count} pairs were live; sockets in use and in TIME_WAIT after them: {left:?}").into());
    }
    println!("live: {held} pairs, {memory:.1} KiB each, made in {took} s");
    Ok(())
}

const SOCKSTAT: &str = "/proc/net/sockstat";

fn factory(number: usize) -> ringpair::Result<PairFactory> {
    PairOptions::new().address(Ipv4Addr::new(127, 0, 1, number as u8).into()).factory()
}

fn carry_a_byte_both_ways((accepted, connected): &mut (TcpStream, TcpStream)) -> Result<(), Box<dyn Error>> {
    let mut read = [0; 2];
    accepted.write_all(b"1")?;
    connected.read_exact(&mut read[..1])?;
    connected.write_all(b"2")?;
    accepted.read_exact(&mut read[1..])?;
    if &read == b"12" { Ok(()) } else { Err("these bytes are another's".into()) }
}

/// What stands behind a word in a file of the kernel's: in /proc/net/sockstat, the first of that name is TCP's.
fn number(path: &str, word: &str) -> Result<i64, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let mut words = text.split_whitespace().skip_while(|found| *found != word).skip(1);
    Ok(words.next().ok_or_else(|| format!("no {word} in {path}"))?.parse()?)
}
