//! Samples of several sources as one data set, in their order.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::encoded::Skipped;
use super::labels::Labels;
use super::picture::Frame;
use super::recipe::Preprocessing;
use super::samples::Samples;
use crate::error::{Error, Result};

/// The samples of one source.
#[derive(Debug)]
pub(super) struct Part {
    /// Path of the source, if it is not in memory.
    pub(super) path: Option<PathBuf>,
    pub(super) samples: Samples,
    pub(super) len: usize,
    /// Labels before any offset, if they are known.
    pub(super) labels: Option<Labels>,
}

impl Part {
    fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "images in memory".to_owned(), |path| path.display().to_string())
    }
}

/// The samples of all sources, at least one.
#[derive(Debug)]
pub(super) struct Parts {
    /// The sources with the places of their samples.
    parts: Vec<(Range<usize>, Part)>,
}

impl Parts {
    /// Joins sources, which have all labels or none, and one preprocessing.
    ///
    /// # Errors
    /// Sources that do not belong together.
    pub(super) fn join(mut parts: Vec<Part>) -> Result<(Self, Option<Labels>)> {
        if let [first, others @ ..] = parts.as_slice()
            && let Some(other) = others.iter().find(|other| other.samples.recipe() != first.samples.recipe())
        {
            let differences = first.samples.recipe().differences(other.samples.recipe());
            return Err(Error::new("the data sets need different preprocessing")
                .expected(format!("that of {}", first.name()))
                .got(format!("another {} in {}", differences.join(" and "), other.name()))
                .remedy("give data of one kind: all pictures, all bytes, all floats or all recordings"));
        }
        let labelled = parts.iter().find(|part| part.labels.is_some());
        let without = parts.iter().find(|part| part.labels.is_none());
        if let (Some(labelled), Some(without)) = (labelled, without) {
            return Err(Error::new("some of the data sets have labels, and others have none")
                .expected(format!("labels for all, as {} has", labelled.name()))
                .got(format!("none in {}", without.name()))
                .remedy("add the missing labels, or give only data sets with labels"));
        }
        let labels: Vec<Labels> = parts.iter_mut().filter_map(|part| part.labels.take()).collect();
        let labels = (!labels.is_empty()).then(|| Labels::join(labels)).transpose()?;
        let mut end = 0;
        let place = |part: Part| {
            let start = end;
            end += part.len;
            (start..end, part)
        };
        Ok((Self { parts: parts.into_iter().map(place).collect() }, labels))
    }

    /// Returns the number of samples.
    pub(super) fn len(&self) -> usize {
        self.parts.last().map_or(0, |(places, _)| places.end)
    }

    /// Returns the samples of the first source, whose recipe and kind all share.
    pub(super) fn first(&self) -> &Samples {
        &self.parts[0].1.samples
    }

    /// Returns the recipe of every sample.
    pub(super) fn recipe(&self) -> &Preprocessing {
        self.first().recipe()
    }

    /// Returns the number of visited pictures that their EXIF orientation turned.
    pub(super) fn turned(&self) -> usize {
        self.parts.iter().map(|(_, part)| part.samples.turned()).sum()
    }

    /// Returns the path of the source, if there is only one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self.parts.as_slice() {
            [(_, only)] => only.path.as_deref(),
            _ => None,
        }
    }

    fn of(&self, place: usize) -> Option<(usize, &Part)> {
        let (places, part) = self.parts.iter().find(|(places, _)| places.contains(&place))?;
        Some((place - places.start, part))
    }

    /// Returns the file of a sample, or of its first image, if each image is a file.
    pub(super) fn file(&self, place: usize) -> Option<PathBuf> {
        let (place, part) = self.of(place)?;
        part.samples.file(place)
    }

    /// Returns the file of a sample, or else the path of its source.
    pub(super) fn origin(&self, place: usize) -> PathBuf {
        self.file(place).or_else(|| self.of(place)?.1.path.clone()).unwrap_or_default()
    }

    /// Returns the samples at some places by their sources, with the places within these.
    pub(super) fn by_source(&self, places: &[usize]) -> Vec<(&Samples, Vec<usize>)> {
        let own = |range: &Range<usize>| -> Vec<usize> {
            places.iter().filter(|&place| range.contains(place)).map(|place| place - range.start).collect()
        };
        let all = self.parts.iter().map(|(range, part)| (&part.samples, own(range)));
        all.filter(|(_, places)| !places.is_empty()).collect()
    }

    /// Reads and prepares the samples at some places.
    pub(super) fn frames(&self, places: &[usize]) -> Result<Vec<Result<Frame, Skipped>>> {
        if let [(_, only)] = self.parts.as_slice() {
            return only.samples.frames(places);
        }
        let mut frames: Vec<Option<Result<Frame, Skipped>>> = places.iter().map(|_| None).collect();
        for (range, part) in &self.parts {
            let at: Vec<usize> = (0..places.len()).filter(|&at| range.contains(&places[at])).collect();
            if at.is_empty() {
                continue;
            }
            let own: Vec<usize> = at.iter().map(|&at| places[at] - range.start).collect();
            let named = |e: Error| part.path.iter().fold(e, Error::file);
            for (at, frame) in at.into_iter().zip(part.samples.frames(&own).map_err(named)?) {
                frames[at] = Some(frame);
            }
        }
        Ok(frames.into_iter().flatten().collect())
    }
}
