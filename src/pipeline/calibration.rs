//! Calibration images, and the images that judge the result.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::data::{Batch, DataOptions, DataSources, Dataset};
use crate::error::{Error, Result};
use crate::observer::{Observer, Stage, advance, staged};
use crate::repair::{Images, Repair};
use crate::tensor::SampleShape;

/// The share of the images that judge the result, unless another is asked for.
const USUAL_SHARE: f64 = 0.2;
/// The least number of images of which some are held out without being asked.
const LEAST_TO_SPLIT: usize = 5;
/// Calibration images on which a pruned network is proved.
const PROOF_IMAGES: usize = 4;

/// The source of a data set, as recorded in profiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The data set and the selection from it.
    pub data: String,
    /// The shard of the data set, `K/N`.
    pub shard: Option<String>,
}

impl Origin {
    /// Describes the selection that `options` make from a data set.
    pub fn new(sources: impl Into<DataSources>, options: &DataOptions) -> Self {
        let sources = sources.into();
        let data = match (options.sample, options.images) {
            (Some(seed), Some(count)) => format!("{sources}, {count} images by seed {seed}"),
            _ => sources.to_string(),
        };
        Self { data, shard: options.shard.map(|shard| format!("{}/{}", shard.index, shard.count)) }
    }
}

/// The images that decide and calibrate, and those that judge the result.
#[derive(Debug)]
pub struct Calibration {
    /// The images that gather statistics and refit layers.
    pub fit: Dataset,
    /// The images that measure accuracy and agreement.
    pub judge: Dataset,
    /// The source of the calibration images.
    pub origin: Origin,
    /// The relation of both sets.
    pub judged_on: JudgedOn,
    decoded: OnceCell<Decoded>,
}

/// The relation of the images that judge to those that calibrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JudgedOn {
    /// The calibration images themselves.
    Calibration,
    /// A held-out share of one data set.
    HeldOut,
    /// A separate test set.
    Test,
}

/// Calibration images in memory, with their places in the set and their labels.
#[derive(Debug)]
struct Decoded {
    images: Images,
    places: Vec<usize>,
    labels: Option<Vec<u32>>,
}

impl Calibration {
    /// Calibrates and judges on the same images.
    pub fn new(data: Dataset, origin: Origin) -> Self {
        let judge = data.clone();
        Self { fit: data, judge, origin, judged_on: JudgedOn::Calibration, decoded: OnceCell::new() }
    }

    /// Judges on a separate test set.
    pub fn with_test(data: Dataset, origin: Origin, test: Dataset) -> Self {
        Self { judge: test, judged_on: JudgedOn::Test, ..Self::new(data, origin) }
    }

    /// Holds a share of the images out, evenly spread over the set, to judge the result.
    ///
    /// `None` holds out a fifth if the network is going to be repaired (as [`super::prune`] decides from `repair`) and
    /// there are five images or more, else nothing. A share of 0 holds out nothing.
    ///
    /// # Errors
    /// A share that leaves either part without images.
    pub fn hold_out(
        data: Dataset,
        origin: Origin,
        share: Option<f64>,
        repair: Option<Repair>,
    ) -> Result<Self> {
        let repaired = will_repair(repair, &data);
        let usual = if !repaired || data.len() < LEAST_TO_SPLIT { 0.0 } else { USUAL_SHARE };
        let share = share.unwrap_or(usual);
        if share == 0.0 {
            return Ok(Self::new(data, origin));
        }
        let parts = data.split(share).filter(|_| share > 0.0 && share < 1.0);
        let (fit, judge) = parts.ok_or_else(|| {
            Error::new("the images cannot be split into those that calibrate and those that judge")
                .expected("`held_out` with a share between 0 and 1 that leaves both of them some images")
                .got(format!("{share} of {} images", data.len()))
                .remedy("give more images, or set `held_out` to 0 to judge by the images that calibrate")
        })?;
        let data = format!("{}, without {} images kept apart", origin.data, judge.len());
        Ok(Self { judge, judged_on: JudgedOn::HeldOut, ..Self::new(fit, Origin { data, ..origin }) })
    }

    /// Returns all calibration images in memory, decoded at the first call.
    ///
    /// # Errors
    /// Images that cannot be read, or of several sizes.
    pub fn images(&self, observer: &mut dyn Observer) -> Result<&Images> {
        if let Some(decoded) = self.decoded.get() {
            return Ok(&decoded.images);
        }
        let decoded =
            staged(observer, Stage::ReadingImages, self.fit.len(), |observer| self.decode(observer))?;
        Ok(&self.decoded.get_or_init(|| decoded).images)
    }

    /// Returns the labels of all calibration images, if there are any and the images were decoded.
    pub(super) fn labels(&self) -> Option<&[u32]> {
        self.decoded.get()?.labels.as_deref()
    }

    fn decode(&self, observer: &mut dyn Observer) -> Result<Decoded> {
        const AT_ONCE: usize = 64;
        let mut data = Vec::new();
        let (mut places, mut labels) = (Vec::new(), self.fit.labels().map(|_| Vec::new()));
        let mut shape: Option<SampleShape> = None;
        for batch in self.fit.batches(AT_ONCE) {
            let batch = batch?;
            let first = shape.get_or_insert_with(|| batch.sample.clone());
            if *first != batch.sample {
                return Err(self.fit.blame(
                    Error::new("calibration images of several sizes")
                        .expected(first.to_string())
                        .got(batch.sample.to_string())
                        .remedy(if self.fit.is_sound() {
                            "fix the length by the input's `size`, as in x=1x1x16000"
                        } else {
                            "bring them to one size with `resize` and `crop`"
                        }),
                ));
            }
            data.extend_from_slice(&batch.data);
            places.extend_from_slice(&batch.places);
            if let (Some(all), Some(labels)) = (&mut labels, &batch.labels) {
                all.extend_from_slice(labels);
            }
            advance(observer, places.len())?;
        }
        let images = Images { data: Arc::new(data), sample: shape.unwrap_or_default(), count: places.len() };
        Ok(Decoded { images, places, labels })
    }

    /// Returns the batches of a pass that begins at place `start`: from memory if the images were decoded.
    pub(super) fn batches_from(
        &self,
        start: usize,
        size: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + '_> {
        match self.decoded.get() {
            Some(decoded) => Box::new(decoded.batches(start, size, self.fit.len()).map(Ok)),
            None => Box::new(self.fit.batches_from(start, size)),
        }
    }

    /// Returns the shape of the first sample.
    pub(super) fn sample(&self) -> Result<SampleShape> {
        match self.decoded.get() {
            Some(decoded) => Ok(decoded.images.sample.clone()),
            None => self.fit.sample(),
        }
    }

    /// Returns the first images, on which a pruned network is proved.
    pub(super) fn proof_images(&self) -> Result<Option<Batch>> {
        self.batches_from(0, PROOF_IMAGES).next().transpose()
    }
}

/// Returns whether a network is repaired on these images.
pub(super) fn will_repair(asked: Option<Repair>, data: &Dataset) -> bool {
    match asked {
        Some(how) => how != Repair::None,
        None => !data.is_random(),
    }
}

impl Decoded {
    /// Returns the batches that [`Dataset::batches_from`] yields: `size` places each, without unreadable images.
    fn batches(&self, start: usize, size: usize, len: usize) -> impl Iterator<Item = Batch> + '_ {
        let size = size.max(1);
        (start..len).step_by(size).filter_map(move |first| {
            let end = len.min(first.saturating_add(size));
            let from = self.places.partition_point(|&place| place < first);
            let to = self.places.partition_point(|&place| place < end);
            (from < to).then(|| self.batch(from..to, end))
        })
    }

    fn batch(&self, images: std::ops::Range<usize>, next: usize) -> Batch {
        let elements = self.images.sample.elements();
        Batch {
            next,
            count: images.len(),
            sample: self.images.sample.clone(),
            data: self.images.data[images.start * elements..images.end * elements].to_vec(),
            labels: self.labels.as_ref().map(|labels| labels[images.clone()].to_vec()),
            places: self.places[images].to_vec(),
        }
    }
}
