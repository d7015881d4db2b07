//! Scripts from arbitrary bytes, and code that plays them. Shared by tests/scripts.rs and the fuzz target.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic fails the test

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;
use std::time::Duration;

use ringpair::mocket::{Mismatch, MismatchKind, Script, Turn};

/// A source of choices. After its end, all choices are 0.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(24)).map(|_| self.byte() % 4).collect() // few values, so that wrong bytes often match at first
    }
}

/// A step of one direction, and how many `then`s come before it.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Bytes(VecDeque<u8>),
    Until(u8),
    End,
    Fails,
    Reset,
}

/// A script, and a second description of what it does.
#[derive(Clone, Default)]
struct Play {
    script: Script,
    reads: VecDeque<(usize, Step)>,
    writes: VecDeque<(usize, Step)>,
    provided: Vec<u8>,
    part: usize,
    /// Each step waits for the one before.
    is_ordered: bool,
    /// A read may take bytes of several steps.
    coalesces: bool,
    /// Steps after the end of a direction are unreachable, so none is added.
    writes_have_ended: bool,
    was_reset: bool,
}

impl Play {
    fn from_choices(choices: &mut Choices<'_>) -> Play {
        let mut play = Play::default();
        if choices.byte() % 4 == 3 {
            play.is_ordered = true;
            play.script = Script::ordered();
        }
        if choices.byte() % 4 == 3 {
            play.coalesces = true;
            play.script = play.script.coalesce();
        }
        for _ in 0..choices.below(16) {
            play.add_one(choices);
        }
        if choices.byte() % 2 == 1 {
            play.script = play.script.passing_through();
        }
        play
    }

    fn add_one(&mut self, choices: &mut Choices<'_>) {
        let choice = choices.below(12);
        let writes = matches!(choice, 2..=4 | 8..=11);
        if self.was_reset || (self.writes_have_ended && writes) {
            return;
        }
        self.part += usize::from(self.is_ordered);
        let mut script = std::mem::take(&mut self.script);
        script = match choice {
            0 | 1 => {
                let bytes = choices.bytes();
                if !bytes.is_empty() {
                    self.provided.extend(&bytes);
                    self.reads.push_back((self.part, Step::Bytes(bytes.iter().copied().collect())));
                }
                script.provide(bytes)
            }
            2 | 3 => {
                let bytes = choices.bytes();
                if !bytes.is_empty() {
                    self.writes.push_back((self.part, Step::Bytes(bytes.iter().copied().collect())));
                }
                script.expect(bytes)
            }
            4 => {
                let byte = choices.byte() % 4;
                self.writes.push_back((self.part, Step::Until(byte)));
                script.expect_until(byte)
            }
            5 | 6 => {
                self.part += 1;
                script.then()
            }
            7 => {
                self.reads.push_back((self.part, Step::End));
                script.end_of_file()
            }
            8 => {
                self.writes.push_back((self.part, Step::End));
                self.writes_have_ended = true;
                script.expect_shutdown()
            }
            9 if choices.byte() % 2 == 0 => {
                self.reads.push_back((self.part, Step::Fails));
                script.read_error(ErrorKind::TimedOut)
            }
            9 => {
                self.writes.push_back((self.part, Step::Fails));
                script.write_error(ErrorKind::TimedOut)
            }
            10 => {
                self.reads.push_back((self.part + 1, Step::Reset));
                self.writes.push_back((self.part + 1, Step::Reset));
                self.part += 2;
                self.was_reset = true;
                script.reset()
            }
            _ if choices.byte() % 2 == 0 => script.delay(Duration::MAX),
            _ => script.write_delay(Duration::MAX),
        };
        self.script = script;
    }

    fn with_sizes(mut self, choices: &mut Choices<'_>) -> Play {
        if let Some(size) = NonZeroUsize::new(choices.below(5)) {
            self.script = self.script.max_read_size(size);
        }
        if let Some(size) = NonZeroUsize::new(choices.below(5)) {
            self.script = self.script.max_write_size(size);
        }
        if choices.byte() % 2 == 1 {
            self.script = self.script.chunk_seed(choices.byte().into());
        }
        self
    }

    /// Removes bytes from the next read steps, whose turn it must be.
    fn has_read(&mut self, mut size: usize) {
        while size > 0 {
            assert!(Play::part_of(&self.reads) <= Play::part_of(&self.writes));
            let Some((_, Step::Bytes(bytes))) = self.reads.front_mut() else {
                panic!("{size} bytes too many were read")
            };
            let some = size.min(bytes.len());
            bytes.drain(..some);
            size -= some;
            if bytes.is_empty() {
                self.reads.pop_front();
            }
        }
    }

    fn is_through(&self) -> bool {
        self.reads.is_empty() && self.writes.is_empty()
    }

    fn part_of(steps: &VecDeque<(usize, Step)>) -> usize {
        steps.front().map_or(usize::MAX, |(part, _)| *part)
    }
}

/// Code that follows the script, with any sizes of calls, reads the provided bytes in order. The script is used up after its
/// last step, and not earlier.
pub(crate) fn code_that_follows_a_script_uses_it_up(data: &[u8]) {
    let choices = &mut Choices(data);
    let mut play = Play::from_choices(choices).with_sizes(choices);
    let mut got = Vec::new();
    let mut turns = 0;
    while !play.is_through() {
        turns += 1;
        assert!(turns < 10_000, "nothing goes on");
        assert_eq!(play.script.verify().unwrap_err().kind(), MismatchKind::LeftOver);
        let reads_first = choices.byte() % 2 == 0;
        if reads_first {
            read_some(&mut play, choices, &mut got);
            write_some(&mut play, choices);
        } else {
            write_some(&mut play, choices);
            read_some(&mut play, choices, &mut got);
        }
    }
    assert_eq!(got, play.provided);
    play.script.verify().unwrap();
}

fn read_some(play: &mut Play, choices: &mut Choices<'_>, got: &mut Vec<u8>) {
    let mut buffer = vec![0xff; 1 + choices.below(32)];
    let is_early = !play.reads.is_empty() && Play::part_of(&play.reads) > Play::part_of(&play.writes);
    let turn = play.script.read(&mut buffer);
    assert_eq!(is_early, matches!(turn, Turn::NotYet), "{turn:?}");
    match (turn, play.reads.front_mut()) {
        (Turn::NotYet, Some(_)) | (Turn::EndOfFile | Turn::PassThrough { .. }, None) => {}
        (Turn::Wait(late), _) => {
            assert_eq!(late, Duration::MAX);
            play.script.read_delay_is_over();
        }
        (Turn::Moved(size), Some((_, Step::Bytes(bytes)))) => {
            assert!(size > 0 && (size <= bytes.len() || play.coalesces) && size <= buffer.len());
            got.extend(&buffer[..size]);
            play.has_read(size);
        }
        (Turn::EndOfFile, Some((_, Step::End))) => drop(play.reads.pop_front()),
        (Turn::Fails(error), Some((_, Step::Fails))) => {
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            play.reads.pop_front();
        }
        (Turn::Fails(error), Some((_, Step::Reset))) => be_reset(play, &error),
        (turn, step) => panic!("{turn:?} instead of reading {step:?}"),
    }
}

fn be_reset(play: &mut Play, error: &io::Error) {
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let both = (play.reads.pop_front().unwrap().1, play.writes.pop_front().unwrap().1);
    assert_eq!(both, (Step::Reset, Step::Reset));
}

fn write_some(play: &mut Play, choices: &mut Choices<'_>) {
    let is_early = Play::part_of(&play.writes) > Play::part_of(&play.reads);
    let offered: Vec<u8> = match play.writes.front() {
        None => return,
        Some(_) if is_early => return,
        Some((_, Step::Bytes(bytes))) => bytes.iter().copied().take(1 + choices.below(32)).collect(),
        Some((_, Step::Until(byte))) if choices.byte() % 2 == 0 => vec![*byte],
        Some((_, Step::Until(byte))) => vec![byte ^ 1; 3],
        Some((_, Step::End)) => {
            return match play.script.shutdown() {
                Turn::Wait(_) => play.script.write_delay_is_over(),
                turn => {
                    assert!(matches!(turn, Turn::Moved(0)), "{turn:?}");
                    play.writes.pop_front();
                }
            };
        }
        Some((_, Step::Fails | Step::Reset)) => vec![0],
    };
    match (play.script.write(&offered), play.writes.front_mut()) {
        (Turn::Wait(_), _) => play.script.write_delay_is_over(),
        (Turn::Moved(size), Some((_, Step::Bytes(bytes)))) => {
            assert!(size > 0 && size <= offered.len());
            bytes.drain(..size);
            if bytes.is_empty() {
                play.writes.pop_front();
            }
        }
        (Turn::Moved(size), Some((_, Step::Until(byte)))) => {
            assert!(size > 0 && size <= offered.len());
            if offered[..size].contains(byte) {
                play.writes.pop_front();
            }
        }
        (Turn::Fails(error), Some((_, Step::Fails))) => {
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            play.writes.pop_front();
        }
        (Turn::Fails(error), Some((_, Step::Reset))) => be_reset(play, &error),
        (turn, step) => panic!("{turn:?} instead of writing {step:?}"),
    }
}

/// Arbitrary code gets only provided bytes, once and in order. After it diverges, every call returns the same mismatch, with its
/// position.
pub(crate) fn code_that_diverges_gets_the_same_mismatch_afterwards(data: &[u8]) {
    let choices = &mut Choices(data);
    let mut play = Play::from_choices(choices).with_sizes(choices);
    let (mut got, mut written) = (Vec::new(), 0);
    let mut parted: Option<Mismatch> = None;
    for _ in 0..choices.below(64) {
        let mut buffer = vec![0xff; choices.below(32)];
        let (is_write, turn) = match choices.below(8) {
            0..3 => (false, play.script.read(&mut buffer)),
            3..6 => {
                buffer.iter_mut().for_each(|byte| *byte = choices.byte() % 4);
                (true, play.script.write(&buffer))
            }
            6 => (true, play.script.shutdown()),
            _ => {
                play.add_one(choices);
                continue;
            }
        };
        let told = mismatch_in(&turn);
        assert!(parted.is_none() || told == parted || buffer.is_empty(), "{turn:?} after {parted:?}");
        match turn {
            Turn::Moved(size) if is_write => written += size,
            Turn::Moved(size) => got.extend(&buffer[..size]),
            Turn::Wait(_) if is_write => play.script.write_delay_is_over(),
            Turn::Wait(_) => play.script.read_delay_is_over(),
            Turn::PassThrough { at_most } => assert!(at_most > 0),
            Turn::NotYet => assert!(!is_write),
            Turn::EndOfFile | Turn::Fails(_) => {}
        }
        parted = parted.or(told);
        assert!(play.provided.starts_with(&got));
    }
    match (parted, play.script.verify()) {
        (Some(parted), verdict) => {
            assert_eq!(verdict, Err(parted.clone()));
            let offset = usize::try_from(parted.offset()).unwrap();
            assert!(offset >= written, "{offset} is before the {written} bytes that were taken: {parted}");
        }
        (None, Ok(())) => assert_eq!(got, play.provided),
        (None, Err(left)) => assert_eq!(left.kind(), MismatchKind::LeftOver),
    }
}

/// A short write compares ahead. This never accepts a wrong byte or refuses a right one, even if the next write offers other
/// bytes.
pub(crate) fn an_offer_that_changes_is_compared_again(data: &[u8]) {
    let choices = &mut Choices(data);
    let mut script = Script::new();
    for _ in 0..choices.below(12) {
        script = match choices.below(3) {
            0 => script.expect_until(choices.byte() % 2),
            _ => script.expect([choices.byte() % 2, choices.byte() % 2].split_at(1 + choices.below(2)).0),
        };
    }
    let mut fresh = script.clone(); // takes each write whole, so it never compares ahead
    let mut short = script.max_write_size(NonZeroUsize::MIN.saturating_add(choices.below(3)));
    for _ in 0..choices.below(64) {
        let offer: Vec<u8> = (0..=choices.below(8)).map(|_| choices.byte() % 2).collect();
        let is_right = matches!(fresh.clone().write(&offer), Turn::Moved(_));
        match short.write(&offer) {
            Turn::Moved(size) => assert!(matches!(fresh.write(&offer[..size]), Turn::Moved(all) if all == size)),
            turn => {
                assert!(!is_right && mismatch_in(&turn).is_some(), "{turn:?}");
                return;
            }
        }
        assert_eq!(short.verify(), fresh.verify());
    }
}

fn mismatch_in(turn: &Turn) -> Option<Mismatch> {
    let Turn::Fails(error) = turn else { return None };
    error.get_ref()?.downcast_ref().cloned()
}

/// The same calls have the same result, however few bytes each transfer moves.
pub(crate) fn the_verdict_does_not_depend_on_split_points(data: &[u8]) {
    let choices = &mut Choices(data);
    let play = Play::from_choices(choices);
    let calls: Vec<(usize, Vec<u8>)> = (0..choices.below(24)).map(|_| (choices.below(4), choices.bytes())).collect();
    let whole = outcome(play.clone(), &calls);
    let cut = outcome(play.with_sizes(choices), &calls);
    assert_eq!(whole, cut);
}

/// Returns the result of each call, and the rest of the script: whole writes, and reads that fill their buffer.
fn outcome(mut play: Play, calls: &[(usize, Vec<u8>)]) -> (Vec<String>, Result<(), Mismatch>) {
    let mut told = Vec::new();
    for (way, bytes) in calls {
        told.push(match way {
            0 => format!("{:?}", all(bytes.len(), |done| play_write(&mut play.script, &bytes[done..]))),
            1 => format!("{:?}", play_shutdown(&mut play.script)),
            _ => {
                let mut read = vec![0; bytes.len()];
                let outcome = all(bytes.len(), |done| play_read(&mut play.script, &mut read[done..]));
                format!("{outcome:?} {read:?}")
            }
        });
    }
    (told, play.script.verify())
}

/// Moves as many bytes as possible. Returns how many, and why it ended.
fn all(size: usize, mut some: impl FnMut(usize) -> Result<usize, String>) -> (usize, String) {
    let mut done = 0;
    while done < size {
        match some(done) {
            Ok(moved) => done += moved,
            Err(end) => return (done, end),
        }
    }
    (done, String::new())
}

fn play_read(script: &mut Script, buffer: &mut [u8]) -> Result<usize, String> {
    match script.read(buffer) {
        Turn::Wait(_) => {
            script.read_delay_is_over();
            Ok(0)
        }
        turn => moved(turn),
    }
}

fn play_write(script: &mut Script, bytes: &[u8]) -> Result<usize, String> {
    match script.write(bytes) {
        Turn::Wait(_) => {
            script.write_delay_is_over();
            Ok(0)
        }
        turn => moved(turn),
    }
}

fn play_shutdown(script: &mut Script) -> Result<usize, String> {
    loop {
        match script.shutdown() {
            Turn::Wait(_) => script.write_delay_is_over(),
            turn => return moved(turn),
        }
    }
}

/// A pass-through transfer ends the play: the socket handles it, not the script.
fn moved(turn: Turn) -> Result<usize, String> {
    match turn {
        Turn::Moved(size) => Ok(size),
        Turn::PassThrough { .. } => Err("passes through".to_owned()),
        turn => Err(format!("{turn:?}")),
    }
}
