//! Pairs of mockets in memory: what the scripts leave passes to the other end, and if one end fails, both do.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use nix::errno::Errno;
use ringpair::fuse::Fuse;
use ringpair::mocket::{MismatchKind, MocketOptions, Script};

use crate::faces::{Face, Scripted, Stream, on_every_face};
use crate::{kind_in, mismatch_in};

async fn bytes_pass_between_the_ends<F: Face>() {
    let (mut first, mut second) = F::in_memory(&MocketOptions::new().script(Script::new().expect("a").provide("1")));
    second.handle().play(Script::new().provide("x"));
    first.write_all(b"a").await.unwrap();
    first.write_all(b"through").await.unwrap();
    assert_eq!(second.read_exactly(8).await.unwrap(), b"xthrough");
    second.write_all(b"back").await.unwrap();
    assert_eq!(first.read_exactly(5).await.unwrap(), b"1back");
    assert_eq!(first.read(0).await.unwrap(), b"");
    first.shut_down().await.unwrap();
    assert_eq!(second.read(1).await.unwrap(), b"");
    assert_eq!(first.write(b"late").await.unwrap_err().raw_os_error(), Some(Errno::EPIPE as i32));
    second.write_all(b"half-open").await.unwrap();
    assert_eq!(first.read_exactly(9).await.unwrap(), b"half-open");
    first.close().unwrap();
    assert_eq!(second.write(b"late").await.unwrap_err().raw_os_error(), Some(Errno::EPIPE as i32));
    second.close().unwrap();
}

async fn sizes_hold_at_both_ends<F: Face>() {
    let (mut first, mut second) = F::in_memory(&MocketOptions::new().max_write_size(2).max_read_size(1));
    assert_eq!(first.write(b"abc").await.unwrap(), 2);
    assert_eq!(second.write(b"abc").await.unwrap(), 2);
    assert_eq!(first.read(9).await.unwrap(), b"a");
    assert_eq!(second.read(9).await.unwrap(), b"a");
}

async fn a_mismatch_at_one_end_fails_both<F: Face>() {
    for is_first in [true, false] {
        let (first, second) = F::in_memory(&MocketOptions::new());
        let (mut fails, mut other) = if is_first { (first, second) } else { (second, first) };
        fails.handle().expect("a");
        other.handle().provide("never read");
        other.write_all(b"lost").await.unwrap();
        let mismatch = mismatch_in(&fails.write(b"b").await.unwrap_err());
        let told = mismatch_in(&other.read(9).await.unwrap_err());
        assert_eq!(told.to_string(), format!("at the other end: {mismatch}"));
        assert_eq!(mismatch_in(&other.write(b"x").await.unwrap_err()), told);
        assert_eq!(mismatch_in(&other.shut_down().await.unwrap_err()), told);
        assert_eq!(mismatch_in(&fails.read(9).await.unwrap_err()), mismatch);
        assert_eq!((fails.close().unwrap_err(), other.close().unwrap_err()), (mismatch, told));
    }
}

async fn a_read_before_its_turn_fails_both<F: Face>() {
    let (mut first, mut second) = F::in_memory(&MocketOptions::new().patience(Duration::ZERO));
    first.handle().play(Script::ordered().expect("a").provide("1"));
    assert_eq!(kind_in(&first.read(1).await.unwrap_err()), MismatchKind::ReadEarly);
    assert_eq!(kind_in(&second.write(b"x").await.unwrap_err()), MismatchKind::ReadEarly);
    drop((first, second)); // both were told: no panic
}

async fn a_fuse_that_blows_at_one_end_cuts_both_off<F: Face>() {
    let points = Fuse::armed(async |fuse| {
        let (mut first, mut second) =
            F::in_memory(&MocketOptions::new().script(Script::new().provide("1")).fuse(&fuse));
        let talk = async {
            first.write_all(b"ping").await?;
            assert_eq!(second.read_exactly(4).await?, b"ping");
            second.write_all(b"pong").await?;
            first.read_exactly(5).await
        };
        let outcome: io::Result<Vec<u8>> = talk.await;
        if outcome.is_err() {
            for end in [&mut first, &mut second] {
                assert_eq!(end.read(9).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
                assert_eq!(end.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
                assert_eq!(end.shut_down().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
                end.close().unwrap(); // after a failure, nothing has to be used up
            }
        }
        outcome.map(drop)
    });
    assert_eq!(points.await.unwrap(), 5);
}

on_every_face!(
    bytes_pass_between_the_ends,
    sizes_hold_at_both_ends,
    a_mismatch_at_one_end_fails_both,
    a_read_before_its_turn_fails_both,
    a_fuse_that_blows_at_one_end_cuts_both_off,
);

#[test]
fn a_blocking_read_waits_for_the_other_end() {
    let (mut first, mut second) = MocketOptions::new().memory_pair().unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        first.read_to_string(&mut all).map(|_| all)
    });
    second.write_all(b"hello").unwrap();
    second.close().unwrap();
    assert_eq!(reader.join().unwrap().unwrap(), "hello");
}

#[test]
fn a_blocking_read_is_patient_and_no_more() {
    let options = MocketOptions::new().patience(Duration::from_millis(1));
    let (mut first, _second) = options.memory_pair().unwrap();
    let error = first.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "the other end of the pair in memory wrote nothing for 1ms");
}

#[test]
fn a_blocking_write_waits_for_room_and_no_longer() {
    let options = MocketOptions::new().patience(Duration::from_millis(1));
    let (mut first, mut second) = options.memory_pair().unwrap();
    assert_eq!(first.write(&[7; 100_000]).unwrap(), 1 << 16);
    let error = first.write(b"more").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "the other end of the pair in memory read nothing for 1ms");
    second.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(first.write(b"more").unwrap(), 2);
}

#[test]
fn a_blocking_write_goes_on_when_there_is_room() {
    let (mut first, mut second) = MocketOptions::new().memory_pair().unwrap();
    let writer = std::thread::spawn(move || first.write_all(&[7; 300_000]));
    let mut all = Vec::new();
    second.read_to_end(&mut all).unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(all, [7; 300_000]);
}

#[test]
fn a_failing_end_wakes_a_blocking_read_at_the_other() {
    let (mut first, mut second) = MocketOptions::new().memory_pair().unwrap();
    let reader = std::thread::spawn(move || first.read(&mut [0]).map_err(|error| error.kind()));
    second.expect("a");
    second.write_all(b"b").unwrap_err();
    let kind = reader.join().unwrap().unwrap_err();
    assert!(matches!(kind, ErrorKind::InvalidData | ErrorKind::ConnectionReset), "{kind:?}");
}

#[test]
fn a_size_of_zero_is_refused_for_a_memory_pair() {
    let refused = MocketOptions::new().max_read_size(0).memory_pair().unwrap_err();
    assert_eq!(refused.to_string(), "invalid options: max_read_size must be at least 1");
}

#[cfg(feature = "tokio")]
mod in_tasks {
    use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
    use ::tokio::task::yield_now;
    use ringpair::conformance::Conformance;
    use ringpair::mocket::{MismatchKind, MocketOptions};

    #[test]
    fn a_pair_in_memory_passes_every_check() {
        let check = async |options: &MocketOptions, transfer| {
            let conformance = Conformance::new().transfer(transfer).max_in_flight(1 << 20);
            conformance.check_stream(async || Ok(options.memory_pair()?)).await.assert();
        };
        crate::faces::tokio_runtime().block_on(async {
            check(&MocketOptions::new(), 1 << 18).await;
            check(&MocketOptions::new().chunk_seed(3), 1 << 13).await;
        });
    }

    #[test]
    fn a_failing_end_wakes_a_task_at_the_other() {
        crate::faces::tokio_runtime().block_on(async {
            let (mut first, mut second) = MocketOptions::new().memory_pair().unwrap();
            let reader = ::tokio::spawn(async move { first.read_u8().await });
            yield_now().await; // the reader waits by now
            second.expect("a");
            second.write_all(b"b").await.unwrap_err();
            assert_eq!(crate::kind_in(&reader.await.unwrap().unwrap_err()), MismatchKind::Different);
        });
    }
}
