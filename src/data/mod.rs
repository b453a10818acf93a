//! Data sets: images, arrays and recordings, preprocessed into batches for a network.
//!
//! [`Dataset::open`] detects the kind of data, resolves the preprocessing once for the network, and yields [`Batch`]es.
//! The result of preprocessing depends on the image and the recipe alone, not on the batch size, threads or shard. An
//! image that cannot be decoded is skipped and recorded.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::tensor::SampleShape;

mod arrays;
mod batches;
mod decode;
mod encoded;
mod folder;
mod idx;
mod label_images;
mod labels;
mod mask;
mod memory;
pub mod metrics;
mod noise;
mod parquet;
mod picture;
mod pictures;
mod recipe;
mod resample;
mod rows;
mod samples;
mod shards;
mod source;
mod spec;
mod stream;
pub mod synthetic;
#[cfg(test)]
mod tests;
mod wav;
mod webdataset;

pub use arrays::{RowReader, read_npy_f32, write_npy, write_npy_f32};
pub use batches::{Batch, Batches};
pub use label_images::{ImagePlace, LabelImages};
pub use memory::InputArray;
pub use recipe::{ChannelOrder, DataOptions, Layout, Preprocessing, Preset, ResizeTo, Shard, Size};
pub use spec::{InputSpec, SampleSpec};
pub use stream::{SampleStream, StreamBatch, StreamBatches};

use arrays::{Array, Element};
use encoded::Skipped;
use noise::Noise;
use picture::{Frame, Preprocessor};
use recipe::NetworkInput;
use rows::OpenedRows;
use samples::Samples;
use source::Opened;
use spec::{SoundInput, Takes};

/// A set of images for one network, with labels if known.
#[derive(Debug, Clone)]
pub struct Dataset {
    inner: Arc<Inner>,
    /// Places in the shard of the images to visit, in order.
    order: Arc<Vec<usize>>,
}

#[derive(Debug)]
struct Inner {
    /// Path of the data set, if it is not in memory.
    path: Option<PathBuf>,
    samples: Samples,
    /// Range of the shard's images in the source.
    range: Range<usize>,
    /// Class indices of the shard's images, in their own order.
    labels: Option<Vec<u32>>,
    /// Number that was added to every label.
    label_offset: i64,
    strict: bool,
    /// Skipped images by place in the source, so that a second pass records none twice.
    skipped: Mutex<BTreeMap<usize, Skipped>>,
}

/// The number of images that starts of shards are multiples of, in large sets.
///
/// Devices sum over this many images at once, so these sums are equal in a shard and in the whole.
pub const SHARD_UNIT: usize = 64;

impl Dataset {
    /// Opens a folder of images or recordings, an array file, idx files, WebDataset archives, parquet tables, or `random:N`.
    ///
    /// Several archives or tables are given as a folder, or by a pattern in braces: `train-{000..011}.tar`.
    ///
    /// `spec` has the arrays that the network takes. The shape of its only input, batch axis first, will do.
    ///
    /// # Errors
    /// Data of another kind, without images, with contradictions (labels for other images, headers that do not match
    /// the file's length), or that does not fit the network's inputs.
    pub fn open(spec: &str, options: &DataOptions, network: impl Into<SampleSpec>) -> Result<Self> {
        let network = network.into().checked()?;
        if let Some(count) = spec.strip_prefix("random:") {
            let len = count.parse().ok().filter(|&n| n > 0).ok_or_else(|| {
                Error::new("not a number of random images")
                    .expected("random:N with N from 1")
                    .got(spec)
                    .remedy("for example random:64")
            })?;
            return Self::random(len, options, &network);
        }
        let path = Path::new(spec);
        Self::read(path, options, &network).map_err(|e| e.file(path))
    }

    fn read(path: &Path, options: &DataOptions, network: &SampleSpec) -> Result<Self> {
        let sound = network.sound(options.layout);
        let takes_sound = sound.is_some();
        if let Some(input) = sound.filter(|_| wav::is_sound(path, true)) {
            return Self::of_sounds(path, options, input);
        }
        Self::read_images_or_rows(path, options, network).map_err(|e| {
            let is_sound = !takes_sound && wav::is_sound(path, false);
            if is_sound { wav::refused(network) } else { e }
        })
    }

    /// Reads images, or arrays of any shape.
    fn read_images_or_rows(path: &Path, options: &DataOptions, network: &SampleSpec) -> Result<Self> {
        let Takes::Images { input, group } = network.takes(options.layout) else {
            return Self::of_rows(rows::open(path, network)?, Some(path), options);
        };
        if let Some(clips) = group.and_then(|_| rows::open_clips(path, network)) {
            return Self::of_rows(clips?, Some(path), options);
        }
        let opened = source::open(path, options.classes.as_deref(), input)?;
        Self::of_images((opened, Some(path)), options, (input, group))
    }

    /// Creates a data set of images in memory: bytes, N×C×H×W or N×H×W×C, with optional labels.
    ///
    /// # Errors
    /// Bytes that do not fill the shape, or do not fit the network's input.
    pub fn from_bytes(
        bytes: Vec<u8>,
        shape: &[usize],
        labels: Option<&[u32]>,
        options: &DataOptions,
        network: impl Into<SampleSpec>,
    ) -> Result<Self> {
        let network = network.into();
        let count = bytes.len();
        let array = Array::new(Element::U8, shape.to_vec(), bytes).ok_or_else(|| {
            Error::new("images that do not fill their shape")
                .expected(crate::tensor::show(shape))
                .got(format!("{count} bytes"))
        })?;
        let labels = labels.map(|l| l.iter().map(|&l| i64::from(l)).collect());
        match network.takes(options.layout) {
            Takes::Images { input, group } => {
                Self::of_images((source::of_array(array, labels, input)?, None), options, (input, group))
            }
            Takes::Arrays => Self::of_rows(rows::of_arrays(vec![array], labels, &network)?, None, options),
        }
    }

    fn random(len: usize, options: &DataOptions, network: &SampleSpec) -> Result<Self> {
        let takes = network.takes(options.layout);
        let size = options.crop.or(match options.resize {
            Some(ResizeTo::Exact(size)) => Some(size),
            Some(ResizeTo::Shorter(side)) => Some(Size { height: side, width: side }),
            None => None,
        });
        let [height, width] = [size.map(|s| s.height), size.map(|s| s.width)];
        let usual = |rank: usize, axis: usize| match (&takes, rank) {
            (Takes::Images { input: NetworkInput { layout: Layout::Nchw, .. }, .. }, 3) => {
                [Some(3), height, width][axis]
            }
            (Takes::Images { input: NetworkInput { layout: Layout::Nhwc, .. }, .. }, 3) => {
                [height, width, Some(3)][axis]
            }
            _ => None,
        };
        let mut shape = SampleShape::default();
        for input in &network.inputs {
            let axes = input.axes.iter().enumerate();
            let sizes: Option<Vec<usize>> =
                axes.map(|(axis, size)| size.or_else(|| usual(input.axes.len(), axis))).collect();
            shape.0.push(sizes.ok_or_else(|| {
                Error::new("random inputs of unknown size: the network leaves it free")
                    .got(input.show())
                    .remedy("set `resize` to HxW for images, or give the `size` of the input")
            })?);
        }
        let (channels, layout) = match &takes {
            Takes::Images { input, .. } => (input.channels.unwrap_or(3), input.layout),
            Takes::Arrays => (1, Layout::Nchw),
        };
        let integers = network.inputs.iter().map(|input| input.integer).collect();
        let recipe = Preprocessing::unchanged(channels, layout);
        let samples = Samples::Random { noise: Noise { shape, integers }, recipe };
        Self::cut((samples, len, None), None, options)
    }

    fn of_images(
        (opened, path): (Opened, Option<&Path>),
        options: &DataOptions,
        (input, group): (NetworkInput, Option<usize>),
    ) -> Result<Self> {
        let recipe = Preprocessing::resolve(options, input, opened.source.pixel_format())?;
        let Opened { source, len, labels } = match group {
            None => opened,
            Some(group) => opened.grouped(group)?,
        };
        let preprocessor = Preprocessor::new(recipe, input);
        Self::cut((Samples::Images { source, preprocessor, group }, len, labels), path, options)
    }

    fn of_rows((rows, len, labels): OpenedRows, path: Option<&Path>, options: &DataOptions) -> Result<Self> {
        let recipe = rows.recipe(options)?;
        Self::cut((Samples::Rows { rows, recipe }, len, labels), path, options)
    }

    fn of_sounds(path: &Path, options: &DataOptions, input: SoundInput) -> Result<Self> {
        let (recordings, labels) = wav::open(path, options.classes.as_deref(), input)?;
        let recipe = recordings.recipe(options)?;
        let len = recordings.files().len();
        Self::cut((Samples::Sounds { recordings, recipe }, len, labels), Some(path), options)
    }

    /// Returns whether the samples are recordings.
    pub(crate) fn is_sound(&self) -> bool {
        matches!(self.inner.samples, Samples::Sounds { .. })
    }

    /// Selects the images and the shard of the options.
    fn cut(
        (samples, all, labels): (Samples, usize, Option<Vec<i64>>),
        path: Option<&Path>,
        options: &DataOptions,
    ) -> Result<Self> {
        // A sample is drawn from all images, and a shard is a part of the sample.
        let most = options.images.unwrap_or(usize::MAX);
        let len = if options.sample.is_some() { all } else { all.min(most) };
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
                .remedy("raise `images`, or use fewer shards"));
        }
        let offset = |label: &i64| {
            let shifted = label.checked_add(options.label_offset).and_then(|l| u32::try_from(l).ok());
            shifted.ok_or_else(|| {
                Error::new("a label that is not a class index")
                    .expected("0 or more after adding `label_offset`")
                    .got(format!("{label} with the offset {}", options.label_offset))
                    .remedy("set `label_offset` so that the least label becomes 0")
            })
        };
        let labels =
            labels.map(|l| l[range.clone()].iter().map(offset).collect::<Result<_>>()).transpose()?;
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
            samples,
            range,
            labels,
            label_offset: options.label_offset,
            strict: options.strict,
            skipped: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner), order: Arc::new(order) })
    }

    /// Reads and prepares samples by their places in the source.
    fn frames(&self, places: &[usize]) -> Result<Vec<Result<Frame, Skipped>>> {
        self.inner.samples.frames(places)
    }

    /// Adds the data set's path to an error that names no file.
    pub(crate) fn blame(&self, error: Error) -> Error {
        match &self.inner.path {
            Some(path) => error.file(path),
            None => error,
        }
    }

    /// Returns the number of images, unreadable ones included.
    #[allow(clippy::len_without_is_empty)] // An empty set cannot be opened.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Splits off a `share` of the images: returns the rest and the share, disjoint.
    ///
    /// The share is evenly spread over the classes if there are labels, and over the set. `None` if either part would
    /// be empty.
    pub fn split(&self, share: f64) -> Option<(Self, Self)> {
        let mut by_class: Vec<usize> = (0..self.order.len()).collect();
        if let Some(labels) = self.labels() {
            by_class.sort_by_key(|&i| labels[self.order[i]]);
        }
        let mut held = vec![false; by_class.len()];
        for (rank, &i) in by_class.iter().enumerate() {
            held[i] = ((rank + 1) as f64 * share).floor() > (rank as f64 * share).floor();
        }
        let part = |wanted: bool| {
            let order = self.order.iter().zip(&held).filter(|&(_, &is_held)| is_held == wanted);
            let order: Vec<usize> = order.map(|(&place, _)| place).collect();
            (!order.is_empty()).then(|| Self { inner: Arc::clone(&self.inner), order: Arc::new(order) })
        };
        part(false).zip(part(true))
    }

    /// Returns the class index of every image of the shard, visited or not, in their own order, with the offset.
    pub fn labels(&self) -> Option<&[u32]> {
        self.inner.labels.as_deref()
    }

    /// Returns the number that was added to every label.
    pub fn label_offset(&self) -> i64 {
        self.inner.label_offset
    }

    /// Returns the preprocessing of every image.
    pub fn preprocessing(&self) -> &Preprocessing {
        self.inner.samples.recipe()
    }

    /// Returns whether the images are noise, which is no basis for accuracy or statistics.
    pub fn is_random(&self) -> bool {
        matches!(self.inner.samples, Samples::Random { .. })
    }

    /// Returns the images skipped so far, in order, with the decoder's reason.
    pub fn skipped(&self) -> Vec<(PathBuf, String)> {
        self.inner.skipped.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Returns the number of images visited so far that were turned or mirrored by their EXIF orientation.
    pub fn turned(&self) -> usize {
        self.inner.samples.turned()
    }

    /// Returns the shape of the first readable sample after preprocessing.
    ///
    /// Other samples may have another shape if the network's input size is free.
    ///
    /// # Errors
    /// Errors of [`Dataset::batches`], and a set without readable images.
    pub fn sample(&self) -> Result<SampleShape> {
        match self.batches(1).next() {
            Some(batch) => Ok(batch?.sample),
            None => {
                Err(self.blame(Error::new("no image could be read").remedy("see the list of skipped files")))
            }
        }
    }

    /// Starts a pass over the set in batches of `batch` images (at least 1).
    ///
    /// Yields an error, and ends, if an image cannot be decoded and `strict` is set, if no image can be decoded, or if
    /// a preprocessed image does not fit the network's input.
    pub fn batches(&self, batch: usize) -> Batches {
        self.batches_from(0, batch)
    }

    /// Resumes a pass at [`Batch::next`] of an earlier batch, like [`Dataset::batches`].
    pub fn batches_from(&self, start: usize, batch: usize) -> Batches {
        Batches::new(self.clone(), start, batch)
    }
}

/// Returns a permutation of the numbers below `len` that depends on the seed alone.
///
/// Fisher–Yates shuffle with SplitMix64.
fn shuffled(len: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for (i, z) in (1..len).rev().zip(synthetic::splitmix64(seed)) {
        // The bias of the remainder is at most 2⁻⁴⁰ for sets that fit into a computer.
        order.swap(i, (z % (i as u64 + 1)) as usize);
    }
    order
}
