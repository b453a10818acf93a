//! The GEMM microkernel of the host: a few output channels × a strip of pixels in registers, summed over a depth.
//!
//! Weights are packed in panels of 16 channels, `[depth][16]`; pixels or Winograd tiles in strips of up to 48,
//! `[depth][width]`. Eight channels × 48 pixels are 24 vectors of 16 sums, which fit 32 registers and keep two
//! multipliers busy. Processors with shorter vectors compute a strip in parts. A few remaining pixels of a plane use
//! vectors of channels instead, pixel by pixel.
//!
//! The weights of large layers come from memory each time, and hardware does not predict the next panel, so the
//! product over the last strip prefetches it.
//!
//! Every sum starts from its bias and adds its products in the order of the depth, with one fused multiply-add each,
//! at every position in a strip. The division into strips therefore changes no bit.
//!
//! In this file, and in all code that is compiled for several instruction sets, no closure that another function
//! calls (`map`, `from_fn`, [`scratch::with`](crate::kernels::host::scratch::with)) may use vectors: it is compiled
//! without the instructions, and every vector operation becomes a function call, twenty times slower.

use pulp::Simd;

/// Channels of a panel of weights.
pub(crate) const PANEL: usize = 16;
/// Channels of a product with a wide strip: half a panel.
pub(crate) const HALF: usize = 8;
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

/// The operands of a product.
#[derive(Clone, Copy)]
pub(crate) struct Factors<'a> {
    /// Panels `[depth][16]`; the first one is multiplied.
    pub weights: &'a [[f32; PANEL]],
    /// True to prefetch the next panel.
    pub ahead: bool,
    /// Initial values of the panel's sums.
    pub bias: &'a [f32; PANEL],
    /// All packed strips, one after the other.
    pub packed: &'a [f32],
    /// Layout of the packed strips.
    pub packing: Packing,
    /// Slot of the strip that is multiplied.
    pub slot: usize,
    /// Pixels of the strip that is multiplied.
    pub strip: Strip,
}

impl<'a> Factors<'a> {
    /// Iterates over the weights and pixels of each chunk of the depth.
    #[inline(always)]
    fn pieces(&self) -> impl Iterator<Item = (&'a [[f32; PANEL]], &'a [f32])> {
        let (packing, slot, width) = (self.packing, self.slot, self.strip.width);
        let chunks = self.packed[..packing.len()].chunks(packing.chunk_len());
        self.weights[..packing.depth].chunks(packing.chunk).zip(chunks).map(move |(weights, chunk)| {
            let rows = weights.len();
            (weights, &chunk[slot * rows * WIDE..][..rows * width])
        })
    }

    /// Multiplies a panel's channels with the strip.
    ///
    /// A wide strip takes half of the panel, from channel `first` (0 or 8) on, and writes 8 rows of sums; a strip of
    /// few pixels takes the whole panel and writes 16.
    #[inline(always)]
    pub(crate) fn product<S: Simd>(&self, simd: S, first: usize, sums: &mut [StripSums]) {
        if self.strip.is_few() {
            match self.strip.count {
                1 => self.few::<S, 1>(simd, sums),
                2 => self.few::<S, 2>(simd, sums),
                3 => self.few::<S, 3>(simd, sums),
                _ => self.few::<S, FEW>(simd, sums),
            }
        } else if S::REGISTER_COUNT >= 32 {
            self.rows::<S, HALF>(simd, first, sums);
        } else {
            let (upper, lower) = sums.split_at_mut(HALF / 2);
            self.rows::<S, { HALF / 2 }>(simd, first, upper);
            self.rows::<S, { HALF / 2 }>(simd, first + HALF / 2, lower);
        }
    }

    /// Multiplies `R` channels with the strip, three vectors of pixels at a time as far as possible.
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(&self, simd: S, first: usize, sums: &mut [StripSums]) {
        let vectors = self.strip.width / S::F32_LANES;
        let mut at = 0;
        while vectors - at >= 3 {
            self.tile::<S, R, 3>(simd, first, at, sums);
            at += 3;
        }
        match vectors - at {
            2 => self.tile::<S, R, 2>(simd, first, at, sums),
            1 => self.tile::<S, R, 1>(simd, first, at, sums),
            _ => {}
        }
    }

    /// Multiplies `R` channels with `V` vectors of pixels.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        first: usize,
        at: usize,
        sums: &mut [StripSums],
    ) {
        let step = self.strip.width / S::F32_LANES;
        let mut tile = [[simd.splat_f32s(0.0); V]; R];
        for (row, bias) in tile.iter_mut().zip(&self.bias[first..first + R]) {
            *row = [simd.splat_f32s(*bias); V];
        }
        // Each half of a panel's channels prefetches half of the next panel.
        let depth = self.packing.depth;
        let mut next = self.weights.iter().skip(if first < HALF { depth } else { depth + depth / 2 });
        for (weights, pixels) in self.pieces() {
            if self.ahead {
                for row in next.by_ref().take(weights.len().div_ceil(2)) {
                    fetch(row);
                }
            }
            let (pixels, _) = S::as_simd_f32s(pixels);
            for (weights, pixels) in weights.iter().zip(pixels.chunks_exact(step)) {
                let (weights, pixels) = (&weights[first..first + R], &pixels[at..at + V]);
                for r in 0..R {
                    let weight = simd.splat_f32s(weights[r]);
                    for v in 0..V {
                        tile[r][v] = simd.mul_add_e_f32s(weight, pixels[v], tile[r][v]);
                    }
                }
            }
        }
        for (row, sums) in tile.iter().zip(sums) {
            let (sums, _) = S::as_mut_simd_f32s(&mut sums[..]);
            sums[at..at + V].copy_from_slice(row);
        }
    }

    /// Multiplies all channels of the panel with `R` pixels, in vectors of channels.
    #[inline(always)]
    fn few<S: Simd, const R: usize>(&self, simd: S, sums: &mut [StripSums]) {
        let width = self.strip.width;
        let mut columns = [[0.0; PANEL]; R];
        for at in 0..PANEL / S::F32_LANES {
            let (bias, _) = S::as_simd_f32s(&self.bias[..]);
            let mut tile = [bias[at]; R];
            for (weights, pixels) in self.pieces() {
                for (weights, pixels) in weights.iter().zip(pixels.chunks_exact(width)) {
                    let (weights, _) = S::as_simd_f32s(&weights[..]);
                    let pixels = &pixels[..R];
                    for r in 0..R {
                        tile[r] = simd.mul_add_e_f32s(weights[at], simd.splat_f32s(pixels[r]), tile[r]);
                    }
                }
            }
            for (column, sum) in columns.iter_mut().zip(tile) {
                let (column, _) = S::as_mut_simd_f32s(&mut column[..]);
                column[at] = sum;
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
