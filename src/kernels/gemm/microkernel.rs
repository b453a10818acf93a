//! The product that host kernels spend their time in: a few output channels × a strip of pixels, summed over a depth,
//! in registers.
//!
//! Weights come in panels of 16 channels, `[depth][16]`; pixels (or Winograd's tiles) in strips of up to 48,
//! `[depth][width]`. Eight channels × 48 pixels are 24 vectors of 16 sums: what 32 registers hold, and enough to keep
//! two multipliers busy. With shorter vectors the same strip is computed in parts. The few pixels that are left where a
//! plane is no multiple of 16 take the other way round: vectors of channels, one pixel after the other.
//!
//! Weights of large layers come from memory each time, and a processor does not see ahead where the next panel is: over
//! the last strip, a product asks for it.
//!
//! Every sum starts from its bias and takes its products in the order of the depth, one fused multiply-add each,
//! wherever it stands in a tile: so how pixels come in strips changes no bit.
//!
//! Here and in all that is compiled for several instruction sets, no vector is touched in a closure that another
//! function calls (`map`, `from_fn`, [`scratch::with`](super::scratch::with)): it is compiled without the instructions,
//! and every operation in it becomes a call of its own, twenty times as slow.

use pulp::Simd;

/// Channels of a panel of weights.
pub(crate) const PANEL: usize = 16;
/// Channels of a product over a wide strip: half a panel.
pub(crate) const HALF: usize = 8;
/// Pixels of a full strip.
pub(crate) const WIDE: usize = 48;
/// Widths of strips are multiples of it.
const VECTOR: usize = 16;
/// Up to so many pixels are computed one after the other.
const FEW: usize = 4;

/// Sums of a product: a row for each channel.
pub(crate) type Sums = [f32; WIDE];

/// Some neighbouring pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strip {
    /// The first of them, among all of the block.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// Elements from one row of the packed strip to the next, a multiple of 16.
    pub width: usize,
}

impl Strip {
    /// Cuts so many pixels into strips.
    pub(crate) fn cut(pixels: usize) -> Vec<Self> {
        let (whole, rest) = (pixels / WIDE, pixels % WIDE);
        let strip = |first, count: usize| Self { first, count, width: count.next_multiple_of(VECTOR) };
        let mut strips: Vec<Self> = (0..whole).map(|i| strip(i * WIDE, WIDE)).collect();
        let few = if rest % VECTOR <= FEW { rest % VECTOR } else { 0 };
        let parts = [(pixels - rest, rest - few), (pixels - few, few)];
        strips.extend(parts.into_iter().filter(|part| part.1 > 0).map(|(first, count)| strip(first, count)));
        strips
    }

    /// Whether a whole panel of channels is computed at once, pixel by pixel.
    pub(crate) fn is_few(&self) -> bool {
        self.count <= FEW
    }
}

/// Where packed strips stand: in chunks of the depth, so that several threads can write them; in a chunk, slot after
/// slot of `[rows of the chunk][at most 48]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packing {
    /// Rows in all.
    pub depth: usize,
    /// Rows of a chunk; the last may have fewer.
    pub chunk: usize,
    /// Strips, times matrices of each.
    pub slots: usize,
}

impl Packing {
    /// Elements of everything.
    pub(crate) fn len(&self) -> usize {
        self.depth * self.slots * WIDE
    }

    /// Elements of a chunk.
    pub(crate) fn chunk_len(&self) -> usize {
        self.chunk * self.slots * WIDE
    }
}

/// What a product is made of.
#[derive(Clone, Copy)]
pub(crate) struct Factors<'a> {
    /// A panel, `[depth][16]`, and those after it.
    pub weights: &'a [[f32; PANEL]],
    /// Whether the next panel should come from memory meanwhile.
    pub ahead: bool,
    /// What the panel's sums start from.
    pub bias: &'a [f32; PANEL],
    /// All strips.
    pub packed: &'a [f32],
    /// How they stand there.
    pub packing: Packing,
    /// Which one is meant.
    pub slot: usize,
    /// Its pixels.
    pub strip: Strip,
}

impl<'a> Factors<'a> {
    /// The weights and pixels of each chunk of the depth.
    #[inline(always)]
    fn pieces(&self) -> impl Iterator<Item = (&'a [[f32; PANEL]], &'a [f32])> {
        let (packing, slot, width) = (self.packing, self.slot, self.strip.width);
        let chunks = self.packed[..packing.len()].chunks(packing.chunk_len());
        self.weights[..packing.depth].chunks(packing.chunk).zip(chunks).map(move |(weights, chunk)| {
            let rows = weights.len();
            (weights, &chunk[slot * rows * WIDE..][..rows * width])
        })
    }

    /// A panel's channels × the strip. A wide strip gives half of the panel, from channel `first` (0 or 8) on, as 8
    /// rows; one of few pixels the whole panel, as 16.
    #[inline(always)]
    pub(crate) fn product<S: Simd>(&self, simd: S, first: usize, sums: &mut [Sums]) {
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

    /// `R` channels × the strip, three vectors of pixels at a time as long as there are so many.
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(&self, simd: S, first: usize, sums: &mut [Sums]) {
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

    /// `R` channels × `V` vectors of pixels.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        first: usize,
        at: usize,
        sums: &mut [Sums],
    ) {
        let step = self.strip.width / S::F32_LANES;
        let mut tile = [[simd.splat_f32s(0.0); V]; R];
        for (row, bias) in tile.iter_mut().zip(&self.bias[first..first + R]) {
            *row = [simd.splat_f32s(*bias); V];
        }
        // Each half of a panel's channels asks for half of the next panel.
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

    /// All channels of the panel × `R` pixels: vectors of channels.
    #[inline(always)]
    fn few<S: Simd, const R: usize>(&self, simd: S, sums: &mut [Sums]) {
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

/// Asks memory for what will be needed soon.
#[inline(always)]
pub(crate) fn fetch(elements: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in elements.as_chunks::<PANEL>().0 {
        safe_arch::prefetch_t1(line);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = elements;
}

/// Panels of a matrix of weights, `[channels, depth]`: for each panel `[depth][16]`, with zeros for the channels that
/// fill up the last.
pub(crate) fn panels(weights: &[f32], channels: usize, depth: usize) -> Vec<[f32; PANEL]> {
    let mut packed = vec![[0.0; PANEL]; channels.div_ceil(PANEL) * depth];
    for (panel, rows) in packed.chunks_mut(depth.max(1)).zip(weights.chunks((PANEL * depth).max(1))) {
        for (lane, row) in rows.chunks_exact(depth).enumerate() {
            panel.iter_mut().zip(row).for_each(|(packed, &weight)| packed[lane] = weight);
        }
    }
    packed
}
