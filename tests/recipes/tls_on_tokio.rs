//! TLS over a real pair: handshake and echo, on tokio.

use ringpair::{Linger, PairOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::certificate;

#[tokio::test]
async fn what_is_sent_through_tls_comes_back() {
    let (server, client) = certificate::configs();
    let options = PairOptions::new().linger(Linger::Graceful); // the last record must arrive
    let (accepted, connected) = options.make_pair::<TcpStream>().await.unwrap();

    let echo = async {
        let accepted = TlsAcceptor::from(server).accept(accepted).await.unwrap();
        let (mut read, mut write) = split(accepted);
        copy(&mut read, &mut write).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let ask = async {
        let mut connected = TlsConnector::from(client).connect(certificate::name(), connected).await.unwrap();
        connected.write_all(b"only you can read this").await.unwrap();
        connected.shutdown().await.unwrap();
        let mut answer = String::new();
        connected.read_to_string(&mut answer).await.unwrap(); // an error unless the other side has said goodbye
        answer
    };
    let ((), answer) = tokio::join!(echo, ask);
    assert_eq!(answer, "only you can read this");
}
