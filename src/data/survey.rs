//! A look at some samples of a data set, before and after their preprocessing.

use super::arrays::Kind;
use super::decode;
use super::encoded::Skipped;
use super::parts::Parts;
use super::picture::{Frame, Picture, joined, range};
use super::recipe::Size;
use super::samples::Samples;
use super::source::ImageSource;
use super::stream::{StreamSamples, StreamSource};
use crate::error::Result;
use crate::tensor::SampleShape;

/// The most samples that a survey looks at.
const MOST_SAMPLES: usize = 16;

/// Properties of some samples, spread evenly over a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// Samples as they are stored, before preprocessing.
    pub kind: SampleKind,
    /// Shapes of the arrays of the first sample, after preprocessing.
    pub shape: SampleShape,
    /// The least and the largest value after preprocessing; `None` if no sample can be read.
    pub range: Option<[f32; 2]>,
}

/// Samples of a data set before preprocessing.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleKind {
    /// Pictures in files, archives, tables or arrays.
    Images(ImageKind),
    /// Arrays of the network's own shape, with their element types.
    Arrays(Vec<String>),
    /// Recordings, with the least and the largest sample rate in Hz.
    Recordings(Option<[u32; 2]>),
    /// Random numbers in place of data.
    Random,
}

/// Properties of images before preprocessing.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageKind {
    /// The sizes of the images, sorted, each once.
    pub sizes: Vec<Size>,
    /// True if all images of the set have one size, not only those of the survey.
    pub one_size: bool,
    /// The stored element type, as in NumPy: `u8`.
    pub element: String,
    /// True if elements are floats.
    pub is_float: bool,
    /// The numbers of stored channels, sorted, each once.
    pub channels: Vec<usize>,
    /// The number of images whose three channels are equal, or that have one channel.
    pub grey: usize,
    /// The number of images in the survey.
    pub count: usize,
    /// The least and the largest stored value.
    pub range: [f32; 2],
}

impl ImageKind {
    fn new(element: String, is_float: bool, one_size: bool) -> Self {
        Self {
            sizes: vec![],
            one_size,
            element,
            is_float,
            channels: vec![],
            grey: 0,
            count: 0,
            range: [f32::INFINITY, f32::NEG_INFINITY],
        }
    }

    /// Returns whether no image of the survey has colours.
    pub fn is_grey(&self) -> bool {
        self.count > 0 && self.grey == self.count
    }

    fn join(&mut self, other: Self) {
        other.sizes.into_iter().for_each(|size| insert(&mut self.sizes, size));
        other.channels.into_iter().for_each(|channels| insert(&mut self.channels, channels));
        self.one_size &= other.one_size && self.sizes.len() == 1;
        self.grey += other.grey;
        self.count += other.count;
        self.range = joined(self.range, other.range);
    }

    fn add(&mut self, picture: &Picture<'_>) {
        self.count += 1;
        insert(&mut self.sizes, picture.size());
        insert(&mut self.channels, picture.channels());
        self.grey += usize::from(picture.is_grey());
        self.range = joined(self.range, picture.range());
    }
}

fn insert<T: Ord>(all: &mut Vec<T>, one: T) {
    if let Err(place) = all.binary_search(&one) {
        all.insert(place, one);
    }
}

/// Returns at most so many of the places, spread evenly.
fn spread(places: &[usize]) -> Vec<usize> {
    let count = places.len().min(MOST_SAMPLES);
    (0..count).map(|i| places[i * places.len() / count]).collect()
}

/// Looks at some of the samples at `places`. Samples that cannot be read are passed over.
///
/// # Errors
/// Samples that do not fit the network.
pub(super) fn survey(parts: &Parts, places: &[usize]) -> Result<Survey> {
    let surveys = parts.by_source(&spread(places));
    let mut surveys = surveys.into_iter().map(|(samples, places)| of_source(samples, &places));
    let first = surveys.next().unwrap_or_else(|| of_source(parts.first(), &[]))?;
    surveys.try_fold(first, |all, one| Ok(all.joined(one?)))
}

fn of_source(samples: &Samples, places: &[usize]) -> Result<Survey> {
    let mut kind = match samples {
        Samples::Images { source, .. } => SampleKind::Images(source.kind()),
        Samples::Rows { rows, .. } => SampleKind::Arrays(rows.elements()),
        Samples::Sounds { recordings, .. } => SampleKind::Recordings(recordings.rates(places)),
        Samples::Stream(stream) => return of_stream(stream, places),
        Samples::Random { .. } => SampleKind::Random,
    };
    if let (Samples::Images { source, group, .. }, SampleKind::Images(kind)) = (samples, &mut kind) {
        let images: Vec<usize> = places.iter().map(|place| place * group.unwrap_or(1)).collect();
        source.visit(&images, &mut |picture| kind.add(picture))?;
    }
    prepared(kind, samples.frames(places)?)
}

/// Looks at samples that a caller yields: at the first ones if others take a walk over all before them.
fn of_stream(stream: &StreamSamples, places: &[usize]) -> Result<Survey> {
    let first: Vec<usize> = (0..places.len()).collect();
    let places = if stream.is_walked() { &first } else { places };
    let mut kind: Option<SampleKind> = None;
    stream.visit(places, &mut |source, places| {
        let one = match source {
            StreamSource::Images(source) => {
                let mut kind = ImageKind { one_size: true, ..source.kind() };
                source.visit(places, &mut |picture| kind.add(picture))?;
                SampleKind::Images(kind)
            }
            StreamSource::Arrays(rows) => SampleKind::Arrays(rows.elements()),
        };
        match (&mut kind, one) {
            (Some(SampleKind::Images(all)), SampleKind::Images(one)) => all.join(one),
            (kind, one) => *kind = Some(one),
        }
        Ok(())
    })?;
    prepared(kind.unwrap_or(SampleKind::Arrays(vec![])), stream.frames(places)?)
}

/// Adds shape and range of samples after preprocessing.
fn prepared(kind: SampleKind, frames: Vec<Result<Frame, Skipped>>) -> Result<Survey> {
    let frames: Vec<_> = frames.into_iter().flatten().collect();
    let range = frames.iter().map(|frame| range(frame.data.iter().copied())).reduce(joined);
    let shape = frames.first().map(|frame| frame.shape.clone()).unwrap_or_default();
    Ok(Survey { kind, shape, range: range.filter(|[low, high]| low <= high) })
}

impl Survey {
    /// Adds the survey of another source.
    fn joined(mut self, other: Self) -> Self {
        match (&mut self.kind, other.kind) {
            (SampleKind::Images(all), SampleKind::Images(one)) => all.join(one),
            (SampleKind::Recordings(all), SampleKind::Recordings(one)) => {
                *all = match (*all, one) {
                    (Some([a, b]), Some([c, d])) => Some([a.min(c), b.max(d)]),
                    (all, one) => all.or(one),
                };
            }
            _ => {}
        }
        self.range = match (self.range, other.range) {
            (Some(all), Some(one)) => Some(joined(all, one)),
            (all, one) => all.or(one),
        };
        self
    }
}

impl ImageSource {
    fn kind(&self) -> ImageKind {
        match self {
            Self::Encoded { .. } => ImageKind::new("u8".to_owned(), false, false),
            Self::Array { array, .. } => {
                ImageKind::new(array.element.name(), array.element.kind == Kind::Float, true)
            }
        }
    }

    /// Visits images as they are stored, without preprocessing; those that cannot be read are passed over.
    fn visit(&self, places: &[usize], visitor: &mut dyn FnMut(&Picture<'_>)) -> Result<()> {
        match self {
            Self::Encoded { pictures, .. } => {
                for encoded in pictures.read(places)?.into_iter().flatten() {
                    if let Ok(decoded) = decode::decode(&encoded.bytes, &encoded.name) {
                        visitor(&Picture::of_decoded(decoded));
                    }
                }
            }
            Self::Array { array, size, channels, layout } => {
                for &place in places {
                    let bytes = array.rows(place..place + 1)?;
                    visitor(&Picture::of_row(array.element, &bytes, *size, (*channels, *layout)));
                }
            }
        }
        Ok(())
    }
}
