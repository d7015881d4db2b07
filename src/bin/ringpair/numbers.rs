//! Formats numbers for people.

/// Formats a count with a comma between thousands: `12,345`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats nanoseconds as microseconds, with two or three significant digits: `0.85`, `2.8`, `46.1`, `3,912`.
pub(crate) fn micros(nanos: u64) -> String {
    let micros = nanos as f64 / 1000.0;
    match nanos {
        0..=994 => format!("{micros:.2}"),
        995..=99_949 => format!("{micros:.1}"),
        _ => grouped(micros.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let told = [0, 999, 1_000, 12_345, 999_999, 1_000_000].map(grouped);
        assert_eq!(told, ["0", "999", "1,000", "12,345", "999,999", "1,000,000"]);
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn microseconds_have_two_or_three_digits_or_all() {
        let told = [0, 7, 850, 994, 995, 2_800, 46_140, 99_949, 99_950, 3_912_400, 20_000_000].map(micros);
        assert_eq!(told, ["0.00", "0.01", "0.85", "0.99", "1.0", "2.8", "46.1", "99.9", "100", "3,912", "20,000"]);
    }
}
