//! Winograd convolution on the host, in two sizes.
//!
//! F(4×4, 3×3), with 36 products for 16 pixels instead of 144, and F(2×2, 3×3),
//! with 16 products for 4 pixels instead of 36.
//!
//! Along both axes, polynomials are evaluated at some points and ∞ and multiplied there, and the coefficients of the
//! product are recovered: `y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A` for a tile `d` of 6×6 or 4×4 pixels. Sums over input
//! channels come before the last transform, so the middle part is 36 or 16 matrix products, channels × tiles. The
//! points of F(4×4) are 0, ±a and ±b with `a = √½` and `b = √2`: all constants are between ⅓ and 3, and the error is
//! about a quarter of that of the points ±1 and ±2. The points of F(2×2) are 0 and ±1.
//!
//! Every pixel of a tile depends on sums and differences of all the tile's inputs, so one non-finite input, or an
//! overflow, would spoil its neighbours. Images with a non-finite result are computed again by [`DirectConv`], so
//! that infinities and NaNs occur exactly where the definition has them.

use std::sync::atomic::{AtomicBool, Ordering};

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::kernels::activation::Activation;
use crate::kernels::conv::host::blocks::{PixelBlock, PixelSpan, for_each_chunk, spans};
use crate::kernels::conv::host::direct::{DirectConv, TASK, bias_panels};
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::gemm::microkernel::{Factors, Floats, PANEL, Packed, Packing, Strip, StripSums, WIDE};
use crate::kernels::host::padded_rows::PaddedRows;
use crate::kernels::host::scratch;
use crate::kernels::host::vectors;
use crate::kernels::instructions;
use crate::kernels::kernel::Prepared;

/// Input channels that a task transforms.
const CHUNK: usize = 16;
/// Elements of a block's transformed input: a mebibyte and a half.
const CACHED: usize = 384 << 10;
/// Number of tiles that the transforms process at a time.
const LANES: usize = 16;

const A: f64 = std::f64::consts::FRAC_1_SQRT_2;
const B: f64 = std::f64::consts::SQRT_2;

/// A 3×3 convolution with transformed filters, by tiles of `OUT` pixels along an axis, which read `IN` = `OUT` + 2
/// pixels.
pub(crate) struct HostWinograd<const OUT: usize, const IN: usize> {
    conv: ConvKernel,
    arch: Arch,
    /// Transformed weights as `[panels][IN²][input channels][16]`.
    weights: Vec<[f32; PANEL]>,
    /// Biases as `[panels][16]`.
    bias: Vec<[f32; PANEL]>,
}

/// F(4×4, 3×3), for large planes.
pub(crate) type F4x4 = HostWinograd<4, 6>;
/// F(2×2, 3×3), for small planes.
pub(crate) type F2x2 = HostWinograd<2, 4>;

impl<const OUT: usize, const IN: usize> HostWinograd<OUT, IN> {
    /// Products of a tile.
    const POINTS: usize = IN * IN;

    /// Returns whether the method pays if no larger tiles do.
    ///
    /// With few channels the transforms dominate. The weights are read for each image and grow by a factor of 4 with
    /// F(4×4), whose tiles must therefore fill a strip, and of 1.8 with F(2×2).
    pub(crate) fn suits(conv: &ConvKernel) -> bool {
        let square =
            conv.windows.kernel == [3, 3] && conv.windows.stride == [1, 1] && conv.windows.dilation == [1, 1];
        let tiles = conv.windows.out_hw.map(|n| n.div_ceil(OUT)).iter().product::<usize>();
        let (channels, enough) = if OUT == 4 { (24, WIDE) } else { (64, WIDE / 4) };
        square && conv.groups == 1 && conv.in_channels.min(conv.out_channels) >= channels && tiles >= enough
    }

    pub(crate) fn new(conv: &ConvKernel, weights: &[f32], bias: &[f32]) -> Self {
        let depth = conv.in_channels;
        let mut packed = vec![[0.0; PANEL]; conv.out_channels.div_ceil(PANEL) * Self::POINTS * depth];
        let filters = weights.par_chunks(PANEL * depth * 9);
        packed.par_chunks_mut(Self::POINTS * depth).zip(filters).for_each(|(packed, filters)| {
            for (lane, filters) in filters.chunks_exact(depth * 9).enumerate() {
                for (c, filter) in filters.chunks_exact(9).enumerate() {
                    let transformed = filter_points::<IN>(filter);
                    for (point, weight) in transformed.as_flattened().iter().enumerate() {
                        packed[point * depth + c][lane] = *weight as f32;
                    }
                }
            }
        });
        Self {
            conv: conv.clone(),
            arch: instructions::arch(),
            weights: packed,
            bias: bias_panels(conv, bias),
        }
    }

    /// Pixels of a block: whole rows of tiles, about as many as fill strips.
    fn block_pixels(&self) -> usize {
        let [oh, ow] = self.conv.windows.out_hw;
        let (rows, columns) = (oh.div_ceil(OUT), ow.div_ceil(OUT));
        let all = rows * columns * self.conv.batch;
        let most = (CACHED / (Self::POINTS * self.conv.in_channels)).clamp(WIDE + PANEL, 4 * WIDE);
        // If one block has fewer panels than there are threads, more blocks are needed.
        let (panels, threads) = (self.conv.out_channels.div_ceil(PANEL), rayon::current_num_threads());
        let most = if panels < threads { most.min(all.div_ceil(threads)) } else { most };
        // Lanes that each tile costs.
        let waste = |rows: usize| {
            let lanes = |strip: &Strip| if strip.is_few() { 2 * FEW_LANES } else { strip.width };
            let lanes: usize = Strip::cut(rows * columns).iter().map(lanes).sum();
            lanes as f64 / (rows * columns) as f64
        };
        if rows * columns <= most {
            // Whole images: as many as fill strips while leaving work for all threads.
            let share = (all / (2 * threads)).max(WIDE);
            let images = (1..=(most.min(share) / (rows * columns)).max(1))
                .min_by(|&a, &b| waste(a * rows).total_cmp(&waste(b * rows)).then(b.cmp(&a)));
            return images.unwrap_or(1) * oh * ow;
        }
        let best =
            (1..=(most / columns).max(1)).min_by(|&a, &b| waste(a).total_cmp(&waste(b)).then(b.cmp(&a)));
        best.unwrap_or(1) * OUT * ow
    }

    fn block(&self, x: &[f32], mut block: PixelBlock, parallel: bool, broken: &[AtomicBool]) {
        let conv = &self.conv;
        let columns = conv.windows.out_hw[1].div_ceil(OUT);
        let tile_rows = |span: &PixelSpan| (span.count / conv.windows.out_hw[1]).div_ceil(OUT);
        let tiles = block.spans.iter().map(tile_rows).sum::<usize>() * columns;
        let strips = &Strip::cut(tiles)[..];
        let packing = Packing { depth: conv.in_channels, chunk: CHUNK, slots: strips.len() * Self::POINTS };
        scratch::with(packing.len(), |packed| {
            let spans = &block.spans[..];
            let all_padded = &InputTransform::<OUT, IN>::all_padded(conv, spans)[..];
            let needed = InputTransform::<OUT, IN>::longest(all_padded)
                + Self::POINTS * InputTransform::<OUT, IN>::line(strips);
            let transform = |(index, packed): (usize, &mut [f32])| {
                let first = index * CHUNK;
                scratch::with(needed, |room| {
                    self.arch.dispatch(InputTransform::<OUT, IN> {
                        conv,
                        x,
                        spans,
                        strips,
                        all_padded,
                        first,
                        packed,
                        room,
                    });
                });
            };
            for_each_chunk(packed, packing.chunk_len(), parallel.then_some(1), transform);
            let (packed, size) = (&*packed, Self::POINTS * packing.depth);
            let multiply = |(panel, pieces): (usize, &mut [&mut [f32]])| {
                let weights = &self.weights[panel * size..];
                let bias = &self.bias[panel];
                let matrices = (packed, packing);
                let (hw, activation) = (conv.windows.out_hw, conv.activation);
                scratch::with(Self::POINTS * PANEL * WIDE, |room| {
                    let (products, _) = room.as_chunks_mut();
                    let output = OutputTransform::<OUT, IN> {
                        weights,
                        matrices,
                        strips,
                        spans,
                        hw,
                        bias,
                        activation,
                        pieces,
                        broken,
                        products,
                    };
                    self.arch.dispatch(output);
                });
            };
            let size = PANEL * spans.len();
            let least = TASK / (PANEL * packing.depth * packing.slots * WIDE) + 1;
            for_each_chunk(&mut block.pieces, size, parallel.then_some(least), multiply);
        });
    }
}

/// Cost of a tile in a strip of few tiles, in lanes of a wide strip.
const FEW_LANES: usize = 4;

impl<const OUT: usize, const IN: usize> Prepared for HostWinograd<OUT, IN> {
    fn run(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let conv = &self.conv;
        let plane = conv.out_plane();
        let spans = spans(conv.batch, plane, OUT * conv.windows.out_hw[1], self.block_pixels());
        let broken: Vec<AtomicBool> = (0..conv.batch).map(|_| AtomicBool::new(false)).collect();
        let blocks = conv.blocks(&spans, output);
        let products = conv.batch * plane / (OUT * OUT) * Self::POINTS * conv.out_channels * conv.in_channels;
        let parallel = products >= TASK;
        if parallel {
            blocks.into_par_iter().for_each(|block| self.block(inputs[0], block, true, &broken));
        } else {
            blocks.into_iter().for_each(|block| self.block(inputs[0], block, false, &broken));
        }
        let broken: Vec<bool> = broken.into_iter().map(AtomicBool::into_inner).collect();
        if broken.contains(&true) {
            let direct = DirectConv::new(&ConvKernel { batch: 1, ..conv.clone() }, inputs[1], inputs[2]);
            let images = output.chunks_mut(conv.out_total * plane);
            let images = images.zip(inputs[0].chunks(conv.in_channels * conv.in_plane()));
            images.zip(broken).filter(|(_, broken)| *broken).for_each(|((y, x), _)| direct.run(&[x], y));
        }
    }
}

/// The filter transform `G g Gᵀ`.
fn filter_points<const IN: usize>(g: &[f32]) -> [[f64; IN]; IN] {
    let along = |g: [f64; 3]| -> [f64; IN] {
        // Value of the polynomial at a point, over the product of the point's distances from the others.
        let at = |x: f64, scale: f64| (g[0] + x * g[1] + x * x * g[2]) / scale;
        let (a, b) = (2.0 * A * A * (A * A - B * B), 2.0 * B * B * (B * B - A * A));
        let four = [at(0.0, -1.0), at(1.0, 2.0), at(-1.0, 2.0), g[2]];
        let six = [at(0.0, A * A * B * B), at(A, a), at(-A, a), at(B, b), at(-B, b), g[2]];
        std::array::from_fn(|i| if IN == 4 { four[i] } else { six[i] })
    };
    let rows: [[f64; IN]; 3] =
        std::array::from_fn(|i| along(std::array::from_fn(|j| f64::from(g[3 * i + j]))));
    let columns: [[f64; IN]; IN] = std::array::from_fn(|j| along(std::array::from_fn(|i| rows[i][j])));
    std::array::from_fn(|i| std::array::from_fn(|j| columns[j][i]))
}

/// The input transform: `Bᵀ` times vectors.
#[inline(always)]
fn input_points<S: Simd, const IN: usize>(simd: S, d: [S::f32s; IN]) -> [S::f32s; IN] {
    let mut points = d;
    if IN == 4 {
        points[0] = simd.sub_f32s(d[2], d[0]);
        points[1] = simd.add_f32s(d[2], d[1]);
        points[2] = simd.sub_f32s(d[2], d[1]);
        points[3] = simd.sub_f32s(d[3], d[1]);
        return points;
    }
    let (aa, bb) = (simd.splat_f32s((-A * A) as f32), simd.splat_f32s((-B * B) as f32));
    // At ±p, with the other pair ±q: (d4 - q²·d2) ± p·(d3 - q²·d1).
    let (even_a, odd_a) = (simd.mul_add_e_f32s(bb, d[2], d[4]), simd.mul_add_e_f32s(bb, d[1], d[3]));
    let (even_b, odd_b) = (simd.mul_add_e_f32s(aa, d[2], d[4]), simd.mul_add_e_f32s(aa, d[1], d[3]));
    let (a, minus_a) = (simd.splat_f32s(A as f32), simd.splat_f32s(-A as f32));
    let (b, minus_b) = (simd.splat_f32s(B as f32), simd.splat_f32s(-B as f32));
    let sum = simd.splat_f32s((-A * A - B * B) as f32);
    points[0] = simd.add_f32s(simd.mul_add_e_f32s(sum, d[2], d[0]), d[4]);
    points[1] = simd.mul_add_e_f32s(a, odd_a, even_a);
    points[2] = simd.mul_add_e_f32s(minus_a, odd_a, even_a);
    points[3] = simd.mul_add_e_f32s(b, odd_b, even_b);
    points[4] = simd.mul_add_e_f32s(minus_b, odd_b, even_b);
    points[5] = simd.add_f32s(simd.mul_add_e_f32s(sum, d[3], d[1]), d[5]);
    points
}

/// The output transform: `Aᵀ` times vectors.
#[inline(always)]
fn output_pixels<S: Simd, const OUT: usize, const IN: usize>(simd: S, m: [S::f32s; IN]) -> [S::f32s; OUT] {
    let mut pixels = [m[0]; OUT];
    let (plus_a, minus_a) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    if IN == 4 {
        pixels[0] = simd.add_f32s(m[0], plus_a);
        pixels[1] = simd.add_f32s(m[3], minus_a);
        return pixels;
    }
    let (plus_b, minus_b) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    let (a, b) = (simd.splat_f32s(A as f32), simd.splat_f32s(B as f32));
    let (aa, bb) = (simd.splat_f32s((A * A) as f32), simd.splat_f32s((B * B) as f32));
    let (aaa, bbb) = (simd.splat_f32s((A * A * A) as f32), simd.splat_f32s((B * B * B) as f32));
    pixels[0] = simd.add_f32s(m[0], simd.add_f32s(plus_a, plus_b));
    pixels[1] = simd.mul_add_e_f32s(b, minus_b, simd.mul_f32s(a, minus_a));
    pixels[2] = simd.mul_add_e_f32s(bb, plus_b, simd.mul_f32s(aa, plus_a));
    pixels[3] = simd.mul_add_e_f32s(bbb, minus_b, simd.mul_add_e_f32s(aaa, minus_a, m[5]));
    pixels
}

/// Transforms some input channels of a block's tiles.
struct InputTransform<'a, const OUT: usize, const IN: usize> {
    conv: &'a ConvKernel,
    x: &'a [f32],
    spans: &'a [PixelSpan],
    strips: &'a [Strip],
    all_padded: &'a [(usize, PaddedRows)],
    /// First channel to transform.
    first: usize,
    packed: &'a mut [f32],
    room: &'a mut [f32],
}

impl<const OUT: usize, const IN: usize> InputTransform<'_, OUT, IN> {
    const POINTS: usize = IN * IN;

    /// Padded rows of each span, with its number of tile rows.
    fn all_padded(conv: &ConvKernel, spans: &[PixelSpan]) -> Vec<(usize, PaddedRows)> {
        let pitch = conv.windows.out_hw[1].div_ceil(OUT) + 1;
        let padded = |span: &PixelSpan| {
            let [first, rows] = [span.first, span.count].map(|pixels| pixels / conv.windows.out_hw[1]);
            let rows = rows.div_ceil(OUT);
            (rows, PaddedRows { first, rows: OUT * rows + IN - OUT, phases: OUT, pitch })
        };
        spans.iter().map(padded).collect()
    }

    /// Elements of a point's lanes, including the overrun of a row's last vector of tiles.
    fn line(strips: &[Strip]) -> usize {
        strips.iter().map(|strip| strip.first + strip.width).max().unwrap_or(0) + LANES
    }

    /// Elements of the longest padded rows, including the overrun of a vector.
    fn longest(all_padded: &[(usize, PaddedRows)]) -> usize {
        all_padded.iter().map(|(_, padded)| padded.len()).max().unwrap_or(0) + LANES
    }
}

impl<const OUT: usize, const IN: usize> WithSimd for InputTransform<'_, OUT, IN> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (conv, windows) = (self.conv, self.conv.windows);
        let columns = conv.windows.out_hw[1].div_ceil(OUT);
        let channels = self.packed.len() / (self.strips.len() * Self::POINTS * WIDE);
        let (longest, line) = (Self::longest(self.all_padded), Self::line(self.strips));
        let (room, points) = self.room.split_at_mut(longest);
        room[longest - LANES..].fill(0.0);
        for c in 0..channels {
            let mut at = 0;
            for ((tile_rows, padded), span) in self.all_padded.iter().zip(self.spans) {
                let plane = (span.image * conv.in_channels + self.first + c) * conv.in_plane();
                padded.fill(&windows, &self.x[plane..][..conv.in_plane()], 0.0, room);
                for row in 0..*tile_rows {
                    for column in (0..columns).step_by(LANES) {
                        let first = OUT * row * padded.row_len() + column;
                        let tiles = TileVector::<OUT, IN> { room, at: first, pitch: padded.pitch };
                        tiles.transform(simd, &mut points[at + column..], line);
                    }
                    at += columns;
                }
            }
            for (slots, strip) in
                self.packed.chunks_exact_mut(Self::POINTS * channels * WIDE).zip(self.strips)
            {
                let points = points.chunks_exact(line);
                for (slot, point) in slots.chunks_exact_mut(channels * WIDE).zip(points) {
                    let row = &mut slot[c * strip.width..][..strip.width];
                    vectors::copy(&point[strip.first..], row);
                    row[strip.count..].fill(0.0);
                }
            }
        }
    }
}

/// Sixteen adjacent tiles in padded rows with `OUT` phases.
struct TileVector<'a, const OUT: usize, const IN: usize> {
    room: &'a [f32],
    /// Position of the first tile's first pixel.
    at: usize,
    pitch: usize,
}

impl<const OUT: usize, const IN: usize> TileVector<'_, OUT, IN> {
    /// Writes the transformed tiles, with `line` elements between points.
    #[inline(always)]
    fn transform<S: Simd>(&self, simd: S, points: &mut [f32], line: usize) {
        let zero = simd.splat_f32s(0.0);
        for at in (0..LANES).step_by(S::F32_LANES) {
            let mut rows = [[zero; IN]; IN];
            for (i, row) in rows.iter_mut().enumerate() {
                let mut pixels = [zero; IN];
                for (j, pixel) in pixels.iter_mut().enumerate() {
                    let start = self.at + (i * OUT + j % OUT) * self.pitch + j / OUT + at;
                    *pixel = S::as_simd_f32s(&self.room[start..][..S::F32_LANES]).0[0];
                }
                *row = input_points(simd, pixels);
            }
            for j in 0..IN {
                let mut column = [zero; IN];
                for i in 0..IN {
                    column[i] = rows[i][j];
                }
                let column = input_points(simd, column);
                for (i, point) in column.into_iter().enumerate() {
                    S::as_mut_simd_f32s(&mut points[(i * IN + j) * line + at..][..S::F32_LANES]).0[0] = point;
                }
            }
        }
    }
}

/// Multiplies a panel's channels with a block's tiles, and transforms the results back.
struct OutputTransform<'a, 'b, 'c, const OUT: usize, const IN: usize> {
    /// The panel's weights of all points, and those of the panels after it.
    weights: &'a [[f32; PANEL]],
    /// The packed transformed input.
    matrices: (&'a [f32], Packing),
    strips: &'a [Strip],
    spans: &'a [PixelSpan],
    /// Height and width of the output.
    hw: [usize; 2],
    bias: &'a [f32; PANEL],
    activation: Activation,
    /// Parts of the output, `[channels][spans]`.
    pieces: &'b mut [&'c mut [f32]],
    /// Flags of images with a non-finite result.
    broken: &'a [AtomicBool],
    /// Scratch memory for the products, `[IN²][16]`.
    products: &'b mut [StripSums],
}

impl<const OUT: usize, const IN: usize> WithSimd for OutputTransform<'_, '_, '_, OUT, IN> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (packed, packing) = self.matrices;
        let products = std::mem::take(&mut self.products);
        let channels = self.pieces.len() / self.spans.len();
        let mut pixels = [[[0.0; WIDE]; OUT]; OUT];
        for (index, strip) in self.strips.iter().enumerate() {
            for (point, products) in products.chunks_exact_mut(PANEL).enumerate() {
                let weights = &self.weights[point * packing.depth..];
                let slot = index * IN * IN + point;
                let pixels = Packed { packed, packing, slot, width: strip.width };
                let bias = &[0.0; PANEL];
                let factors =
                    Factors { arithmetic: Floats, weights, ahead: index == 0, bias, pixels, strip: *strip };
                factors.product(simd, channels, products);
            }
            for channel in 0..channels {
                pixels_of::<S, OUT, IN>(
                    simd,
                    &products[channel..],
                    strip.width,
                    self.bias[channel],
                    &mut pixels,
                );
                self.write(strip, channel, &pixels);
            }
        }
    }
}

/// The pixels of a channel's tiles, `[row][column][tile]`.
#[inline(always)]
fn pixels_of<S: Simd, const OUT: usize, const IN: usize>(
    simd: S,
    products: &[StripSums],
    width: usize,
    bias: f32,
    pixels: &mut [[StripSums; OUT]; OUT],
) {
    let (bias, zero) = (simd.splat_f32s(bias), simd.splat_f32s(0.0));
    for at in 0..width / S::F32_LANES {
        let mut columns = [[zero; OUT]; IN];
        for (j, column) in columns.iter_mut().enumerate() {
            let mut points = [zero; IN];
            for (i, point) in points.iter_mut().enumerate() {
                *point = S::as_simd_f32s(&products[(i * IN + j) * PANEL][..]).0[at];
            }
            *column = output_pixels::<S, OUT, IN>(simd, points);
        }
        for (i, pixels) in pixels.iter_mut().enumerate() {
            let mut row = [zero; IN];
            for (row, column) in row.iter_mut().zip(&columns) {
                *row = column[i];
            }
            let row = output_pixels::<S, OUT, IN>(simd, row);
            for (pixels, pixel) in pixels.iter_mut().zip(row) {
                S::as_mut_simd_f32s(&mut pixels[..]).0[at] = simd.add_f32s(pixel, bias);
            }
        }
    }
}

impl<const OUT: usize, const IN: usize> OutputTransform<'_, '_, '_, OUT, IN> {
    /// Writes a strip's pixels of a channel to the output.
    #[inline(always)]
    fn write(&mut self, strip: &Strip, channel: usize, pixels: &[[StripSums; OUT]; OUT]) {
        let ow = self.hw[1];
        let columns = ow.div_ceil(OUT);
        let pieces = &mut self.pieces[channel * self.spans.len()..][..self.spans.len()];
        for (i, pixels) in pixels.iter().enumerate() {
            // Interleaves the tiles' columns.
            let mut line = [[0.0; OUT]; WIDE];
            for (t, tile) in line.iter_mut().enumerate() {
                for (tile, pixels) in tile.iter_mut().zip(pixels) {
                    *tile = pixels[t];
                }
            }
            let line = line.as_flattened_mut();
            // Magnitudes compare as the integers of their bits.
            let largest = line[..OUT * strip.count].iter().fold(0, |most, y| y.abs().to_bits().max(most));
            let finite = largest < f32::INFINITY.to_bits();
            let mut start = 0;
            for (span, piece) in self.spans.iter().zip(pieces.iter_mut()) {
                let rows = span.count / ow;
                let end = start + rows.div_ceil(OUT) * columns;
                let (mut tile, last) = (strip.first.max(start), end.min(strip.first + strip.count));
                while tile < last {
                    let (row, column) = ((tile - start) / columns, (tile - start) % columns);
                    let run = (columns - column).min(last - tile);
                    let from = OUT * (tile - strip.first);
                    if !finite && line[from..][..OUT * run].iter().any(|y| !y.is_finite()) {
                        self.broken[span.image].store(true, Ordering::Relaxed);
                    }
                    let y = OUT * row + i;
                    if y < rows {
                        let len = (OUT * run).min(ow - OUT * column);
                        let piece = &mut piece[y * ow + OUT * column..][..len];
                        self.activation.apply_into(&line[from..], piece);
                    }
                    tile += run;
                }
                start = end;
            }
        }
    }
}
