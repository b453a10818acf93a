//! Resampling of recordings by windowed sinc interpolation.
//!
//! The formula and its constants are those of `torchaudio.functional.resample` with its defaults, computed in f64.

/// The number of zero crossings of the sinc on each side of its centre.
const LOWPASS_WIDTH: f64 = 6.0;

/// The cutoff frequency, as a share of the lower Nyquist frequency.
const ROLLOFF: f64 = 0.99;

/// Returns the number of samples after resampling: `len` · `to` / `from`, rounded up.
pub(super) fn resampled_len(len: usize, from: u32, to: u32) -> u128 {
    (len as u128 * u128::from(to)).div_ceil(u128::from(from))
}

/// Resamples a channel from one sample rate to another, both positive.
///
/// Output `k` is Σᵢ x\[i\] · sinc(t) · cos²(πt / 12) · f / from, with the cutoff f = 0.99 · min(from, to) and
/// t = f · (i / from − k / to), over all i with |t| < 6. The edges are padded with zeros.
pub(super) fn resample(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to {
        return samples.to_vec();
    }
    let len = samples.len();
    let divisor = gcd(from, to);
    let (from, to) = ((from / divisor) as usize, (to / divisor) as usize);
    let cutoff = ROLLOFF * from.min(to) as f64;
    let width = LOWPASS_WIDTH * from as f64 / cutoff;
    let count = resampled_len(len, from as u32, to as u32) as usize;
    let mut output = vec![0.0; count];
    // Every `to` outputs the weights repeat, `from` samples further on.
    for phase in 0..to.min(count) {
        let centre = phase as f64 * from as f64 / to as f64;
        let furthest = (count - 1 - phase) / to * from;
        let first = (centre - width).ceil().max(-(furthest as f64)) as isize;
        let last = (centre + width).floor().min(len as f64 - 1.0) as isize;
        let weights: Vec<f64> = (first..=last)
            .map(|i| {
                let t = cutoff * (i as f64 / from as f64 - phase as f64 / to as f64);
                let t = t.clamp(-LOWPASS_WIDTH, LOWPASS_WIDTH);
                let window = (t * std::f64::consts::PI / LOWPASS_WIDTH / 2.0).cos().powi(2);
                sinc(t) * window * cutoff / from as f64
            })
            .collect();
        for (block, output) in output.iter_mut().skip(phase).step_by(to).enumerate() {
            let start = (block * from) as isize + first;
            let skipped = (-start).max(0) as usize;
            let inside = samples.iter().skip(start.max(0) as usize);
            let products = weights.iter().skip(skipped).zip(inside).map(|(w, &x)| w * f64::from(x));
            *output = products.sum::<f64>() as f32;
        }
    }
    output
}

/// Returns the normalized sinc, sin(πt) / (πt).
fn sinc(t: f64) -> f64 {
    let angle = t * std::f64::consts::PI;
    if angle == 0.0 { 1.0 } else { angle.sin() / angle }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, output by output, without phases.
    fn direct(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
        let (from, to) = (f64::from(from), f64::from(to));
        let cutoff = 0.99 * from.min(to);
        let count = (samples.len() as f64 * to / from).ceil() as usize;
        let output = |k: usize| {
            let weighted = samples.iter().enumerate().map(|(i, &x)| {
                let t = cutoff * (i as f64 / from - k as f64 / to);
                if t.abs() >= 6.0 {
                    return 0.0;
                }
                let angle = std::f64::consts::PI * t;
                let sinc = if t == 0.0 { 1.0 } else { angle.sin() / angle };
                f64::from(x) * sinc * (angle / 12.0).cos().powi(2) * cutoff / from
            });
            weighted.sum::<f64>() as f32
        };
        (0..count).map(output).collect()
    }

    #[test]
    fn phases_compute_the_definition() {
        for (from, to) in [(8000, 16_000), (16_000, 8000), (44_100, 16_000), (22_050, 48_000), (7, 5)] {
            for len in [1, 3, 40, 701] {
                let samples: Vec<f32> = (0..len).map(|i| ((i * 7919) % 2003) as f32 / 1001.0 - 1.0).collect();
                let (got, expected) = (resample(&samples, from, to), direct(&samples, from, to));
                assert_eq!(got.len(), expected.len(), "{from} to {to}, {len} samples");
                for (k, (a, b)) in got.iter().zip(&expected).enumerate() {
                    assert!((a - b).abs() < 1e-6, "{from} to {to}, sample {k} of {len}: {a} and {b}");
                }
            }
        }
    }

    #[test]
    fn tones_keep_their_frequency() {
        let tone = |rate: u32, len: usize| -> Vec<f32> {
            (0..len).map(|i| (i as f32 * 440.0 * std::f32::consts::TAU / rate as f32).sin()).collect()
        };
        let (got, expected) = (resample(&tone(44_100, 4410), 44_100, 16_000), tone(16_000, 1600));
        assert_eq!(got.len(), 1600);
        for (k, (a, b)) in got.iter().zip(&expected).enumerate().take(1500).skip(100) {
            assert!((a - b).abs() < 5e-3, "sample {k}: {a} and {b}");
        }
    }
}
