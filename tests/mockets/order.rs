//! `Script::ordered`, and steps that come after the end of a direction.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use nix::errno::Errno;
use ringpair::mocket::{MismatchKind, Mocket, MocketOptions, Script};

use crate::faces::{Face, Scripted, Stream, on_every_face};
use crate::kind_in;

fn impatient(script: Script) -> MocketOptions {
    MocketOptions::new().script(script).patience(Duration::ZERO)
}

async fn each_step_of_an_ordered_script_waits_for_the_last<F: Face>() {
    let script = Script::ordered().expect("a").provide("1").provide("2").expect("b").expect("c").provide("3");
    let mut in_order = F::alone(&impatient(script.clone()));
    in_order.write_all(b"a").await.unwrap();
    assert_eq!(in_order.read_exactly(2).await.unwrap(), b"12");
    in_order.write_all(b"bc").await.unwrap();
    assert_eq!(in_order.read(9).await.unwrap(), b"3");
    in_order.close().unwrap();

    let mut reads_early = F::alone(&impatient(script.clone()));
    assert_eq!(kind_in(&reads_early.read(9).await.unwrap_err()), MismatchKind::ReadEarly);

    let mut writes_early = F::alone(&impatient(script.clone()));
    writes_early.write_all(b"a").await.unwrap();
    writes_early.read(1).await.unwrap();
    assert_eq!(kind_in(&writes_early.write(b"b").await.unwrap_err()), MismatchKind::WrittenEarly);

    let mut writes_on = F::alone(&impatient(script));
    assert_eq!(kind_in(&writes_on.write(b"ab").await.unwrap_err()), MismatchKind::WrittenEarly);
}

async fn what_is_added_to_an_ordered_script_comes_after_it<F: Face>() {
    let mut mocket = F::alone(&impatient(Script::ordered().expect("a")));
    mocket.handle().provide("1").expect("b");
    mocket.write_all(b"a").await.unwrap();
    assert_eq!(kind_in(&mocket.write(b"b").await.unwrap_err()), MismatchKind::WrittenEarly);
}

/// Without order, code that reads before it writes gets the answer to a question that it has not asked.
#[test]
fn an_unordered_script_lets_a_read_pass() {
    let mut mocket = Mocket::scripted(Script::new().expect("ping").provide("pong"));
    assert_eq!(mocket.read(&mut [0; 8]).unwrap(), 4);
    mocket.write_all(b"ping").unwrap();
}

/// A reset and a delay belong to one turn in an ordered script, too.
async fn an_ordered_script_has_resets_and_delays<F: Face>() {
    let late = Duration::from_millis(1);
    let script = Script::ordered().delay(late).provide("1").write_delay(late).expect("a").reset();
    let mut writer = F::alone(&impatient(script.clone()));
    assert_eq!(writer.read(9).await.unwrap(), b"1");
    writer.write_all(b"a").await.unwrap();
    assert_eq!(writer.write(b"b").await.unwrap_err().raw_os_error(), Some(Errno::ECONNRESET as i32));
    writer.close().unwrap();

    let mut reader = F::alone(&impatient(script));
    assert_eq!(reader.read(9).await.unwrap(), b"1");
    reader.write_all(b"a").await.unwrap();
    assert_eq!(reader.read(9).await.unwrap_err().raw_os_error(), Some(Errno::ECONNRESET as i32));
    reader.close().unwrap();
}

async fn after_a_reset_no_step_has_its_turn<F: Face>() {
    let mut mocket = F::alone(&impatient(Script::new().reset().provide("1").expect("a").expect_shutdown()));
    assert_eq!(mocket.read(1).await.unwrap_err().raw_os_error(), Some(Errno::ECONNRESET as i32));
    for _ in 0..2 {
        assert_eq!(mocket.read(1).await.unwrap(), b"");
        assert_eq!(mocket.write(b"a").await.unwrap_err().raw_os_error(), Some(Errno::EPIPE as i32));
        assert_eq!(mocket.shut_down().await.unwrap_err().raw_os_error(), Some(Errno::ENOTCONN as i32));
    }
    let left = mocket.close().unwrap_err();
    assert_eq!((left.kind(), left.to_string().lines().count()), (MismatchKind::LeftOver, 4));
}

async fn after_a_shutdown_no_write_has_its_turn<F: Face>() {
    let script = Script::new().expect_shutdown().expect("a").write_error(ErrorKind::TimedOut).provide("1");
    let mut mocket = F::alone(&impatient(script));
    mocket.shut_down().await.unwrap();
    for _ in 0..2 {
        assert_eq!(mocket.write(b"a").await.unwrap_err().raw_os_error(), Some(Errno::EPIPE as i32));
    }
    assert_eq!(mocket.read(9).await.unwrap(), b"1");
    assert_eq!(mocket.close().unwrap_err().to_string().lines().count(), 3);
}

on_every_face!(
    each_step_of_an_ordered_script_waits_for_the_last,
    what_is_added_to_an_ordered_script_comes_after_it,
    an_ordered_script_has_resets_and_delays,
    after_a_reset_no_step_has_its_turn,
    after_a_shutdown_no_write_has_its_turn,
);
