//! TLS over a mocket: it plays the plain beginning of the conversation, then hands on what TLS sends, byte by byte.

use std::io;

use ringpair::mocket::{MocketOptions, Script};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::certificate;

/// The code under test: waits to be greeted, asks for TLS in plain text, and goes on in TLS.
async fn start_tls<S>(mut stream: S, connector: TlsConnector) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut line = [0; 11];
    stream.read_exact(&mut line).await?;
    stream.write_all(b"STARTTLS\r\n").await?;
    stream.read_exact(&mut line[..8]).await?;
    connector.connect(certificate::name(), stream).await
}

#[tokio::test]
async fn tls_begins_after_a_plain_greeting_however_it_is_cut() {
    let (server, client) = certificate::configs();
    let greeting = Script::new().provide("220 ready\r\n").then().expect("STARTTLS\r\n").then().provide("220 go\r\n");
    let options = MocketOptions::new().script(greeting).max_read_size(1).max_write_size(1);
    let (mocket, peer) = options.make_pair::<TcpStream>().await.unwrap();
    let script = mocket.handle(); // TLS takes the mocket; the script stays in reach

    let serve = async {
        let mut accepted = TlsAcceptor::from(server).accept(peer).await.unwrap(); // the first it hears is TLS
        let asked = accepted.read_u32().await.unwrap();
        accepted.write_u32(asked + 1).await.unwrap();
        accepted.flush().await.unwrap();
        accepted
    };
    let ask = async {
        let mut connected = start_tls(mocket, client.into()).await.unwrap();
        connected.write_u32(41).await.unwrap();
        connected.flush().await.unwrap();
        connected.read_u32().await.unwrap()
    };
    let (_accepted, answer) = tokio::join!(serve, ask);
    assert_eq!(answer, 42);
    script.verify().unwrap();
}
