//! Data: images and arrays in, batches of what the network takes out.
//!
//! [`Dataset::open`] finds out what `--data` names, resolves the preprocessing once for the network at
//! hand, and hands out [`Batch`]es. What an image becomes depends on the image and the recipe alone: not on
//! the batch size, the threads or the shard. An image that cannot be decoded is skipped and remembered.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};

mod arrays;
mod batches;
mod folder;
mod idx;
pub mod metrics;
mod picture;
mod recipe;
mod source;
pub mod synthetic;
#[cfg(test)]
mod tests;

pub use arrays::{read_npy_f32, write_npy, write_npy_f32};
pub use batches::{Batch, Batches};
pub use recipe::{ChannelOrder, DataOptions, Layout, Preprocessing, Preset, ResizeTo, Shard, Size};

use arrays::{Array, Element};
use picture::Preprocessor;
use recipe::NetworkInput;
use source::{ImageSource, Opened, Skipped};

/// A set of images for one network, with their labels where they are known.
#[derive(Debug, Clone)]
pub struct Dataset {
    inner: Arc<Inner>,
    /// The images that are visited, as places in the shard, in order.
    order: Arc<Vec<usize>>,
}

#[derive(Debug)]
struct Inner {
    /// Where it was opened, if it is no data set in memory.
    path: Option<PathBuf>,
    source: ImageSource,
    pipeline: Preprocessor,
    /// This shard's images in the source.
    range: Range<usize>,
    /// Of this shard, in its own order.
    labels: Option<Vec<u32>>,
    strict: bool,
    /// By place in the source, so that a second pass finds them again, not twice.
    skipped: Mutex<BTreeMap<usize, Skipped>>,
}

/// Shards of large sets begin at multiples of this: sums that a device makes over so many images at once are then
/// the same sums in a shard as in the whole.
pub const SHARD_UNIT: usize = 64;

impl Dataset {
    /// Opens what `--data` names: a folder of images, an array file, idx files, or `random:N`.
    ///
    /// `input_shape` is the shape of the network's input, batch axis first, `None` where it is free.
    ///
    /// # Errors
    /// When it is none of these, holds no images, contradicts itself (labels for other images, headers that
    /// promise more than the file has), or cannot become what the network takes.
    pub fn open(spec: &str, options: &DataOptions, input_shape: &[Option<usize>]) -> Result<Self> {
        if let Some(count) = spec.strip_prefix("random:") {
            let len = count.parse().ok().filter(|&n| n > 0).ok_or_else(|| {
                Error::new("not a number of random images")
                    .expected("random:N with N from 1")
                    .got(spec)
                    .remedy("for example random:64")
            })?;
            return Self::random(len, options, input_shape);
        }
        let input = NetworkInput::new(input_shape, options.layout)?;
        let path = Path::new(spec);
        let opened = source::open(path, options.classes.as_deref(), input)?;
        Self::new((opened, Some(path)), options, input).map_err(|e| e.file(path))
    }

    /// Images that are in memory already: bytes, N×C×H×W or N×H×W×C, with labels.
    ///
    /// # Errors
    /// When the bytes do not fill the shape, or cannot become what the network takes.
    pub fn from_bytes(
        bytes: Vec<u8>,
        shape: &[usize],
        labels: Option<&[u32]>,
        options: &DataOptions,
        input_shape: &[Option<usize>],
    ) -> Result<Self> {
        let input = NetworkInput::new(input_shape, options.layout)?;
        let count = bytes.len();
        let array = Array::new(Element::U8, shape.to_vec(), bytes).ok_or_else(|| {
            Error::new("images that do not fill their shape")
                .expected(crate::tensor::show(shape))
                .got(format!("{count} bytes"))
        })?;
        let labels = labels.map(|l| l.iter().map(|&l| i64::from(l)).collect());
        Self::new((source::of_array(array, labels, input)?, None), options, input)
    }

    fn random(len: usize, options: &DataOptions, input_shape: &[Option<usize>]) -> Result<Self> {
        let free = NetworkInput { channels: None, height: None, width: None, layout: Layout::Nchw };
        let input = NetworkInput::new(input_shape, options.layout).unwrap_or(free);
        let size = options.crop.or(match options.resize {
            Some(ResizeTo::Exact(size)) => Some(size),
            Some(ResizeTo::Shorter(side)) => Some(Size { height: side, width: side }),
            None => None,
        });
        let [height, width] = [size.map(|s| s.height), size.map(|s| s.width)];
        let usual = match (input_shape.len(), input.layout) {
            (4, Layout::Nchw) => [None, Some(3), height, width],
            (4, Layout::Nhwc) => [None, height, width, Some(3)],
            _ => [None; 4],
        };
        let dims = input_shape.iter().enumerate().skip(1);
        let shape: Option<Vec<usize>> = dims.map(|(i, d)| d.or_else(|| *usual.get(i)?)).collect();
        let shape = shape.ok_or_else(|| {
            Error::new("random images of no known size: the network leaves it free")
                .remedy("say it with --resize HxW, or give images")
        })?;
        let recipe = Preprocessing {
            resize: None,
            crop: None,
            channels: input.channels.unwrap_or(3),
            order: ChannelOrder::Rgb,
            scale: 1.0,
            mean: vec![0.0; input.channels.unwrap_or(3)],
            std: vec![1.0; input.channels.unwrap_or(3)],
            layout: input.layout,
        };
        let source = ImageSource::Random { shape };
        Self::cut((Opened { source, len, labels: None }, None), options, Preprocessor::new(recipe, input))
    }

    fn new(
        (opened, path): (Opened, Option<&Path>),
        options: &DataOptions,
        input: NetworkInput,
    ) -> Result<Self> {
        let recipe = Preprocessing::resolve(options, input, opened.source.stored())?;
        Self::cut((opened, path), options, Preprocessor::new(recipe, input))
    }

    /// Keeps the images and the shard that the options name.
    fn cut(
        (opened, path): (Opened, Option<&Path>),
        options: &DataOptions,
        pipeline: Preprocessor,
    ) -> Result<Self> {
        // A sample is chosen from all, and a shard is a part of it.
        let most = options.images.unwrap_or(usize::MAX);
        let len = if options.sample.is_some() { opened.len } else { opened.len.min(most) };
        let part = |k: usize, n: usize| {
            let unit = if len >= SHARD_UNIT.saturating_mul(n) && k < n { SHARD_UNIT } else { 1 };
            (len as u128 * k as u128 / n as u128) as usize / unit * unit
        };
        let range = match options.shard {
            None => 0..len,
            Some(Shard { index, count }) if (1..=count).contains(&index) => {
                part(index - 1, count)..part(index, count)
            }
            Some(Shard { index, count }) => {
                return Err(Error::new("not a shard")
                    .expected("K/N with K from 1 to N")
                    .got(format!("{index}/{count}"))
                    .remedy("for example 2/8"));
            }
        };
        if range.is_empty() {
            return Err(Error::new("no images are left")
                .got(format!("{len} images for this shard to take its part of"))
                .remedy("ask for more --images, or for fewer shards"));
        }
        let offset = |label: &i64| {
            let shifted = label.checked_add(options.label_offset).and_then(|l| u32::try_from(l).ok());
            shifted.ok_or_else(|| {
                Error::new("a label that is not a class index")
                    .expected("0 or more after --label-offset")
                    .got(format!("{label} with the offset {}", options.label_offset))
                    .remedy("give a --label-offset that makes the least label 0")
            })
        };
        let labels =
            opened.labels.map(|l| l[range.clone()].iter().map(offset).collect::<Result<_>>()).transpose()?;
        let mut order = match options.sample {
            Some(seed) => {
                let mut chosen = shuffled(range.len(), seed);
                chosen.truncate(most);
                chosen.sort_unstable();
                chosen
            }
            None => (0..range.len()).collect(),
        };
        if let Some(seed) = options.order {
            order = shuffled(order.len(), seed).into_iter().map(|i| order[i]).collect();
        }
        let inner = Inner {
            path: path.map(Path::to_path_buf),
            source: opened.source,
            pipeline,
            range,
            labels,
            strict: options.strict,
            skipped: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner), order: Arc::new(order) })
    }

    /// An error of its images, which names the data set unless it names a file already.
    pub(crate) fn blame(&self, error: Error) -> Error {
        match &self.inner.path {
            Some(path) => error.file(path),
            None => error,
        }
    }

    /// How many images there are, unreadable ones included.
    #[allow(clippy::len_without_is_empty)] // An empty one cannot be opened.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Two sets without a common image: all but a share of this one, and that share, evenly spread over it. `None`
    /// where one of them would be empty.
    pub fn split(&self, share: f64) -> Option<(Self, Self)> {
        let is_held = |i: usize| ((i + 1) as f64 * share).floor() > (i as f64 * share).floor();
        let part = |held: bool| {
            let order = self.order.iter().enumerate().filter(|&(i, _)| is_held(i) == held);
            let order: Vec<usize> = order.map(|(_, &place)| place).collect();
            (!order.is_empty()).then(|| Self { inner: Arc::clone(&self.inner), order: Arc::new(order) })
        };
        part(false).zip(part(true))
    }

    /// The class index of every image of the shard, visited or not, in their own order, offset included.
    pub fn labels(&self) -> Option<&[u32]> {
        self.inner.labels.as_deref()
    }

    /// What is done to every image.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.inner.pipeline.recipe
    }

    /// Whether it is noise, which says nothing about a network's accuracy or its channels.
    pub fn is_random(&self) -> bool {
        matches!(self.inner.source, ImageSource::Random { .. })
    }

    /// The images that could not be decoded so far, in order, with the decoder's reason.
    pub fn skipped(&self) -> Vec<(PathBuf, String)> {
        self.inner.skipped.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The shape of the first image that can be read, as the network takes it. Others may have another one where the
    /// network leaves it free.
    ///
    /// # Errors
    /// What ends a pass over the set.
    pub fn image(&self) -> Result<Vec<usize>> {
        match self.batches(1).next() {
            Some(batch) => Ok(batch?.image().to_vec()),
            None => {
                Err(self.blame(Error::new("no image could be read").remedy("see the list of skipped files")))
            }
        }
    }

    /// One pass over the set in batches of `batch` images (at least 1).
    ///
    /// Yields an error, and ends, when an image cannot be decoded under `strict`, when none can, or when an
    /// image does not become what the network takes.
    pub fn batches(&self, batch: usize) -> Batches {
        self.batches_from(0, batch)
    }

    /// The rest of a pass: it goes on at [`Batch::next`] of an earlier one.
    ///
    /// Yields what [`Dataset::batches`] yields.
    pub fn batches_from(&self, start: usize, batch: usize) -> Batches {
        Batches::new(self.clone(), start, batch)
    }
}

/// The numbers below `len` in an order that depends on the seed alone (Fisher and Yates; SplitMix64).
fn shuffled(len: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for (i, z) in (1..len).rev().zip(synthetic::splitmix64(seed)) {
        // The bias of a remainder is 2⁻⁴⁰ and less for sets that fit into a computer.
        order.swap(i, (z % (i as u64 + 1)) as usize);
    }
    order
}
