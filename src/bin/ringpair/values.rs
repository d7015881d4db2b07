//! Values of options: counts, rates, durations, addresses and engines.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ringpair::measure::close::{Close, CloseMode};

use crate::soak::MAX_BYTES;

const A_COUNT: &str = "expected a whole number, for example 1000, 1_000, 1k or 2M";
const A_RATE: &str = "expected a number per second, for example 0.5, 2000 or 2k";
const A_DURATION: &str = "expected a number and a unit, for example 500ms, 10s, 1.5m or 1h30m";

/// Parses a whole number, with `_` between digits, and `k`, `M` or `G` for powers of 1000.
pub(crate) fn count<N: TryFrom<u64>>(text: &str) -> Result<N, String> {
    let (digits, scale) = unscaled(text);
    let digits = ungrouped(digits).filter(|digits| are_digits(digits)).ok_or(A_COUNT)?;
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(scale));
    number.and_then(|number| number.try_into().ok()).ok_or_else(|| format!("too large: {A_COUNT}"))
}

/// Parses a count that must not be zero.
pub(crate) fn at_least_one<N: TryFrom<u64>>(text: &str) -> Result<N, String> {
    match count::<u64>(text)? {
        0 => Err("expected 1 or more".to_owned()),
        _ => count(text),
    }
}

/// Parses how many times something happens in a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let (digits, scale) = unscaled(text);
    let rate = ungrouped(digits).and_then(|digits| decimal(&digits)).ok_or(A_RATE)? * scale as f64;
    match rate {
        0.0 => Err("expected a number per second, greater than zero".to_owned()),
        _ if rate.is_finite() => Ok(rate),
        _ => Err(format!("too large: {A_RATE}")),
    }
}

/// Parses numbers and their units. A number alone is in seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Some(seconds) = decimal(text) {
        return Duration::try_from_secs_f64(seconds).map_err(|error| format!("{error}; {A_DURATION}"));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let (part, after) = first_part(rest)?;
        total = total.checked_add(part).ok_or_else(|| format!("too long: {A_DURATION}"))?;
        rest = after;
    }
    Ok(total)
}

/// Parses a duration that must not be zero.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected more than zero".to_owned()),
        time => Ok(time),
    }
}

/// The duration that `text` begins with, and what follows it.
fn first_part(text: &str) -> Result<(Duration, &str), String> {
    let is_of_a_number = |letter: char| letter.is_ascii_digit() || letter == '.';
    let (number, rest) = text.split_at(text.find(|letter| !is_of_a_number(letter)).unwrap_or(text.len()));
    let (unit, rest) = rest.split_at(rest.find(is_of_a_number).unwrap_or(rest.len()));
    let number = decimal(number).ok_or(A_DURATION)?;
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "" => return Err(A_DURATION.to_owned()),
        _ => return Err(format!("there is no unit `{unit}`; the units are ms, s, m and h")),
    };
    let part = Duration::try_from_secs_f64(number * seconds).map_err(|error| format!("{error}; {A_DURATION}"))?;
    Ok((part, rest))
}

/// Parses how many bytes are to lie unread; as many fit into a socket's buffers.
pub(crate) fn unread(text: &str) -> Result<usize, String> {
    bytes(text, Close::MAX_UNREAD)
}

/// Parses how many bytes a pair of a soak sends: as many as a socket takes before anyone reads.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    bytes(text, MAX_BYTES)
}

fn bytes(text: &str, max: usize) -> Result<usize, String> {
    let wanted = |bytes: &usize| (1..=max).contains(bytes);
    count(text).ok().filter(wanted).ok_or_else(|| format!("expected 1 to {max} bytes"))
}

/// Parses a way of closing. `graceful` is what `soak --linger` calls `fin`.
pub(crate) fn way(text: &str) -> Result<CloseMode, String> {
    if text == "graceful" { Ok(CloseMode::Fin) } else { text.parse() }
}

/// Parses an address that both ends of a pair can have.
pub(crate) fn loopback(text: &str) -> Result<IpAddr, String> {
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => Ok(address),
        _ => Err("expected a loopback address (127.0.0.0/8 or ::1)".to_owned()),
    }
}

/// Parses digits and nothing else: no sign, no `_`.
pub(crate) fn digits<N: FromStr>(text: &str) -> Option<N> {
    text.parse().ok().filter(|_| are_digits(text))
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|letter| letter.is_ascii_digit())
}

/// Parses digits with at most one point: no sign, no exponent, no `inf`.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|letter| letter.is_ascii_digit() || letter == b'.');
    text.parse().ok().filter(|_| is_plain)
}

/// Splits the letter of a power of 1000 off a number.
fn unscaled(text: &str) -> (&str, u64) {
    let scales = [('k', 1000), ('K', 1000), ('M', 1_000_000), ('G', 1_000_000_000)];
    scales.into_iter().find_map(|(letter, scale)| Some((text.strip_suffix(letter)?, scale))).unwrap_or((text, 1))
}

/// Removes each `_` between two digits. `None` if one is elsewhere, or nothing is there.
fn ungrouped(text: &str) -> Option<String> {
    let mut groups = text.split('_');
    let is_whole = |group: &str| !group.is_empty();
    groups.all(is_whole).then(|| text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_takes_underscores_and_powers_of_1000() {
        let good = [("0", 0), ("1000", 1000), ("1_000", 1000), ("1k", 1000), ("1K", 1000), ("2M", 2_000_000)];
        for (text, number) in good.into_iter().chain([("1_0k", 10_000), ("3G", 3_000_000_000)]) {
            assert_eq!(count::<u64>(text), Ok(number), "{text}");
        }
        for text in ["", "k", "_1", "1_", "1__0", "-1", "+1", "1.5k", "1kk", "1m", "ten", "1 k"] {
            assert_eq!(count::<u64>(text), Err(A_COUNT.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_count_that_overflows_is_refused() {
        for text in ["18446744073709551616", "18446744073709551615k", "99999999999G"] {
            assert_eq!(count::<u64>(text), Err(format!("too large: {A_COUNT}")), "{text}");
        }
        assert_eq!(count::<u64>("18446744073709551615"), Ok(u64::MAX));
        assert!(count::<u8>("256").is_err());
        assert_eq!(at_least_one::<usize>("0k"), Err("expected 1 or more".to_owned()));
        assert_eq!(at_least_one::<usize>("1k"), Ok(1000));
    }

    #[test]
    fn a_rate_takes_fractions_and_powers_of_1000() {
        for (text, per_second) in [("0.5", 0.5), ("2000", 2000.0), ("2_000", 2000.0), ("1.5k", 1500.0)] {
            assert_eq!(rate(text), Ok(per_second), "{text}");
        }
        assert_eq!(rate("0k"), Err("expected a number per second, greater than zero".to_owned()));
        assert_eq!(rate(&"9".repeat(400)), Err(format!("too large: {A_RATE}")));
        for text in ["", "k", "fast", "1_", "1/s", "inf", "nan", "-1", "+1", "1e3", "1.2.3", "."] {
            assert_eq!(rate(text), Err(A_RATE.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_duration_is_a_sum_of_numbers_with_units() {
        let of_one_part = [("500ms", 500), ("10s", 10_000), ("10", 10_000), ("0.5s", 500), ("1.5m", 90_000)];
        let others = [("2h", 7_200_000), ("5min", 300_000), ("1h30m", 5_400_000), ("1m0.5s", 60_500), (".5", 500)];
        for (text, millis) in of_one_part.into_iter().chain(others) {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        let wrong = [
            "", "s", "ten", "1d", "1..5s", "-1s", "-1", "nan", "inf", "1h30", "1h 30m", "1h-30m", "1e3", "+5", ".",
            "1e3s",
        ];
        for text in wrong.into_iter().chain(["99999999999999999999h", "5000000000000000h5000000000000000h"]) {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
