//! Samples of a data set as the network takes them: images by a recipe, or arrays as they are.

use super::encoded::Skipped;
use super::picture::{Frame, Preprocessor};
use super::recipe::Preprocessing;
use super::source::ImageSource;
use crate::error::Result;
use crate::tensor::SampleShape;

/// The preparation of a sample for the network.
#[derive(Debug)]
pub(super) enum Prepared {
    /// Images are resized, cropped and normalized.
    Images(Preprocessor),
    /// Arrays are at most normalized.
    AsTheyAre(Preprocessing),
}

impl Prepared {
    /// Returns the recipe of every sample.
    pub(super) fn recipe(&self) -> &Preprocessing {
        match self {
            Self::Images(preprocessor) => &preprocessor.recipe,
            Self::AsTheyAre(recipe) => recipe,
        }
    }

    /// Reads samples; each is one frame of the source, or `group` consecutive ones as frames of a clip.
    pub(super) fn samples(
        &self,
        source: &ImageSource,
        places: &[usize],
        group: Option<usize>,
    ) -> Result<Vec<Result<Frame, Skipped>>> {
        let Some(group) = group else { return source.frames(places, self) };
        let all: Vec<usize> = places.iter().flat_map(|&place| place * group..(place + 1) * group).collect();
        let mut frames = source.frames(&all, self)?.into_iter();
        Ok(places.iter().map(|_| clip(frames.by_ref().take(group).collect(), group)).collect())
    }
}

/// Joins the frames of a clip; one that is skipped skips the clip.
fn clip(frames: Vec<Result<Frame, Skipped>>, group: usize) -> Result<Frame, Skipped> {
    let mut clip = Frame { shape: SampleShape::default(), data: vec![] };
    for frame in frames {
        let frame = frame?;
        clip.shape =
            SampleShape(frame.shape.0.iter().map(|shape| [&[group], shape.as_slice()].concat()).collect());
        clip.data.extend(frame.data);
    }
    Ok(clip)
}
