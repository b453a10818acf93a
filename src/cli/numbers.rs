//! Numbers in the texts of the program.

/// Returns a count with its noun, in the plural unless it is one.
pub(super) fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Formats a number with three significant digits: `0.123`, `12.3`, `1234`.
pub(super) fn three_digits(x: f64) -> String {
    let digits = match x.abs() {
        x if !x.is_finite() || x >= 99.95 => 0,
        x if x >= 9.995 => 1,
        x if x >= 0.9995 => 2,
        x if x >= 0.09995 => 3,
        x if x >= 0.009995 => 4,
        0.0 => 0,
        _ => return format!("{x:.2e}"),
    };
    format!("{x:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::three_digits;

    #[test]
    fn numbers_have_three_significant_digits() {
        let cases = [(0.0, "0"), (0.01234, "0.0123"), (0.9994, "0.999"), (0.9996, "1.00"), (9.996, "10.0")];
        let more = [(99.94, "99.9"), (99.96, "100"), (1234.5, "1234"), (0.00123, "1.23e-3")];
        for (x, text) in cases.into_iter().chain(more) {
            assert_eq!(three_digits(x), text);
        }
    }
}
