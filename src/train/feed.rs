//! Batches of a training: samples in random order, changed at random, with the probabilities of their classes.

use rayon::prelude::*;

use crate::data::augment::{Augment, Dice, epoch_order};
use crate::repair::Images;

/// The samples of a training.
#[derive(Clone, Copy, Debug)]
pub struct TrainingData<'a> {
    /// The preprocessed samples in memory.
    pub images: &'a Images,
    /// The class of each sample; `None` if there are no labels.
    pub labels: Option<&'a [u32]>,
}

/// The inputs of a step.
pub(super) struct TrainingBatch {
    /// The network's inputs, then the class probabilities if labels are used.
    pub(super) inputs: Vec<Vec<f32>>,
}

/// Creates the batches of a training, each by its number alone.
pub(super) struct Feed<'a> {
    pub(super) data: TrainingData<'a>,
    pub(super) batch: usize,
    pub(super) augment: Augment,
    pub(super) seed: u64,
    /// The number of classes and of positions of a sample, if labels are used.
    pub(super) classes: Option<(usize, usize)>,
}

impl Feed<'_> {
    /// Returns the number of batches of an epoch; samples that do not fill a batch are left out of it.
    pub(super) fn batches(&self) -> usize {
        self.data.images.count / self.batch.max(1)
    }

    /// Returns batch `step` of the training, counted over all epochs.
    pub(super) fn batch(&self, step: usize) -> TrainingBatch {
        let (epoch, place) = (step / self.batches(), step % self.batches());
        let order = epoch_order(self.data.images.count, self.seed, epoch);
        let samples = &order[place * self.batch..][..self.batch];
        let share = self.augment.mixed_share(&mut Dice::of(self.seed, epoch, usize::MAX - place));
        let mut inputs = Vec::new();
        let (mut offset, stride) = (0, self.data.images.sample.elements());
        for shape in &self.data.images.sample.0 {
            let len = shape.iter().product::<usize>();
            let mut input = vec![0.0; self.batch * len];
            input.par_chunks_mut(len.max(1)).zip(samples).for_each(|(sample, &at)| {
                sample.copy_from_slice(&self.data.images.data[at * stride + offset..][..len]);
                if let &[channels, height, width] = shape.as_slice() {
                    let dice = &mut Dice::of(self.seed, epoch, at);
                    self.augment.apply(sample, [channels, height, width], dice);
                }
            });
            mix_pairs(&mut input, len, share);
            inputs.push(input);
            offset += len;
        }
        if let Some((classes, positions)) = self.classes {
            let len = classes * positions;
            let mut labels = vec![0.0; self.batch * len];
            for (row, &at) in labels.chunks_exact_mut(len.max(1)).zip(samples) {
                let class = self.data.labels.map_or(0, |labels| labels[at] as usize);
                row[class * positions..(class + 1) * positions].fill(1.0);
            }
            mix_pairs(&mut labels, len, share);
            inputs.push(labels);
        }
        TrainingBatch { inputs }
    }
}

/// Mixes each sample with its mirror image in the batch: the first with the last.
fn mix_pairs(data: &mut [f32], len: usize, share: f64) {
    if share >= 1.0 || len == 0 {
        return;
    }
    let (share, old) = (share as f32, data.to_vec());
    data.par_chunks_exact_mut(len).zip(old.par_chunks_exact(len).rev()).for_each(|(sample, other)| {
        sample.iter_mut().zip(other).for_each(|(x, &y)| *x = share * *x + (1.0 - share) * y);
    });
}
