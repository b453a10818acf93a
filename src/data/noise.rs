//! The random data set: reproducible noise of a network's shapes.

use rayon::prelude::*;

use super::picture::Frame;
use super::synthetic::{GOLDEN, mix, splitmix64};
use crate::tensor::SampleShape;

/// Normally distributed noise of some shapes; integer inputs get 0, 1 or 2.
#[derive(Debug)]
pub(super) struct Noise {
    pub(super) shape: SampleShape,
    pub(super) integers: Vec<bool>,
}

impl Noise {
    /// Computes the samples at some places.
    pub(super) fn frames(&self, places: &[usize]) -> Vec<Frame> {
        let data = |place: usize| noise(place as u64, &self.shape, &self.integers);
        places.par_iter().map(|&place| Frame { shape: self.shape.clone(), data: data(place) }).collect()
    }
}

/// Returns nearly standard normal numbers from a seed, with equal bits on every machine.
///
/// The sum of twelve uniform numbers minus six has mean 0 and variance 1, and needs no logarithm or cosine, which
/// differ between platforms. The uniform numbers are 16 bits each of SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) fn normals(seed: u64) -> impl Iterator<Item = f32> {
    let mut words = splitmix64(seed);
    std::iter::repeat_with(move || {
        let bits = words.by_ref().take(3);
        let sum: u64 = bits.flat_map(|bits| (0..4).map(move |k| (bits >> (16 * k)) & 0xffff)).sum();
        // Exact: the sum is below 2^20, and the mean of sixteen bits is 32767.5.
        (sum as f32 - 12.0 * 32_767.5) / 65_536.0
    })
}

/// Computes sample `index` of the random data set.
fn noise(index: u64, shape: &SampleShape, integers: &[bool]) -> Vec<f32> {
    let mut numbers = normals(mix(index.wrapping_mul(GOLDEN)));
    let mut data = Vec::with_capacity(shape.elements());
    for (shape, &integer) in shape.0.iter().zip(integers) {
        let values = numbers.by_ref().take(shape.iter().product());
        data.extend(values.map(|v| if integer { v.abs().floor().min(2.0) } else { v }));
    }
    data
}
