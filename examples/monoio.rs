//! Pairs of monoio's streams: `cargo run --features monoio --example monoio`

use std::io;

use monoio::io::{AsyncReadRent, AsyncReadRentExt, AsyncWriteRentExt};
use monoio::net::TcpStream;
use monoio::{LegacyDriver, RuntimeBuilder};
use ringpair::PairOptions;

fn main() -> io::Result<()> {
    // Its ring, `IoUringDriver`, works as well.
    RuntimeBuilder::<LegacyDriver>::new().build()?.block_on(async {
        let (mut accepted, mut connected) = ringpair::pair::<TcpStream>().await?;
        connected.write_all(b"ping".to_vec()).await.0?;
        let (read, bytes) = accepted.read_exact(vec![0; 4]).await;
        read?;
        println!("{} read {:?}", accepted.local_addr()?, String::from_utf8_lossy(&bytes));

        // By default a dropped end resets the connection.
        drop(accepted);
        println!("after a drop, the other end reads: {:?}", connected.read(vec![0]).await.0);

        // A graceful one ends it.
        let (accepted, mut connected) = PairOptions::graceful().make_pair::<TcpStream>().await?;
        drop(accepted);
        assert_eq!(connected.read(vec![0]).await.0?, 0, "end of file");

        // A factory makes many of them, and keeps what it needs for the next.
        let factory = PairOptions::new().factory()?;
        println!("{} more pairs", factory.pairs::<TcpStream>(100).await?.len());
        Ok(())
    })
}

#[test]
fn it_runs() {
    if ringpair::ring_or_skip("the example monoio") {
        main().unwrap();
    }
}
