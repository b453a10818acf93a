//! The options that name images and their preprocessing.

use std::path::{Path, PathBuf};

use super::input_args::InputArgs;
use crate::error::{Error, Result};
use crate::pipeline::{
    Calibration, DataOptions, Dataset, Graph, Model, Origin, Repair, open_calibration, open_data, open_test,
};

/// Images and their preprocessing.
#[derive(Debug, clap::Args)]
pub(super) struct DataArgs {
    #[command(flatten)]
    pub(super) inputs: InputArgs,
    /// Images, arrays or recordings: a folder (flat, or one subfolder a class), .npy, .npz, idx, .wav, or random:N.
    #[arg(long, value_name = "DATA")]
    pub(super) data: Option<String>,
    /// Preprocessing by name: imagenet, cifar10, mnist, unit or raw.
    #[arg(long)]
    preset: Option<String>,
    /// Resize: S for the shorter side, HxW for both.
    #[arg(long, value_name = "S")]
    resize: Option<String>,
    /// Crop of the center: S or HxW.
    #[arg(long, value_name = "S")]
    crop: Option<String>,
    /// Mean of each channel, subtracted after scaling.
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    mean: Option<Vec<f32>>,
    /// Standard deviation by which each channel is divided.
    #[arg(long, value_delimiter = ',')]
    std: Option<Vec<f32>>,
    /// Layout of the network's input: nchw or nhwc.
    #[arg(long)]
    layout: Option<String>,
    /// Order of the channels: rgb or bgr.
    #[arg(long)]
    channels: Option<String>,
    /// Divisor of the values 0..255.
    #[arg(long)]
    scale: Option<f32>,
    /// Sample rate to resample recordings to.
    #[arg(long, value_name = "HZ")]
    rate: Option<u32>,
    /// File of class names, one a line, in the order of class indices.
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Offset added to every label.
    #[arg(long, value_name = "N", default_value_t = 0)]
    label_offset: i64,
    /// Fail on an image that cannot be decoded, instead of skipping it.
    #[arg(long)]
    strict: bool,
    /// Largest number of images.
    #[arg(long, value_name = "N", requires = "data")]
    pub(super) images: Option<usize>,
    /// Take the images from all over the set, chosen by this seed, instead of the first ones.
    #[arg(long, value_name = "SEED", requires = "images")]
    sample: Option<u64>,
    /// Part K of N of the images.
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// Let random inputs decide which channels are removed.
    #[arg(long)]
    allow_random: bool,
}

fn parsed<T: std::str::FromStr<Err = Error>>(text: Option<&String>) -> Result<Option<T>> {
    text.map(|t| t.parse()).transpose()
}

impl DataArgs {
    /// Loads a model, whose free sizes the data may determine.
    pub(super) fn load(&self, path: &Path) -> Result<Model> {
        let options = self.options(None)?;
        self.inputs.load(path, self.data.as_deref().map(|spec| (spec, &options)))
    }

    /// Opens the data for a network's input.
    pub(super) fn open(&self, graph: &Graph) -> Result<Dataset> {
        open_data(graph, self.spec()?, &self.options(None)?)
    }

    /// Opens data that decide which channels are removed, visited in an order made from a seed if there is one.
    pub(super) fn open_real(&self, graph: &Graph, order: Option<u64>) -> Result<Dataset> {
        open_calibration(graph, self.spec()?, &self.options(order)?, self.allow_random)
    }

    fn spec(&self) -> Result<&str> {
        self.data.as_deref().ok_or_else(|| {
            Error::new("no data were given")
                .expected("`data`: a folder, .npy, .npz, idx, .wav or random:N")
                .remedy("set `data`")
        })
    }

    fn options(&self, order: Option<u64>) -> Result<DataOptions> {
        Ok(DataOptions {
            preset: parsed(self.preset.as_ref())?,
            resize: parsed(self.resize.as_ref())?,
            crop: parsed(self.crop.as_ref())?,
            mean: self.mean.clone(),
            std: self.std.clone(),
            layout: parsed(self.layout.as_ref())?,
            channels: parsed(self.channels.as_ref())?,
            scale: self.scale,
            rate: self.rate,
            classes: self.classes.clone(),
            label_offset: self.label_offset,
            strict: self.strict,
            images: self.images,
            sample: self.sample,
            shard: parsed(self.shard.as_ref())?,
            order,
        })
    }

    /// Returns the class names of the class list in the order of its lines, for reports; none without a list.
    pub(super) fn class_names(&self) -> Result<Vec<String>> {
        let Some(path) = &self.classes else { return Ok(vec![]) };
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the class names", path, e))?;
        Ok(text.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// Returns the files and folders that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.data.iter().map(PathBuf::from).chain(self.classes.clone())
    }

    /// Returns the source of the images, for profiles.
    pub(super) fn origin(&self) -> Result<Origin> {
        Ok(Origin::new(self.data.as_deref().unwrap_or_default(), &self.options(None)?))
    }

    /// Opens calibration images that judge, too; `None` without data.
    pub(super) fn calibration(&self, graph: &Graph) -> Result<Option<Calibration>> {
        let Some(_) = &self.data else { return Ok(None) };
        Ok(Some(Calibration::new(self.open_real(graph, None)?, self.origin()?)))
    }
}

/// The images that judge.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct JudgeArgs {
    /// Share of the images that is held out to judge the result: 0.2, but 0 (all images judge) if nothing is repaired
    /// or there are fewer than five.
    #[arg(long, value_name = "R", requires = "data")]
    held_out: Option<f64>,
    /// Other images that judge, all of them, with the preprocessing of --data.
    #[arg(long, value_name = "DATA", requires = "data", conflicts_with = "held_out")]
    test: Option<String>,
}

impl JudgeArgs {
    /// Returns whether the images that judge were chosen.
    pub(super) fn is_given(&self) -> bool {
        self.held_out.is_some() || self.test.is_some()
    }

    /// Returns the other images that judge.
    pub(super) fn test(&self) -> Option<&str> {
        self.test.as_deref()
    }

    /// Opens calibration images, and those that judge; `None` without data.
    pub(super) fn open(
        &self,
        args: &DataArgs,
        graph: &Graph,
        repair: Option<Repair>,
    ) -> Result<Option<Calibration>> {
        let Some(_) = &args.data else { return Ok(None) };
        let (data, origin) = (args.open_real(graph, None)?, args.origin()?);
        if let Some(spec) = &self.test {
            let all = DataOptions { images: None, sample: None, shard: None, ..args.options(None)? };
            let test = open_test(graph, spec, all, &data)?;
            return Ok(Some(Calibration::with_test(data, origin, test)));
        }
        Calibration::hold_out(data, origin, self.held_out, repair).map(Some)
    }
}
