//! Convolution on the host by im2col and GEMM, over blocks whose matrix fits the cache.
//!
//! A block's matrix is written strip by strip ([`microkernel`](crate::kernels::gemm::microkernel)). A channel's rows
//! are first padded ([`PaddedRows`]), so that each tap of a run of pixels is one copy. Panels of channels are then
//! multiplied with the matrix. Threads share the blocks, and the panels of a block if there are fewer blocks than
//! threads.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::kernels::activation::Activation;
use crate::kernels::conv::host::blocks::{PixelBlock, PixelSpan, for_each_chunk, spans};
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::gemm::microkernel::{
    Factors, Floats, PANEL, Packed, Packing, Strip, StripSums, WIDE, fetch, panels,
};
use crate::kernels::host::padded_rows::PaddedRows;
use crate::kernels::host::scratch;
use crate::kernels::host::vectors;
use crate::kernels::instructions;
use crate::kernels::kernel::Prepared;

/// Elements of a block's im2col matrix: three eighths of a mebibyte, less than a core's second-level cache.
const CACHED: usize = 96 << 10;
/// Distance, in planes, of prefetching ahead of copying.
const AHEAD: usize = 2;
/// Rows of the im2col matrix that a task writes.
const CHUNK: usize = 64;
/// Least number of products for a task of its own.
pub(crate) const TASK: usize = 1 << 17;

/// A convolution with its weights packed in panels.
pub(crate) struct DirectConv {
    conv: ConvKernel,
    arch: Arch,
    /// Weights as `[groups][panels][depth][16]`.
    weights: Vec<[f32; PANEL]>,
    /// Biases as `[groups][panels][16]`.
    bias: Vec<[f32; PANEL]>,
}

/// Packs weights of `depth` words a channel in panels, group by group.
pub(crate) fn weight_panels(channels: usize, depth: usize, weights: &[f32]) -> Vec<[f32; PANEL]> {
    let groups = weights.par_chunks((channels * depth).max(1));
    groups.flat_map_iter(|group| panels(group, channels, depth)).collect()
}

/// Packs biases in panels, group by group.
pub(crate) fn bias_panels(conv: &ConvKernel, bias: &[f32]) -> Vec<[f32; PANEL]> {
    bias.chunks(conv.group_out()).flat_map(|bias| panels(bias, bias.len(), 1)).collect()
}

/// Adjacent pixels of a row that belong to one strip.
struct PixelRun {
    /// Destination: the strip, and the lane in it.
    strip: usize,
    lane: usize,
    len: usize,
    /// Position of the first pixel's first tap in the block's padded rows.
    source: usize,
}

impl DirectConv {
    pub(crate) fn new(conv: &ConvKernel, weights: &[f32], bias: &[f32]) -> Self {
        let weights = weight_panels(conv.group_out(), conv.depth(), weights);
        Self { conv: conv.clone(), arch: instructions::arch(), weights, bias: bias_panels(conv, bias) }
    }

    /// Number of pixels of a block: few enough for the cache and to give all threads work, but at least the number of
    /// output channels if the cache allows.
    fn block_pixels(&self) -> usize {
        let conv = &self.conv;
        let most = CACHED / conv.depth().max(1);
        let pixels = conv.batch * conv.out_plane();
        let share = pixels * conv.groups / (2 * rayon::current_num_threads());
        most.min(share.max(conv.group_out())).max(WIDE).next_multiple_of(WIDE)
    }

    fn block(&self, x: &[f32], mut block: PixelBlock, parallel: bool) {
        let conv = &self.conv;
        let strips = Strip::cut(block.spans.iter().map(|span| span.count).sum());
        let chunk = (CHUNK / conv.taps()).max(1) * conv.taps();
        let packing = Packing { depth: conv.depth(), chunk, slots: strips.len() };
        scratch::with(packing.len(), |packed| {
            let (runs, all_padded) = runs(conv, &block.spans, &strips);
            let needed = all_padded.iter().map(PaddedRows::len).sum();
            let unfold = |(index, packed): (usize, &mut [f32])| {
                let first = index * chunk / conv.taps();
                scratch::with(needed, |room| {
                    let (spans, group, strips) = (&block.spans[..], block.group, &strips[..]);
                    let (runs, all_padded) = (&runs[..], &all_padded[..]);
                    let unfold =
                        UnfoldChunk { conv, x, spans, group, strips, runs, all_padded, first, packed, room };
                    self.arch.dispatch(unfold);
                });
            };
            for_each_chunk(packed, packing.chunk_len(), parallel.then_some(1), unfold);
            let panels = conv.group_out().div_ceil(PANEL);
            let spans: Vec<usize> = block.spans.iter().map(|span| span.count).collect();
            let packed = &*packed;
            let multiply = |(panel, pieces): (usize, &mut [&mut [f32]])| {
                let panel = block.group * panels + panel;
                let weights = &self.weights[panel * packing.depth..];
                let (bias, activation) = (&self.bias[panel], conv.activation);
                let (strips, spans) = (&strips[..], &spans[..]);
                let matrix = (packed, packing);
                self.arch.dispatch(MultiplyPanel {
                    weights,
                    bias,
                    matrix,
                    strips,
                    spans,
                    activation,
                    pieces,
                });
            };
            let size = PANEL * spans.len();
            let least = TASK / (PANEL * packing.depth * packing.slots * WIDE) + 1;
            for_each_chunk(&mut block.pieces, size, parallel.then_some(least), multiply);
        });
    }
}

impl Prepared for DirectConv {
    fn run(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let conv = &self.conv;
        let spans = spans(conv.batch, conv.out_plane(), WIDE, self.block_pixels());
        let blocks = conv.blocks(&spans, output);
        let parallel = conv.batch * conv.out_plane() * conv.out_channels * conv.depth() >= TASK;
        if parallel {
            blocks.into_par_iter().for_each(|block| self.block(inputs[0], block, true));
        } else {
            blocks.into_iter().for_each(|block| self.block(inputs[0], block, false));
        }
    }
}

/// The runs of a block's pixels, and the padded rows that they are read from. Both are empty if the im2col matrix
/// equals the input.
fn runs(conv: &ConvKernel, spans: &[PixelSpan], strips: &[Strip]) -> (Vec<PixelRun>, Vec<PaddedRows>) {
    let (ow, mut runs, mut all_padded) = (conv.windows.out_hw[1], Vec::new(), Vec::<PaddedRows>::new());
    if conv.pointwise() {
        return (runs, all_padded);
    }
    let (mut at, mut start, mut strip) = (0, 0, 0);
    for span in spans {
        let padded = PaddedRows::of(&conv.windows, span.first, span.count);
        let top = span.first / ow;
        let (mut pixel, end) = (span.first, span.first + span.count);
        while pixel < end {
            while at == strips[strip].first + strips[strip].count {
                strip += 1;
            }
            let (y, x) = (pixel / ow, pixel % ow);
            let left = strips[strip].first + strips[strip].count - at;
            let len = (ow - x).min(end - pixel).min(left);
            let source = start + (y - top) * conv.windows.stride[0] * padded.row_len() + x;
            runs.push(PixelRun { strip, lane: at - strips[strip].first, len, source });
            (pixel, at) = (pixel + len, at + len);
        }
        start += padded.len();
        all_padded.push(padded);
    }
    (runs, all_padded)
}

/// Writes a chunk of a block's im2col matrix: the taps of some channels × all pixels.
struct UnfoldChunk<'a> {
    conv: &'a ConvKernel,
    x: &'a [f32],
    spans: &'a [PixelSpan],
    group: usize,
    strips: &'a [Strip],
    runs: &'a [PixelRun],
    all_padded: &'a [PaddedRows],
    /// First channel of the chunk, in the group.
    first: usize,
    packed: &'a mut [f32],
    /// Scratch memory for the padded rows.
    room: &'a mut [f32],
}

impl<'a> UnfoldChunk<'a> {
    #[inline(always)]
    fn plane(&self, image: usize, channel: usize) -> &'a [f32] {
        let conv = self.conv;
        let channel = image * conv.in_channels + self.group * conv.group_in() + self.first + channel;
        &self.x[channel * conv.in_plane()..][..conv.in_plane()]
    }

    /// Writes the chunk if every pixel is its own window.
    #[inline(always)]
    fn points(&self, packed: &mut [f32], rows: usize) {
        let mut at = 0;
        for span in self.spans {
            // Reads along a plane: memory is faster that way than over a few pixels of many planes.
            for c in 0..rows {
                let plane = &self.plane(span.image, c)[span.first..];
                if c + AHEAD < rows {
                    fetch(&self.plane(span.image, c + AHEAD)[span.first..][..span.count]);
                }
                for (slot, strip) in packed.chunks_exact_mut(rows * WIDE).zip(self.strips) {
                    let from = at.max(strip.first);
                    let to = (at + span.count).min(strip.first + strip.count);
                    if from < to {
                        let row = &mut slot[c * strip.width..][..strip.width];
                        vectors::copy(&plane[from - at..], &mut row[from - strip.first..to - strip.first]);
                    }
                }
            }
            at += span.count;
        }
    }
}

impl WithSimd for UnfoldChunk<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _simd: S) {
        let (conv, taps) = (self.conv, self.conv.taps());
        let packed = std::mem::take(&mut self.packed);
        let room = std::mem::take(&mut self.room);
        let rows = packed.len() / (self.strips.len() * WIDE);
        // Lanes without a pixel.
        for (slot, strip) in packed.chunks_exact_mut(rows * WIDE).zip(self.strips) {
            if strip.count < strip.width {
                slot.chunks_exact_mut(strip.width).take(rows).for_each(|row| row[strip.count..].fill(0.0));
            }
        }
        if conv.pointwise() {
            return self.points(packed, rows);
        }
        let windows = conv.windows;
        for c in 0..rows / taps {
            let mut start = 0;
            for (padded, span) in self.all_padded.iter().zip(self.spans) {
                let plane = self.plane(span.image, c);
                padded.fill(&windows, plane, 0.0, &mut room[start..][..padded.len()]);
                start += padded.len();
            }
            for tap in 0..taps {
                let seen = self.all_padded[0].tap(&windows, tap);
                for run in self.runs {
                    let width = self.strips[run.strip].width;
                    let row = run.strip * rows * WIDE + (c * taps + tap) * width;
                    let target = &mut packed[row + run.lane..][..run.len];
                    vectors::copy(&room[run.source + seen..], target);
                }
            }
        }
    }
}

/// Multiplies a panel's channels with all pixels of a block.
struct MultiplyPanel<'a, 'b, 'c> {
    /// The panel's weights, and those of the panels after it.
    weights: &'a [[f32; PANEL]],
    bias: &'a [f32; PANEL],
    /// The packed im2col matrix.
    matrix: (&'a [f32], Packing),
    strips: &'a [Strip],
    /// Pixels of each span.
    spans: &'a [usize],
    activation: Activation,
    /// Parts of the output, `[channels][spans]`.
    pieces: &'b mut [&'c mut [f32]],
}

impl WithSimd for MultiplyPanel<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut sums: [StripSums; PANEL] = [[0.0; WIDE]; PANEL];
        let last = self.strips.iter().rposition(|strip| !strip.is_few());
        for (slot, strip) in self.strips.iter().enumerate() {
            let (packed, packing) = self.matrix;
            let pixels = Packed { packed, packing, slot, width: strip.width };
            let (weights, bias, ahead) = (self.weights, self.bias, Some(slot) == last);
            let factors = Factors { arithmetic: Floats, weights, ahead, bias, pixels, strip: *strip };
            factors.product(simd, self.pieces.len() / self.spans.len(), &mut sums);
            for (sums, pieces) in sums.iter().zip(self.pieces.chunks_mut(self.spans.len())) {
                let (mut at, range) = (0, strip.first..strip.first + strip.count);
                for (piece, &count) in pieces.iter_mut().zip(self.spans) {
                    let (from, to) = (range.start.max(at), range.end.min(at + count));
                    if from < to {
                        let sums = &sums[from - strip.first..];
                        self.activation.apply_into(sums, &mut piece[from - at..to - at]);
                    }
                    at += count;
                }
            }
        }
    }
}
