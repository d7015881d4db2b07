//! Every row of the table in `src/mocket/from_tokio_test.md`: the same code against both mocks comes to the same.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ringpair::mocket::{Handle, Mocket, NoSocket, Script};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_test::io::{Builder, Handle as TheirHandle, Mock};

use crate::faces::tokio_runtime;

const TABLE: &str = include_str!("../../src/mocket/from_tokio_test.md");

/// What the code under test does.
enum Act {
    Read,
    Write(&'static [u8]),
}
use Act::{Read, Write};

/// What came of each act, and when.
async fn transcript(mut stream: impl AsyncRead + AsyncWrite + Unpin, acts: &[Act]) -> Vec<String> {
    let begin = Instant::now();
    let mut told = Vec::new();
    for act in acts {
        let outcome = match act {
            Read => {
                let mut bytes = vec![0; 16];
                let read = stream.read(&mut bytes).await;
                read.map(|size| bytes[..size].escape_ascii().to_string())
            }
            Write(bytes) => stream.write_all(bytes).await.map(|()| "written".to_owned()),
        };
        let outcome = outcome.unwrap_or_else(|error| error.kind().to_string());
        told.push(format!("{outcome} after {:?}", begin.elapsed()));
    }
    told
}

/// Whether it panics when it is dropped.
fn panics(drops: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(drops)).is_err()
}

/// The rows that were run, without white space: stringify! has its own.
type Rows = RefCell<Vec<String>>;

fn compact(text: &str) -> String {
    text.split_whitespace().collect()
}

fn note(rows: &Rows, theirs: &str, ours: &str) {
    rows.borrow_mut().push(compact(&format!("| `{theirs}` | `{ours}` |")));
}

async fn same(theirs: Mock, ours: Mocket<NoSocket>, acts: &[Act], expected: &[&str]) {
    assert_eq!(transcript(theirs, acts).await, expected);
    assert_eq!(transcript(ours, acts).await, expected);
}

macro_rules! step {
    ($rows:expr, [$($theirs:tt)*], [$($ours:tt)*], $acts:expr, $expected:expr) => {
        note($rows, stringify!($($theirs)*), stringify!($($ours)*));
        let theirs = Builder::new() $($theirs)* .build();
        same(theirs, Mocket::scripted(Script::ordered() $($ours)*), &$acts, &$expected).await;
    };
}

macro_rules! by_handle {
    ($rows:expr, [$($theirs:tt)*], [$($ours:tt)*], $acts:expr, $expected:expr) => {
        note($rows, concat!("handle", stringify!($($theirs)*)), concat!("handle", stringify!($($ours)*)));
        let (theirs, mut handle): (Mock, TheirHandle) = Builder::new().build_with_handle();
        handle $($theirs)*;
        let (ours, handle): (Mocket<NoSocket>, Handle) = Mocket::scripted_with_handle(Script::ordered());
        handle $($ours)*;
        same(theirs, ours, &$acts, &$expected).await;
    };
}

async fn every_step(rows: &Rows) {
    note(rows, "Builder::new()", "Script::ordered()");
    step!(rows, [.read(b"hi")], [.provide(b"hi")], [Read, Read], ["hi after 0ns", " after 0ns"]);
    step!(rows, [.write(b"hi")], [.expect(b"hi")], [Write(b"hi")], ["written after 0ns"]);
    let refused = ["timed out after 0ns"];
    step!(rows, [.read_error(ErrorKind::TimedOut.into())], [.read_error(ErrorKind::TimedOut)], [Read], refused);
    step!(rows, [.write_error(ErrorKind::TimedOut.into())], [.write_error(ErrorKind::TimedOut)], [Write(b"hi")], refused);
    // Their waits are of tokio's clock, which stands still here; ours, of the wall clock.
    let late = Duration::from_millis(2);
    note(rows, ".wait(late).read(b\"hi\")", ".delay(late).provide(b\"hi\")");
    let theirs = Builder::new().wait(late).read(b"hi").build();
    let ours = Mocket::scripted(Script::ordered().delay(late).provide(b"hi"));
    let acts = [Read];
    assert!(transcript(theirs, &acts).await[0].starts_with("hi after "));
    assert_eq!(transcript(ours, &acts).await, ["hi after 0ns"]);
    note(rows, ".wait(late).write(b\"hi\")", ".write_delay(late).expect(b\"hi\")");
    let theirs = Builder::new().wait(late).write(b"hi").build();
    let ours = Mocket::scripted(Script::ordered().write_delay(late).expect(b"hi"));
    let acts = [Write(b"hi")];
    assert!(transcript(theirs, &acts).await[0].starts_with("written after "));
    assert_eq!(transcript(ours, &acts).await, ["written after 0ns"]);
}

async fn every_call_of_a_handle(rows: &Rows) {
    by_handle!(rows, [.read(b"hi")], [.provide(b"hi")], [Read], ["hi after 0ns"]);
    by_handle!(rows, [.write(b"hi")], [.expect(b"hi")], [Write(b"hi")], ["written after 0ns"]);
    let refused = ["timed out after 0ns"];
    by_handle!(
        rows,
        [.read_error(ErrorKind::TimedOut.into())],
        [.play(Script::new().read_error(ErrorKind::TimedOut))],
        [Read],
        refused
    );
    by_handle!(
        rows,
        [.write_error(ErrorKind::TimedOut.into())],
        [.play(Script::new().write_error(ErrorKind::TimedOut))],
        [Write(b"hi")],
        refused
    );
}

/// The conversation that both are made for: the order is that of the steps.
async fn a_conversation(rows: &Rows) {
    note(rows, "builder.build()", "Mocket::scripted(script)");
    let theirs = Builder::new().read(b"220").write(b"HELO").read(b"250").build();
    let ours = Mocket::scripted(Script::ordered().provide(b"220").expect(b"HELO").provide(b"250"));
    let expected = ["220 after 0ns", "written after 0ns", "250 after 0ns", " after 0ns"];
    same(theirs, ours, &[Read, Write(b"HELO"), Read, Read], &expected).await;
}

/// Reads wait for a handle, and come to the end of file when it is gone.
async fn held_open(rows: &Rows) {
    note(rows, "builder.build_with_handle()", "Mocket::scripted_with_handle(script)");
    let (theirs, mut their_handle) = Builder::new().build_with_handle();
    let (ours, our_handle) = Mocket::scripted_with_handle(Script::ordered());
    let acts = [Read, Read];
    let handles = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        their_handle.read(b"late");
        our_handle.provide(b"late");
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop((their_handle, our_handle));
    };
    let (theirs, ours, ()) = tokio::join!(transcript(theirs, &acts), transcript(ours, &acts), handles);
    assert_eq!(ours.len(), 2);
    for told in [theirs, ours] {
        assert!(told[0].starts_with("late after 1") && told[1].starts_with(" after 2"), "{told:?}");
    }
}

fn dropping(rows: &Rows) {
    note(rows, "drop(mock)", "drop(mocket)");
    assert!(panics(|| drop(Builder::new().read(b"hi").build())));
    assert!(panics(|| drop(Mocket::scripted(Script::ordered().provide(b"hi")))));
    assert!(panics(|| drop(Builder::new().write(b"hi").build())));
    assert!(panics(|| drop(Mocket::scripted(Script::ordered().expect(b"hi")))));
}

#[test]
fn every_row_of_the_migration_table_holds() {
    let rows = Rows::default();
    tokio_runtime().block_on(async {
        every_step(&rows).await;
        a_conversation(&rows).await;
        held_open(&rows).await;
        every_call_of_a_handle(&rows).await;
    });
    dropping(&rows);
    let documented: Vec<String> =
        TABLE.lines().filter(|line| line.starts_with("| `") && !line.contains("tokio_test")).map(compact).collect();
    let (mut documented, mut run) = (documented, rows.into_inner());
    documented.sort();
    run.sort();
    assert_eq!(run, documented);
}
