//! A connection that is cut three times while data is under way: every byte arrives, also through TLS.

use ringpair::{PairOptions, link};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::certificate;

#[tokio::test]
async fn every_byte_outlasts_three_partitions() {
    let (mut server, mut client) = PairOptions::graceful().make_pair::<TcpStream>().await.unwrap();
    let dropped = link::drops().unwrap();
    for part in [b"one", b"two", b"six"] {
        link::partition(&server, &client).unwrap();
        client.write_all(part).await.unwrap();
        link::heal(&server, &client).unwrap();
        let mut arrived = [0; 3];
        server.read_exact(&mut arrived).await.unwrap(); // the kernel sends it again
        assert_eq!(&arrived, part);
    }
    assert!(link::drops().unwrap() >= dropped + 3);
}

#[tokio::test]
async fn tls_outlasts_a_partition() {
    let (server, client) = certificate::configs();
    let (accepted, connected) = PairOptions::graceful().make_pair::<TcpStream>().await.unwrap();
    let (accepted, connected) = tokio::join!(
        TlsAcceptor::from(server).accept(accepted),
        TlsConnector::from(client).connect(certificate::name(), connected)
    );
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());

    link::partition(accepted.get_ref().0, connected.get_ref().0).unwrap();
    connected.write_all(b"ping").await.unwrap();
    connected.flush().await.unwrap();
    link::heal(accepted.get_ref().0, connected.get_ref().0).unwrap();
    let mut read = [0; 4];
    accepted.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"ping");
}
