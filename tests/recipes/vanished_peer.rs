//! A peer that vanishes, and a FIN that is lost: the code under test must notice by itself.

use std::io::{self, ErrorKind};
use std::time::Duration;

use ringpair::{PairOptions, SockRef, link};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The code under test: asks over a connection that may have been idle for long.
async fn ask(connection: &mut TcpStream) -> io::Result<u8> {
    SockRef::from(&*connection).set_tcp_user_timeout(Some(Duration::from_millis(500)))?; // without it: 15 minutes
    connection.write_all(b"?").await?;
    connection.read_u8().await
}

#[tokio::test]
async fn a_server_that_vanishes_is_a_timeout() {
    let (server, mut client) = PairOptions::graceful().make_pair::<TcpStream>().await.unwrap();
    link::partition(&server, &client).unwrap();
    assert_eq!(ask(&mut client).await.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_connection_whose_end_was_missed_is_an_error() {
    let (server, mut client) = PairOptions::graceful().make_pair::<TcpStream>().await.unwrap();
    link::deafen(&client).unwrap();
    drop(server); // the FIN is lost: to the client, the connection looks alive
    let idle = timeout(Duration::from_millis(50), client.read_u8()).await;
    assert!(idle.is_err(), "nothing to read, and no end of file");
    link::hear(&client).unwrap();
    assert!(ask(&mut client).await.is_err());
}
