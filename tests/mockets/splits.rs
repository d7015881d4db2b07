//! `Splits`: every way to cut some bytes, once.

use std::collections::BTreeSet;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ringpair::mocket::{Mocket, Splits};

#[test]
fn every_split_point_comes_once_and_in_order() {
    let all: Vec<String> = Splits::of(b"abcd").map(|split| split.to_string()).collect();
    assert_eq!(all, [r#""abcd""#, r#""a" "bcd""#, r#""ab" "cd""#, r#""abc" "d""#]);
    assert_eq!(Splits::of(&[7; 100]).run(|split| assert_eq!(split.pieces().concat(), [7; 100])), 100);
}

#[test]
fn bytes_that_cannot_be_cut_are_whole() {
    for bytes in ["", "a"] {
        let all: Vec<String> = Splits::of(bytes).cuts(9).map(|split| split.to_string()).collect();
        assert_eq!(all, [format!("{bytes:?}")]);
    }
    assert_eq!(Splits::of("abc").cuts(0).count(), 1);
}

#[test]
fn with_enough_cuts_it_is_every_way_there_is() {
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
    let counts: Vec<usize> = (0..9).map(|cuts| Splits::of(&bytes).cuts(cuts).count()).collect();
    assert_eq!(counts, [1, 8, 29, 64, 99, 120, 127, 128, 128]);
    let ways: BTreeSet<Vec<usize>> = Splits::of(&bytes).cuts(7).map(|split| split.cuts().to_vec()).collect();
    assert_eq!(ways.len(), 128);
    for split in Splits::of(&bytes).cuts(7) {
        assert!(split.pieces().iter().all(|piece| !piece.is_empty()));
        assert_eq!(split.pieces().concat(), bytes);
        assert_eq!(split.pieces().len(), split.cuts().len() + 1);
    }
}

#[test]
fn a_script_of_a_split_gives_each_piece_to_one_read() {
    let sizes = |cut: usize| {
        let split = Splits::of("abc").nth(cut).unwrap();
        let mut mocket = Mocket::scripted(split.provide());
        let read = std::iter::from_fn(|| mocket.read(&mut [0; 9]).ok().filter(|size| *size > 0));
        read.collect::<Vec<usize>>()
    };
    assert_eq!([sizes(0), sizes(1), sizes(2)], [vec![3], vec![1, 2], vec![2, 1]]);
}

#[test]
fn a_body_that_fails_is_told_with_its_split() {
    let told = |fails: fn(&str), cuts| {
        let run = || Splits::of("abc").cuts(cuts).run(|split| fails(&split.to_string()));
        *catch_unwind(AssertUnwindSafe(run)).unwrap_err().downcast::<String>().unwrap()
    };
    let one = |pieces: &str| assert!(pieces != r#""ab" "c""#, "it is cut");
    assert_eq!(told(one, 1), "cut at byte 2: it is cut");
    let two = |pieces: &str| assert!(pieces.matches(' ').count() < 2, "it is cut to pieces {}", pieces.len());
    assert_eq!(told(two, 2), "cut at bytes 1 and 2: it is cut to pieces 11");
    assert_eq!(told(|_| panic!("never"), 1), "not cut: never");
}
