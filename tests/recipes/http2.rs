//! HTTP/2 with h2 over a pair: two requests on one connection, answered in the other order.

use h2::{client, server};
use http::{Request, Response};
use ringpair::{Linger, PairOptions};
use tokio::net::TcpStream;
use tokio_util::bytes::Bytes;

async fn body_of(answer: client::ResponseFuture) -> Bytes {
    let mut body = answer.await.unwrap().into_body();
    body.data().await.unwrap().unwrap()
}

#[tokio::test]
async fn two_streams_of_a_connection_are_answered_in_the_other_order() {
    let options = PairOptions::new().linger(Linger::Graceful); // the last frames must arrive
    let (accepted, connected) = options.make_pair::<TcpStream>().await.unwrap();

    let serve = async {
        let mut connection = server::handshake(accepted).await.unwrap();
        let (first, mut respond_first) = connection.accept().await.unwrap().unwrap();
        let (second, mut respond_second) = connection.accept().await.unwrap().unwrap();
        for (request, respond) in [(second, &mut respond_second), (first, &mut respond_first)] {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(request.uri().path().to_owned().into(), true).unwrap();
        }
        assert!(connection.accept().await.is_none()); // drives the answers out, until the client is gone
    };
    let ask = async {
        let (mut client, connection) = client::handshake(connected).await.unwrap();
        let driving = tokio::spawn(connection);
        let mut get = |uri: &str| {
            let (answer, _) = client.send_request(Request::get(uri).body(()).unwrap(), true).unwrap();
            answer
        };
        let (first, second) = (get("http://localhost/1"), get("http://localhost/2"));
        assert_eq!(tokio::join!(body_of(first), body_of(second)), ("/1".into(), "/2".into()));
        drop(client);
        driving.await.unwrap().unwrap();
    };
    tokio::join!(serve, ask);
}
