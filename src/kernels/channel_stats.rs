//! What one pass over an activation learns about every channel of every image.
//!
//! Pixels go in tiles, and each tile gives its six numbers; the host joins tiles in `f64`. The second
//! moment is taken about the tile's own mean in a second walk over the tile, which is in the cache by
//! then: the difference of a sum of squares and a squared sum would lose all digits where the mean is
//! large. What a tile is depends on the channel's length alone, so a profile does not depend on the
//! batch.

use bytemuck::bytes_of;
use rayon::prelude::*;

use super::{Case, Dispatch, Kernel, Row, grid, noise, noise_case, shader, uniform, word};
use crate::compare::Tolerance;

/// Statistics of tiles of `x [batch, channels, inner]`: output `[batch, channels, tiles, 6]` with
/// `tiles = ceil(inner / tile)`; see [`ChannelStats::tiles`].
///
/// The six: sum, sum of squared distances from the tile's own mean, sum of `|x|`, count of `x > 0`,
/// minimum, maximum. Where a tile holds a NaN, all but the count are NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelStats {
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Pixels.
    pub inner: usize,
    /// Pixels of a tile.
    pub tile: usize,
}

impl ChannelStats {
    /// Numbers of one tile.
    pub const FIELDS: usize = 6;
    /// Pixels of a tile: few enough that `f32` sums stay good and counts exact.
    pub const TILE: usize = 256;

    /// The call with [`ChannelStats::TILE`].
    pub fn new(batch: usize, channels: usize, inner: usize) -> Self {
        Self { batch, channels, inner, tile: Self::TILE }
    }

    /// Tiles of a channel.
    pub fn tiles(&self) -> usize {
        self.inner.div_ceil(self.tile)
    }
}

uniform! { len: u32, tiles: u32, tile: u32, inner: u32 }

/// The kernel's row.
pub static ROW: Row = Row {
    name: "channel_stats",
    shader: shader!("channel_stats"),
    doc: "statistics of every channel of every image",
    params: Params::FIELDS,
    params_size: Params::SIZE,
    cases,
};

impl Kernel for ChannelStats {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.batch * self.channels * self.inner]
    }

    fn output_len(&self) -> usize {
        self.batch * self.channels * self.tiles() * Self::FIELDS
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let tiles = inputs[0].chunks(self.inner).flat_map(|plane| plane.chunks(self.tile));
        for (y, x) in output.chunks_exact_mut(Self::FIELDS).zip(tiles) {
            let sum: f64 = x.iter().sum();
            let mean = sum / x.len() as f64;
            y[0] = sum;
            y[1] = x.iter().map(|x| (x - mean).powi(2)).sum();
            y[2] = x.iter().map(|x| x.abs()).sum();
            y[3] = x.iter().filter(|&&x| x > 0.0).count() as f64;
            let nan = x.iter().any(|x| x.is_nan());
            y[4] = if nan { f64::NAN } else { x.iter().copied().fold(f64::INFINITY, f64::min) };
            y[5] = if nan { f64::NAN } else { x.iter().copied().fold(f64::NEG_INFINITY, f64::max) };
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let planes = output.par_chunks_mut(self.tiles() * Self::FIELDS).zip(inputs[0].par_chunks(self.inner));
        planes.with_min_len(1 + (1 << 12) / self.inner).for_each(|(y, x)| {
            for (y, x) in y.chunks_exact_mut(Self::FIELDS).zip(x.chunks(self.tile)) {
                y.copy_from_slice(&tile(x));
            }
        });
    }

    fn dispatch(&self) -> Dispatch {
        let len = self.batch * self.channels * self.tiles();
        let params = Params {
            len: word(len),
            tiles: word(self.tiles()),
            tile: word(self.tile),
            inner: word(self.inner),
        };
        Dispatch { overrides: Vec::new(), params: bytes_of(&params).to_vec(), workgroups: grid(len) }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

/// The six numbers of a tile, in lanes that the compiler turns into vectors.
fn tile(x: &[f32]) -> [f32; ChannelStats::FIELDS] {
    const LANES: usize = 16;
    let [mut sum, mut size, mut positive] = [[0.0f32; LANES]; 3];
    let (mut min, mut max) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    for x in x.chunks(LANES) {
        for (lane, &x) in x.iter().enumerate() {
            sum[lane] += x;
            size[lane] += x.abs();
            positive[lane] += if x > 0.0 { 1.0 } else { 0.0 };
            min[lane] = if x < min[lane] || x.is_nan() { x } else { min[lane] };
            max[lane] = if x > max[lane] || x.is_nan() { x } else { max[lane] };
        }
    }
    let sum: f32 = sum.iter().sum();
    let mean = sum / x.len() as f32;
    let mut moment = [0.0f32; LANES];
    for x in x.chunks(LANES) {
        x.iter().enumerate().for_each(|(lane, &x)| moment[lane] += (x - mean) * (x - mean));
    }
    let least = min.into_iter().reduce(|m, x| if x < m || x.is_nan() { x } else { m });
    let most = max.into_iter().reduce(|m, x| if x > m || x.is_nan() { x } else { m });
    let [moment, size, positive] = [moment, size, positive].map(|lanes| lanes.iter().sum());
    [sum, moment, size, positive, least.unwrap_or(f32::INFINITY), most.unwrap_or(f32::NEG_INFINITY)]
}

fn cases() -> Vec<Case> {
    let far = ChannelStats::new(1, 2, 700);
    let x = noise(1400, 3).iter().map(|x| 1000.0 + x).collect();
    vec![
        noise_case("one element", ChannelStats::new(1, 1, 1)),
        noise_case("a plane of one tile", ChannelStats::new(3, 5, 7 * 7)),
        noise_case("exactly one tile", ChannelStats::new(2, 17, 256)),
        noise_case("one element in the last tile", ChannelStats::new(3, 3, 257)),
        noise_case("many small tiles", ChannelStats { batch: 2, channels: 3, inner: 100, tile: 8 }),
        Case { label: "a mean far from zero".to_owned(), kernel: std::sync::Arc::new(far), inputs: vec![x] },
    ]
}
