//! The GEMM microkernel of the host: a few output channels × a strip of pixels in registers, summed over a depth.
//!
//! Weights are packed in panels of 16 channels, `[depth][16]`. Pixels or Winograd tiles form strips of up to 48. They
//! are packed, `[depth][width]` ([`Packed`]), or are read where they are, at a distance for each row of the depth
//! ([`Shifted`]). Eight channels × 48 pixels are 24 vectors of 16 sums, which fit 32 registers and keep two multipliers
//! busy. Processors with shorter vectors compute a strip in parts. Panels with fewer channels are divided into tiles of
//! similar heights. A few remaining pixels of a plane use vectors of channels instead, pixel by pixel.
//!
//! The weights of large layers come from memory each time, and hardware does not predict the next panel, so the
//! product over the last strip prefetches it.
//!
//! Every sum starts from its bias and adds its products in the order of the depth, with one fused multiply-add each,
//! at every position in a strip. The division into strips therefore changes no bit. The words may also hold integers
//! ([`Arithmetic`]).
//!
//! In this file, and in all code that is compiled for several instruction sets, no closure that another function
//! calls (`map`, `from_fn`, [`scratch::with`](crate::kernels::host::scratch::with)) may use vectors: it is compiled
//! without the instructions, and every vector operation becomes a function call, twenty times slower. Nor may a
//! reference to a tile's sums reach a function that may not be inlined (`zip`, `copy_from_slice`): the sums would then
//! be stored after every product, three times slower. Loops by index have neither problem.

use std::ops::Range;

use pulp::Simd;

/// Channels of a panel of weights.
pub(crate) const PANEL: usize = 16;
/// Most channels of a tile, with 32 registers and with 16.
const HEIGHT: usize = 8;
const HEIGHT_16: usize = 6;
/// Rows of the depth that a panel's tiles multiply one after the other: their weights and pixels stay in the first-level
/// cache.
const NEAR: usize = 96;
/// Pixels of a full strip.
pub(crate) const WIDE: usize = 48;
/// Unit of the widths of strips.
const VECTOR: usize = 16;
/// Most pixels of a strip that is computed pixel by pixel.
const FEW: usize = 4;

/// Sums of one channel over a strip.
pub(crate) type StripSums = [f32; WIDE];

/// Adjacent pixels of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strip {
    /// Index of the first pixel in the block.
    pub first: usize,
    /// Number of pixels in the strip.
    pub count: usize,
    /// Distance between rows of the packed strip, a multiple of 16.
    pub width: usize,
}

impl Strip {
    /// Divides `pixels` pixels into strips.
    pub(crate) fn cut(pixels: usize) -> Vec<Self> {
        let (whole, rest) = (pixels / WIDE, pixels % WIDE);
        let strip = |first, count: usize| Self { first, count, width: count.next_multiple_of(VECTOR) };
        let mut strips: Vec<Self> = (0..whole).map(|i| strip(i * WIDE, WIDE)).collect();
        let few = if rest % VECTOR <= FEW { rest % VECTOR } else { 0 };
        let parts = [(pixels - rest, rest - few), (pixels - few, few)];
        strips.extend(parts.into_iter().filter(|part| part.1 > 0).map(|(first, count)| strip(first, count)));
        strips
    }

    /// Returns whether the strip is computed pixel by pixel, with a whole panel of channels at once.
    pub(crate) fn is_few(&self) -> bool {
        self.count <= FEW
    }
}

/// The layout of packed strips: chunks of the depth, which threads can write independently. A chunk holds slot after
/// slot of `[rows of the chunk][at most 48]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packing {
    /// Number of rows over all chunks.
    pub depth: usize,
    /// Rows of a chunk; the last chunk may have fewer.
    pub chunk: usize,
    /// Number of strips times the number of matrices.
    pub slots: usize,
}

impl Packing {
    /// Number of elements of all chunks.
    pub(crate) fn len(&self) -> usize {
        self.depth * self.slots * WIDE
    }

    /// Number of elements of a chunk.
    pub(crate) fn chunk_len(&self) -> usize {
        self.chunk * self.slots * WIDE
    }
}

/// Place of a strip's pixels in memory, for each row of the depth.
pub(crate) trait PixelRows: Copy {
    /// Number of rows: the depth.
    fn depth(&self) -> usize;

    /// Number of pieces of the depth.
    fn pieces(&self) -> usize;

    /// Number of rows before a piece.
    fn rows_before(&self, piece: usize) -> usize;

    /// Number of pieces, at least one, with about `rows` rows in total.
    fn pieces_of(&self, rows: usize) -> usize;

    /// The pixels of each row of a piece.
    fn rows(&self, piece: usize) -> impl Iterator<Item = &[f32]>;
}

/// Strips that are packed one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    /// All strips in order.
    pub packed: &'a [f32],
    pub packing: Packing,
    /// Slot of the strip.
    pub slot: usize,
    /// Distance between rows of the strip.
    pub width: usize,
}

impl PixelRows for Packed<'_> {
    #[inline(always)]
    fn depth(&self) -> usize {
        self.packing.depth
    }

    #[inline(always)]
    fn pieces(&self) -> usize {
        self.packing.depth.div_ceil(self.packing.chunk)
    }

    #[inline(always)]
    fn rows_before(&self, piece: usize) -> usize {
        piece * self.packing.chunk
    }

    #[inline(always)]
    fn pieces_of(&self, rows: usize) -> usize {
        (rows / self.packing.chunk).max(1)
    }

    #[inline(always)]
    fn rows(&self, piece: usize) -> impl Iterator<Item = &[f32]> {
        let rows = self.packing.chunk.min(self.packing.depth - self.rows_before(piece));
        let chunk = &self.packed[piece * self.packing.chunk_len()..];
        chunk[self.slot * rows * WIDE..][..rows * self.width].chunks_exact(self.width)
    }
}

/// Pixels that each row of the depth has at a distance of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shifted<'a> {
    /// Memory from the strip's first pixel at distance 0 on.
    pub pixels: &'a [f32],
    pub distances: &'a [usize],
    /// Width of the strip.
    pub width: usize,
}

impl PixelRows for Shifted<'_> {
    #[inline(always)]
    fn depth(&self) -> usize {
        self.distances.len()
    }

    #[inline(always)]
    fn pieces(&self) -> usize {
        self.distances.len().div_ceil(NEAR)
    }

    #[inline(always)]
    fn rows_before(&self, piece: usize) -> usize {
        piece * NEAR
    }

    #[inline(always)]
    fn pieces_of(&self, _rows: usize) -> usize {
        1
    }

    #[inline(always)]
    fn rows(&self, piece: usize) -> impl Iterator<Item = &[f32]> {
        let distances = self.distances[self.rows_before(piece)..].iter().take(NEAR);
        distances.map(|&distance| &self.pixels[distance..][..self.width])
    }
}

/// The numbers in the words of weights, pixels and sums.
pub(crate) trait Arithmetic: Copy {
    /// Returns the sums to which the products of weights and pixels are added.
    fn add_product<S: Simd>(self, simd: S, weights: S::f32s, pixels: S::f32s, sums: S::f32s) -> S::f32s;
}

/// Words that are single floats.
#[derive(Clone, Copy)]
pub(crate) struct Floats;

impl Arithmetic for Floats {
    #[inline(always)]
    fn add_product<S: Simd>(self, simd: S, weights: S::f32s, pixels: S::f32s, sums: S::f32s) -> S::f32s {
        simd.mul_add_e_f32s(weights, pixels, sums)
    }
}

/// The operands of a product.
#[derive(Clone, Copy)]
pub(crate) struct Factors<'a, A, P> {
    pub arithmetic: A,
    /// Panels `[depth][16]`; the first one is multiplied.
    pub weights: &'a [[f32; PANEL]],
    /// True to prefetch the next panel.
    pub ahead: bool,
    /// Initial values of the panel's sums.
    pub bias: &'a [f32; PANEL],
    pub pixels: P,
    pub strip: Strip,
}

/// Divides the channels of a panel into tiles of similar heights, at most `most`.
#[inline(always)]
fn tiles(channels: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = channels.div_ceil(most).max(1);
    let height = channels.div_ceil(count);
    (0..count).map(move |tile| (tile * height, height.min(channels - tile * height)))
}

impl<A: Arithmetic, P: PixelRows> Factors<'_, A, P> {
    /// Multiplies the panel's first `channels` channels with the strip, and writes a row of sums for each.
    ///
    /// A strip of few pixels writes the sums of the whole panel.
    #[inline(always)]
    pub(crate) fn product<S: Simd>(&self, simd: S, channels: usize, sums: &mut [StripSums]) {
        if self.strip.is_few() {
            return match self.strip.count {
                1 => self.few::<S, 1>(simd, sums),
                2 => self.few::<S, 2>(simd, sums),
                3 => self.few::<S, 3>(simd, sums),
                _ => self.few::<S, FEW>(simd, sums),
            };
        }
        let most = if S::REGISTER_COUNT >= 32 { HEIGHT } else { HEIGHT_16 };
        let (pieces, at_once) = (self.pixels.pieces(), self.pixels.pieces_of(NEAR));
        let mut first_piece = 0;
        while first_piece < pieces.max(1) {
            let part = first_piece..(first_piece + at_once).min(pieces);
            for (first, height) in tiles(channels, most) {
                let (part, sums) = (part.clone(), &mut sums[first..]);
                match height {
                    1 => self.rows::<S, 1>(simd, first, part, sums),
                    2 => self.rows::<S, 2>(simd, first, part, sums),
                    3 => self.rows::<S, 3>(simd, first, part, sums),
                    4 => self.rows::<S, 4>(simd, first, part, sums),
                    5 => self.rows::<S, 5>(simd, first, part, sums),
                    6 => self.rows::<S, HEIGHT_16>(simd, first, part, sums),
                    // Not reached with fewer registers, for which these would be compiled in vain.
                    _ if S::REGISTER_COUNT < 32 => {}
                    7 => self.rows::<S, 7>(simd, first, part, sums),
                    _ => self.rows::<S, HEIGHT>(simd, first, part, sums),
                }
            }
            first_piece += at_once;
        }
    }

    /// Multiplies `R` channels with a part of the strip's depth, several vectors of pixels at a time.
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(
        &self,
        simd: S,
        first: usize,
        part: Range<usize>,
        sums: &mut [StripSums],
    ) {
        let vectors = self.strip.width / S::F32_LANES;
        let most = if S::REGISTER_COUNT >= 32 || R <= 3 { 3 } else { 2 };
        let mut at = 0;
        while at < vectors {
            let count = most.min(vectors - at);
            match count {
                1 => self.tile::<S, R, 1>(simd, (first, at), part.clone(), sums),
                2 => self.tile::<S, R, 2>(simd, (first, at), part.clone(), sums),
                _ if S::REGISTER_COUNT >= 32 || R <= 3 => {
                    self.tile::<S, R, 3>(simd, (first, at), part.clone(), sums);
                }
                _ => {}
            }
            at += count;
        }
    }

    /// Multiplies `R` channels with `V` vectors of pixels.
    // Loops of constant length, which are unrolled; `copy_from_slice` might not be inlined.
    #[allow(clippy::needless_range_loop, clippy::manual_memcpy)]
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        (first, at): (usize, usize),
        part: Range<usize>,
        sums: &mut [StripSums],
    ) {
        let mut tile = [[simd.splat_f32s(0.0); V]; R];
        let (bias, sums) = (&self.bias[first..first + R], &mut sums[..R]);
        for r in 0..R {
            if part.start == 0 {
                tile[r] = [simd.splat_f32s(bias[r]); V];
            } else {
                let (sums, _) = S::as_simd_f32s(&sums[r][..]);
                let sums = &sums[at..at + V];
                for v in 0..V {
                    tile[r][v] = sums[v];
                }
            }
        }
        // Each of a panel's tiles prefetches its share of the next panel.
        let (depth, done) = (self.pixels.depth(), self.pixels.rows_before(part.start));
        let mut next = self.weights.iter().skip(depth + depth * first / PANEL + done * R / PANEL);
        for piece in part {
            let from = self.pixels.rows_before(piece);
            if self.ahead {
                let rows = self.pixels.rows_before(piece + 1).min(depth) - from;
                for row in next.by_ref().take((rows * R).div_ceil(PANEL)) {
                    fetch(row);
                }
            }
            for (weights, pixels) in self.weights[from..depth].iter().zip(self.pixels.rows(piece)) {
                let (pixels, _) = S::as_simd_f32s(pixels);
                let (weights, pixels) = (&weights[first..first + R], &pixels[at..at + V]);
                for r in 0..R {
                    let weight = simd.splat_f32s(weights[r]);
                    for v in 0..V {
                        tile[r][v] = self.arithmetic.add_product(simd, weight, pixels[v], tile[r][v]);
                    }
                }
            }
        }
        for r in 0..R {
            let (sums, _) = S::as_mut_simd_f32s(&mut sums[r][..]);
            let sums = &mut sums[at..at + V];
            for v in 0..V {
                sums[v] = tile[r][v];
            }
        }
    }

    /// Multiplies all channels of the panel with `R` pixels, in vectors of channels.
    #[allow(clippy::needless_range_loop)] // loops of constant length, which are unrolled
    #[inline(always)]
    fn few<S: Simd, const R: usize>(&self, simd: S, sums: &mut [StripSums]) {
        let mut columns = [[0.0; PANEL]; R];
        for at in 0..PANEL / S::F32_LANES {
            let (bias, _) = S::as_simd_f32s(&self.bias[..]);
            let mut tile = [bias[at]; R];
            for piece in 0..self.pixels.pieces() {
                let rows = self.pixels.rows_before(piece)..self.pixels.depth();
                for (weights, pixels) in self.weights[rows].iter().zip(self.pixels.rows(piece)) {
                    let (weights, _) = S::as_simd_f32s(&weights[..]);
                    let pixels = &pixels[..R];
                    for r in 0..R {
                        let pixel = simd.splat_f32s(pixels[r]);
                        tile[r] = self.arithmetic.add_product(simd, weights[at], pixel, tile[r]);
                    }
                }
            }
            for r in 0..R {
                let (column, _) = S::as_mut_simd_f32s(&mut columns[r][..]);
                column[at] = tile[r];
            }
        }
        for (channel, sums) in sums.iter_mut().enumerate() {
            for r in 0..R {
                sums[r] = columns[r][channel];
            }
        }
    }
}

/// Prefetches elements into the cache.
#[inline(always)]
pub(crate) fn fetch(elements: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in elements.as_chunks::<PANEL>().0 {
        safe_arch::prefetch_t1(line);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = elements;
}

/// Packs a matrix of weights, `[channels, depth]`, into panels of `[depth][16]`. The last panel is padded with zeros.
pub(crate) fn panels(weights: &[f32], channels: usize, depth: usize) -> Vec<[f32; PANEL]> {
    let mut packed = vec![[0.0; PANEL]; channels.div_ceil(PANEL) * depth];
    for (panel, rows) in packed.chunks_mut(depth.max(1)).zip(weights.chunks((PANEL * depth).max(1))) {
        for (lane, row) in rows.chunks_exact(depth).enumerate() {
            panel.iter_mut().zip(row).for_each(|(packed, &weight)| packed[lane] = weight);
        }
    }
    packed
}
