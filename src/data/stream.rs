//! Data sets that a caller yields batch by batch, such as a data loader.
//!
//! The first walk keeps the samples in memory. If they exceed the limit, their labels and digests remain, and each pass
//! walks the stream again; the digests reveal a stream that yields other samples then.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::arrays::Array;
use super::encoded::Skipped;
use super::picture::{Frame, Preprocessor};
use super::recipe::{DataOptions, NetworkInput, PixelFormat, Preprocessing};
use super::rows::{self, Rows};
use super::source::{self, ImageSource};
use super::spec::{SampleSpec, Takes};
use crate::error::{Error, ErrorKind, Result};

/// The batches of a stream, from the first to the last.
pub type StreamBatches = Box<dyn Iterator<Item = Result<StreamBatch>> + Send>;

/// A source of batches that is walked from its start.
pub trait SampleStream: Debug + Send + Sync {
    /// Returns the batches from the first one on.
    ///
    /// # Errors
    /// A source that cannot be walked.
    fn walk(&self) -> Result<StreamBatches>;

    /// Returns whether another walk yields the samples again.
    fn repeats(&self) -> bool;
}

/// Samples that a stream yields at once, with one array for each input.
#[derive(Clone, Debug, Default)]
pub struct StreamBatch {
    /// The arrays: name of the input (of no matter for a single one), type in NumPy's notation, dimensions, elements.
    ///
    /// The first dimension counts samples.
    pub arrays: Vec<(String, String, Vec<usize>, Vec<u8>)>,
    /// Class indices of the samples.
    pub labels: Option<Vec<i64>>,
}

fn too_large(max_memory: u64) -> Error {
    Error::new(format!("the samples take more memory than max_memory, {max_memory} bytes"))
        .with_kind(ErrorKind::OutOfMemory)
}

/// Samples of one batch, from which frames are made.
#[derive(Debug)]
enum Chunk {
    Images(ImageSource),
    Arrays(Rows),
}

/// How samples are prepared, which the first batch decides.
#[derive(Debug)]
enum Preparing {
    Images(Preprocessor, PixelFormat),
    Arrays(Preprocessing),
}

/// The meaning of a stream's batches for a network.
#[derive(Debug)]
struct Form {
    network: SampleSpec,
    /// The network's input, if it takes single images.
    images: Option<NetworkInput>,
    options: DataOptions,
    preparing: OnceLock<Preparing>,
}

impl Form {
    fn new(network: SampleSpec, options: &DataOptions) -> Self {
        let images = match network.takes(options.layout) {
            Takes::Images { input, group: None } => Some(input),
            Takes::Images { .. } | Takes::Arrays => None,
        };
        Self { network, images, options: options.clone(), preparing: OnceLock::new() }
    }

    /// Interprets a batch, and returns its number of samples as well.
    fn chunk(&self, batch: StreamBatch) -> Result<(Chunk, usize)> {
        let mut batch = batch;
        let mut arrays = Vec::new();
        for at in 0..self.network.inputs.len() {
            let names = || batch.arrays.iter().map(|array| array.0.as_str());
            let place = self.network.place_of(at, names)?;
            let (_, dtype, shape, bytes) = std::mem::take(&mut batch.arrays[place]);
            arrays.push(Array::of_bytes(&dtype, shape, bytes)?);
        }
        match self.images {
            Some(input) => {
                let opened = source::of_array(arrays.remove(0), None, input)?;
                let format = opened.source.pixel_format();
                self.check_images(input, format)?;
                Ok((Chunk::Images(opened.source), opened.len))
            }
            None => {
                let (rows, len, _) = rows::of_arrays(arrays, None, &self.network)?;
                self.check_rows(&rows)?;
                Ok((Chunk::Arrays(rows), len))
            }
        }
    }

    /// Resolves the recipe by the first images, and refuses others that it does not suit.
    fn check_images(&self, input: NetworkInput, format: PixelFormat) -> Result<()> {
        let Some(Preparing::Images(preprocessor, first)) = self.preparing.get() else {
            let recipe = Preprocessing::resolve(&self.options, input, format)?;
            let _ = self.preparing.set(Preparing::Images(Preprocessor::new(recipe, input), format));
            return Ok(());
        };
        let channels = preprocessor.recipe.channels;
        let suits = match (first, format) {
            (PixelFormat::Floats(_), PixelFormat::Floats(n)) => n == channels,
            (PixelFormat::Bytes(_), PixelFormat::Bytes(n)) => {
                n == channels || matches!((n, channels), (1, 3) | (3, 1))
            }
            (one, other) => *one == other,
        };
        if suits {
            return Ok(());
        }
        let show = |format: &PixelFormat| match format {
            PixelFormat::Files => "pictures".to_owned(),
            PixelFormat::Bytes(n) => format!("bytes with {n} channels"),
            PixelFormat::Floats(n) => format!("floats with {n} channels"),
        };
        Err(Error::new("images of several kinds")
            .expected(format!("{}, as the first image has", show(first)))
            .got(show(&format))
            .remedy("bring all images to one type and number of channels"))
    }

    fn check_rows(&self, rows: &Rows) -> Result<()> {
        let Some(Preparing::Arrays(recipe)) = self.preparing.get() else {
            let _ = self.preparing.set(Preparing::Arrays(rows.recipe(&self.options)?));
            return Ok(());
        };
        let normalizes =
            self.options.mean.is_some() || self.options.std.is_some() || self.options.scale.is_some();
        if normalizes && rows.channels() != recipe.channels {
            return Err(Error::new("samples whose first axes differ cannot be normalized alike")
                .expected(format!("{} along the first axis", recipe.channels))
                .got(rows.channels().to_string())
                .remedy("leave out `mean`, `std` and `scale`, and normalize the samples beforehand"));
        }
        Ok(())
    }

    fn frames(&self, chunk: &Chunk, places: &[usize]) -> Result<Vec<Result<Frame, Skipped>>> {
        match (chunk, self.preparing.get()) {
            (Chunk::Images(source), Some(Preparing::Images(preprocessor, _))) => {
                source.frames(places, preprocessor)
            }
            (Chunk::Arrays(rows), Some(Preparing::Arrays(recipe))) => {
                Ok(rows.frames(places, recipe)?.into_iter().map(Ok).collect())
            }
            _ => Err(Error::new("samples without a recipe").internal()),
        }
    }
}

/// Returns a digest for each sample of a batch.
fn digests(batch: &StreamBatch) -> Vec<u64> {
    let count = batch.arrays.first().and_then(|array| array.2.first()).copied().unwrap_or(0);
    let digest = |at: usize| {
        let mut hasher = DefaultHasher::new();
        for (_, _, _, bytes) in &batch.arrays {
            let one = bytes.len() / count;
            hasher.write(&bytes[at * one..(at + 1) * one]);
        }
        hasher.finish()
    };
    (0..count).into_par_iter().map(digest).collect()
}

/// The results of the first walk over a stream.
struct FirstWalk {
    /// The batches, each with the place of its first sample, if they fit into memory.
    chunks: Option<Vec<(usize, Chunk)>>,
    digests: Vec<u64>,
    len: usize,
    labels: Option<Vec<i64>>,
}

impl FirstWalk {
    fn read(
        stream: &dyn SampleStream,
        form: &Form,
        (max_memory, options): (u64, &DataOptions),
    ) -> Result<Self> {
        let most = options.images.filter(|_| options.sample.is_none()).unwrap_or(usize::MAX);
        let mut read = Self { chunks: Some(vec![]), digests: vec![], len: 0, labels: Some(vec![]) };
        let mut bytes = 0;
        for batch in stream.walk()? {
            let mut batch = batch?;
            bytes += batch.arrays.iter().map(|array| array.3.len() as u64).sum::<u64>();
            if stream.repeats() {
                read.digests.extend(digests(&batch));
            }
            let labels = batch.labels.take();
            let (chunk, len) = form.chunk(batch)?;
            read.add_labels(labels, len)?;
            if bytes > max_memory {
                if !stream.repeats() {
                    return Err(too_large(max_memory)
                        .expected("a source that can be walked again, such as a list or a data loader")
                        .got("an iterator, which can be walked once")
                        .remedy("give such a source, lower `images`, or raise max_memory"));
                }
                read.chunks = None;
            }
            if let Some(chunks) = &mut read.chunks {
                chunks.push((read.len, chunk));
            }
            read.len += len;
            if read.len >= most {
                break;
            }
        }
        if read.len == 0 {
            return Err(Error::new("the data hold no samples").remedy("give at least one sample"));
        }
        Ok(read)
    }

    fn add_labels(&mut self, labels: Option<Vec<i64>>, len: usize) -> Result<()> {
        match (&mut self.labels, labels) {
            (Some(all), Some(labels)) if labels.len() == len => all.extend(labels),
            (_, Some(labels)) if labels.len() != len => {
                return Err(Error::new("samples and labels differ in number")
                    .expected(format!("{len} labels"))
                    .got(labels.len().to_string())
                    .remedy("give labels that belong to these samples"));
            }
            (labels @ Some(_), None) if self.len == 0 => *labels = None,
            (None, None) => {}
            (_, given) => {
                let which = |given: bool| if given { "a label" } else { "no label" };
                return Err(Error::new("some samples have a label and others none")
                    .expected(format!("{} for each sample, as the first has", which(given.is_none())))
                    .got(format!("{} for sample {}", which(given.is_some()), self.len))
                    .remedy("give labels for all samples, or for none"));
            }
        }
        Ok(())
    }

    fn store(self, stream: Arc<dyn SampleStream>) -> Store {
        match self.chunks {
            Some(chunks) => Store::Memory(chunks),
            None => Store::Again { stream, digests: self.digests, cursor: Mutex::default() },
        }
    }
}

/// The samples of a stream.
#[derive(Debug)]
pub(super) struct StreamSamples {
    form: Form,
    store: Store,
}

#[derive(Debug)]
enum Store {
    /// Batches, each with the place of its first sample.
    Memory(Vec<(usize, Chunk)>),
    /// A stream that is walked again.
    Again { stream: Arc<dyn SampleStream>, digests: Vec<u64>, cursor: Mutex<Option<Cursor>> },
}

/// Samples of a batch, as they are stored.
#[derive(Debug)]
pub(super) enum StreamSource<'a> {
    Images(&'a ImageSource),
    Arrays(&'a Rows),
}

/// The place of a walk, with the batch there.
struct Cursor {
    walk: StreamBatches,
    chunk: Option<Chunk>,
    /// Places of the batch's samples.
    places: Range<usize>,
}

impl Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("places", &self.places).finish_non_exhaustive()
    }
}

impl StreamSamples {
    /// Walks a stream for the first time, and returns the number of samples and their labels as well.
    pub(super) fn read(
        stream: Arc<dyn SampleStream>,
        max_memory: u64,
        options: &DataOptions,
        network: SampleSpec,
    ) -> Result<(Self, usize, Option<Vec<i64>>)> {
        let form = Form::new(network, options);
        let read = FirstWalk::read(&*stream, &form, (max_memory, options))?;
        let (len, labels) = (read.len, read.labels.clone());
        if read.chunks.is_none() && options.order.is_some() {
            return Err(too_large(max_memory)
                .expected("samples in memory, which can be visited in random order")
                .remedy("raise max_memory, lower `images`, or leave out `confidence`"));
        }
        Ok((Self { store: read.store(stream), form }, len, labels))
    }

    /// Returns the recipe of every sample.
    pub(super) fn recipe(&self) -> &Preprocessing {
        match self.form.preparing.get().expect("the first walk found a sample") {
            Preparing::Images(preprocessor, _) => &preprocessor.recipe,
            Preparing::Arrays(recipe) => recipe,
        }
    }

    /// Returns the preparation of images; `None` for other samples.
    pub(super) fn preprocessor(&self) -> Option<&Preprocessor> {
        match self.form.preparing.get()? {
            Preparing::Images(preprocessor, _) => Some(preprocessor),
            Preparing::Arrays(_) => None,
        }
    }

    /// Resolves the preprocessing that other options would have; `None` for samples that are no images.
    pub(super) fn recipe_by(&self, options: &DataOptions) -> Result<Option<Preprocessing>> {
        match self.form.preparing.get() {
            Some(Preparing::Images(preprocessor, format)) => preprocessor.by(options, *format).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns whether samples far from the first ones take a walk over all before them.
    pub(super) fn is_walked(&self) -> bool {
        matches!(self.store, Store::Again { .. })
    }

    /// Visits the batches that hold the samples at some places, as they are stored.
    pub(super) fn visit(
        &self,
        places: &[usize],
        visitor: &mut dyn FnMut(StreamSource<'_>, &[usize]) -> Result<()>,
    ) -> Result<()> {
        let mut visit = |chunk: &Chunk, inside: &[usize]| match chunk {
            Chunk::Images(images) => visitor(StreamSource::Images(images), inside),
            Chunk::Arrays(rows) => visitor(StreamSource::Arrays(rows), inside),
        };
        match &self.store {
            Store::Memory(chunks) => {
                for run in places.chunk_by(|&a, &b| chunk_of(chunks, a) == chunk_of(chunks, b)) {
                    let (first, chunk) = &chunks[chunk_of(chunks, run[0])];
                    let inside: Vec<usize> = run.iter().map(|place| place - first).collect();
                    visit(chunk, &inside)?;
                }
                Ok(())
            }
            Store::Again { stream, digests, cursor } => {
                let mut cursor = cursor.lock().unwrap_or_else(PoisonError::into_inner);
                let visited = self.walk_to(&**stream, digests, &mut cursor, places, &mut visit);
                if visited.is_err() {
                    *cursor = None;
                }
                visited
            }
        }
    }

    /// Reads and prepares the samples at some places.
    pub(super) fn frames(&self, places: &[usize]) -> Result<Vec<Result<Frame, Skipped>>> {
        match &self.store {
            Store::Memory(chunks) => {
                let runs = places.chunk_by(|&a, &b| chunk_of(chunks, a) == chunk_of(chunks, b));
                let runs: Vec<&[usize]> = runs.collect();
                let of_run = |run: &&[usize]| {
                    let (first, chunk) = &chunks[chunk_of(chunks, run[0])];
                    let inside: Vec<usize> = run.iter().map(|place| place - first).collect();
                    self.form.frames(chunk, &inside)
                };
                let frames = runs.par_iter().map(of_run).collect::<Result<Vec<_>>>()?;
                Ok(frames.into_iter().flatten().collect())
            }
            Store::Again { stream, digests, cursor } => {
                let mut cursor = cursor.lock().unwrap_or_else(PoisonError::into_inner);
                let mut frames = Vec::with_capacity(places.len());
                let mut prepare = |chunk: &Chunk, inside: &[usize]| {
                    frames.extend(self.form.frames(chunk, inside)?);
                    Ok(())
                };
                let walked = self.walk_to(&**stream, digests, &mut cursor, places, &mut prepare);
                if walked.is_err() {
                    *cursor = None;
                }
                walked.map(|()| frames)
            }
        }
    }

    /// Visits samples of a walk, which begins anew if they lie behind.
    fn walk_to(
        &self,
        stream: &dyn SampleStream,
        digests: &[u64],
        cursor: &mut Option<Cursor>,
        places: &[usize],
        visitor: &mut dyn FnMut(&Chunk, &[usize]) -> Result<()>,
    ) -> Result<()> {
        let mut left = places;
        while let Some(&place) = left.first() {
            if cursor.as_ref().is_none_or(|cursor| place < cursor.places.start) {
                *cursor = Some(Cursor { walk: stream.walk()?, chunk: None, places: 0..0 });
            }
            let Some(at) = cursor else { continue };
            while place >= at.places.end {
                at.step(&self.form, digests)?;
            }
            let Some(chunk) = &at.chunk else { continue };
            let here = left.iter().take_while(|place| at.places.contains(place)).count();
            let inside: Vec<usize> = left[..here].iter().map(|place| place - at.places.start).collect();
            visitor(chunk, &inside)?;
            left = &left[here..];
        }
        Ok(())
    }
}

/// Returns the number of the batch that holds a place.
fn chunk_of(chunks: &[(usize, Chunk)], place: usize) -> usize {
    chunks.partition_point(|&(first, _)| first <= place) - 1
}

impl Cursor {
    /// Goes to the next batch, whose samples must be those of the first walk.
    fn step(&mut self, form: &Form, expected: &[u64]) -> Result<()> {
        let start = self.places.end;
        let remedy = "let the data loader keep its order and samples (shuffle=False, no random augmentation), or raise \
                      max_memory";
        let batch = self.walk.next().ok_or_else(|| {
            Error::new("the data hold fewer samples when they are walked again")
                .expected(format!("{} samples", expected.len()))
                .got(start.to_string())
                .remedy(remedy)
        })??;
        let found = digests(&batch);
        let known = expected.get(start..).unwrap_or_default();
        if let Some(at) = found.iter().zip(known).position(|(found, known)| found != known) {
            return Err(Error::new("the data hold other samples when they are walked again")
                .got(format!("another sample {}", start + at))
                .remedy(remedy));
        }
        let (chunk, len) = form.chunk(batch)?;
        self.chunk = Some(chunk);
        self.places = start..start + len;
        Ok(())
    }
}
