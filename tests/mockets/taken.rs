//! `coalesce`, and what `expect_anything` and `expect_until` take.

use std::io::ErrorKind;
use std::time::Duration;

use ringpair::mocket::{MismatchKind, MocketOptions, Script};

use crate::faces::{Face, Scripted, Stream, on_every_face};
use crate::kind_in;

fn options(script: Script) -> MocketOptions {
    MocketOptions::new().script(script).patience(Duration::ZERO)
}

async fn provides_are_joined_on_request<F: Face>() {
    let script = Script::new().coalesce().provide("12").provide("3").provide("45");
    let mut mocket = F::alone(&options(script.clone()));
    assert_eq!(mocket.read(4).await.unwrap(), b"1234");
    assert_eq!(mocket.read(4).await.unwrap(), b"5");
    mocket.close().unwrap();

    let mut short = F::alone(&options(script).max_read_size(3));
    assert_eq!(short.read(9).await.unwrap(), b"123");
    assert_eq!(short.read(9).await.unwrap(), b"45");
    short.close().unwrap();
}

async fn joining_ends_where_the_script_says_so<F: Face>() {
    let late = Duration::from_millis(1);
    let script = Script::new().coalesce().provide("1").delay(late).provide("2").read_error(ErrorKind::TimedOut);
    let mut mocket = F::alone(&options(script.provide("3").end_of_file().then().expect("a").then().provide("4")));
    assert_eq!(mocket.read(9).await.unwrap(), b"1");
    assert_eq!(mocket.read(9).await.unwrap(), b"2");
    assert_eq!(mocket.read(9).await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(mocket.read(9).await.unwrap(), b"3");
    assert_eq!(mocket.read(9).await.unwrap(), b"");
    mocket.write_all(b"a").await.unwrap();
    assert_eq!(mocket.read(9).await.unwrap(), b"4");
    mocket.close().unwrap();

    let mut ordered =
        F::alone(&options(Script::ordered().coalesce().provide("1").provide("2").expect("a").provide("3")));
    assert_eq!(ordered.read(9).await.unwrap(), b"12");
    ordered.write_all(b"a").await.unwrap();
    assert_eq!(ordered.read(9).await.unwrap(), b"3");
    ordered.close().unwrap();
}

async fn what_was_taken_can_be_looked_at_afterwards<F: Face>() {
    let script = Script::new().expect("nonce=").expect_until(b';').expect_anything().expect_shutdown();
    let mut mocket = F::alone(&options(script).max_write_size(3));
    assert_eq!(mocket.handle().verify().unwrap_err().kind(), MismatchKind::LeftOver);
    mocket.write_all(b"nonce=84;body").await.unwrap();
    assert_eq!(mocket.handle().written(), b"nonce=84;body");
    mocket.write_all(b" and more").await.unwrap();
    mocket.shut_down().await.unwrap();
    mocket.close().unwrap();
    assert_eq!(mocket.handle().written(), b"nonce=84;body and more");
}

async fn anything_may_be_nothing_and_has_its_turn<F: Face>() {
    F::alone(&options(Script::new().expect_anything())).close().unwrap();

    let mut early = F::alone(&options(Script::ordered().provide("1").expect_anything()));
    assert_eq!(kind_in(&early.write(b"a").await.unwrap_err()), MismatchKind::WrittenEarly);

    let mut reads_on = F::alone(&options(Script::ordered().expect_anything().provide("1")));
    assert_eq!(reads_on.read(9).await.unwrap(), b"1");
    reads_on.write_all(b"a").await.unwrap();
    reads_on.shut_down().await.unwrap();
    reads_on.close().unwrap();

    let (mut in_front, mut peer) = F::pair(&options(Script::new().expect_anything())).await;
    in_front.write_all(b"kept").await.unwrap();
    in_front.shut_down().await.unwrap();
    assert_eq!(peer.read(9).await.unwrap(), b"");
    assert_eq!(in_front.handle().written(), b"kept");
    in_front.close().unwrap();
}

/// Code that changes its mind after a short write is held to what it offers then.
async fn a_changed_offer_is_compared_again<F: Face>() {
    let mut changed = F::alone(&options(Script::new().expect("abcd")).max_write_size(1));
    assert_eq!(changed.write(b"abcd").await.unwrap(), 1);
    let mismatch = crate::mismatch_in(&changed.write(b"xcd").await.unwrap_err());
    assert_eq!((mismatch.kind(), mismatch.offset()), (MismatchKind::Different, 1));

    let script = Script::new().expect_until(b'.').expect("ef").expect_until(b'.').expect("!");
    let mut sooner = F::alone(&options(script.clone()).max_write_size(1));
    assert_eq!(sooner.write(b"abcd.ef.!").await.unwrap(), 1);
    sooner.write_all(b".efx.!").await.unwrap();
    sooner.close().unwrap();

    let mut at_once = F::alone(&options(Script::new().expect_until(b'.').expect("ab")).max_write_size(1));
    assert_eq!(at_once.write(b"xx.ab").await.unwrap(), 1);
    assert_eq!(at_once.write(b".ab?").await.unwrap(), 1);
    assert_eq!(kind_in(&at_once.write(b"ab?").await.unwrap_err()), MismatchKind::TooLong);

    let in_turn = Script::new().expect_until(b'.').then().provide("1").then().expect("ab");
    let mut in_turn = F::alone(&options(in_turn).max_write_size(2));
    assert_eq!(in_turn.write(b"xxx.").await.unwrap(), 2);
    assert_eq!(in_turn.write(b".a").await.unwrap(), 1);
    assert_eq!(kind_in(&in_turn.write(b"a").await.unwrap_err()), MismatchKind::WrittenEarly);

    let mut later = F::alone(&options(script).max_write_size(2));
    assert_eq!(later.write(b"abc.ef.!").await.unwrap(), 2);
    later.write_all(b"cdef.ef..").await.unwrap_err();
    later.close().unwrap_err();
}

on_every_face!(
    provides_are_joined_on_request,
    joining_ends_where_the_script_says_so,
    what_was_taken_can_be_looked_at_afterwards,
    anything_may_be_nothing_and_has_its_turn,
    a_changed_offer_is_compared_again,
);
