//! Convolution on the host by implicit GEMM: the microkernel reads each tap's pixels from padded planes.
//!
//! No im2col matrix is written, so a filter costs little more than its products even if there are few of them. The
//! positions of a block are the elements of its padded planes ([`PaddedPlanes`]). Those between rows compute sums that
//! are dropped. Threads share the blocks, and the panels of a block if there are fewer blocks than threads.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::kernels::activation::Activation;
use crate::kernels::conv::host::blocks::{PixelBlock, PixelSpan, for_each_chunk, spans};
use crate::kernels::conv::host::direct::{TASK, bias_panels, weight_panels};
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::gemm::microkernel::{Factors, PANEL, Shifted, Strip, StripSums, WIDE};
use crate::kernels::host::padded_planes::PaddedPlanes;
use crate::kernels::host::scratch;
use crate::kernels::instructions;
use crate::kernels::kernel::Prepared;

/// Elements of a block's padded planes: half a mebibyte, less than a core's second-level cache.
const CACHED: usize = 128 << 10;

/// A convolution with its weights packed in panels.
pub(crate) struct ImplicitConv {
    conv: ConvKernel,
    arch: Arch,
    /// Weights as `[groups][panels][depth][16]`.
    weights: Vec<[f32; PANEL]>,
    /// Biases as `[groups][panels][16]`.
    bias: Vec<[f32; PANEL]>,
    /// Pixels of a block.
    pixels: usize,
    planes: PaddedPlanes,
    /// Distance of each element of a filter from its window's first tap in the first channel.
    distances: Vec<usize>,
    strips: Vec<Strip>,
    runs: Vec<Vec<PixelRun>>,
}

/// Adjacent pixels of a row that belong to one strip.
#[derive(Clone, Copy)]
struct PixelRun {
    /// Lane of the first pixel in the strip.
    lane: usize,
    /// Index of the first pixel in its block.
    pixel: usize,
    len: usize,
}

impl ImplicitConv {
    pub(crate) fn new(conv: &ConvKernel, weights: &[f32], bias: &[f32]) -> Self {
        let pixels = block_pixels(conv);
        let (windows, ow) = (&conv.windows, conv.windows.out_hw[1]);
        let planes = PaddedPlanes::of(windows, pixels / ow);
        let place = |element: usize| {
            let (channel, tap) = (element / conv.taps(), element % conv.taps());
            channel * planes.len() + planes.tap(windows, tap)
        };
        let strips = Strip::cut(planes.positions(windows));
        Self {
            conv: conv.clone(),
            arch: instructions::arch(),
            weights: weight_panels(conv, weights),
            bias: bias_panels(conv, bias),
            pixels,
            planes,
            distances: (0..conv.depth()).map(place).collect(),
            runs: strips.iter().map(|strip| runs(strip, ow, planes.pitch)).collect(),
            strips,
        }
    }

    fn block(&self, x: &[f32], mut block: PixelBlock, parallel: bool) {
        let conv = &self.conv;
        let panels = conv.group_out().div_ceil(PANEL);
        let len = conv.group_in() * self.planes.len();
        // A block is a part of one image.
        let span = block.spans[0];
        scratch::with(len + WIDE, |room| {
            let fill = |(channel, planes): (usize, &mut [f32])| {
                let channel = span.image * conv.in_channels + block.group * conv.group_in() + channel;
                let image = &x[channel * conv.in_plane()..][..conv.in_plane()];
                self.arch.dispatch(FillPlanes { conv, padded: self.planes, image, span, planes });
            };
            let planes = &mut room[..len];
            let least = 1 + TASK / (8 * self.planes.len());
            for_each_chunk(planes, self.planes.len(), parallel.then_some(least), fill);
            // The last strip may overrun the planes.
            room[len..].fill(0.0);
            let planes = &*room;
            let multiply = |(panel, pieces): (usize, &mut [&mut [f32]])| {
                let panel = block.group * panels + panel;
                let (weights, bias) = (&self.weights[panel * conv.depth()..], &self.bias[panel]);
                self.arch.dispatch(MultiplyPanel { conv: self, weights, bias, planes, pieces });
            };
            let least = TASK / (PANEL * conv.depth() * span.count) + 1;
            for_each_chunk(&mut block.pieces, PANEL, parallel.then_some(least), multiply);
        });
    }
}

/// Number of pixels of a block: whole rows, whose padded planes fit the cache and which give all threads work.
fn block_pixels(conv: &ConvKernel) -> usize {
    let [oh, ow] = conv.windows.out_hw;
    let fits = |rows: usize| conv.group_in() * PaddedPlanes::of(&conv.windows, rows).len() <= CACHED;
    let most = (1..=oh).take_while(|&rows| fits(rows)).last().unwrap_or(1);
    let rows = conv.batch * conv.groups * oh;
    let share = rows.div_ceil(2 * rayon::current_num_threads()).max(WIDE.div_ceil(ow));
    let most = most.min(share);
    // Parts of similar size.
    oh.div_ceil(oh.div_ceil(most)) * ow
}

/// The pixels among a strip's positions.
fn runs(strip: &Strip, ow: usize, pitch: usize) -> Vec<PixelRun> {
    let (mut at, end, mut runs) = (strip.first, strip.first + strip.count, Vec::new());
    while at < end {
        let (y, x) = (at / pitch, at % pitch);
        if x < ow {
            let len = (ow - x).min(end - at);
            runs.push(PixelRun { lane: at - strip.first, pixel: y * ow + x, len });
        }
        at += pitch - x;
    }
    runs
}

impl Prepared for ImplicitConv {
    fn run(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let conv = &self.conv;
        let spans = spans(conv.batch, conv.out_plane(), self.pixels, self.pixels);
        let blocks = conv.blocks(&spans, output);
        let parallel = conv.batch * conv.out_plane() * conv.out_channels * conv.depth() >= TASK;
        if parallel {
            blocks.into_par_iter().for_each(|block| self.block(inputs[0], block, true));
        } else {
            blocks.into_iter().for_each(|block| self.block(inputs[0], block, false));
        }
    }
}

/// Fills the padded planes of a channel.
struct FillPlanes<'a> {
    conv: &'a ConvKernel,
    padded: PaddedPlanes,
    image: &'a [f32],
    span: PixelSpan,
    planes: &'a mut [f32],
}

impl WithSimd for FillPlanes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let windows = &self.conv.windows;
        self.padded.fill(windows, self.image, self.span.first / windows.out_hw[1], self.planes);
    }
}

/// Multiplies a panel's channels with all positions of a block.
struct MultiplyPanel<'a, 'b, 'c> {
    conv: &'a ImplicitConv,
    /// The panel's weights, and those of the panels after it.
    weights: &'a [[f32; PANEL]],
    bias: &'a [f32; PANEL],
    /// The padded planes of all channels.
    planes: &'a [f32],
    /// Parts of the output, one for each channel.
    pieces: &'b mut [&'c mut [f32]],
}

impl WithSimd for MultiplyPanel<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut sums: [StripSums; PANEL] = [[0.0; WIDE]; PANEL];
        let activation: Activation = self.conv.conv.activation;
        let distances = &self.conv.distances[..];
        let (weights, bias) = (self.weights, self.bias);
        for (strip, runs) in self.conv.strips.iter().zip(&self.conv.runs) {
            let pixels = Shifted { pixels: &self.planes[strip.first..], distances, width: strip.width };
            let factors = Factors { weights, ahead: false, bias, pixels, strip: *strip };
            factors.product(simd, self.pieces.len(), &mut sums);
            for (sums, piece) in sums.iter().zip(self.pieces.iter_mut()) {
                for run in runs {
                    // The last rows of an image may be fewer than those of a block.
                    let len = run.len.min(piece.len().saturating_sub(run.pixel));
                    if len > 0 {
                        activation.apply_into(&sums[run.lane..], &mut piece[run.pixel..][..len]);
                    }
                }
            }
        }
    }
}
