//! Convolution on the host by implicit GEMM: the microkernel reads each tap's pixels from padded planes.
//!
//! No im2col matrix is written, so a filter costs little more than its products even if there are few of them. The
//! positions of a block are the elements of its padded planes ([`PaddedPlanes`]). Those between rows compute sums that
//! are dropped. Threads share the blocks, and the panels of a block if there are fewer blocks than threads.
//!
//! The elements are words, which hold the numbers of one channel or of several ([`Numbers`]).

use std::sync::atomic::{AtomicBool, Ordering};

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::kernels::activation::Activation;
use crate::kernels::conv::host::blocks::{PixelBlock, for_each_chunk, spans};
use crate::kernels::conv::host::direct::{TASK, bias_panels, weight_panels};
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::gemm::microkernel::{
    Arithmetic, Factors, Floats, PANEL, Shifted, Strip, StripSums, WIDE,
};
use crate::kernels::host::padded_planes::PaddedPlanes;
use crate::kernels::host::scratch;
use crate::kernels::instructions;
use crate::kernels::kernel::Prepared;
use crate::kernels::window::Windows;

/// Elements of a block's padded planes: half a mebibyte, less than a core's second-level cache.
const CACHED: usize = 128 << 10;
/// Elements of the planes that a call fills.
const FILLED: usize = 1 << 11;

/// The numbers that an implicit GEMM multiplies, and how words hold them.
pub(crate) trait Numbers: Send + Sync {
    /// Number of channels whose numbers share a word.
    const CHANNELS: usize;

    /// The product of two words.
    fn arithmetic(&self) -> impl Arithmetic;

    /// Runs vectorized work with the processor's instructions.
    fn dispatch<W: WithSimd>(&self, arch: Arch, work: W) -> W::Output;

    /// Fills the padded planes of the words of some channels, at most [`Numbers::CHANNELS`].
    ///
    /// `room` is scratch memory of the size of `planes`. Returns false if a number does not fit a word.
    fn fill(&self, source: Source, planes: &mut [f32], room: &mut [f32]) -> bool;

    /// Converts the sums of a channel of a panel to results before the activation.
    fn finish(&self, panel: usize, channel: usize, sums: &mut StripSums);
}

/// The images of some channels of which padded planes are filled.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub windows: &'a Windows,
    pub padded: PaddedPlanes,
    /// The images one after the other.
    pub images: &'a [f32],
    /// First row of windows.
    pub row: usize,
}

impl Source<'_> {
    /// Fills the planes of a channel, and the padding with `edge`.
    #[inline(always)]
    pub(crate) fn fill(&self, channel: usize, edge: f32, planes: &mut [f32]) {
        let pixels = self.windows.pixels();
        self.padded.fill(self.windows, &self.images[channel * pixels..][..pixels], self.row, edge, planes);
    }
}

impl Numbers for Floats {
    const CHANNELS: usize = 1;

    #[inline(always)]
    fn arithmetic(&self) -> impl Arithmetic {
        Self
    }

    fn dispatch<W: WithSimd>(&self, arch: Arch, work: W) -> W::Output {
        arch.dispatch(work)
    }

    #[inline(always)]
    fn fill(&self, source: Source, planes: &mut [f32], _room: &mut [f32]) -> bool {
        source.fill(0, 0.0, planes);
        true
    }

    #[inline(always)]
    fn finish(&self, _panel: usize, _channel: usize, _sums: &mut StripSums) {}
}

/// A convolution with its weights packed in panels.
pub(crate) struct ImplicitConv<N = Floats> {
    conv: ConvKernel,
    arch: Arch,
    numbers: N,
    /// Weights as `[groups][panels][depth][16]`; the depth counts words.
    weights: Vec<[f32; PANEL]>,
    /// Initial values of sums as `[groups][panels][16]`.
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
        Self::of(conv, Floats, weights, bias)
    }
}

impl<N: Numbers> ImplicitConv<N> {
    /// Packs the words of the weights, and the initial values of the sums.
    pub(crate) fn of(conv: &ConvKernel, numbers: N, weights: &[f32], bias: &[f32]) -> Self {
        let channels = conv.group_in().div_ceil(N::CHANNELS);
        let pixels = block_pixels(conv, channels);
        let (windows, ow) = (&conv.windows, conv.windows.out_hw[1]);
        let planes = PaddedPlanes::of(windows, pixels / ow);
        let place = |element: usize| {
            let (channel, tap) = (element / conv.taps(), element % conv.taps());
            channel * planes.len() + planes.tap(windows, tap)
        };
        let strips = Strip::cut(planes.positions(windows));
        let depth = channels * conv.taps();
        Self {
            conv: conv.clone(),
            arch: instructions::arch(),
            numbers,
            weights: weight_panels(conv.group_out(), depth, weights),
            bias: bias_panels(conv, bias),
            pixels,
            planes,
            distances: (0..depth).map(place).collect(),
            runs: strips.iter().map(|strip| runs(strip, ow, planes.pitch)).collect(),
            strips,
        }
    }

    /// Computes a block; returns false if a number does not fit a word.
    fn block(&self, x: &[f32], mut block: PixelBlock, parallel: bool) -> bool {
        let conv = &self.conv;
        let panels = conv.group_out().div_ceil(PANEL);
        let channels = conv.group_in().div_ceil(N::CHANNELS);
        let len = channels * self.planes.len();
        // A block is a part of one image.
        let span = block.spans[0];
        let fits = AtomicBool::new(true);
        scratch::with(len + WIDE, |room| {
            // Planes of a task.
            let count = (FILLED / self.planes.len()).max(1);
            let fill = |(task, planes): (usize, &mut [f32])| {
                let first = task * count * N::CHANNELS;
                let channels = (count * N::CHANNELS).min(conv.group_in() - first);
                let channel = span.image * conv.in_channels + block.group * conv.group_in() + first;
                let images = &x[channel * conv.in_plane()..][..channels * conv.in_plane()];
                let row = span.first / conv.windows.out_hw[1];
                let source = Source { windows: &conv.windows, padded: self.planes, images, row };
                scratch::with((N::CHANNELS - 1).min(1) * self.planes.len(), |room| {
                    let fill = FillPlanes { numbers: &self.numbers, source, planes, room };
                    if !self.numbers.dispatch(self.arch, fill) {
                        fits.store(false, Ordering::Relaxed);
                    }
                });
            };
            let planes = &mut room[..len];
            let least = 1 + TASK / (8 * count * self.planes.len());
            for_each_chunk(planes, count * self.planes.len(), parallel.then_some(least), fill);
            // The last strip may overrun the planes.
            room[len..].fill(0.0);
            let planes = &*room;
            let multiply = |(panel, pieces): (usize, &mut [&mut [f32]])| {
                let panel = block.group * panels + panel;
                let work = MultiplyPanel { conv: self, panel, planes, pieces };
                self.numbers.dispatch(self.arch, work);
            };
            let least = TASK / (PANEL * conv.depth() * span.count) + 1;
            for_each_chunk(&mut block.pieces, PANEL, parallel.then_some(least), multiply);
        });
        fits.into_inner()
    }

    /// Computes the output; returns false if a number of the input does not fit a word.
    pub(crate) fn multiply(&self, x: &[f32], output: &mut [f32]) -> bool {
        let conv = &self.conv;
        let spans = spans(conv.batch, conv.out_plane(), self.pixels, self.pixels);
        let blocks = conv.blocks(&spans, output);
        let parallel = conv.batch * conv.out_plane() * conv.out_channels * conv.depth() >= TASK;
        let all = |a: bool, b: bool| a && b;
        if parallel {
            blocks.into_par_iter().map(|block| self.block(x, block, true)).reduce(|| true, all)
        } else {
            blocks.into_iter().map(|block| self.block(x, block, false)).fold(true, all)
        }
    }
}

/// Number of pixels of a block: whole rows, whose padded planes fit the cache and which give all threads work.
fn block_pixels(conv: &ConvKernel, channels: usize) -> usize {
    let [oh, ow] = conv.windows.out_hw;
    let fits = |rows: usize| channels * PaddedPlanes::of(&conv.windows, rows).len() <= CACHED;
    let most = (1..=oh).take_while(|&rows| fits(rows)).last().unwrap_or(1);
    let rows = conv.batch * conv.groups * oh;
    let share = rows.div_ceil(2 * rayon::current_num_threads()).max(WIDE.div_ceil(ow));
    let most = most.min(share);
    // Parts of similar size.
    oh.div_ceil(oh.div_ceil(most)) * ow
}

/// The pixels among a strip's positions.
fn runs(strip: &Strip, ow: usize, pitch: usize) -> Vec<PixelRun> {
    let (mut at, end, mut runs) = (strip.first, strip.first + strip.count, Vec::<PixelRun>::new());
    while at < end {
        let (y, x) = (at / pitch, at % pitch);
        if x < ow {
            let run = PixelRun { lane: at - strip.first, pixel: y * ow + x, len: (ow - x).min(end - at) };
            match runs.last_mut() {
                // Without padding, rows are adjacent.
                Some(last) if last.lane + last.len == run.lane => last.len += run.len,
                _ => runs.push(run),
            }
        }
        at += pitch - x;
    }
    runs
}

impl Prepared for ImplicitConv {
    fn run(&self, inputs: &[&[f32]], output: &mut [f32]) {
        self.multiply(inputs[0], output);
    }
}

/// Fills the padded planes of some words' channels.
struct FillPlanes<'a, N> {
    numbers: &'a N,
    source: Source<'a>,
    planes: &'a mut [f32],
    room: &'a mut [f32],
}

impl<N: Numbers> WithSimd for FillPlanes<'_, N> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> bool {
        let (mut fits, source) = (true, self.source);
        let images = source.images.chunks(N::CHANNELS * source.windows.pixels());
        for (planes, images) in self.planes.chunks_exact_mut(source.padded.len()).zip(images) {
            fits &= self.numbers.fill(Source { images, ..source }, planes, self.room);
        }
        fits
    }
}

/// Multiplies a panel's channels with all positions of a block.
struct MultiplyPanel<'a, 'b, 'c, N> {
    conv: &'a ImplicitConv<N>,
    /// Number of the panel, over all groups.
    panel: usize,
    /// The padded planes of all channels.
    planes: &'a [f32],
    /// Parts of the output, one for each channel.
    pieces: &'b mut [&'c mut [f32]],
}

impl<N: Numbers> WithSimd for MultiplyPanel<'_, '_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut sums: [StripSums; PANEL] = [[0.0; WIDE]; PANEL];
        let (conv, panel) = (self.conv, self.panel);
        let activation: Activation = conv.conv.activation;
        let distances = &conv.distances[..];
        let (weights, bias) = (&conv.weights[panel * distances.len()..], &conv.bias[panel]);
        for (strip, runs) in conv.strips.iter().zip(&conv.runs) {
            let pixels = Shifted { pixels: &self.planes[strip.first..], distances, width: strip.width };
            let arithmetic = conv.numbers.arithmetic();
            let factors = Factors { arithmetic, weights, ahead: false, bias, pixels, strip: *strip };
            factors.product(simd, self.pieces.len(), &mut sums);
            for (channel, (sums, piece)) in sums.iter_mut().zip(self.pieces.iter_mut()).enumerate() {
                conv.numbers.finish(panel, channel, sums);
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
