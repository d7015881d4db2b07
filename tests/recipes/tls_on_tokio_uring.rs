//! TLS over a real pair, on tokio-uring: handshake and echo, over plain streams, and over a mocket that cuts all to single bytes.

use ringpair::mocket::MocketOptions;
use ringpair::mocket::uring::UringStream;
use tokio_rustls::rustls::{ClientConnection, ServerConnection};
use tokio_uring::net::TcpStream;

use crate::certificate;
use crate::rustls_on_a_ring::Tls;

async fn echo(accepted: impl UringStream, connected: impl UringStream) {
    let (server, client) = certificate::configs();
    let server = ServerConnection::new(server).unwrap();
    let client = ClientConnection::new(client, certificate::name()).unwrap();
    let mut accepted = Tls { session: server.into(), stream: accepted };
    let mut connected = Tls { session: client.into(), stream: connected };
    let serve = async {
        let asked = accepted.read().await.unwrap();
        accepted.write(&asked).await.unwrap();
    };
    let ask = async {
        connected.write(b"ping").await.unwrap();
        assert_eq!(connected.read().await.unwrap(), b"ping");
    };
    tokio::join!(serve, ask);
}

#[test]
fn what_is_sent_through_tls_comes_back() {
    if !ringpair::ring_or_skip("tls_on_tokio_uring") {
        return;
    }
    ringpair::with_pair(async |accepted, connected| echo(accepted, connected).await).unwrap();
    let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
    runtime.block_on(async {
        let options = MocketOptions::new().max_read_size(1).max_write_size(1);
        let (mocket, connected) = options.make_pair::<TcpStream>().await.unwrap();
        echo(mocket, connected).await;
    });
}
