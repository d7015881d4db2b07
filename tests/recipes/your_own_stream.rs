//! Does a stream of your own behave as one should? What Go's `nettest` and Python's `trio.testing` check, and more.

use ringpair::conformance::check_stream;
use ringpair::{Linger, PairOptions};
use tokio::io::BufStream;
use tokio::net::TcpStream;

#[tokio::test]
async fn my_stream_behaves() {
    let options = PairOptions::new().linger(Linger::Graceful);
    let make_pair = async || {
        let (accepted, connected) = options.make_pair::<TcpStream>().await?;
        Ok((BufStream::new(accepted), connected)) // your stream, and its peer
    };
    check_stream(make_pair).await.assert(); // or `check_futures_stream`, or `check_owned_stream`
}
