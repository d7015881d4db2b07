//! Pairs without a runtime: `cargo run --example blocking`

use std::io::{self, Read, Write};
use std::net::TcpStream;

use ringpair::PairOptions;

fn main() -> io::Result<()> {
    let (mut accepted, mut connected) = ringpair::pair_blocking::<TcpStream>()?;
    connected.write_all(b"ping")?;
    let mut read = [0; 4];
    accepted.read_exact(&mut read)?;
    println!("{} read {:?}", accepted.local_addr()?, String::from_utf8_lossy(&read));

    // By default a dropped end resets the connection.
    drop(accepted);
    println!("after a drop, the other end reads: {:?}", connected.read(&mut read));

    // A graceful one ends it.
    let (accepted, mut connected) = PairOptions::graceful().make_pair_blocking::<TcpStream>()?;
    drop(accepted);
    assert_eq!(connected.read(&mut read)?, 0, "end of file");

    // A factory makes many of them, and keeps what it needs for the next.
    let factory = PairOptions::new().factory()?;
    let pairs = factory.pairs_blocking::<TcpStream>(100)?;
    println!("{} more pairs, by {:?}", pairs.len(), factory.backend());
    Ok(())
}

#[test]
fn it_runs() {
    if ringpair::ring_or_skip("the example blocking") {
        main().unwrap();
    }
}
