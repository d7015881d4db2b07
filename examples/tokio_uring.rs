//! Pairs of tokio-uring's streams: `cargo run --example tokio_uring`

use std::io;

use ringpair::PairOptions;
use tokio_uring::net::TcpStream;

fn main() -> io::Result<()> {
    // Starts a small runtime, makes a pair, and runs the closure with it.
    let read = ringpair::with_pair(async |accepted, connected| {
        connected.write_all(b"ping".to_vec()).await.0?;
        let (count, bytes) = accepted.read(vec![0; 4]).await;
        io::Result::Ok(String::from_utf8_lossy(&bytes[..count?]).into_owned())
    })??;
    println!("the accepted end read {read:?}");

    // The same in a runtime of yours.
    tokio_uring::start(async {
        // By default a dropped end resets the connection.
        let (accepted, connected) = ringpair::make_socket_pair().await?;
        drop(accepted);
        println!("after a drop, the other end reads: {:?}", connected.read(vec![0]).await.0);

        // A graceful one ends it.
        let (accepted, connected) = PairOptions::graceful().make_pair::<TcpStream>().await?;
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
    if ringpair::ring_or_skip("the example tokio_uring") {
        main().unwrap();
    }
}
