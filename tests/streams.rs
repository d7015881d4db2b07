//! Both ends of a pair are complete streams of every type: bytes, half-close, conversion.
#![allow(clippy::unwrap_used)]

mod common;
mod every_runtime;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use common::{alone, descriptors, every_way, every_way_in, on_every_engine};
use every_runtime::{Runtime, every_way_of, on_every_runtime};
use futures_util::future::join4;
use ringpair::{Linger, PairOptions, PairSocket, SockRef, Step};

const MEBIBYTE: usize = 1 << 20;

/// Returns a sequence that never repeats, different for each seed.
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..MEBIBYTE).map(next).collect()
}

fn a_mebibyte_goes_each_way_at_once_and_arrives_as_it_was<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        let sent = [bytes(1), bytes(2)];
        for (way, pair) in every_way_of::<R>(&options.linger(Linger::Graceful)).await {
            let (mut accepted, mut connected) = pair.unwrap();
            // A stream is written by one task and read by another, which needs two of the same socket.
            let both = [duplicate::<R>(&accepted), duplicate::<R>(&connected)];
            let [mut also_accepted, mut also_connected] = both;
            let (.., at_accepted, at_connected) = join4(
                send::<R>(&mut accepted, sent[0].clone()),
                send::<R>(&mut connected, sent[1].clone()),
                receive::<R>(&mut also_accepted),
                receive::<R>(&mut also_connected),
            )
            .await;
            assert!(at_connected == sent[0], "what the accepted end sent did not arrive as it was: {way}");
            assert!(at_accepted == sent[1], "what the connected end sent did not arrive as it was: {way}");
        }
    });
}

fn an_end_that_is_shut_for_writing_still_reads<R: Runtime>(options: PairOptions) {
    R::block_on(async {
        for accepted_shuts in [true, false] {
            let (accepted, connected) = R::one_shot(&options).await.unwrap();
            let (mut shut, mut open) = if accepted_shuts { (accepted, connected) } else { (connected, accepted) };
            send::<R>(&mut shut, b"question".to_vec()).await;
            assert_eq!(receive::<R>(&mut open).await, b"question");
            send::<R>(&mut open, b"answer".to_vec()).await;
            assert_eq!(receive::<R>(&mut shut).await, b"answer");
            assert_eq!(R::write(&mut shut, b"more".to_vec()).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
    });
}

fn duplicate<R: Runtime>(stream: &R::Stream) -> R::Stream {
    R::Stream::from_fd(stream.fd().try_clone_to_owned().unwrap()).unwrap()
}

/// Writes all bytes, and the end of file.
async fn send<R: Runtime>(stream: &mut R::Stream, bytes: Vec<u8>) {
    R::write(stream, bytes).await.unwrap();
    SockRef::from(&stream.fd()).shutdown(Shutdown::Write).unwrap();
}

/// Reads to the end of file.
async fn receive<R: Runtime>(stream: &mut R::Stream) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        let read = R::read(stream).await.unwrap();
        if read.is_empty() {
            return received;
        }
        received.extend(read);
    }
}

/// A stream type defined outside ringpair.
struct Own(OwnedFd);

impl PairSocket for Own {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(Own(fd))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn pairs_are_made_of_every_stream_type(options: PairOptions) {
    fn assert_streams<S: PairSocket>(options: &PairOptions, into: impl Fn(S) -> TcpStream) {
        for (way, pair) in every_way::<S>(options) {
            let (accepted, connected) = pair.unwrap();
            let (mut accepted, mut connected) = (into(accepted), into(connected));
            let what = format!("{way} of {}", std::any::type_name::<S>());
            let mut read = [0; 4];
            accepted.write_all(b"ping").unwrap();
            connected.read_exact(&mut read).unwrap();
            assert_eq!(&read, b"ping", "{what}");
            connected.write_all(b"pong").unwrap();
            accepted.read_exact(&mut read).unwrap();
            assert_eq!(&read, b"pong", "{what}");
        }
    }
    assert_streams::<OwnedFd>(&options, TcpStream::from);
    assert_streams::<TcpStream>(&options, |stream| stream);
    assert_streams::<socket2::Socket>(&options, TcpStream::from);
    assert_streams::<Own>(&options, |own| own.0.into());
}

/// Refuses every second descriptor: the accepted end is converted already when the connected one fails.
struct EverySecond(OwnedFd);

static OFFERED: AtomicUsize = AtomicUsize::new(0);

impl PairSocket for EverySecond {
    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        match OFFERED.fetch_add(1, SeqCst) % 2 {
            0 => Ok(EverySecond(fd)),
            _ => Err(io::Error::new(ErrorKind::Unsupported, "one of these is enough")),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Refuses every descriptor, with an errno.
#[derive(Debug)]
enum Never {}

impl PairSocket for Never {
    fn from_fd(_: OwnedFd) -> io::Result<Self> {
        Err(nix::errno::Errno::EPROTO.into())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

fn a_failed_conversion_is_a_convert_error_and_leaks_nothing(options: PairOptions) {
    alone(|| {
        let runtime = common::runtime();
        let factory = options.factory().unwrap();
        let before = descriptors();
        for (way, pair) in every_way_in::<EverySecond>(&runtime, &options) {
            let Err(error) = pair else { panic!("{way}: there is a pair") };
            assert_eq!((error.step(), error.kind()), (Step::Convert, ErrorKind::Unsupported), "{way}");
            assert_eq!(error.source().unwrap().to_string(), "one of these is enough", "{way}");
        }
        for (way, pair) in every_way_in::<Never>(&runtime, &options) {
            let error = pair.unwrap_err();
            let errno = nix::errno::Errno::EPROTO as i32;
            assert_eq!((error.step(), error.raw_os_error()), (Step::Convert, Some(errno)), "{way}");
        }
        assert_eq!(factory.pairs_blocking::<Never>(50).unwrap_err().step(), Step::Convert);
        assert_eq!(descriptors(), before);
        assert_eq!(factory.pairs_blocking::<TcpStream>(50).unwrap().len(), 50);
    });
}

type Converted<T> = ringpair::Result<(T, T)>;

/// Makes a pair with each call that takes a closure.
fn every_call_with<T>(options: &PairOptions, mut convert: impl FnMut(OwnedFd) -> io::Result<T>) -> Vec<Converted<T>> {
    let factory = options.factory().unwrap();
    vec![
        options.make_pair_blocking_with(&mut convert),
        factory.pair_blocking_with(&mut convert),
        futures_executor::block_on(options.make_pair_with(&mut convert)),
        futures_executor::block_on(factory.pair_with(&mut convert)),
    ]
}

fn a_closure_converts_the_accepted_end_first(options: PairOptions) {
    let mut count = 0;
    let pairs = every_call_with(&options, |fd| {
        count += 1;
        let flags = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFL)?;
        assert_eq!(flags & nix::libc::O_NONBLOCK, 0);
        Ok((count, TcpStream::from(fd)))
    });
    let mut expected = 1;
    for pair in pairs {
        let ((first, mut accepted), (second, mut connected)) = pair.unwrap();
        assert_eq!((first, second), (expected, expected + 1));
        expected += 2;
        connected.write_all(b"ping").unwrap();
        let mut read = [0; 4];
        accepted.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"ping");
    }
}

fn an_error_of_the_closure_closes_both_ends(options: PairOptions) {
    alone(|| {
        drop(options.make_pair_blocking::<TcpStream>().unwrap()); // the thread keeps what it needs from here on
        let before = descriptors();
        for fails_at in [0, 1] {
            let mut count = 0;
            let pairs = every_call_with(&options, |fd| {
                count += 1;
                if (count + 1) % 2 == fails_at { Err(io::Error::other("as the test wants it")) } else { Ok(fd) }
            });
            for pair in pairs {
                let error = pair.unwrap_err();
                assert_eq!(error.step(), Step::Convert);
                assert!(error.to_string().ends_with(": as the test wants it"), "{error}");
            }
            assert_eq!(descriptors(), before);
        }
    });
}

fn a_closure_may_make_pairs_itself(options: PairOptions) {
    let factory = options.factory().unwrap();
    let nested = |fd| {
        factory.pair_blocking::<OwnedFd>().map_err(io::Error::from)?;
        options.make_pair_blocking::<OwnedFd>().map_err(io::Error::from)?;
        Ok(fd)
    };
    every_call_with(&options, nested).into_iter().for_each(|pair| drop(pair.unwrap()));
    factory.pair_blocking_with(nested).unwrap();
    assert_eq!(factory.stats().pairs, 4 * 2 + 1 + 2);
}

#[test]
fn the_shortest_calls_make_pairs_that_reset() {
    if !common::ring_is_there() {
        return;
    }
    let pairs = [
        ringpair::pair_blocking::<TcpStream>().unwrap(),
        futures_executor::block_on(ringpair::pair::<TcpStream>()).unwrap(),
    ];
    for (accepted, mut connected) in pairs {
        drop(accepted);
        assert_eq!(connected.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    let (accepted, mut connected) = PairOptions::graceful().make_pair_blocking::<TcpStream>().unwrap();
    drop(accepted);
    assert_eq!(connected.read(&mut [0]).unwrap(), 0);
}

on_every_runtime!(a_mebibyte_goes_each_way_at_once_and_arrives_as_it_was, an_end_that_is_shut_for_writing_still_reads,);

on_every_engine!(
    a_closure_converts_the_accepted_end_first,
    an_error_of_the_closure_closes_both_ends,
    a_closure_may_make_pairs_itself,
    pairs_are_made_of_every_stream_type,
    a_failed_conversion_is_a_convert_error_and_leaks_nothing,
);
