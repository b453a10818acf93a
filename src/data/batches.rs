//! Batches with one decoded ahead: a thread prepares the next batch while the network runs.

use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::Dataset;
use super::picture::Frame;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::SampleShape;

/// Preprocessed images, ready for the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Place in the pass behind the last image, skipped ones included.
    ///
    /// [`super::Dataset::batches_from`] resumes a pass here.
    pub next: usize,
    /// Number of images, at least one.
    ///
    /// A batch has fewer images than requested at the end of the set, after skipped images, and before an image of
    /// another size if the network's input size is free.
    pub count: usize,
    /// Shapes of one sample's arrays: C×H×W or H×W×C for images, in the network's layout.
    pub sample: SampleShape,
    /// Elements of all samples, one after the other, each array by array, row-major.
    pub data: Vec<f32>,
    /// Class index of each image.
    pub labels: Option<Vec<u32>>,
    /// The place of each image in the pass; places of unreadable images are missing.
    pub places: Vec<usize>,
}

/// An iterator over a data set's batches, which ends after an error.
///
/// A thread decodes with rayon's pool, so the iterator must not be drained inside a task of that pool.
#[derive(Debug)]
pub struct Batches {
    receiver: Option<Receiver<Result<Batch>>>,
    worker: Option<JoinHandle<()>>,
}

impl Batches {
    pub(super) fn new(data: Dataset, start: usize, batch: usize) -> Self {
        let (sender, receiver) = sync_channel(1);
        let work = move || {
            if let Err(error) = produce(&data, start, batch.max(1), &sender) {
                // Sending fails if the iterator was dropped, which is fine.
                let _ = sender.send(Err(data.blame(error)));
            }
        };
        Self { receiver: Some(receiver), worker: Some(std::thread::spawn(work)) }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Ok(batch) = self.receiver.as_ref()?.recv() {
            return Some(batch);
        }
        self.receiver = None;
        let panicked = self.worker.take()?.join().is_err();
        panicked.then(|| {
            Err(Error::new("decoding an image panicked")
                .with_kind(ErrorKind::Internal)
                .remedy("re-encode the images, and report this"))
        })
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // Without a receiver the worker stops after its current batch.
        self.receiver = None;
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

fn produce(data: &Dataset, first: usize, batch: usize, sender: &SyncSender<Result<Batch>>) -> Result<()> {
    let mut unreadable = None;
    let mut readable = false;
    let inner = &*data.inner;
    let (article, noun) = inner.parts.first().noun();
    let len = data.len();
    for start in (first..len).step_by(batch) {
        let end = len.min(start.saturating_add(batch));
        let places: Vec<usize> = (start..end).map(|at| inner.range.start + data.order[at]).collect();
        let mut good: Vec<(usize, Frame)> = Vec::with_capacity(end - start);
        for (at, (&index, frame)) in (start..end).zip(places.iter().zip(data.frames(&places)?)) {
            // A value that is not finite would spoil every statistic, weight and output derived from the image.
            let finite = |frame: Frame| match frame.data.iter().find(|x| !x.is_finite()) {
                None => Ok(frame),
                Some(x) => Err((
                    inner.parts.origin(index),
                    format!("{noun} {index} holds {x}, which is not a finite number"),
                )),
            };
            match frame.and_then(finite) {
                Ok(frame) => good.push((at, frame)),
                Err((file, reason)) if inner.options.strict => {
                    return Err(Error::new(format!("{article} {noun} cannot be decoded"))
                        .file(file)
                        .got(reason)
                        .remedy(format!(
                            "replace or remove it, or leave out `strict` to skip such {noun}s"
                        )));
                }
                Err(skipped) => {
                    unreadable.get_or_insert_with(|| skipped.clone());
                    inner.skipped.lock().unwrap_or_else(PoisonError::into_inner).insert(index, skipped);
                }
            }
        }
        readable |= !good.is_empty();
        // If the network's input size is free, each batch has images of one size.
        let mut left = good.len();
        for group in good.chunk_by(|a, b| a.1.shape == b.1.shape) {
            left -= group.len();
            let next = if left == 0 { end } else { group[group.len() - 1].0 + 1 };
            if sender.send(Ok(collate(data, group, next))).is_err() {
                return Ok(());
            }
        }
    }
    match unreadable {
        Some((file, reason)) if !readable => Err(Error::new(format!("none of the {noun}s can be read"))
            .file(file)
            .got(reason)
            .remedy(format!("check that these are {noun}s that open elsewhere, in a supported format"))),
        _ => Ok(()),
    }
}

fn collate(data: &Dataset, group: &[(usize, Frame)], next: usize) -> Batch {
    let frame = &group[0].1;
    let mut elements = Vec::with_capacity(group.len() * frame.data.len());
    for (_, frame) in group {
        elements.extend_from_slice(&frame.data);
    }
    let label = |labels: &Vec<u32>, at: usize| labels[data.order[at]];
    let labels =
        data.inner.labels.as_ref().map(|labels| group.iter().map(|&(at, _)| label(labels, at)).collect());
    let places = group.iter().map(|&(at, _)| at).collect();
    Batch { next, count: group.len(), sample: frame.shape.clone(), data: elements, labels, places }
}
