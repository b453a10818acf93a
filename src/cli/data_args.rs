//! The options that name images and their preprocessing.

use std::path::{Path, PathBuf};

use super::input_args::InputArgs;
use super::job_array;
use crate::error::{Error, Result};
use crate::pipeline::{
    Calibration, DataOptions, DataSources, Dataset, Device, Graph, Model, Observer, Origin, PresetTrial,
    Repair, open_calibration, open_data, open_test, try_presets,
};

/// Images and their preprocessing.
#[derive(Debug, clap::Args)]
pub(super) struct DataArgs {
    #[command(flatten)]
    pub(super) inputs: InputArgs,
    /// Images, arrays or recordings to run the network on.
    ///
    /// May be given several times; all of them form one data set.
    ///
    /// A folder of images (flat, or with one subfolder for each class), a pattern ('images/*.jpg'), a list of files
    /// (.txt or .csv), a .npy or .npz file (FILE.npz:test for a split), MNIST-style idx files, WebDataset archives
    /// (.tar), Hugging Face tables (.parquet), .wav files, or random:N for N random inputs.
    #[arg(long, value_name = "DATA")]
    data: Vec<String>,
    /// Preprocessing: imagenet, cifar10, mnist, unit or raw.
    ///
    /// unit divides pixels by 255, raw leaves them as they are, the others also normalize. Further options override
    /// single values of a preset.
    #[arg(long)]
    preset: Option<String>,
    /// Resize images: S for the shorter side, HxW for both.
    #[arg(long, value_name = "S")]
    resize: Option<String>,
    /// Crop the center of images to SxS or HxW pixels.
    #[arg(long, value_name = "S")]
    crop: Option<String>,
    /// Resize without distortion and pad with this gray value, such as YOLO's 114.
    ///
    /// Images are padded to the size of --resize, or else to the network's input. The value is from 0 to 255.
    #[arg(long, value_name = "VALUE")]
    letterbox: Option<u8>,
    /// Mean of each channel: (pixel / scale - mean) / std.
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    mean: Option<Vec<f32>>,
    /// Divisor of each channel after the mean, as PyTorch's std.
    #[arg(long, value_delimiter = ',')]
    std: Option<Vec<f32>>,
    /// Layout of the network's input: nchw or nhwc.
    #[arg(long)]
    layout: Option<String>,
    /// Order of the color channels: rgb or bgr.
    #[arg(long)]
    channels: Option<String>,
    /// Divisor of pixel values: (pixel / scale - mean) / std.
    ///
    /// Default: that of the preset, else 255; but 1 for arrays of the network's own shape.
    #[arg(long)]
    scale: Option<f32>,
    /// Sample rate in Hz to which recordings are resampled.
    #[arg(long, value_name = "HZ")]
    rate: Option<u32>,
    /// File of class names, one on each line.
    ///
    /// The line number of a name, counted from 0, is its class index. Class folders and labels with names are numbered
    /// by this file.
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Number added to every label.
    ///
    /// Use 1 if class 0 of the network is the background and labels start with the first real class.
    #[arg(long, value_name = "N", default_value_t = 0)]
    label_offset: i64,
    /// Fail on a file that cannot be decoded.
    ///
    /// By default, files that cannot be decoded are skipped and counted.
    #[arg(long)]
    strict: bool,
    /// Use only the first N images.
    #[arg(long, value_name = "N", requires = "data")]
    pub(super) images: Option<usize>,
    /// Choose the N images of --images at random, with this seed.
    #[arg(long, value_name = "SEED", requires = "images")]
    sample: Option<u64>,
    /// Use only part K of N equal parts of the images; auto: K and N of a cluster job.
    ///
    /// "auto" takes K and N from a Slurm job array. "auto/N" takes K from the index of a pod in a Kubernetes Indexed
    /// Job, or of a task in a Slurm array from 0 to N-1 (docs/cluster.md).
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// Accept random inputs as calibration data.
    ///
    /// Random inputs do not show which channels matter for real images.
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
        let sources = self.sources();
        self.inputs.load(path, sources.as_ref().map(|sources| (sources, &options)))
    }

    /// Opens the data for a network's input.
    pub(super) fn open(&self, graph: &Graph) -> Result<Dataset> {
        open_data(graph, self.given()?, &self.options(None)?)
    }

    /// Opens data that decide which channels are removed, visited in an order made from a seed if there is one.
    pub(super) fn open_real(&self, graph: &Graph, order: Option<u64>) -> Result<Dataset> {
        open_calibration(graph, self.given()?, &self.options(order)?, self.allow_random)
    }

    /// Ranks likely recipes for a network on the data.
    pub(super) fn try_presets(
        &self,
        graph: &Graph,
        device: &Device,
        batch: Option<usize>,
        observer: &mut dyn Observer,
    ) -> Result<PresetTrial> {
        let (sources, options) = (self.given()?, self.options(None)?);
        let open = |options: &DataOptions| open_data(graph, sources.clone(), options);
        try_presets(graph, device, (&open, &options), batch, observer)
    }

    /// Returns the sources of the data, if there are any.
    pub(super) fn sources(&self) -> Option<DataSources> {
        (!self.data.is_empty()).then(|| DataSources::from(self.data.as_slice()))
    }

    fn given(&self) -> Result<DataSources> {
        self.sources().ok_or_else(|| {
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
            letterbox: self.letterbox,
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
            shard: parsed(self.shard()?.as_ref())?,
            order,
        })
    }

    /// Returns the shard as K/N.
    fn shard(&self) -> Result<Option<String>> {
        let variable = |name: &str| std::env::var(name).ok();
        self.shard.as_ref().map(|text| job_array::resolved(text, &variable)).transpose()
    }

    /// Returns the class names of the class list in the order of its lines, for reports; none without a list, so that
    /// the data's count.
    pub(super) fn class_names(&self) -> Result<Vec<String>> {
        let Some(path) = &self.classes else { return Ok(vec![]) };
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the class names", path, e))?;
        Ok(text.trim_start_matches('\u{feff}').lines().map(|line| line.trim().to_owned()).collect())
    }

    /// Returns the files and folders that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        let sources: Vec<PathBuf> = self.sources().iter().flat_map(DataSources::files).collect();
        sources.into_iter().chain(self.classes.clone())
    }

    /// Returns the source of the images, for profiles.
    pub(super) fn origin(&self) -> Result<Origin> {
        Ok(Origin::new(self.sources().unwrap_or_default(), &self.options(None)?))
    }

    /// Opens calibration images that judge, too; `None` without data.
    pub(super) fn calibration(&self, graph: &Graph) -> Result<Option<Calibration>> {
        if self.data.is_empty() {
            return Ok(None);
        }
        Ok(Some(Calibration::new(self.open_real(graph, None)?, self.origin()?)))
    }
}

/// The images that judge.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct JudgeArgs {
    /// Share of --data that is not used for pruning, but to measure the result.
    ///
    /// Default: 0.2; but 0 if nothing is repaired or there are fewer than five images. With 0, the result is measured
    /// on all images.
    #[arg(long, value_name = "R", requires = "data")]
    held_out: Option<f64>,
    /// Separate images on which the result is measured.
    ///
    /// They are preprocessed like --data. May be given several times; all of them form one data set.
    #[arg(long, value_name = "DATA", requires = "data", conflicts_with = "held_out")]
    test: Vec<String>,
}

impl JudgeArgs {
    /// Returns whether the images that judge were chosen.
    pub(super) fn is_given(&self) -> bool {
        self.held_out.is_some() || !self.test.is_empty()
    }

    /// Returns the other images that judge.
    pub(super) fn test(&self) -> Option<DataSources> {
        (!self.test.is_empty()).then(|| DataSources::from(self.test.as_slice()))
    }

    /// Opens calibration images, and those that judge; `None` without data.
    pub(super) fn open(
        &self,
        args: &DataArgs,
        graph: &Graph,
        repair: Option<Repair>,
    ) -> Result<Option<Calibration>> {
        if args.data.is_empty() {
            return Ok(None);
        }
        let (data, origin) = (args.open_real(graph, None)?, args.origin()?);
        if let Some(sources) = self.test() {
            let all = DataOptions { images: None, sample: None, shard: None, ..args.options(None)? };
            let test = open_test(graph, sources, all, &data)?;
            return Ok(Some(Calibration::with_test(data, origin, test)));
        }
        Calibration::hold_out(data, origin, self.held_out, repair).map(Some)
    }
}
