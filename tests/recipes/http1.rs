//! HTTP/1 with hyper over a pair: its server at one end, its client at the other, and no port of their own.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::TokioIo;
use ringpair::{Linger, PairOptions};
use tokio::net::TcpStream;

/// The code under test.
async fn greet(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(format!("hello from {}", request.uri().path()).into()))
}

#[tokio::test]
async fn a_service_answers_over_http1() {
    let options = PairOptions::new().linger(Linger::Graceful); // hyper's server takes a reset for an error
    let (accepted, connected) = options.make_pair::<TcpStream>().await.unwrap();
    let serving = server::conn::http1::Builder::new().serve_connection(TokioIo::new(accepted), service_fn(greet));
    let serving = tokio::spawn(serving);
    let (mut client, connection) = client::conn::http1::handshake(TokioIo::new(connected)).await.unwrap();
    let driving = tokio::spawn(connection);

    let request = Request::get("/here").header("host", "localhost").body(Full::<Bytes>::default()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello from /here");

    drop(client); // so that its connection ends, and with it the server's
    driving.await.unwrap().unwrap();
    serving.await.unwrap().unwrap();
}
