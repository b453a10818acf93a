//! Statistics of every channel of every image, in one pass over an activation.
//!
//! Positions are divided into tiles of eight numbers each, and the host merges tiles in `f64`. Central moments are
//! taken about the tile's own mean in a second pass over the cached tile: subtracting the squared sum from the sum of
//! squares would lose all digits if the mean is large. The tiles depend on the channel's length alone, so a profile
//! does not depend on the batch.
//!
//! With an activation, the same pass computes the statistics of its results too, so that the tensor is read once for
//! both.

use bytemuck::bytes_of;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise, noise_case};
use crate::kernels::instructions;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Statistics of tiles of `x [batch, outer, channels, inner]`.
///
/// The output is `[batch, channels, tiles, sides·8]` with `tiles = ceil(outer·inner / tile)`; see
/// [`ChannelStats::tiles`] and [`ChannelStats::sides`]. The eight numbers are: the sum; the sums of the second, third
/// and fourth powers of the differences from the tile's mean; the sum of `|x|`; the count of `x > 0`; the minimum;
/// the maximum. If a tile holds a NaN, all but the count are NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelStats {
    /// Number of images in the batch.
    pub batch: usize,
    /// Product of the dimensions before the channel axis.
    pub outer: usize,
    /// Number of channels of `x`.
    pub channels: usize,
    /// Product of the dimensions after the channel axis.
    pub inner: usize,
    /// Number of positions in a tile.
    pub tile: usize,
    /// The activation after `x`, whose results get statistics of their own after those of `x`.
    pub after: Option<Activation>,
}

impl ChannelStats {
    /// Numbers of one tile on one side of the activation.
    pub const FIELDS: usize = 8;
    /// Default positions of a tile: few enough for accurate `f32` sums and exact counts.
    pub const TILE: usize = 256;

    /// Creates a call with tiles of [`ChannelStats::TILE`] positions.
    pub fn new(batch: usize, [outer, channels, inner]: [usize; 3], after: Option<Activation>) -> Self {
        Self { batch, outer, channels, inner, tile: Self::TILE, after }
    }

    /// Number of positions of a channel in an image.
    pub fn positions(&self) -> usize {
        self.outer * self.inner
    }

    /// Number of tiles of a channel.
    pub fn tiles(&self) -> usize {
        self.positions().div_ceil(self.tile)
    }

    /// Sides of the activation: 2 with an activation, else 1.
    pub fn sides(&self) -> usize {
        1 + usize::from(self.after.is_some())
    }

    /// Calls `f` with the number and the elements of every tile.
    fn for_each_tile<T: Copy>(&self, x: &[T], mut f: impl FnMut(usize, &[T])) {
        let image = self.positions() * self.channels;
        let mut elements = Vec::with_capacity(self.tile);
        for tile in 0..self.batch * self.channels * self.tiles() {
            let start = tile % self.tiles() * self.tile;
            let (n, c) = (tile / self.tiles() / self.channels, tile / self.tiles() % self.channels);
            let at =
                |q: usize| n * image + (q / self.inner * self.channels + c) * self.inner + q % self.inner;
            elements.clear();
            elements.extend((start..self.positions().min(start + self.tile)).map(|q| x[at(q)]));
            f(tile, &elements);
        }
    }
}

uniform! {
    len: u32,
    tiles: u32,
    tile: u32,
    positions: u32,
    channels: u32,
    inner: u32,
    sides: u32,
    act_a: f32,
    act_b: f32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "channel_stats",
    file: "moments/channel_stats",
    shared: ["nan", "activation"],
    doc: "statistics of every channel of every image",
};

impl Kernel for ChannelStats {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.batch * self.channels * self.positions()]
    }

    fn output_len(&self) -> usize {
        self.batch * self.channels * self.tiles() * self.sides() * Self::FIELDS
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let sides = self.sides();
        self.for_each_tile(inputs[0], |tile, x| {
            for (side, activation) in [Some(Activation::None), self.after].into_iter().flatten().enumerate() {
                let x: Vec<f64> = x.iter().map(|&x| activation.apply_f64(x)).collect();
                let y = &mut output[(tile * sides + side) * Self::FIELDS..][..Self::FIELDS];
                let sum: f64 = x.iter().sum();
                let mean = sum / x.len() as f64;
                let power = |n| x.iter().map(|x| (x - mean).powi(n)).sum::<f64>();
                let positive = x.iter().filter(|&&x| x > 0.0).count() as f64;
                let nan = x.iter().any(|x| x.is_nan());
                let least = x.iter().copied().fold(f64::INFINITY, f64::min);
                let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let [least, most] = [least, most].map(|v| if nan { f64::NAN } else { v });
                let sizes = x.iter().map(|x| x.abs()).sum();
                y.copy_from_slice(&[sum, power(2), power(3), power(4), sizes, positive, least, most]);
            }
        });
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let arch = instructions::arch();
        let channel = self.tiles() * self.sides() * Self::FIELDS;
        let image = self.positions() * self.channels;
        let planes = output.par_chunks_mut(channel).enumerate();
        planes.with_min_len(1 + (1 << 12) / self.positions()).for_each(|(plane, y)| {
            let (n, c) = (plane / self.channels, plane % self.channels);
            let x = &inputs[0][n * image..][..image];
            let mut elements = [0.0f32; Self::TILE];
            let tiles = y.chunks_exact_mut(self.sides() * Self::FIELDS).enumerate();
            for (tile, y) in tiles {
                let start = tile * self.tile;
                let count = self.tile.min(self.positions() - start);
                // A tile of a custom size may exceed the buffer on the stack.
                let mut longer = Vec::new();
                let filled = count.next_multiple_of(LANES);
                let vectors = if count <= Self::TILE {
                    &mut elements[..filled]
                } else {
                    longer.resize(filled, 0.0);
                    &mut longer[..]
                };
                let elements = &mut vectors[..count];
                if self.outer == 1 {
                    elements.copy_from_slice(&x[c * self.inner + start..][..count]);
                } else {
                    for (k, element) in elements.iter_mut().enumerate() {
                        let q = start + k;
                        *element = x[(q / self.inner * self.channels + c) * self.inner + q % self.inner];
                    }
                }
                arch.dispatch(TileSums { vectors, count, after: self.after, sums: y });
            }
        });
    }

    fn dispatch(&self) -> Dispatch {
        let len = self.batch * self.channels * self.tiles();
        let after = self.after.unwrap_or(Activation::None);
        let [act_a, act_b] = after.params();
        let params = Params {
            len: word(len),
            tiles: word(self.tiles()),
            tile: word(self.tile),
            positions: word(self.positions()),
            channels: word(self.channels),
            inner: word(self.inner),
            sides: word(self.sides()),
            act_a,
            act_b,
        };
        Dispatch {
            overrides: vec![("ACT", after.code().into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

/// Computes the eight numbers of a tile, before and after an activation.
struct TileSums<'a> {
    /// The elements, and any values that fill up the last vector.
    vectors: &'a mut [f32],
    /// Number of elements in the tile.
    count: usize,
    after: Option<Activation>,
    /// Eight numbers for each side.
    sums: &'a mut [f32],
}

impl WithSimd for TileSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (before, after) = self.sums.split_at_mut(ChannelStats::FIELDS);
        before.copy_from_slice(&sums(simd, self.vectors, self.count));
        if let Some(activation) = self.after {
            activation.apply_slice(self.vectors);
            after.copy_from_slice(&sums(simd, self.vectors, self.count));
        }
    }
}

/// The most lanes of a vector; those of other instructions divide it.
const LANES: usize = 16;
/// The numbers of the lanes.
const NUMBERS: [f32; LANES] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];

/// The numbers of a tile that need no mean, by lanes.
struct Plain<S: Simd> {
    sum: S::f32s,
    size: S::f32s,
    positive: S::f32s,
    min: S::f32s,
    max: S::f32s,
}

impl<S: Simd> Plain<S> {
    #[inline(always)]
    fn add(&mut self, simd: S, x: S::f32s) {
        let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
        self.sum = simd.add_f32s(self.sum, x);
        self.size = simd.add_f32s(self.size, simd.abs_f32s(x));
        let positive = simd.select_f32s(simd.greater_than_f32s(x, zero), one, zero);
        self.positive = simd.add_f32s(self.positive, positive);
    }

    #[inline(always)]
    fn bound(&mut self, simd: S, x: S::f32s) {
        self.min = simd.min_f32s(x, self.min);
        self.max = simd.max_f32s(x, self.max);
    }
}

/// Sums of powers of the distance from the mean, by lanes.
struct Central<S: Simd> {
    mean: S::f32s,
    second: S::f32s,
    third: S::f32s,
    fourth: S::f32s,
}

impl<S: Simd> Central<S> {
    #[inline(always)]
    fn add(&mut self, simd: S, x: S::f32s) {
        let d = simd.sub_f32s(x, self.mean);
        let square = simd.mul_f32s(d, d);
        self.second = simd.add_f32s(self.second, square);
        self.third = simd.mul_add_e_f32s(square, d, self.third);
        self.fourth = simd.mul_add_e_f32s(square, square, self.fourth);
    }
}

/// The eight numbers of a tile of `count` elements, whose last vector may have other values behind them.
#[inline(always)]
fn sums<S: Simd>(simd: S, x: &[f32], count: usize) -> [f32; ChannelStats::FIELDS] {
    let (whole, last) = S::as_simd_f32s(x).0.split_at(count / S::F32_LANES);
    let rest = simd.splat_f32s((count % S::F32_LANES) as f32);
    // Empty if the elements fill whole vectors.
    let last = if count.is_multiple_of(S::F32_LANES) { &[] } else { &last[..1] };
    let real = simd.less_than_f32s(S::as_simd_f32s(&NUMBERS).0[0], rest);
    let none = simd.splat_f32s(0.0);
    let (min, max) = (simd.splat_f32s(f32::INFINITY), simd.splat_f32s(f32::NEG_INFINITY));
    let mut plain: Plain<S> = Plain { sum: none, size: none, positive: none, min, max };
    for &x in whole {
        plain.add(simd, x);
        plain.bound(simd, x);
    }
    for &v in last {
        plain.add(simd, simd.select_f32s(real, v, none));
        plain.bound(simd, simd.select_f32s(real, v, simd.splat_f32s(x[0])));
    }
    let sum = simd.reduce_sum_f32s(plain.sum);
    let mean = simd.splat_f32s(sum / count as f32);
    let mut central: Central<S> = Central { mean, second: none, third: none, fourth: none };
    for &x in whole {
        central.add(simd, x);
    }
    for &v in last {
        central.add(simd, simd.select_f32s(real, v, mean));
    }
    let second = simd.reduce_sum_f32s(central.second);
    let third = simd.reduce_sum_f32s(central.third);
    let fourth = simd.reduce_sum_f32s(central.fourth);
    let (size, positive) = (simd.reduce_sum_f32s(plain.size), simd.reduce_sum_f32s(plain.positive));
    let (mut least, mut most) = (simd.reduce_min_f32s(plain.min), simd.reduce_max_f32s(plain.max));
    // Comparisons skip NaN, which a sum keeps. Infinities of both signs make it NaN, too.
    if sum.is_nan() && x[..count].iter().any(|x| x.is_nan()) {
        (least, most) = (f32::NAN, f32::NAN);
    }
    [sum, second, third, fourth, size, positive, least, most]
}

pub(crate) fn cases() -> Vec<Case> {
    let maps = |batch, channels, inner| ChannelStats::new(batch, [1, channels, inner], None);
    let far = maps(1, 2, 700);
    let x = noise(1400, 3).iter().map(|x| 1000.0 + x).collect();
    let both = |after| ChannelStats::new(2, [1, 3, 300], Some(after));
    vec![
        noise_case("one element", maps(1, 1, 1)),
        noise_case("a plane of one tile", maps(3, 5, 7 * 7)),
        noise_case("exactly one tile", maps(2, 17, 256)),
        noise_case("one element in the last tile", maps(3, 3, 257)),
        noise_case("many small tiles", ChannelStats { tile: 8, ..maps(2, 3, 100) }),
        noise_case("tiles larger than usual", ChannelStats { tile: 300, ..maps(2, 3, 700) }),
        noise_case("channels last", ChannelStats::new(2, [300, 5, 1], Some(Activation::Relu))),
        noise_case("positions on both sides", ChannelStats::new(3, [7, 3, 50], None)),
        noise_case("before and after a Relu", both(Activation::Relu)),
        noise_case("before and after a Clip", both(Activation::Clip(-0.25, 0.5))),
        noise_case("before and after a Swish", both(Activation::Swish(1.0))),
        Case { label: "a mean far from zero".to_owned(), kernel: std::sync::Arc::new(far), inputs: vec![x] },
    ]
}
