//! Samples of a data set, prepared for the network: images, recordings, arrays, or noise.

use std::path::PathBuf;

use super::encoded::Skipped;
use super::noise::Noise;
use super::picture::{Frame, Preprocessor};
use super::pictures::Pictures;
use super::recipe::Preprocessing;
use super::rows::Rows;
use super::source::ImageSource;
use super::stream::StreamSamples;
use super::wav::Recordings;
use crate::error::Result;
use crate::tensor::SampleShape;

/// The samples of a data set with their preparation.
#[derive(Debug)]
pub(super) enum Samples {
    /// Images that are resized, cropped and normalized.
    Images {
        source: ImageSource,
        preprocessor: Preprocessor,
        /// The images of a sample, if the network takes several at once.
        group: Option<usize>,
    },
    /// Arrays that are at most normalized.
    Rows { rows: Rows, recipe: Preprocessing },
    /// Recordings that are mixed, resampled, and cropped or padded.
    Sounds { recordings: Recordings, recipe: Preprocessing },
    /// Images or arrays that a caller yields.
    Stream(StreamSamples),
    /// Noise in place of data.
    Random { noise: Noise, recipe: Preprocessing },
}

impl Samples {
    /// Returns the recipe of every sample.
    pub(super) fn recipe(&self) -> &Preprocessing {
        match self {
            Self::Images { preprocessor, .. } => &preprocessor.recipe,
            Self::Stream(samples) => samples.recipe(),
            Self::Rows { recipe, .. } | Self::Sounds { recipe, .. } | Self::Random { recipe, .. } => recipe,
        }
    }

    /// Returns the number of visited pictures that their EXIF orientation turned.
    pub(super) fn turned(&self) -> usize {
        match self {
            Self::Images { source, .. } => source.turned(),
            Self::Rows { .. } | Self::Sounds { .. } | Self::Stream(_) | Self::Random { .. } => 0,
        }
    }

    /// Returns the file of a sample, or of its first image, if each image is a file.
    pub(super) fn file(&self, place: usize) -> Option<PathBuf> {
        match self {
            Self::Images {
                source: ImageSource::Encoded { pictures: Pictures::Files(files), .. },
                group,
                ..
            } => files.get(place * group.unwrap_or(1)).cloned(),
            Self::Sounds { recordings, .. } => recordings.files().get(place).cloned(),
            _ => None,
        }
    }

    /// Returns the noun for a sample and its article, for errors.
    pub(super) fn noun(&self) -> (&'static str, &'static str) {
        if matches!(self, Self::Sounds { .. }) { ("a", "recording") } else { ("an", "image") }
    }

    /// Reads and prepares the samples at some places.
    pub(super) fn frames(&self, places: &[usize]) -> Result<Vec<Result<Frame, Skipped>>> {
        match self {
            Self::Images { source, preprocessor, group: None } => source.frames(places, preprocessor),
            Self::Images { source, preprocessor, group: Some(group) } => {
                let all: Vec<usize> =
                    places.iter().flat_map(|&place| place * group..(place + 1) * group).collect();
                let mut frames = source.frames(&all, preprocessor)?.into_iter();
                Ok(places.iter().map(|_| clip(frames.by_ref().take(*group).collect())).collect())
            }
            Self::Rows { rows, recipe } => Ok(rows.frames(places, recipe)?.into_iter().map(Ok).collect()),
            Self::Sounds { recordings, recipe } => recordings.frames(places, recipe),
            Self::Stream(samples) => samples.frames(places),
            Self::Random { noise, .. } => Ok(noise.frames(places).into_iter().map(Ok).collect()),
        }
    }
}

/// Joins the frames of a clip; one that is skipped skips the clip.
fn clip(frames: Vec<Result<Frame, Skipped>>) -> Result<Frame, Skipped> {
    let group = frames.len();
    let mut clip = Frame { shape: SampleShape::default(), data: vec![] };
    for frame in frames {
        let frame = frame?;
        clip.shape =
            SampleShape(frame.shape.0.iter().map(|shape| [&[group], shape.as_slice()].concat()).collect());
        clip.data.extend(frame.data);
    }
    Ok(clip)
}
