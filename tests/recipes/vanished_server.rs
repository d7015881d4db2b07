//! A WebSocket whose server vanishes, and a connect that hangs.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use ringpair::{SockRef, endpoint, link};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

/// The code under test: dials, with a time limit for the connect and for an answer that the kernel of the server owes.
async fn dial(server: SocketAddr) -> Result<WebSocketStream<TcpStream>, Error> {
    let connection = match timeout(Duration::from_millis(300), TcpStream::connect(server)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(Error::Io(io::Error::from(ErrorKind::TimedOut))),
    };
    SockRef::from(&connection).set_tcp_user_timeout(Some(Duration::from_millis(500)))?;
    Ok(client_async("ws://localhost/", connection).await?.0)
}

fn kind(error: Error) -> ErrorKind {
    if let Error::Io(error) = error { error.kind() } else { ErrorKind::Other }
}

#[tokio::test]
async fn a_server_that_vanishes_ends_the_conversation() {
    let listens = endpoint::accepting().unwrap();
    let server = async { accept_async(listens.accept::<TcpStream>().await.unwrap()).await };
    let (server, client) = tokio::join!(server, dial(listens.addr()));
    let (server, mut client) = (server.unwrap(), client.unwrap());
    link::partition(server.get_ref(), client.get_ref()).unwrap();
    client.send(Message::text("still there?")).await.unwrap(); // the kernel takes it, and it does not arrive
    assert_eq!(kind(client.next().await.unwrap().unwrap_err()), ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_connect_that_hangs_is_given_up() {
    let hanging = endpoint::hanging().unwrap();
    assert_eq!(kind(dial(hanging.addr()).await.unwrap_err()), ErrorKind::TimedOut);
}
