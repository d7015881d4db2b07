//! Frames over TLS over a pair: the layers of a real protocol, one on the other.

use futures_util::{SinkExt, StreamExt};
use ringpair::mocket::MocketOptions;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::certificate;

#[tokio::test]
async fn frames_arrive_as_they_were_sent() {
    let (server, client) = certificate::configs();
    // Neither the frames nor the records of TLS keep their borders on the way.
    let (mocket, connected) = MocketOptions::new().chunk_seed(7).make_pair::<TcpStream>().await.unwrap();
    let frames: Vec<Bytes> = [0, 1, 100, 100_000].map(|size| vec![size as u8; size].into()).to_vec();

    let receive = async {
        let accepted = TlsAcceptor::from(server).accept(mocket).await.unwrap();
        let mut accepted = Framed::new(accepted, LengthDelimitedCodec::new());
        let mut came = Vec::new();
        while let Some(frame) = accepted.next().await {
            came.push(frame.unwrap().freeze());
        }
        came
    };
    let send = async {
        let connected = TlsConnector::from(client).connect(certificate::name(), connected).await.unwrap();
        let mut connected = Framed::new(connected, LengthDelimitedCodec::new());
        for frame in &frames {
            connected.send(frame.clone()).await.unwrap();
        }
        connected.get_mut().shutdown().await.unwrap(); // TLS says goodbye: the other side's frames come to an end
        connected
    };
    let (came, _connected) = tokio::join!(receive, send);
    assert_eq!(came, frames);
}
