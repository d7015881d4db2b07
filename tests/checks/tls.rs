//! Checks TLS of rustls by every check of `ringpair::conformance`, over pairs of sockets and in memory.
#![allow(clippy::unwrap_used)]

#[allow(unused_macros)] // all bodies run on each engine
#[path = "../common/mod.rs"]
mod common;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::on_every_engine;
use ringpair::conformance::Conformance;
use ringpair::{Linger, PairOptions};
use tokio::io::{AsyncRead, AsyncWrite, duplex};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio_rustls::rustls::crypto;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// Time enough for a slow machine.
fn patient() -> Conformance {
    Conformance::new().watchdog(Duration::from_secs(600))
}

fn tls_over_own_pairs_passes(options: PairOptions) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    // Small buffers, and not too much to fill them with: in an emulator it takes a minute to encrypt a megabyte, again and again.
    let options = options.linger(Linger::Graceful).send_buffer_size(1 << 14).recv_buffer_size(1 << 14);
    let conformance = patient().transfer(1 << 16).idle(Duration::from_millis(20));
    for version in [&version::TLS12, &version::TLS13] {
        let tls = Tls::new(version);
        let make_pair = async || {
            let (accepted, connected) = options.make_pair::<TcpStream>().await?;
            tls.over(accepted, connected).await
        };
        runtime.block_on(conformance.check_stream(make_pair)).assert();
    }
}

on_every_engine!(tls_over_own_pairs_passes);

#[test]
fn tls_in_memory_passes() {
    for version in [&version::TLS12, &version::TLS13] {
        let tls = Tls::new(version);
        let make_pair = async || {
            let (accepted, connected) = duplex(5000);
            tls.over(accepted, connected).await
        };
        // The clock stands still, and jumps to the watchdog's end when nothing can go on.
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let conformance = patient().transfer(1 << 20).max_in_flight(2 << 20).idle(Duration::from_millis(5));
        runtime.block_on(conformance.check_stream(make_pair)).assert();
    }
}

struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Tls {
    /// With a certificate that signs itself, and that this client alone trusts.
    fn new(version: &'static SupportedProtocolVersion) -> Tls {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = signed.cert.into();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
        let mut trusted = RootCertStore::empty();
        trusted.add(certificate.clone()).unwrap();
        let provider = Arc::new(crypto::ring::default_provider());
        let accepts = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]).unwrap();
        let connects = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let accepts = accepts.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let connects = connects.with_root_certificates(trusted).with_no_client_auth();
        Tls { acceptor: Arc::new(accepts).into(), connector: Arc::new(connects).into() }
    }

    fn over<A, B>(
        &self,
        accepted: A,
        connected: B,
    ) -> impl Future<Output = io::Result<(server::TlsStream<A>, client::TlsStream<B>)>>
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        let accepts = self.acceptor.accept(accepted);
        let connects = self.connector.connect(ServerName::try_from("localhost").unwrap(), connected);
        async { tokio::try_join!(accepts, connects) }
    }
}
