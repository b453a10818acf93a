//! The built-in metrics and their meters.

use std::sync::Arc;

use super::{JudgedImage, Measured, Meter, Metric, NamedTensor};
use crate::data::metrics::estimate::pseudo_values;
use crate::data::metrics::image_quality::{mean_squared_error, psnr_db, ssim};
use crate::data::metrics::segmentation::Overlaps;
use crate::data::metrics::{argmax, top_k};
use crate::data::{LabelImages, Layout, Preprocessing};
use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor, show};

/// How the class of an image, or of a pixel, is read from an output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ClassForm {
    /// The place of the largest score.
    Scores,
    /// The value is the index.
    Index,
    /// Class 1 for values above this, else class 0.
    Above(f32),
}

/// Returns the elements of an output as floats.
pub(in super::super) fn floats(tensor: &Tensor) -> std::borrow::Cow<'_, [f32]> {
    match &tensor.data {
        Data::Float(values) => std::borrow::Cow::Borrowed(values),
        Data::Int(values) => values.iter().map(|&v| v as f32).collect(),
    }
}

/// Returns the class that an output has for its only image; `None` for NaN.
pub(super) fn class_of(tensor: &Tensor, form: ClassForm) -> Option<usize> {
    let values = floats(tensor);
    match form {
        ClassForm::Scores => argmax(&values),
        ClassForm::Index => values.first().filter(|v| **v >= 0.0).map(|&v| v as usize),
        ClassForm::Above(limit) => values.first().filter(|v| !v.is_nan()).map(|&v| usize::from(v > limit)),
    }
}

/// Returns the outputs of the reference network.
pub(super) fn reference<'a>(image: &JudgedImage<'a>, name: &str) -> Result<&'a [NamedTensor]> {
    image.reference.ok_or_else(|| needs_reference(name))
}

/// Returns the error of a metric that compares with another network.
pub(super) fn needs_reference(name: &str) -> Error {
    Error::new(format!("the metric {name} needs a reference network"))
        .expected("the original of this network")
        .remedy("set `against` to its file")
}

/// The share of images whose label is among the largest scores, in percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopK {
    pub(super) k: usize,
    pub(super) output: usize,
    pub(super) form: ClassForm,
}

impl Metric for TopK {
    fn name(&self) -> String {
        format!("top-{}", self.k)
    }

    fn unit(&self) -> &str {
        "%"
    }

    fn meter(&self) -> Result<Box<dyn Meter>> {
        Ok(Box::new(Hits { of: *self, hits: vec![] }))
    }
}

struct Hits {
    of: TopK,
    hits: Vec<bool>,
}

impl Meter for Hits {
    fn add(&mut self, image: &JudgedImage) -> Result<()> {
        let TopK { k, output, form } = self.of;
        let label = image.label.ok_or_else(|| Error::new("an image without a label").internal())?;
        let tensor = &image.outputs[output].1;
        self.hits.push(match form {
            ClassForm::Scores => top_k(&floats(tensor), label, k),
            _ => class_of(tensor, form) == Some(label as usize),
        });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured> {
        Ok(Measured::share(&self.hits))
    }
}

/// The share of images with the class of the reference, in percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClassAgreement {
    pub(super) output: usize,
    pub(super) form: ClassForm,
}

impl Metric for ClassAgreement {
    fn name(&self) -> String {
        "agreement".to_owned()
    }

    fn unit(&self) -> &str {
        "%"
    }

    fn meter(&self) -> Result<Box<dyn Meter>> {
        Ok(Box::new(Agreements { of: *self, same: vec![] }))
    }
}

struct Agreements {
    of: ClassAgreement,
    same: Vec<bool>,
}

impl Meter for Agreements {
    fn add(&mut self, image: &JudgedImage) -> Result<()> {
        let ClassAgreement { output, form } = self.of;
        let expected = class_of(&reference(image, "agreement")?[output].1, form);
        self.same.push(expected.is_some() && expected == class_of(&image.outputs[output].1, form));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured> {
        Ok(Measured::share(&self.same))
    }
}

/// The signal-to-noise ratio to the reference's outputs in decibels, the lowest of all outputs.
#[derive(Clone, Debug)]
pub(super) struct Snr {
    /// The outputs that count.
    pub(super) outputs: Vec<usize>,
}

impl Metric for Snr {
    fn name(&self) -> String {
        "SNR".to_owned()
    }

    fn unit(&self) -> &str {
        "dB"
    }

    fn meter(&self) -> Result<Box<dyn Meter>> {
        Ok(Box::new(Powers { outputs: self.outputs.clone(), images: vec![vec![]; self.outputs.len()] }))
    }
}

struct Powers {
    outputs: Vec<usize>,
    /// Signal and noise of each image, by output.
    images: Vec<Vec<[f64; 2]>>,
}

impl Meter for Powers {
    fn add(&mut self, image: &JudgedImage) -> Result<()> {
        let reference = reference(image, "snr")?;
        for (&output, images) in self.outputs.iter().zip(&mut self.images) {
            let (got, expected) = (floats(&image.outputs[output].1), floats(&reference[output].1));
            let signal = expected.iter().map(|&e| f64::from(e).powi(2)).sum();
            images.push([signal, mean_squared_error(&expected, &got) * expected.len() as f64]);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured> {
        let decibels = |[signal, noise]: [f64; 2]| {
            if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() }
        };
        let sum = |images: &[[f64; 2]]| {
            images.iter().fold([0.0; 2], |[s, n], [signal, noise]| [s + signal, n + noise])
        };
        let mut worst: Option<(f64, &[[f64; 2]])> = None;
        for images in &self.images {
            let value = decibels(sum(images));
            if worst.is_none_or(|(lowest, _)| value < lowest || value.is_nan()) {
                worst = Some((value, images));
            }
        }
        let Some((value, images)) = worst else { return Ok(Measured::of_set(f64::NAN)) };
        let [signal, noise] = sum(images);
        let without = |i: usize| decibels([signal - images[i][0], noise - images[i][1]]);
        Ok(Measured { value, images: pseudo_values(value, images.len(), without), whole: None })
    }
}

/// The measure of a [`PictureQuality`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PictureMeasure {
    Psnr,
    Ssim,
}

/// PSNR or SSIM of the first output, to label images or to the reference's first output: the mean over images.
#[derive(Clone, Debug)]
pub(super) struct PictureQuality {
    pub(super) measure: PictureMeasure,
    pub(super) labels: Option<Arc<LabelImages>>,
    pub(super) peak: Option<f64>,
}

impl Metric for PictureQuality {
    fn name(&self) -> String {
        match self.measure {
            PictureMeasure::Psnr => "PSNR".to_owned(),
            PictureMeasure::Ssim => "SSIM".to_owned(),
        }
    }

    fn unit(&self) -> &str {
        match self.measure {
            PictureMeasure::Psnr => "dB",
            PictureMeasure::Ssim => "",
        }
    }

    fn meter(&self) -> Result<Box<dyn Meter>> {
        Ok(Box::new(Pictures { of: self.clone(), pairs: vec![], range: None, peak: self.peak }))
    }
}

struct Pictures {
    of: PictureQuality,
    /// The mean squared error of each image; for SSIM, target, picture and extents of its planes.
    pairs: Vec<Pair>,
    /// The least and the largest value of the targets.
    range: Option<(f32, f32)>,
    peak: Option<f64>,
}

enum Pair {
    Error(f64),
    Planes(Vec<f32>, Vec<f32>, [usize; 3]),
}

impl Meter for Pictures {
    fn add(&mut self, image: &JudgedImage) -> Result<()> {
        let (name, got) = &image.outputs[0];
        let target = match &self.of.labels {
            Some(labels) => {
                self.peak = self.peak.or_else(|| labels.peak(image.recipe));
                labels.picture(image.place, image.recipe, &got.shape[1..])?
            }
            None => floats(&reference(image, "psnr")?[0].1).into_owned(),
        };
        let got_values = floats(got);
        for &value in &target {
            let (least, most) = self.range.unwrap_or((value, value));
            self.range = Some((least.min(value), most.max(value)));
        }
        self.pairs.push(match self.of.measure {
            PictureMeasure::Psnr => Pair::Error(mean_squared_error(&target, &got_values)),
            PictureMeasure::Ssim => {
                let extents = extents(&got.shape, image.recipe).ok_or_else(|| {
                    Error::new(format!("the output \"{name}\" is no picture"))
                        .expected("channels, height and width")
                        .got(show(&got.shape))
                        .remedy("set `metric` to psnr")
                })?;
                let planes = |values: &[f32]| planes(values, extents, image.recipe.layout);
                Pair::Planes(planes(&target), planes(&got_values), extents)
            }
        });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured> {
        let range = self.range.map_or(1.0, |(least, most)| f64::from(most) - f64::from(least));
        let peak = self.peak.unwrap_or(if range > 0.0 { range } else { 1.0 });
        let value = |pair: &Pair| match pair {
            Pair::Error(error) => psnr_db(*error, peak),
            Pair::Planes(target, got, extents) => ssim(target, got, *extents, peak),
        };
        Ok(Measured::mean(self.pairs.iter().map(value).collect()))
    }
}

/// Returns the channels, height and width of one image's output; `None` if it is no picture.
pub(super) fn extents(shape: &[usize], recipe: &Preprocessing) -> Option<[usize; 3]> {
    let found = match (recipe.layout, shape) {
        (Layout::Nchw, &[_, channels, height, width]) | (Layout::Nhwc, &[_, height, width, channels]) => {
            [channels, height, width]
        }
        (_, &[_, height, width]) => [1, height, width],
        _ => return None,
    };
    (!found.contains(&0)).then_some(found)
}

/// Returns the values plane by plane.
fn planes(values: &[f32], [channels, height, width]: [usize; 3], layout: Layout) -> Vec<f32> {
    match layout {
        Layout::Nhwc if channels > 1 => {
            let plane = |c: usize| values.iter().skip(c).step_by(channels);
            (0..channels).flat_map(plane).copied().collect()
        }
        _ => values[..channels * height * width].to_vec(),
    }
}

/// The mean intersection over union with masks or with the reference's classes, in percent.
#[derive(Clone, Debug)]
pub(super) struct MeanIou {
    pub(super) output: usize,
    pub(super) form: ClassForm,
    pub(super) labels: Option<Arc<LabelImages>>,
}

impl MeanIou {
    /// Returns the class of every pixel of one image's output, with height and width.
    fn classes(&self, tensor: &Tensor, recipe: &Preprocessing) -> Result<(Vec<Option<u32>>, [usize; 2])> {
        let [channels, height, width] = extents(&tensor.shape, recipe).ok_or_else(|| {
            Error::new("an output that is no map any more").got(show(&tensor.shape)).internal()
        })?;
        let values = floats(tensor);
        let classes = match self.form {
            ClassForm::Index => values.iter().map(|&v| (v >= 0.0).then_some(v as u32)).collect(),
            ClassForm::Above(limit) => {
                values.iter().map(|&v| (!v.is_nan()).then_some(u32::from(v > limit))).collect()
            }
            ClassForm::Scores => {
                let (step, next) = match recipe.layout {
                    Layout::Nchw => (height * width, 1),
                    Layout::Nhwc => (1, channels),
                };
                let mut scores = vec![0.0; channels];
                let pixel = |at: usize| {
                    scores
                        .iter_mut()
                        .enumerate()
                        .for_each(|(c, score)| *score = values[c * step + at * next]);
                    argmax(&scores).map(|class| class as u32)
                };
                (0..height * width).map(pixel).collect()
            }
        };
        Ok((classes, [height, width]))
    }
}

impl Metric for MeanIou {
    fn name(&self) -> String {
        "mIoU".to_owned()
    }

    fn unit(&self) -> &str {
        "%"
    }

    fn meter(&self) -> Result<Box<dyn Meter>> {
        Ok(Box::new(Maps { of: self.clone(), overlaps: Overlaps::default() }))
    }
}

struct Maps {
    of: MeanIou,
    overlaps: Overlaps,
}

impl Meter for Maps {
    fn add(&mut self, image: &JudgedImage) -> Result<()> {
        let tensor = &image.outputs[self.of.output].1;
        let (predicted, size) = self.of.classes(tensor, image.recipe)?;
        let labels = match &self.of.labels {
            Some(labels) => labels.classes(image.place, image.recipe, size)?,
            None => {
                let reference = &reference(image, "miou")?[self.of.output].1;
                let ignored = crate::data::metrics::segmentation::IGNORED;
                let (classes, _) = self.of.classes(reference, image.recipe)?;
                classes.into_iter().map(|class| class.unwrap_or(ignored)).collect()
            }
        };
        self.overlaps.add(&predicted, &labels);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured> {
        Ok(self.overlaps.mean_iou())
    }
}
