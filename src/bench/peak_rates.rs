//! Peak arithmetic and memory rates of a device, the yardstick for a layer's time.

use std::sync::Arc;

use crate::error::Result;
use crate::exec::devices::Device;
use crate::kernels::roofline::Roofline;
use crate::plan::Plan;

/// The measured peak rates of a device.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct PeakRates {
    /// Peak rate of fused multiply-adds, counted as two operations each, in 10⁹ operations per second.
    pub gflops: f64,
    /// Peak rate of a copy, counting reads and writes, in 10⁹ bytes per second.
    pub gbytes_per_s: f64,
}

/// Elements of the copy, more than caches hold.
const COPIED: usize = 1 << 24;
/// Elements of the arithmetic kernel.
const MULTIPLIED: usize = 1 << 18;
/// Seconds that a run should take, long compared to a launch.
const LONG: f64 = 0.02;
/// Number of runs, of which the fastest counts.
const RUNS: usize = 5;

impl PeakRates {
    /// Measures the peak rates of a device.
    ///
    /// # Errors
    /// A device that fails.
    pub fn measure(device: &Device) -> Result<Self> {
        let copy = Roofline { len: COPIED, rounds: 0 };
        let gbytes_per_s = copy.bytes() / fastest(&copy, device)? / 1e9;
        let mut product = Roofline { len: MULTIPLIED, rounds: 64 };
        let mut seconds = fastest(&product, device)?;
        while seconds < LONG && product.rounds < 1 << 20 {
            product.rounds *= 4;
            seconds = fastest(&product, device)?;
        }
        Ok(Self { gflops: product.flops() / seconds / 1e9, gbytes_per_s })
    }

    /// Returns the share of the nearer peak that `flops` operations and `bytes` bytes in `seconds` reach.
    pub fn share(&self, flops: f64, bytes: f64, seconds: f64) -> f64 {
        (flops / self.gflops).max(bytes / self.gbytes_per_s) / seconds / 1e9
    }
}

fn fastest(call: &Roofline, device: &Device) -> Result<f64> {
    let mut executor = device.load(&Plan::of_call(Arc::new(call.clone()), vec![]))?;
    let x = vec![0.5; call.len];
    let mut fastest = f64::INFINITY;
    for _ in 0..RUNS {
        fastest = executor.time(&[&x])?.min(fastest);
    }
    Ok(fastest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_peak_counts() {
        let peak = PeakRates { gflops: 100.0, gbytes_per_s: 10.0 };
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(peak.share(50e9, 1e9, 1.0), 0.5), "arithmetic");
        assert!(close(peak.share(1e9, 8e9, 1.0), 0.8), "memory");
        assert!(close(peak.share(50e9, 1e9, 2.0), 0.25), "in twice the time");
    }
}
