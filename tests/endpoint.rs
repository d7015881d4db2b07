//! Addresses to dial: what a client sees at each, and that nothing stays open.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::Future;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{alone, descriptors, eventually, threads};
use futures_util::future::join;
use ringpair::endpoint::{self, EndpointOptions};
use ringpair::{Linger, Step};
use socket2::{Domain, Socket, Type};

/// How long a test waits for what must not happen. No outcome depends on it.
const A_MOMENT: Duration = Duration::from_millis(30);

fn every_address() -> Vec<IpAddr> {
    let mut all = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv4Addr::new(127, 0, 0, 9).into()];
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => all.push(Ipv6Addr::LOCALHOST.into()),
        Err(_) => common::skip("there is no IPv6 here"),
    }
    all
}

fn at(address: IpAddr) -> EndpointOptions {
    EndpointOptions::new().address(address)
}

fn assert_hears_nothing(client: &mut TcpStream) {
    client.set_read_timeout(Some(A_MOMENT)).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.set_read_timeout(None).unwrap();
}

fn assert_is_reset(client: &mut TcpStream) {
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// Starts a connect.
fn begin_to_connect(to: SocketAddr) -> Socket {
    let client = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    client.set_nonblocking(true).unwrap();
    let error = client.connect(&to.into()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::EINPROGRESS));
    client
}

/// Waits until a connect has completed or failed.
fn outcome(client: &Socket) -> Result<(), Error> {
    let mut polled = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(client), nix::poll::PollFlags::POLLOUT)];
    assert_eq!(nix::poll::poll(&mut polled, 20_000u16).unwrap(), 1, "the connect has not completed");
    client.take_error().unwrap().map_or(Ok(()), Err)
}

#[test]
fn refusing_refuses_and_keeps_its_port() {
    for address in every_address() {
        let refusing = at(address).refusing().unwrap();
        assert_eq!(refusing.addr().ip(), address);
        for _ in 0..3 {
            assert_eq!(TcpStream::connect(refusing.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
        assert_eq!(TcpListener::bind(refusing.addr()).unwrap_err().kind(), ErrorKind::AddrInUse);
        let error = at(address).port(refusing.addr().port()).accepting().unwrap_err();
        assert_eq!((error.step(), error.kind()), (Step::Bind, ErrorKind::AddrInUse));
        let addr = refusing.addr();
        drop(refusing);
        assert_eq!(at(address).port(addr.port()).refusing().unwrap().addr(), addr);
    }
}

#[test]
fn hanging_hangs_until_it_is_released() {
    for address in every_address() {
        let hanging = at(address).hanging().unwrap();
        let client = begin_to_connect(hanging.addr());
        let error = TcpStream::connect_timeout(&hanging.addr(), A_MOMENT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        hanging.release().unwrap();
        outcome(&client).unwrap();
        assert_hears_nothing(&mut client.into_tcp_stream());
        TcpStream::connect(hanging.addr()).unwrap();
    }
}

trait IntoTcpStream {
    fn into_tcp_stream(self) -> TcpStream;
}

impl IntoTcpStream for Socket {
    fn into_tcp_stream(self) -> TcpStream {
        self.set_nonblocking(false).unwrap();
        self.into()
    }
}

#[test]
fn a_hanging_endpoint_that_is_dropped_refuses() {
    let hanging = endpoint::hanging().unwrap();
    let client = begin_to_connect(hanging.addr());
    drop(hanging);
    assert_eq!(outcome(&client).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn silent_takes_bytes_and_never_answers() {
    for address in every_address() {
        let silent = at(address).silent().unwrap();
        let mut clients: Vec<_> = (0..20).map(|_| TcpStream::connect(silent.addr()).unwrap()).collect();
        for client in &mut clients {
            client.write_all(&[1; 1000]).unwrap();
        }
        clients.iter_mut().for_each(assert_hears_nothing);
        drop(silent);
        clients.iter_mut().for_each(assert_is_reset);
    }
}

#[test]
fn resetting_resets_at_once() {
    for address in every_address() {
        let resetting = at(address).resetting().unwrap();
        for _ in 0..50 {
            // The reset can arrive before the connect returns.
            if let Ok(mut client) = TcpStream::connect(resetting.addr()) {
                assert_is_reset(&mut client);
            }
        }
    }
}

#[test]
fn resetting_resets_after_so_many_bytes() {
    let resetting = EndpointOptions::new().after(5000).resetting().unwrap();
    let mut clients: Vec<_> = (0..20).map(|_| TcpStream::connect(resetting.addr()).unwrap()).collect();
    for client in &mut clients {
        client.write_all(&[1; 4999]).unwrap();
    }
    clients.iter_mut().for_each(assert_hears_nothing);
    for client in &mut clients {
        client.write_all(&[1]).unwrap();
        assert_is_reset(client);
    }
}

#[test]
fn resetting_does_not_wait_for_a_client_that_ends() {
    let resetting = EndpointOptions::new().after(10).resetting().unwrap();
    let mut client = TcpStream::connect(resetting.addr()).unwrap();
    client.write_all(b"bye").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_is_reset(&mut client);
}

#[test]
fn a_resetting_endpoint_that_is_dropped_resets_its_clients() {
    let resetting = EndpointOptions::new().after(10).resetting().unwrap();
    let mut client = TcpStream::connect(resetting.addr()).unwrap();
    client.write_all(b"hello").unwrap();
    let addr = resetting.addr();
    drop(resetting);
    assert_is_reset(&mut client);
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn accepting_hands_out_connections_in_order() {
    for address in every_address() {
        let server = at(address).accepting().unwrap();
        let clients: Vec<_> = (0..10).map(|_| TcpStream::connect(server.addr()).unwrap()).collect();
        for client in clients {
            let mut accepted = server.accept_blocking::<TcpStream>().unwrap();
            assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
            (&client).write_all(b"ping").unwrap();
            let mut read = [0; 4];
            accepted.read_exact(&mut read).unwrap(); // the stream is blocking
        }
    }
}

#[test]
fn accepting_waits_for_late_clients_in_any_executor() {
    let server = endpoint::accepting().unwrap();
    let addr = server.addr();
    let clients = std::thread::spawn(move || {
        std::thread::sleep(A_MOMENT); // not a synchroniser: the calls may or may not wait
        [(); 2].map(|()| TcpStream::connect(addr).unwrap())
    });
    let (one, other) = futures_executor::block_on(join(server.accept::<TcpStream>(), server.accept::<TcpStream>()));
    let mut peers = [one, other].map(|accepted| accepted.unwrap().peer_addr().unwrap());
    let mut clients = clients.join().unwrap().map(|client| client.local_addr().unwrap());
    peers.sort();
    clients.sort();
    assert_eq!(peers, clients);
}

#[test]
fn accepting_gives_up_at_the_deadline() {
    let server = EndpointOptions::new().timeout(A_MOMENT).accepting().unwrap();
    let errors = [
        server.accept_blocking::<OwnedFd>().unwrap_err(),
        futures_executor::block_on(server.accept::<OwnedFd>()).unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.step(), error.kind()), (Step::Timeout, ErrorKind::TimedOut));
        assert!(error.to_string().ends_with("after 30ms nothing has connected to the endpoint"), "{error}");
    }
}

#[test]
fn an_accept_that_is_dropped_takes_no_connection_from_the_next() {
    alone(|| {
        let server = endpoint::accepting().unwrap();
        let before = descriptors();
        for _ in 0..20 {
            {
                let mut dropped = pin!(server.accept::<TcpStream>());
                let mut context = Context::from_waker(Waker::noop());
                let begin = std::time::Instant::now();
                while begin.elapsed() < Duration::from_millis(1) {
                    assert!(matches!(dropped.as_mut().poll(&mut context), Poll::Pending)); // so it is registered
                }
            }
            let client = TcpStream::connect(server.addr()).unwrap();
            let accepted = futures_executor::block_on(server.accept::<TcpStream>()).unwrap();
            assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
        }
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn an_accepted_end_closes_as_chosen() {
    for (linger, reads) in [(Linger::Reset, Err(ErrorKind::ConnectionReset)), (Linger::Graceful, Ok(0))] {
        let server = EndpointOptions::new().linger(linger).accepting().unwrap();
        let mut client = TcpStream::connect(server.addr()).unwrap();
        drop(server.accept_blocking::<TcpStream>().unwrap());
        assert_eq!(client.read(&mut [0]).map_err(|error| error.kind()), reads);
    }
}

#[test]
fn a_port_in_time_wait_can_be_chosen_again() {
    let mut port = 0;
    for _ in 0..3 {
        let server = EndpointOptions::new().port(port).linger(Linger::Graceful).accepting().unwrap();
        port = server.addr().port();
        let mut client = TcpStream::connect(server.addr()).unwrap();
        drop(server.accept_blocking::<TcpStream>().unwrap()); // closes first, so TIME_WAIT stays at this end
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn invalid_options_are_refused_before_anything_is_opened() {
    let invalid = [
        EndpointOptions::new().address(Ipv4Addr::new(8, 8, 8, 8).into()),
        EndpointOptions::new().address(Ipv4Addr::UNSPECIFIED.into()),
        EndpointOptions::new().timeout(Duration::ZERO),
        EndpointOptions::new().linger(Linger::Wait(Duration::ZERO)),
    ];
    for options in invalid {
        let errors = [
            options.refusing().map(drop),
            options.hanging().map(drop),
            options.silent().map(drop),
            options.resetting().map(drop),
            options.accepting().map(drop),
        ];
        for error in errors {
            assert_eq!(error.unwrap_err().step(), Step::Options);
        }
    }
}

#[test]
fn the_variables_for_engines_do_not_concern_endpoints() {
    common::alone_with(&[("RINGPAIR_BACKEND", "no such engine")], || {
        endpoint::accepting().unwrap();
        endpoint::refusing().unwrap();
    });
}

#[test]
fn endpoints_that_are_dropped_leave_nothing_open() {
    alone(|| {
        let (before, running) = (descriptors(), threads());
        for _ in 0..20 {
            let server = endpoint::accepting().unwrap();
            let resetting = endpoint::resetting().unwrap();
            let all = (endpoint::refusing().unwrap(), endpoint::hanging().unwrap(), endpoint::silent().unwrap());
            let _clients = [server.addr(), all.2.addr(), resetting.addr()].map(TcpStream::connect);
        }
        assert_eq!(descriptors(), before);
        eventually("the threads have ended", || threads() <= running);
    });
}

#[test]
fn without_descriptors_resetting_waits_for_one() {
    alone(|| {
        let resetting = endpoint::resetting().unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        common::leave_descriptors(0);
        client.connect(&resetting.addr().into()).unwrap(); // the kernel completes the handshake
        common::leave_all_descriptors();
        assert_is_reset(&mut client.into());
    });
}

#[cfg(feature = "tokio")]
#[test]
fn accepting_makes_streams_of_tokio() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    common::runtime().block_on(async {
        let server = endpoint::accepting().unwrap();
        let mut client = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
        let mut accepted = server.accept::<tokio::net::TcpStream>().await.unwrap();
        client.write_all(b"ping").await.unwrap();
        let mut read = [0; 4];
        accepted.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");
    });
}
