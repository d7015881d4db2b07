//! A mocket plays its script on every face, reports where the code differs from it, and then passes bytes to the socket.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod faces;

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use faces::{Face, Scripted, Stream, on_every_face};
use nix::errno::Errno;
use ringpair::mocket::{Mismatch, MismatchKind, Mocket, MocketOptions, NoSocket, Script, make_mocket_pair_blocking};
use ringpair::{Linger, PairOptions, Step};

/// A read that comes too early fails at once, on every face.
fn impatient(script: Script) -> MocketOptions {
    MocketOptions::new().script(script).patience(Duration::ZERO)
}

fn mismatch_in(error: &io::Error) -> Mismatch {
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    error.get_ref().unwrap().downcast_ref::<Mismatch>().unwrap().clone()
}

async fn what_is_provided_is_read_before_the_socket_is<F: Face>() {
    let (mut mocket, mut peer) = F::pair(&MocketOptions::new()).await;
    peer.write_all(b"sent").await.unwrap();
    mocket.handle().provide("once ").provide("and again ");
    assert_eq!(mocket.read_exactly(19).await.unwrap(), b"once and again sent");
    mocket.handle().provide("and more");
    assert_eq!(mocket.read(100).await.unwrap(), b"and more");
    mocket.close().unwrap();
}

async fn expected_bytes_do_not_reach_the_peer_and_later_ones_do<F: Face>() {
    let (mut mocket, mut peer) = F::pair(&MocketOptions::new()).await;
    mocket.handle().expect("once ").expect("and again");
    mocket.write_all(b"on").await.unwrap();
    mocket.write_all(b"ce and again").await.unwrap();
    mocket.write_all(b"through").await.unwrap();
    assert_eq!(peer.read_exactly(7).await.unwrap(), b"through");
    mocket.handle().expect("more");
    mocket.write_all(b"more").await.unwrap();
    mocket.write_all(b"!").await.unwrap();
    assert_eq!(peer.read(100).await.unwrap(), b"!");
    mocket.close().unwrap();
}

async fn closing_closes_the_socket<F: Face>() {
    let graceful = MocketOptions::new().pair(PairOptions::new().linger(Linger::Graceful));
    let (mut mocket, mut peer) = F::pair(&graceful).await;
    mocket.close().unwrap();
    assert_eq!(peer.read(1).await.unwrap(), b"");
    assert_eq!(mocket.read(1).await.unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(mocket.write(b"1").await.unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(mocket.shut_down().await.unwrap_err().kind(), ErrorKind::NotConnected);
    mocket.handle().provide("still here");
    assert_eq!(mocket.read(100).await.unwrap(), b"still here");

    let (mut mocket, mut peer) = F::pair(&MocketOptions::new()).await;
    mocket.close().unwrap();
    assert_eq!(peer.read(1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

async fn a_shutdown_is_checked_first_and_then_reaches_the_socket<F: Face>() {
    let (mut mocket, mut peer) = F::pair(&MocketOptions::new()).await;
    mocket.shut_down().await.unwrap();
    assert_eq!(peer.read(1).await.unwrap(), b"");
    mocket.close().unwrap();

    let (mut mocket, mut peer) = F::pair(&MocketOptions::new().script(Script::new().expect_shutdown())).await;
    assert_eq!(mocket.handle().verify().unwrap_err().kind(), MismatchKind::LeftOver);
    mocket.shut_down().await.unwrap();
    mocket.shut_down().await.unwrap(); // a second one does no harm, as on a socket
    assert_eq!(mocket.write(b"late").await.unwrap_err().raw_os_error(), Some(Errno::EPIPE as i32));
    peer.write_all(b"half-open").await.unwrap();
    assert_eq!(mocket.read_exactly(9).await.unwrap(), b"half-open");
    mocket.close().unwrap();

    let mut alone = F::alone(&MocketOptions::new());
    alone.shut_down().await.unwrap();
    assert_eq!(alone.write(b"late").await.unwrap_err().raw_os_error(), Some(Errno::EPIPE as i32));
    alone.close().unwrap();
}

async fn a_conversation_goes_in_its_order<F: Face>() {
    let script = Script::new().provide("220\n").then().expect("HELO\n").then().provide("250\n").end_of_file();
    let mut mocket = F::alone(&impatient(script.clone()));
    assert_eq!(mocket.read(100).await.unwrap(), b"220\n");
    mocket.write_all(b"HELO\n").await.unwrap();
    assert_eq!(mocket.read(100).await.unwrap(), b"250\n");
    assert_eq!(mocket.read(100).await.unwrap(), b"");
    assert_eq!(mocket.read(100).await.unwrap(), b"", "the end of file stays");
    mocket.close().unwrap();

    let mut writes_early = F::alone(&impatient(script.clone()));
    let mismatch = mismatch_in(&writes_early.write(b"HELO\n").await.unwrap_err());
    assert_eq!((mismatch.kind(), mismatch.came()), (MismatchKind::WrittenEarly, &b"HELO\n"[..]));
    assert_eq!(writes_early.close().unwrap_err(), mismatch);

    let mut reads_early = F::alone(&impatient(script));
    reads_early.read(100).await.unwrap();
    let mismatch = mismatch_in(&reads_early.read(100).await.unwrap_err());
    assert_eq!((mismatch.kind(), mismatch.offset()), (MismatchKind::ReadEarly, 4));
    assert_eq!(reads_early.close().unwrap_err(), mismatch);
}

async fn without_an_order_reads_and_writes_are_independent<F: Face>() {
    let script = Script::new().provide("12").expect("ab").provide("34").expect("cd");
    let mut mocket = F::alone(&impatient(script));
    mocket.write_all(b"abc").await.unwrap();
    assert_eq!(mocket.read_exactly(4).await.unwrap(), b"1234");
    mocket.write_all(b"d").await.unwrap();
    mocket.close().unwrap();
}

async fn errors_come_once_where_they_stand<F: Face>() {
    let script = Script::new()
        .provide("1")
        .read_error(ErrorKind::TimedOut)
        .read_error(Errno::EHOSTUNREACH)
        .read_error(io::Error::other("the test says no"))
        .provide("2")
        .expect("a")
        .write_error(Errno::ENOBUFS)
        .expect("b");
    let mut mocket = F::alone(&impatient(script));
    assert_eq!(mocket.read(100).await.unwrap(), b"1");
    assert_eq!(mocket.read(100).await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(mocket.read(100).await.unwrap_err().raw_os_error(), Some(Errno::EHOSTUNREACH as i32));
    assert_eq!(mocket.read(100).await.unwrap_err().to_string(), "the test says no");
    assert_eq!(mocket.read(100).await.unwrap(), b"2");
    assert_eq!(mocket.write(b"ab").await.unwrap(), 1, "what stands before the error is taken");
    assert_eq!(mocket.write(b"b").await.unwrap_err().raw_os_error(), Some(Errno::ENOBUFS as i32));
    mocket.write_all(b"b").await.unwrap();
    mocket.close().unwrap();
}

async fn a_reset_is_told_once_to_who_comes_first<F: Face>() {
    let script = Script::new().expect("a").reset();
    let mut reader = F::alone(&impatient(script.clone()));
    assert_eq!(reader.write(b"a").await.unwrap(), 1);
    assert_eq!(reader.read(1).await.unwrap_err().raw_os_error(), Some(Errno::ECONNRESET as i32));
    assert_eq!(reader.write(b"a").await.unwrap_err().raw_os_error(), Some(Errno::EPIPE as i32));
    assert_eq!(reader.read(1).await.unwrap(), b"");
    reader.close().unwrap();

    let mut writer = F::alone(&impatient(script.clone()));
    assert_eq!(writer.write(b"a").await.unwrap(), 1);
    assert_eq!(writer.write(b"b").await.unwrap_err().raw_os_error(), Some(Errno::ECONNRESET as i32));
    assert_eq!(writer.read(1).await.unwrap(), b"");
    writer.close().unwrap();

    let mut shutter = F::alone(&impatient(script));
    assert_eq!(shutter.write(b"a").await.unwrap(), 1);
    assert_eq!(shutter.shut_down().await.unwrap_err().raw_os_error(), Some(Errno::ENOTCONN as i32));
    shutter.close().unwrap();
}

async fn transfers_of_one_byte_move_all_there_is<F: Face>() {
    let script = Script::new().provide("scripted").expect("expected");
    let options = MocketOptions::new().script(script).max_read_size(1).max_write_size(1);
    let (mut mocket, mut peer) = F::pair(&options).await;
    for byte in b"scripted" {
        assert_eq!(mocket.read(100).await.unwrap(), [*byte]);
    }
    for left in 0..8 {
        assert_eq!(mocket.write(&b"expected"[left..]).await.unwrap(), 1);
    }
    peer.write_all(b"sent").await.unwrap();
    for byte in b"sent" {
        assert_eq!(mocket.read(100).await.unwrap(), [*byte]);
    }
    for left in 0..4 {
        assert_eq!(mocket.write(&b"back"[left..]).await.unwrap(), 1);
    }
    mocket.write_all(b" again").await.unwrap();
    assert_eq!(peer.read_exactly(10).await.unwrap(), b"back again");
    mocket.close().unwrap();
}

async fn sizes_of_a_seed_come_again<F: Face>() {
    async fn sizes<F: Face>(seed: u64) -> [Vec<usize>; 2] {
        let bytes = [7; 2000];
        let options = impatient(Script::new().provide(bytes).expect(bytes)).chunk_seed(seed);
        let mut mocket = F::alone(&options);
        let (mut written, mut read) = (Vec::new(), Vec::new());
        let mut left = &bytes[..];
        while !left.is_empty() {
            let size = mocket.write(left).await.unwrap();
            left = &left[size..];
            written.push(size);
        }
        loop {
            match mocket.read(2000).await.unwrap().len() {
                0 => break,
                size => read.push(size),
            }
        }
        mocket.close().unwrap();
        [written, read]
    }
    let sizes_of_1 = sizes::<F>(1).await;
    for sizes in &sizes_of_1 {
        assert!(sizes.contains(&1) && sizes.iter().any(|size| *size > 8), "{sizes:?}");
    }
    assert_ne!(sizes_of_1[0], sizes_of_1[1]);
    assert_eq!(sizes_of_1, sizes::<F>(1).await);
    assert_ne!(sizes_of_1, sizes::<F>(2).await);
}

async fn anything_may_be_written_until_the_byte_that_the_script_names<F: Face>() {
    let mut mocket = F::alone(&impatient(Script::new().expect("Date: ").expect_until(b'\n').expect("\n")));
    mocket.write_all(b"Date: tod").await.unwrap();
    mocket.write_all(b"ay\n\n").await.unwrap();
    mocket.close().unwrap();
}

async fn a_delay_is_waited_for_and_owed_by_nobody<F: Face>() {
    let late = Duration::from_millis(1);
    let script = Script::new().delay(late).provide("1").write_delay(late).expect("a").then().delay(late).end_of_file();
    let mut mocket = F::alone(&impatient(script.delay(late).write_delay(late)));
    assert_eq!(mocket.read(100).await.unwrap(), b"1");
    mocket.write_all(b"a").await.unwrap();
    assert_eq!(mocket.read(100).await.unwrap(), b"");
    mocket.close().unwrap();
}

async fn empty_calls_and_empty_steps_change_nothing<F: Face>() {
    let script =
        Script::new().provide("").expect("").provide("1").end_of_file().expect("a").write_error(Errno::ENOBUFS);
    let mut mocket = F::alone(&impatient(script));
    assert_eq!(mocket.read(0).await.unwrap(), b"");
    assert_eq!(mocket.write(b"").await.unwrap(), 0);
    assert_eq!(mocket.read(1).await.unwrap(), b"1");
    assert_eq!(mocket.write(b"a").await.unwrap(), 1);
    assert_eq!(mocket.read(0).await.unwrap(), b"");
    assert_eq!(mocket.write(b"").await.unwrap(), 0);
    assert_eq!(
        mocket.close().unwrap_err().to_string().lines().count(),
        3,
        "the end of file and the error are still to come"
    );
    assert_eq!(mocket.read(1).await.unwrap(), b"");
    mocket.write(b"b").await.unwrap_err();
    mocket.close().unwrap();
}

async fn closing_verifies_each_time<F: Face>() {
    let mut mocket = F::alone(&impatient(Script::new().provide("1")));
    for _ in 0..2 {
        assert_eq!(mocket.close().unwrap_err().kind(), MismatchKind::LeftOver);
    }
    mocket.read(1).await.unwrap();
    for _ in 0..2 {
        mocket.close().unwrap();
    }
    mocket.handle().expect("a");
    assert_eq!(mocket.close().unwrap_err().kind(), MismatchKind::LeftOver);
}

async fn a_mismatch_that_is_swallowed_is_told_again<F: Face>() {
    let (mut mocket, mut peer) = F::pair(&impatient(Script::new().expect("a").provide("1"))).await;
    let mismatch = mismatch_in(&mocket.write(b"b").await.unwrap_err());
    assert_eq!(mismatch_in(&mocket.write(b"a").await.unwrap_err()), mismatch);
    assert_eq!(mismatch_in(&mocket.read(1).await.unwrap_err()), mismatch);
    assert_eq!(mismatch_in(&mocket.shut_down().await.unwrap_err()), mismatch);
    assert_eq!(mocket.close().unwrap_err(), mismatch);
    assert!(peer.read(1).await.is_err(), "nothing of it has reached the peer");
}

/// The one thing in a script that code may do too much of without being asked: write. With a socket behind it, too.
async fn a_write_that_is_too_long_is_a_mismatch_not_a_success<F: Face>() {
    let options = impatient(Script::new().expect("abc"));
    let (mut in_front, _peer) = F::pair(&options).await;
    let mismatch = mismatch_in(&in_front.write(b"abcd").await.unwrap_err());
    assert_eq!((mismatch.kind(), mismatch.offset(), mismatch.came()), (MismatchKind::TooLong, 3, &b"d"[..]));
    in_front.close().unwrap_err();

    let mut short = F::alone(&options.clone().max_write_size(1));
    assert_eq!(mismatch_in(&short.write(b"abcd").await.unwrap_err()), mismatch);
    short.close().unwrap_err();

    let mut alone = F::alone(&impatient(Script::new()));
    assert_eq!(mismatch_in(&alone.write(b"a").await.unwrap_err()).kind(), MismatchKind::TooLong);
    alone.close().unwrap_err();
}

async fn offsets_count_what_passed_through<F: Face>() {
    let (mut mocket, mut peer) = F::pair(&MocketOptions::new()).await;
    mocket.write_all(b"through").await.unwrap();
    assert_eq!(peer.read_exactly(7).await.unwrap(), b"through");
    peer.write_all(b"back").await.unwrap();
    assert_eq!(mocket.read_exactly(4).await.unwrap(), b"back");

    let left = mocket.handle().provide("1").verify().unwrap_err();
    assert_eq!(left.offset(), 4);
    assert!(left.to_string().contains("1 byte at offset 4"), "{left}");
    mocket.handle().expect("a");
    let mismatch = mismatch_in(&mocket.write(b"b").await.unwrap_err());
    assert_eq!(mismatch.offset(), 7);
    assert!(mismatch.to_string().contains("\"througha\""), "{mismatch}");
    mocket.close().unwrap_err();
}

on_every_face!(
    offsets_count_what_passed_through,
    what_is_provided_is_read_before_the_socket_is,
    expected_bytes_do_not_reach_the_peer_and_later_ones_do,
    closing_closes_the_socket,
    a_shutdown_is_checked_first_and_then_reaches_the_socket,
    a_conversation_goes_in_its_order,
    without_an_order_reads_and_writes_are_independent,
    errors_come_once_where_they_stand,
    a_reset_is_told_once_to_who_comes_first,
    transfers_of_one_byte_move_all_there_is,
    sizes_of_a_seed_come_again,
    anything_may_be_written_until_the_byte_that_the_script_names,
    a_delay_is_waited_for_and_owed_by_nobody,
    empty_calls_and_empty_steps_change_nothing,
    closing_verifies_each_time,
    a_mismatch_that_is_swallowed_is_told_again,
    a_write_that_is_too_long_is_a_mismatch_not_a_success,
);

/// What code does to a mocket without a socket, for the table of texts.
#[derive(Clone, Copy, Debug)]
enum Act {
    Read(usize),
    Write(&'static str),
    ShutDown,
}

#[test]
fn every_mismatch_shows_where_what_was_expected_and_what_came() {
    use Act::{Read as R, ShutDown, Write as W};
    let script = Script::new;
    let table: Vec<(Script, &[Act], MismatchKind, &str)> = vec![
        (
            script().expect("hello, world"),
            &[W("hello"), W(", WORLD")],
            MismatchKind::Different,
            r#"what was written is not what the script expects, at offset 7
  expected  68 65 6c 6c 6f 2c 20 77 6f 72 6c 64  "hello, world"
  came      68 65 6c 6c 6f 2c 20 57 4f 52 4c 44  "hello, WORLD"
                                 ^^"#,
        ),
        (
            script().expect("0123456789abcdef0123456789abcdef\r\n\0\u{e9}"),
            &[W("0123456789abcdef"), W("0X\n")],
            MismatchKind::Different,
            r#"what was written is not what the script expects, at offset 17
  expected  .. 39 61 62 63 64 65 66 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 0d ..  "9abcdef0123456789abcdef\r"
  came      .. 39 61 62 63 64 65 66 30 58 0a  "9abcdef0X\n"
                                       ^^"#,
        ),
        (
            script().expect("a"),
            &[W("a"), W("bc")],
            MismatchKind::TooLong,
            r#"2 bytes were written more than the script expects, at offset 1
  expected  61  "a"  and no more
  came      61 62 63  "abc"
               ^^"#,
        ),
        (
            script(),
            &[W("\"")],
            MismatchKind::TooLong,
            r#"1 byte was written more than the script expects, at offset 0
  expected  and no more
  came      22  "\""
            ^^"#,
        ),
        (
            script().expect("bye").expect_shutdown(),
            &[W("bye!")],
            MismatchKind::NotShutDown,
            r#"1 byte was written where the script expects a shutdown, at offset 3
  expected  62 79 65  "bye"  and a shutdown
  came      62 79 65 21  "bye!"
                     ^^"#,
        ),
        (
            script().expect("a").then().provide("1234").then().expect("b"),
            &[W("a"), R(1), W("b")],
            MismatchKind::WrittenEarly,
            r#"1 byte was written, at offset 1, before its turn: what is to be read comes first
  came      61 62  "ab"
  to read   32 33 34  "234"  3 bytes at offset 1"#,
        ),
        (
            script().expect("a").then().provide("1").then().expect("b"),
            &[W("ab")],
            MismatchKind::WrittenEarly,
            r#"1 byte was written, at offset 1, before its turn: what is to be read comes first
  came      61 62  "ab"
  to read   31  "1"  1 byte at offset 0"#,
        ),
        (
            script().end_of_file().then().expect("b"),
            &[W("b")],
            MismatchKind::WrittenEarly,
            r#"1 byte was written, at offset 0, before its turn: what is to be read comes first
  came      62  "b"
  to read   the end of file"#,
        ),
        (
            script().expect("ab").then().provide("1"),
            &[W("a"), R(1)],
            MismatchKind::ReadEarly,
            r#"a read, at offset 0, before its turn: this is to be written first
  to write  62  "b"  1 byte at offset 1"#,
        ),
        (
            script().expect_until(b'\n').then().provide("1"),
            &[R(1)],
            MismatchKind::ReadEarly,
            r#"a read, at offset 0, before its turn: this is to be written first
  to write  anything until "\n""#,
        ),
        (
            script().expect("ab").expect_shutdown(),
            &[W("a"), ShutDown],
            MismatchKind::ShutDownEarly,
            r#"a shutdown, at offset 1, before its turn: this comes first
  to write  62  "b"  1 byte at offset 1"#,
        ),
        (
            script().provide("1").then().expect_shutdown(),
            &[ShutDown],
            MismatchKind::ShutDownEarly,
            r#"a shutdown, at offset 0, before its turn: this comes first
  to read   31  "1"  1 byte at offset 0"#,
        ),
        (
            script().provide("123").provide("45").end_of_file().expect("ab").expect_shutdown(),
            &[R(2), W("a")],
            MismatchKind::LeftOver,
            r#"the script is not used up
  to read   33  "3"  1 byte at offset 2
  to read   34 35  "45"  2 bytes at offset 3
  to read   the end of file
  to write  62  "b"  1 byte at offset 1
  to write  a shutdown"#,
        ),
        (
            script().read_error(ErrorKind::TimedOut).expect_until(b'\n').write_error(ErrorKind::BrokenPipe).reset(),
            &[],
            MismatchKind::LeftOver,
            r#"the script is not used up
  to read   an error: timed out
  to read   a reset
  to write  anything until "\n"
  to write  an error: broken pipe
  to write  a reset"#,
        ),
        (
            (0..11).fold(script(), |script, _| script.expect_shutdown()),
            &[],
            MismatchKind::LeftOver,
            r#"the script is not used up
  to write  a shutdown
  to write  a shutdown
  to write  a shutdown
  to write  a shutdown
  to write  a shutdown
  to write  a shutdown
  to write  a shutdown
  to write  a shutdown
            and 3 more"#,
        ),
    ];
    for (script, acts, kind, text) in table {
        let mut mocket = Mocket::scripted(script);
        let mut told = None;
        for act in acts {
            let outcome = match act {
                R(size) => mocket.read(&mut vec![0; *size]).map(drop),
                W(bytes) => mocket.write(bytes.as_bytes()).map(drop),
                ShutDown => mocket.shut_down_writing(),
            };
            told = outcome.err();
        }
        let mismatch = mocket.close().unwrap_err();
        assert_eq!((mismatch.kind(), mismatch.to_string().as_str()), (kind, text));
        assert_eq!(format!("{mismatch:?}"), text, "it is what `unwrap` prints");
        if kind != MismatchKind::LeftOver {
            let told = told.unwrap();
            assert_eq!((mismatch_in(&told), told.to_string().as_str()), (mismatch, text));
        }
    }
}

fn message_of(drops: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(drops)).unwrap_err();
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
        .unwrap()
}

#[test]
fn a_mocket_that_is_dropped_unverified_panics_with_what_is_left() {
    let mocket = Mocket::scripted(Script::new().provide("1"));
    let message = message_of(|| drop(mocket));
    assert_eq!(
        message,
        r#"a mocket was dropped unverified: the script is not used up
  to read   31  "1"  1 byte at offset 0"#
    );
    // Whatever happens after it was asked is to be asked for again.
    let mut mocket = Mocket::scripted(Script::new().expect("ab"));
    mocket.verify().unwrap_err();
    mocket.write_all(b"a").unwrap();
    assert!(message_of(|| drop(mocket)).contains("1 byte at offset 1"));
}

#[test]
fn a_mismatch_that_a_call_returned_does_not_panic_on_drop() {
    let mut writer = Mocket::scripted(Script::new());
    writer.write(b"a").unwrap_err();
    writer.provide("and this is never read");
    drop(writer);
    let mut reader = Mocket::scripted(Script::ordered().expect("a").provide("1"));
    reader.read(&mut [0]).unwrap_err();
    drop(reader);
    let mut shutter = Mocket::scripted(Script::new().expect("a"));
    shutter.shut_down_writing().unwrap_err();
    drop(shutter);
}

#[test]
fn a_drop_does_not_repeat_a_mismatch() {
    drop(Mocket::scripted(Script::new()));
    let mocket = Mocket::scripted(Script::new().provide("1"));
    mocket.verify().unwrap_err();
    drop(mocket);
    let mut mocket = Mocket::scripted(Script::new().provide("1"));
    mocket.read_exact(&mut [0]).unwrap();
    drop(mocket);
}

#[test]
fn a_mocket_that_is_dropped_while_unwinding_keeps_silent() {
    let message = message_of(|| {
        let _mocket = Mocket::scripted(Script::new().provide("1"));
        panic!("the first panic");
    });
    assert_eq!(message, "the first panic");
}

#[test]
fn with_a_handle_it_is_the_last_who_panics() {
    let mocket = Mocket::scripted(Script::new().provide("1"));
    let handle = mocket.handle();
    drop(mocket);
    handle.verify().unwrap_err();
    drop(handle);

    let mocket = Mocket::scripted(Script::new().provide("1"));
    let handle = mocket.handle();
    drop(mocket);
    assert!(message_of(|| drop(handle)).contains("1 byte at offset 0"));
}

#[test]
fn a_size_of_zero_is_refused_before_anything_is_opened() {
    for (name, options) in [
        ("max_read_size", MocketOptions::new().max_read_size(0)),
        ("max_write_size", MocketOptions::new().max_write_size(0)),
    ] {
        let refused = [
            options.scripted().err().unwrap(),
            options.make_pair_blocking::<TcpStream>().err().unwrap(),
            options.in_front_of(io::empty()).err().unwrap(),
        ];
        for error in refused {
            assert_eq!((error.step(), error.kind()), (Step::Options, ErrorKind::InvalidInput));
            assert_eq!(error.source().unwrap().to_string(), format!("{name} must be at least 1"));
        }
    }
}

#[test]
fn a_mocket_under_other_layers_keeps_its_script() {
    if !faces::a_pair_can_be_had() {
        return;
    }
    let script = Script::new().expect("GET /\n").then().provide("200\n").provide("body");
    let (mocket, mut peer) =
        MocketOptions::new().script(script).max_read_size(3).make_pair_blocking::<TcpStream>().unwrap();
    let handle = mocket.handle();
    let mut layered = BufReader::new(BufWriterBelow(BufWriter::new(mocket)));
    layered.get_mut().write_all(b"GET /").unwrap();
    layered.get_mut().write_all(b"\n").unwrap();
    layered.get_mut().flush().unwrap();
    let mut line = String::new();
    layered.read_line(&mut line).unwrap();
    assert_eq!(line, "200\n");
    peer.write_all(b" and more").unwrap();
    let mut rest = [0; 13];
    layered.read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"body and more");
    handle.verify().unwrap();
}

/// Reads past a writer's buffer, as a layer of one's own would.
struct BufWriterBelow<W: Write>(BufWriter<W>);

impl<W: Read + Write> Read for BufWriterBelow<W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.get_mut().read(buffer)
    }
}

impl<W: Write> Write for BufWriterBelow<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_mocket_shows_the_socket_behind_it_until_it_is_closed() {
    if !faces::a_pair_can_be_had() {
        return;
    }
    let (mut mocket, peer) = make_mocket_pair_blocking::<TcpStream>().unwrap();
    assert_eq!(mocket.get_ref().unwrap().peer_addr().unwrap(), peer.local_addr().unwrap());
    assert_eq!(mocket.as_raw_fd(), mocket.get_mut().unwrap().as_raw_fd());
    mocket.close().unwrap();
    assert!(mocket.get_ref().is_none() && mocket.get_mut().is_none());
    assert_eq!(mocket.as_raw_fd(), -1);
}

#[test]
fn a_mocket_can_be_sent_and_shared_where_its_socket_can() {
    fn can_be<T: Send + Sync + Unpin>() {}
    can_be::<Mocket<TcpStream>>();
    can_be::<Mocket<NoSocket>>();
    can_be::<ringpair::mocket::Handle>();
    can_be::<Script>();
    can_be::<Mismatch>();
}

#[cfg(feature = "tokio")]
mod in_tasks {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;
    use std::time::Duration;

    use ringpair::mocket::{MismatchKind, Mocket, MocketOptions, Script, make_mocket_pair};
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, split};
    use tokio::net::TcpStream;

    use super::mismatch_in;
    use crate::faces::tokio_runtime;

    /// What comes of a task that is about to be woken. On a clock that stands still, one that is not comes to this end at once.
    async fn woken<T>(task: tokio::task::JoinHandle<T>) -> T {
        tokio::time::timeout(Duration::from_secs(3600), task).await.expect("the task was not woken").unwrap()
    }

    #[test]
    fn a_read_waits_for_the_write_before_it() {
        tokio_runtime().block_on(async {
            let (mut reading, mut writing) =
                split(Mocket::scripted(Script::new().expect("ping").then().provide("pong")));
            let reader = tokio::spawn(async move {
                let mut read = [0; 4];
                reading.read_exact(&mut read).await.map(|_| read)
            });
            tokio::task::yield_now().await; // the reader waits by now
            writing.write_all(b"ping").await.unwrap();
            assert_eq!(&woken(reader).await.unwrap(), b"pong");
        });
    }

    #[test]
    fn a_waiting_read_is_woken_by_bytes_and_by_a_mismatch() {
        tokio_runtime().block_on(async {
            let (mut mocket, _peer) = make_mocket_pair::<TcpStream>().await.unwrap();
            let handle = mocket.handle();
            let reader = tokio::spawn(async move { mocket.read_u8().await.map(|byte| (byte, mocket)) });
            tokio::task::yield_now().await; // the reader waits at the socket by now
            handle.provide("1");
            let (byte, mocket) = woken(reader).await.unwrap();
            assert_eq!(byte, b'1');

            handle.play(Script::new().expect("a").then().provide("2"));
            let (mut reading, mut writing) = split(mocket);
            let reader = tokio::spawn(async move { reading.read_u8().await });
            tokio::task::yield_now().await;
            writing.write_all(b"b").await.unwrap_err();
            let told = mismatch_in(&woken(reader).await.unwrap_err());
            assert_eq!(handle.verify().unwrap_err(), told);
        });
    }

    /// Two halves of one task share its waker: neither may wake itself by asking.
    #[test]
    fn a_task_that_waits_at_the_socket_for_both_directions_sleeps() {
        tokio_runtime().block_on(async {
            let (mocket, peer) = make_mocket_pair::<TcpStream>().await.unwrap();
            let (mut reading, mut writing) = split(mocket);
            let polls = Cell::new(0);
            let full = [0; 1 << 16];
            let read = async { reading.read_u8().await };
            let write = async {
                loop {
                    writing.write_all(&full).await.unwrap();
                }
            };
            let (mut read, mut write) = (pin!(read), pin!(write));
            let both = poll_fn(|context| {
                polls.set(polls.get() + 1);
                assert!(polls.get() < 1000, "it wakes itself");
                let _: Poll<()> = write.as_mut().poll(context);
                read.as_mut().poll(context).map(drop)
            });
            // The peer reads nothing, so that the socket fills and nothing moves any more; then the clock does.
            tokio::time::timeout(Duration::from_secs(3600), both).await.unwrap_err();
            drop(peer);
        });
    }

    /// The patience is of the wall clock, so that it ends on a runtime without a clock too.
    #[test]
    fn a_read_whose_turn_never_comes_names_what_is_missing() {
        let script = Script::new().expect("ping").then().provide("pong");
        let options = MocketOptions::new().script(script).patience(Duration::from_millis(5));
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let mut mocket = options.scripted().unwrap();
            let mismatch = mismatch_in(&mocket.read_u8().await.unwrap_err());
            assert_eq!(mismatch.kind(), MismatchKind::ReadEarly);
            assert_eq!(mocket.close().unwrap_err(), mismatch);
        });
    }

    #[test]
    fn a_mocket_under_a_buffered_reader_keeps_its_script() {
        tokio_runtime().block_on(async {
            let script = Script::new().expect("GET /\n").then().provide("200\nbo").provide("dy");
            let options = MocketOptions::new().script(script).chunk_seed(7);
            let (mocket, mut peer) = options.make_pair::<TcpStream>().await.unwrap();
            let handle = mocket.handle();
            let mut buffered = BufReader::new(mocket);
            buffered.write_all(b"GET /\n").await.unwrap();
            let mut line = String::new();
            buffered.read_line(&mut line).await.unwrap();
            assert_eq!(line, "200\n");
            peer.write_all(b" and more").await.unwrap();
            let mut rest = [0; 13];
            buffered.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"body and more");
            handle.verify().unwrap();
        });
    }
}

#[cfg(feature = "tokio-uring")]
mod in_uring_tasks {
    use std::time::Duration;

    use futures_util::future::join;
    use ringpair::mocket::uring::UringStream;
    use ringpair::mocket::{Mocket, MocketOptions, Script, make_mocket_pair};
    use tokio_uring::buf::BoundedBuf;
    use tokio_uring::net::TcpStream;

    use crate::common::ring_is_there;

    fn run(body: impl Future<Output = ()>) {
        if ring_is_there() {
            tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap().block_on(body);
        }
    }

    #[test]
    fn a_read_waits_for_the_write_before_it() {
        run(async {
            let mut mocket = Mocket::scripted(Script::new().expect("ping").then().provide("pong"));
            let (read, written) = join(mocket.read(vec![0; 8]), mocket.write_all(b"ping".to_vec())).await;
            written.0.unwrap();
            assert_eq!((read.0.unwrap(), &read.1[..4]), (4, &b"pong"[..]));
            mocket.close().unwrap();
        });
    }

    #[test]
    fn a_read_whose_turn_never_comes_fails_in_the_end() {
        run(async {
            let script = Script::new().expect("ping").then().provide("pong");
            let options = MocketOptions::new().script(script).patience(Duration::from_millis(5));
            let mut mocket = options.scripted().unwrap();
            let (read, _) = mocket.read(vec![0; 8]).await;
            assert!(read.unwrap_err().to_string().contains("this is to be written first"));
            mocket.close().unwrap_err();
        });
    }

    /// Code that reads and writes parts of its buffers gets them back as they were, with the bytes where they belong.
    #[test]
    fn slices_of_buffers_come_back_as_slices() {
        run(async {
            let (mocket, peer) = make_mocket_pair::<TcpStream>().await.unwrap();
            mocket.provide("scripted").expect("cde");
            for (sent, expected) in [(&b""[..], &b"..scri.."[..]), (b"", b"..pted.."), (b"sent", b"..sent..")] {
                peer.write_all(sent.to_vec()).await.0.unwrap();
                let (read, slice) = mocket.read(b"........".to_vec().slice(2..6)).await;
                assert_eq!((read.unwrap(), slice.begin(), slice.end()), (4, 2, 6));
                assert_eq!(slice.into_inner(), expected);
            }
            for _ in 0..2 {
                let (written, slice) = mocket.write(b"abcdefgh".to_vec().slice(2..5)).await;
                assert_eq!((written.unwrap(), slice.begin(), slice.end()), (3, 2, 5));
                let (written, slice) = mocket.write_all(b"abcdefgh".to_vec().slice(5..7)).await;
                written.unwrap();
                assert_eq!((slice.begin(), slice.end(), slice.into_inner()), (5, 7, b"abcdefgh".to_vec()));
            }
            let (read, bytes) = peer.read(vec![0; 16]).await;
            assert_eq!(&bytes[..read.unwrap()], b"fgcdefg");
        });
    }
}
