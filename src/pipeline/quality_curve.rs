//! The curve of quality against cost on a report page, and the networks that no other beats.

use crate::report::{SearchCurve, SearchPoint};

/// Returns a metric's value or error as pages have it: percentages as 0 to 1; `None` unless it is finite.
pub(super) fn on_page(unit: &str, value: f64) -> Option<f64> {
    let scale = if unit == "%" { 0.01 } else { 1.0 };
    Some(scale * value).filter(|value| value.is_finite())
}

/// Returns the name of a measured quality on a page.
pub(super) fn measured(metric: &str) -> String {
    match metric {
        "agreement" => "agreement with the original".to_owned(),
        name => name.to_owned(),
    }
}

/// Returns the curve of a metric of several networks against their MACs.
pub(super) fn against_macs(metric: &str, unit: &str, points: Vec<SearchPoint>) -> SearchCurve {
    SearchCurve {
        counted: "MACs".to_owned(),
        measured: measured(metric),
        unit: unit.to_owned(),
        points,
        floor: None,
        sweep: true,
    }
}

/// Returns a metric's value as a quality, of which a higher one is better.
pub(super) fn quality(value: f64, higher_is_better: bool) -> f64 {
    if higher_is_better { value } else { -value }
}

/// Returns the names of points (name, cost, quality) that no other beats in one of both and equals in the other.
pub(super) fn front(points: &[(usize, u64, f64)]) -> Vec<usize> {
    let beaten = |&(_, cost, quality): &(usize, u64, f64)| {
        points.iter().any(|&(_, c, q)| c <= cost && q >= quality && (c < cost || q > quality))
    };
    points.iter().filter(|point| !beaten(point)).map(|point| point.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_has_no_network_that_another_beats() {
        let points = [(0, 80, 92.0), (1, 60, 91.0), (2, 50, 91.0), (3, 40, 88.0), (4, 30, 88.5)];
        assert_eq!(front(&points), [0, 2, 4]);
        assert_eq!(front(&[(7, 10, 1.0), (8, 10, 1.0)]), [7, 8], "equal networks beat none");
    }
}
