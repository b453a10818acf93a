//! Divides a convolution's output among host threads: each block is some pixels of one image or some whole images.

use rayon::prelude::*;

use crate::kernels::conv::shape::ConvKernel;

/// Adjacent pixels of one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PixelSpan {
    pub image: usize,
    /// Index of the first pixel in the output plane.
    pub first: usize,
    pub count: usize,
}

/// A unit of work: some pixels of all channels of a group.
pub(crate) struct PixelBlock<'a> {
    pub group: usize,
    pub spans: Vec<PixelSpan>,
    /// Parts of the output that receive the sums, `[channels][spans]`.
    pub pieces: Vec<&'a mut [f32]>,
}

/// Cuts a batch of planes into spans of whole `unit`s and groups about `most` pixels into each block. The last span
/// of a plane may be shorter.
pub(crate) fn spans(batch: usize, plane: usize, unit: usize, most: usize) -> Vec<Vec<PixelSpan>> {
    if plane <= most {
        let images: Vec<usize> = (0..batch).collect();
        let whole = |&image: &usize| PixelSpan { image, first: 0, count: plane };
        return images.chunks(most / plane).map(|chunk| chunk.iter().map(whole).collect()).collect();
    }
    let units = plane.div_ceil(unit);
    // Parts of similar size.
    let size = units.div_ceil(units.div_ceil((most / unit).max(1))) * unit;
    let part = |image, first: usize| PixelSpan { image, first, count: size.min(plane - first) };
    (0..batch).flat_map(|image| (0..plane).step_by(size).map(move |first| vec![part(image, first)])).collect()
}

/// Calls `work` with the number and the elements of every chunk of `size` elements.
///
/// `least` is the least number of chunks of a task; without it, this thread processes all of them.
pub(crate) fn for_each_chunk<T: Send>(
    items: &mut [T],
    size: usize,
    least: Option<usize>,
    work: impl Fn((usize, &mut [T])) + Sync + Send,
) {
    match least {
        Some(least) => items.par_chunks_mut(size).enumerate().with_min_len(least).for_each(work),
        None => items.chunks_mut(size).enumerate().for_each(work),
    }
}

impl ConvKernel {
    /// The blocks of all groups, each over the given spans.
    pub(crate) fn blocks<'a>(&self, spans: &[Vec<PixelSpan>], y: &'a mut [f32]) -> Vec<PixelBlock<'a>> {
        let (plane, channels) = (self.out_plane(), self.group_out());
        let block = |group| {
            move |spans: &Vec<PixelSpan>| PixelBlock {
                group,
                spans: spans.clone(),
                pieces: Vec::with_capacity(spans.len() * channels),
            }
        };
        let mut blocks: Vec<PixelBlock> =
            (0..self.groups).flat_map(|group| spans.iter().map(block(group))).collect();
        let mut images: Vec<_> = y
            .chunks_mut(self.out_total * plane)
            .map(|y| y[self.out_offset * plane..][..self.out_channels * plane].chunks_mut(plane))
            .collect();
        // The unassigned rest of each image's plane of a channel.
        let mut rests: Vec<&mut [f32]> = Vec::with_capacity(self.batch);
        for channel in 0..self.out_channels {
            rests.clear();
            rests.extend(images.iter_mut().filter_map(Iterator::next));
            for block in &mut blocks[channel / channels * spans.len()..][..spans.len()] {
                for span in &block.spans {
                    let (piece, rest) = std::mem::take(&mut rests[span.image]).split_at_mut(span.count);
                    block.pieces.push(piece);
                    rests[span.image] = rest;
                }
            }
        }
        blocks
    }
}
