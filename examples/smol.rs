//! Pairs of smol's streams: `cargo run --features smol --example smol`
//!
//! `async_io::Async` is also `smol::Async`, and `smol::net::TcpStream::from` takes it.

use std::io;
use std::net::TcpStream;

use async_io::Async;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use ringpair::PairOptions;

fn main() -> io::Result<()> {
    async_io::block_on(async {
        let (mut accepted, mut connected) = ringpair::pair::<Async<TcpStream>>().await?;
        connected.write_all(b"ping").await?;
        let mut read = [0; 4];
        accepted.read_exact(&mut read).await?;
        println!("{} read {:?}", accepted.get_ref().local_addr()?, String::from_utf8_lossy(&read));

        // By default a dropped end resets the connection.
        drop(accepted);
        println!("after a drop, the other end reads: {:?}", connected.read(&mut read).await);

        // A graceful one ends it.
        let (accepted, mut connected) = PairOptions::graceful().make_pair::<Async<TcpStream>>().await?;
        drop(accepted);
        assert_eq!(connected.read(&mut read).await?, 0, "end of file");

        // A factory makes many of them, and keeps what it needs for the next.
        let factory = PairOptions::new().factory()?;
        println!("{} more pairs", factory.pairs::<Async<TcpStream>>(100).await?.len());
        Ok(())
    })
}

#[test]
fn it_runs() {
    if ringpair::ring_or_skip("the example smol") {
        main().unwrap();
    }
}
