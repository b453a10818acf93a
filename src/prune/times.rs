//! Times of layers as piecewise linear functions of their MACs, measured at several widths.

/// The time of a network as a function of the widths of its layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// For each of [`Channels::weights`](super::Channels), (MACs, picoseconds) by increasing MACs; empty if not timed.
    pub curves: Vec<Vec<(u64, u64)>>,
    /// The picoseconds of all other layers.
    pub fixed: u64,
    /// The number of channels that a layer must lose before its time drops.
    pub step: usize,
}

impl Times {
    /// Returns the picoseconds of a layer that has `macs` left.
    ///
    /// Times are interpolated linearly; below the smallest measurement they fall to 0 with the MACs.
    pub fn of(&self, weight: usize, macs: u64) -> u64 {
        let Some(curve) = self.curves.get(weight).filter(|c| !c.is_empty()) else { return 0 };
        let after = curve.iter().position(|&(at, _)| at >= macs).unwrap_or(curve.len() - 1);
        let (to, high) = curve[after];
        let (from, low) = if after == 0 { (0, 0) } else { curve[after - 1] };
        if to == from {
            return high;
        }
        let share = (macs.saturating_sub(from)) as f64 / (to - from) as f64;
        (low as f64 + (high as f64 - low as f64) * share).max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::Times;

    #[test]
    fn times_between_measurements_are_interpolated() {
        let times = Times { curves: vec![vec![(100, 50), (200, 70)], vec![]], fixed: 9, step: 1 };
        let at = |macs| times.of(0, macs);
        assert_eq!([at(0), at(50), at(100), at(150), at(200), at(300)], [0, 25, 50, 60, 70, 90]);
        assert_eq!((times.of(1, 10), times.of(2, 10)), (0, 0));
    }
}
