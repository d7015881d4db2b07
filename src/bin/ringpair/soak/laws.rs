//! Properties that hold for every input. Tests and `fuzz/` check them.

use super::document::Document;
use super::parts::{Part, parts_in, sum};

/// The sum of reports can be added up again, does not depend on their order, and is no cleaner than they are.
pub(crate) fn a_sum_is_a_report_in_any_order(data: &[u8]) {
    let Ok(mut parts) = parts_in(data) else { return };
    let Ok(Some(whole)) = sum(&parts) else { return };
    let is_clean = |part: &Part| {
        let document = &part.document;
        document.complaints.is_empty() && document.failures.is_empty() && document.pairs > 0
    };
    assert!(!whole.clean || parts.iter().all(is_clean), "{whole:?}");
    assert!(whole.clean == whole.complaints.is_empty());

    let text = serde_json::to_vec(&whole).unwrap_or_default();
    let again = parts_in(&text[..]).unwrap_or_else(|flaw| panic!("{flaw}: {whole:?}"));
    assert_same(&sum(&again), &whole);

    parts.reverse();
    if let Ok(reversed) = sum(&parts) {
        assert_same(&Ok::<_, ()>(reversed), &whole);
    }
}

/// Sums of fractions depend slightly on the order, and so does their text.
pub(super) fn assert_same<E: std::fmt::Debug>(sum: &Result<Option<Document>, E>, whole: &Document) {
    let Ok(Some(sum)) = sum else { panic!("{sum:?}") };
    for (sum, whole) in [(sum.pairs_per_second, whole.pairs_per_second), (sum.elapsed_seconds, whole.elapsed_seconds)] {
        assert!((sum - whole).abs() <= whole * 1e-9, "{sum} {whole}");
    }
    let (pairs_per_second, elapsed_seconds) = (whole.pairs_per_second, whole.elapsed_seconds);
    assert_eq!(&Document { pairs_per_second, elapsed_seconds, ..sum.clone() }, whole);
}
