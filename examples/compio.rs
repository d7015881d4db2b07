//! Pairs of compio's streams: `cargo run --features compio --example compio`
//!
//! `compio_net::TcpStream` is also `compio::net::TcpStream`.

use std::io;

use compio_io::{AsyncReadExt, AsyncWriteExt};
use compio_net::TcpStream;
use compio_runtime::Runtime;
use ringpair::PairOptions;

fn main() -> io::Result<()> {
    Runtime::new()?.block_on(async {
        let (mut accepted, mut connected) = ringpair::pair::<TcpStream>().await?;
        connected.write_all(b"ping").await.0?;
        let read = accepted.read_exact(vec![0; 4]).await;
        read.0?;
        println!("{} read {:?}", accepted.local_addr()?, String::from_utf8_lossy(&read.1));

        // By default a dropped end resets the connection.
        drop(accepted);
        println!("after a drop, the other end reads: {:?}", connected.read_exact([0]).await.0);

        // A graceful one ends it.
        let (accepted, mut connected) = PairOptions::graceful().make_pair::<TcpStream>().await?;
        drop(accepted);
        let end = connected.read_exact([0]).await.0.map_err(|error| error.kind());
        assert_eq!(end, Err(io::ErrorKind::UnexpectedEof));

        // A factory makes many of them, and keeps what it needs for the next.
        let factory = PairOptions::new().factory()?;
        println!("{} more pairs", factory.pairs::<TcpStream>(100).await?.len());
        Ok(())
    })
}

#[test]
fn it_runs() {
    if ringpair::ring_or_skip("the example compio") {
        main().unwrap();
    }
}
