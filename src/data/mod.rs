//! Data sets: images, arrays and recordings, preprocessed into batches for a network.
//!
//! [`Dataset::open`] detects the kind of data, resolves the preprocessing once for the network, and yields [`Batch`]es.
//! The result of preprocessing depends on the image and the recipe alone, not on the batch size, threads or shard. An
//! image that cannot be decoded is skipped and recorded.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::{Error, Result};
use crate::observer::Doubt;
use crate::tensor::SampleShape;

mod arrays;
pub mod augment;
mod batches;
mod decode;
mod description;
mod doubts;
mod encoded;
mod folder;
mod given;
mod glob;
mod idx;
mod label_images;
mod labels;
mod letterbox;
mod mask;
mod memory;
pub mod metrics;
mod noise;
mod npz;
mod parquet;
mod parts;
mod picture;
mod pictures;
mod recipe;
mod resample;
mod resolve;
mod rows;
mod samples;
mod shards;
mod source;
mod spec;
mod splits;
mod stream;
mod survey;
pub mod synthetic;
#[cfg(test)]
mod tests;
mod wav;
mod webdataset;

pub use arrays::{RowReader, read_npy_f32, write_npy, write_npy_f32};
pub use batches::{Batch, Batches};
pub use given::DataSources;
pub use label_images::{ImagePlace, LabelImages};
pub use memory::InputArray;
pub(crate) use noise::normals;
pub use recipe::{ChannelOrder, DataOptions, Layout, Preprocessing, Preset, ResizeTo, Shard, Size};
pub use spec::{InputSpec, SampleSpec};
pub use stream::{SampleStream, StreamBatch, StreamBatches};
pub use survey::{ImageKind, SampleKind, Survey};

use arrays::{Array, Element};
use encoded::Skipped;
use given::Given;
use labels::{ClassNames, Labels};
use noise::Noise;
use parts::{Part, Parts};
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
    survey: Arc<OnceLock<Survey>>,
}

#[derive(Debug)]
struct Inner {
    parts: Parts,
    /// Range of the shard's images in the source.
    range: Range<usize>,
    /// Class indices of the shard's images, in their own order.
    labels: Option<Vec<u32>>,
    /// Class names in the order of their indices, if names were numbered in their sorted order.
    class_names: Option<Vec<String>>,
    options: DataOptions,
    /// Skipped images by place in the source, so that a second pass records none twice.
    skipped: Mutex<BTreeMap<usize, Skipped>>,
}

/// The number of images that starts of shards are multiples of, in large sets.
///
/// Devices sum over this many images at once, so these sums are equal in a shard and in the whole.
pub const SHARD_UNIT: usize = 64;

impl Dataset {
    /// Opens folders of images or recordings, array files, idx files, WebDataset archives, parquet tables, or `random:N`.
    ///
    /// Several sources are one data set, in their order. A source may be a pattern, such as `train-{000..011}.tar` or
    /// `images/*.jpg`, a `.txt` or `.csv` list of images, or a split of a `.npz` archive: `mnist.npz:test`.
    ///
    /// `network` has the arrays that the network takes. The shape of its only input, batch axis first, will do.
    ///
    /// # Errors
    /// Data of another kind, without images, with contradictions (labels for other images, headers that do not match
    /// the file's length), or that does not fit the network's inputs; sources that need different preprocessing, or of
    /// which only some have labels.
    pub fn open(
        sources: impl Into<DataSources>,
        options: &DataOptions,
        network: impl Into<SampleSpec>,
    ) -> Result<Self> {
        let (sources, network) = (sources.into(), network.into().checked()?);
        let random = |source: &String| source.strip_prefix("random:").map(str::to_owned);
        if let Some(count) = sources.as_slice().iter().find_map(random) {
            let alone = sources.as_slice().len() == 1;
            let len = count.parse().ok().filter(|&n| n > 0 && alone).ok_or_else(|| {
                Error::new("not a number of random images")
                    .expected("random:N with N from 1, and no other data")
                    .got(sources.to_string())
                    .remedy("for example random:64")
            })?;
            return Self::of_parts(vec![Self::random(len, options, &network)?], options);
        }
        let classes = options.classes.as_deref().map(ClassNames::read).transpose()?;
        let sound = network.sound(options.layout);
        let mut parts = Vec::new();
        for source in sources.as_slice() {
            let named = |e: Error| e.file(source);
            for given in resolve::resolve(source, classes.as_ref(), sound.is_some()).map_err(named)? {
                let part = Self::read(&given, (options, classes.as_ref()), &network, sound.as_ref());
                parts.push(part.map_err(|e| e.file(given.path()))?);
            }
        }
        Self::of_parts(parts, options)
    }

    fn read(
        given: &Given,
        options: (&DataOptions, Option<&ClassNames>),
        network: &SampleSpec,
        sound: Option<&SoundInput>,
    ) -> Result<Part> {
        if let Some(input) = sound.filter(|_| wav::is_sound(given, true)) {
            return Self::of_sounds(given, options, input.clone());
        }
        Self::read_images_or_rows(given, options, network).map_err(|e| {
            let is_sound = sound.is_none() && wav::is_sound(given, false);
            if is_sound { wav::refused(network) } else { e }
        })
    }

    /// Reads images, or arrays of any shape.
    fn read_images_or_rows(
        given: &Given,
        (options, classes): (&DataOptions, Option<&ClassNames>),
        network: &SampleSpec,
    ) -> Result<Part> {
        let path = Some(given.path());
        let array = match given {
            Given::Path { path, part } => Some((path.as_path(), part.as_deref())),
            Given::Files { .. } => None,
        };
        let Takes::Images { input, group } = network.takes(options.layout) else {
            let (file, part) = array.unwrap_or((given.first_file(), None));
            return Self::of_rows(rows::open(file, part, network)?, path, options);
        };
        if let Some(clips) = group.and(array).and_then(|(file, part)| rows::open_clips(file, part, network)) {
            return Self::of_rows(clips?, path, options);
        }
        let opened = source::open(given, classes, input)?;
        Self::of_images((opened, path), options, (input, group))
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
        let part = match network.takes(options.layout) {
            Takes::Images { input, group } => {
                Self::of_images((source::of_array(array, labels, input)?, None), options, (input, group))?
            }
            Takes::Arrays => Self::of_rows(rows::of_arrays(vec![array], labels, &network)?, None, options)?,
        };
        Self::of_parts(vec![part], options)
    }

    fn random(len: usize, options: &DataOptions, network: &SampleSpec) -> Result<Part> {
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
        Ok(Part { path: None, samples, len, labels: None })
    }

    fn of_images(
        (opened, path): (Opened, Option<&Path>),
        options: &DataOptions,
        (input, group): (NetworkInput, Option<usize>),
    ) -> Result<Part> {
        let recipe = Preprocessing::resolve(options, input, opened.source.pixel_format())?;
        let Opened { source, len, labels } = match group {
            None => opened,
            Some(group) => opened.grouped(group)?,
        };
        let preprocessor = Preprocessor::new(recipe, input);
        let samples = Samples::Images { source, preprocessor, group };
        Ok(Part { path: path.map(Path::to_path_buf), samples, len, labels })
    }

    fn of_rows((rows, len, labels): OpenedRows, path: Option<&Path>, options: &DataOptions) -> Result<Part> {
        let recipe = rows.recipe(options)?;
        let (samples, labels) = (Samples::Rows { rows, recipe }, labels.map(Labels::from));
        Ok(Part { path: path.map(Path::to_path_buf), samples, len, labels })
    }

    fn of_sounds(
        given: &Given,
        (options, classes): (&DataOptions, Option<&ClassNames>),
        input: SoundInput,
    ) -> Result<Part> {
        let (recordings, labels) = wav::open(given, classes, input)?;
        let recipe = recordings.recipe(options)?;
        let len = recordings.files().len();
        let samples = Samples::Sounds { recordings, recipe };
        Ok(Part { path: Some(given.path().to_path_buf()), samples, len, labels })
    }

    /// Returns whether the samples are recordings.
    pub(crate) fn is_sound(&self) -> bool {
        matches!(self.inner.parts.first(), Samples::Sounds { .. })
    }

    /// Joins sources, and selects images.
    fn of_parts(parts: Vec<Part>, options: &DataOptions) -> Result<Self> {
        if parts.is_empty() {
            return Err(Error::new("no data were given").expected(folder::SUPPORTED).remedy("set `data`"));
        }
        let (parts, labels) = Parts::join(parts)?;
        let path = parts.path().map(Path::to_path_buf);
        Self::select(parts, labels, options).map_err(|e| path.iter().fold(e, Error::file))
    }

    /// Selects the images and the shard of the options.
    fn select(parts: Parts, labels: Option<Labels>, options: &DataOptions) -> Result<Self> {
        let all = parts.len();
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
        let (indices, class_names) = labels.map(|l| (l.indices, l.names)).unzip();
        let indices: Option<Vec<i64>> = indices;
        let labels =
            indices.map(|l| l[range.clone()].iter().map(offset).collect::<Result<_>>()).transpose()?;
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
            parts,
            range,
            labels,
            class_names: class_names.flatten(),
            options: options.clone(),
            skipped: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner), order: Arc::new(order), survey: Arc::default() })
    }

    /// Reads and prepares samples by their places in the source.
    fn frames(&self, places: &[usize]) -> Result<Vec<Result<Frame, Skipped>>> {
        self.inner.parts.frames(places)
    }

    /// Adds the data set's path to an error that names no file.
    pub(crate) fn blame(&self, error: Error) -> Error {
        match self.inner.parts.path() {
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
            (!order.is_empty()).then(|| Self {
                inner: Arc::clone(&self.inner),
                order: Arc::new(order),
                survey: Arc::default(),
            })
        };
        part(false).zip(part(true))
    }

    /// Returns the class index of every image of the shard, visited or not, in their own order, with the offset.
    pub fn labels(&self) -> Option<&[u32]> {
        self.inner.labels.as_deref()
    }

    /// Returns the class names in the order of their indices, before any offset; `None` if labels were given as indices.
    ///
    /// These are the names of class folders or labels without a list of classes, numbered in their sorted order.
    pub fn class_names(&self) -> Option<&[String]> {
        self.inner.class_names.as_deref()
    }

    /// Returns the number that was added to every label.
    pub fn label_offset(&self) -> i64 {
        self.inner.options.label_offset
    }

    /// Returns the preprocessing of every image.
    pub fn preprocessing(&self) -> &Preprocessing {
        self.inner.parts.recipe()
    }

    /// Resolves the preprocessing that other options would have; `None` for samples that are no images.
    ///
    /// # Errors
    /// Options that do not fit the images or the network.
    pub(crate) fn recipe_by(&self, options: &DataOptions) -> Result<Option<Preprocessing>> {
        match self.inner.parts.first() {
            Samples::Images { source, preprocessor, .. } => {
                preprocessor.by(options, source.pixel_format()).map(Some)
            }
            Samples::Stream(stream) => stream.recipe_by(options),
            Samples::Rows { .. } | Samples::Sounds { .. } | Samples::Random { .. } => Ok(None),
        }
    }

    /// Looks at some samples, before and after their preprocessing; the first call reads them.
    ///
    /// # Errors
    /// Samples that do not fit the network.
    pub fn survey(&self) -> Result<&Survey> {
        if let Some(survey) = self.survey.get() {
            return Ok(survey);
        }
        let places: Vec<usize> = self.order.iter().map(|&place| self.inner.range.start + place).collect();
        let survey = survey::survey(&self.inner.parts, &places).map_err(|e| self.blame(e))?;
        Ok(self.survey.get_or_init(|| survey))
    }

    /// Describes the preprocessing in one line, with the stored samples and the measured range.
    ///
    /// # Errors
    /// Errors of [`Dataset::survey`].
    pub fn describe(&self) -> Result<String> {
        Ok(self.preprocessing().describe(Some(self.survey()?)))
    }

    /// Returns doubts about the preprocessing, of which the survey is sure.
    ///
    /// # Errors
    /// Errors of [`Dataset::survey`].
    pub fn doubts(&self) -> Result<Vec<Doubt>> {
        let survey = self.survey()?;
        Ok(match self.inner.parts.first() {
            Samples::Images { preprocessor, .. } => doubts::doubts(preprocessor, &self.inner.options, survey),
            Samples::Stream(stream) => stream.preprocessor().map_or_else(Vec::new, |preprocessor| {
                doubts::doubts(preprocessor, &self.inner.options, survey)
            }),
            Samples::Rows { .. } | Samples::Sounds { .. } | Samples::Random { .. } => vec![],
        })
    }

    /// Returns whether the images are noise, which is no basis for accuracy or statistics.
    pub fn is_random(&self) -> bool {
        matches!(self.inner.parts.first(), Samples::Random { .. })
    }

    /// Returns the images skipped so far, in order, with the decoder's reason.
    pub fn skipped(&self) -> Vec<(PathBuf, String)> {
        self.inner.skipped.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Returns the number of images visited so far that were turned or mirrored by their EXIF orientation.
    pub fn turned(&self) -> usize {
        self.inner.parts.turned()
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
