//! The bytes of long transfers.

use std::ops::Range;
use std::sync::LazyLock;

use super::verdict::{Verdict, fail};
use super::watch::Side;

/// The pattern repeats after a prime number of bytes, so that a lost or doubled buffer shifts it.
const PERIOD: usize = 65_521;

/// The longest part that [`pattern`] returns.
pub(super) const LONGEST: usize = (1 << 20) + 64;

/// Returns a part of the pattern, at most [`LONGEST`] bytes.
pub(super) fn pattern(part: Range<usize>) -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mixed = |place: usize| (place.wrapping_mul(2_654_435_761) >> 13) as u8;
        let mut bytes: Vec<u8> = (0..PERIOD).map(mixed).collect();
        while bytes.len() < PERIOD + LONGEST {
            bytes.extend_from_within(..PERIOD);
        }
        bytes
    });
    let begin = part.start % PERIOD;
    &BYTES[begin..begin + part.len()]
}

/// Compares bytes that were read with the pattern at `position`.
pub(super) fn compare(read: &[u8], side: Side, position: usize) -> Verdict {
    let expected = pattern(position..position + read.len());
    if read == expected {
        return Ok(());
    }
    let right = read.iter().zip(expected).take_while(|(read, expected)| read == expected).count();
    fail(format!("the {side} end read a wrong byte at position {}", position + right))
}
