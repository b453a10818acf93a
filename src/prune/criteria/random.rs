//! Random scores: the baseline that every criterion has to beat.

use super::{CriterionRow, Needs, Score};
use crate::data::synthetic::finish;

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "random",
    formula: "uniform noise from `seed`, the layer's name and the channel",
    source: "a baseline",
    needs: Needs::WEIGHTS,
    score: |layer| {
        let noise = |c| noise(layer.context.seed, layer.node, c);
        Ok((0..layer.channels).map(|c| Score { value: noise(c), error: Some(0.0) }).collect())
    },
};

/// Returns a uniform number in 0..1 from seed, layer and channel (FNV-1a, then splitmix64's finalizer).
fn noise(seed: u64, name: &str, channel: usize) -> f64 {
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes()).chain((channel as u64).to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    (finish(hash) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::noise;

    #[test]
    fn noise_depends_on_seed_name_and_channel() {
        let all: Vec<f64> = (0..1000).map(|c| noise(1, "conv", c)).collect();
        let mean = all.iter().sum::<f64>() / 1000.0;
        assert!((mean - 0.5).abs() < 0.03 && all.iter().all(|v| (0.0..1.0).contains(v)), "{mean}");
        assert_eq!(noise(1, "conv", 7), noise(1, "conv", 7));
        assert!(noise(2, "conv", 7) != noise(1, "conv", 7) && noise(1, "conv2", 7) != noise(1, "conv", 7));
    }
}
