//! Pairs of tokio's streams: `cargo run --features tokio --example tokio`

use std::io;

use ringpair::PairOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let (mut accepted, mut connected) = ringpair::pair::<TcpStream>().await?;
    connected.write_all(b"ping").await?;
    let mut read = [0; 4];
    accepted.read_exact(&mut read).await?;
    println!("{} read {:?}", accepted.local_addr()?, String::from_utf8_lossy(&read));

    // By default a dropped end resets the connection.
    drop(accepted);
    println!("after a drop, the other end reads: {:?}", connected.read(&mut read).await);

    // A graceful one ends it.
    let (accepted, mut connected) = PairOptions::graceful().make_pair::<TcpStream>().await?;
    drop(accepted);
    assert_eq!(connected.read(&mut read).await?, 0, "end of file");

    // A factory makes many of them, and keeps what it needs for the next.
    let factory = PairOptions::new().factory()?;
    let pairs = factory.pairs::<TcpStream>(100).await?;
    println!("{} more pairs, by {:?}", pairs.len(), factory.backend());
    Ok(())
}

#[test]
fn it_runs() {
    if ringpair::ring_or_skip("the example tokio") {
        main().unwrap();
    }
}
