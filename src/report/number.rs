//! Numbers in the data of a page.

use serde::{Serialize, Serializer};

/// A statistic, written with four significant digits; NaN and infinity, which JSON lacks, become `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Num(pub f64);

impl Num {
    /// Returns the rounded number; `None` if it is not finite.
    pub fn written(self) -> Option<f64> {
        let Self(value) = self;
        // The shortest text of the rounded number has these four digits. The largest numbers round to infinity.
        let rounded = || format!("{value:.3e}").parse().ok().filter(|r: &f64| r.is_finite());
        value.is_finite().then(|| rounded().unwrap_or(value))
    }
}

impl Serialize for Num {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.written() {
            // "0" and "12" are shorter than "0.0" and "12.0".
            Some(whole) if whole.fract() == 0.0 && whole.abs() < 1e4 => {
                serializer.serialize_i64(whole as i64)
            }
            written => written.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Num;

    #[test]
    fn numbers_have_four_digits_and_are_finite() {
        let values =
            [0.0, -0.0, 12.0, 0.123_456_78, -98_765.4, 1.5e-12, f64::MAX, f64::NAN, f64::NEG_INFINITY];
        let text = serde_json::to_string(&values.map(Num)).expect("numbers");
        assert_eq!(text, "[0,0,12,0.1235,-98770.0,1.5e-12,1.7976931348623157e+308,null,null]");
    }
}
