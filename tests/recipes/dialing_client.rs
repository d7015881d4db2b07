//! A client that dials by itself: refused, reset in the middle of an answer, then answered.

use std::error::Error;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, client};
use hyper_util::rt::TokioIo;
use ringpair::endpoint;
use ringpair::mocket::{Script, serve_all};
use tokio::net::TcpStream;

/// The code under test: tries again when an answer is cut off, and not when there is no server.
async fn fetch(server: SocketAddr) -> Result<Bytes, Box<dyn Error>> {
    let mut tries = 0;
    loop {
        tries += 1;
        match fetch_once(TcpStream::connect(server).await?).await {
            Err(_) if tries < 3 => {}
            outcome => return outcome,
        }
    }
}

async fn fetch_once(connection: TcpStream) -> Result<Bytes, Box<dyn Error>> {
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(connection)).await?;
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "test").body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(request).await?.into_body().collect().await?.to_bytes())
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_asked_for_again() {
    let asked = || Script::new().expect("GET / HTTP/1.1\r\nhost: test\r\n\r\n").then();
    let answer = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{body}");
    let served = serve_all([asked().provide(answer("half")).reset(), asked().provide(answer("complete"))]).unwrap();
    assert_eq!(fetch(served.addr()).await.unwrap(), "complete");
    served.finish().unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error() {
    let refusing = endpoint::refusing().unwrap();
    let error = fetch(refusing.addr()).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}
