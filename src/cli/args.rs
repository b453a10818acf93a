//! DataOptions that several verbs share.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::output::Output;
use crate::data::{DataOptions, Dataset, Preprocessing};
use crate::error::{Error, Result};
use crate::exec::devices::{self, Device, DeviceChoice};
use crate::graph::{Dim, Graph};
use crate::tensor::Precision;

/// When to colour.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// What a command line asks for, before it is parsed: its errors have colours too.
    pub(crate) fn asked(args: impl Iterator<Item = OsString>) -> Self {
        let mut args = args.map(|arg| arg.to_string_lossy().into_owned()).peekable();
        let mut asked = Self::Auto;
        while let Some(arg) = args.next() {
            let said = match arg.strip_prefix("--color") {
                Some("") => args.peek().map(String::as_str),
                Some(joined) => joined.strip_prefix('='),
                None => None,
            };
            asked = said.and_then(|said| Self::from_str(said, false).ok()).unwrap_or(asked);
        }
        asked
    }

    /// Does so in all that is written.
    pub(crate) fn choose(self) -> clap::ColorChoice {
        let (all, help) = match self {
            Self::Auto => return clap::ColorChoice::Auto,
            Self::Always => (anstream::ColorChoice::Always, clap::ColorChoice::Always),
            Self::Never => (anstream::ColorChoice::Never, clap::ColorChoice::Never),
        };
        all.write_global();
        help
    }
}

/// A count.
pub(super) fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "a whole number from 1 on is expected".to_owned())
}

/// A time.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0);
    seconds.ok_or_else(|| "a number of seconds from 0 on is expected".to_owned())
}

/// DataOptions of every verb.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// One JSON object on stdout, and nothing else there.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Colours.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// No progress and no notes.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// What computes: auto, cpu, a number or a part of a name as `devices` lists them.
    #[arg(long, global = true, env = "SECATEUR_DEVICE", value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: DeviceChoice,
}

/// What numbers are kept as.
#[derive(Debug, Args)]
pub(crate) struct PrecisionArgs {
    /// What a device keeps numbers as between layers: f32, or f16, which it computes with in f32 all the same. Half of
    /// the memory and of what is read; see with eval what accuracy it costs.
    #[arg(long, value_name = "P", default_value = "f32")]
    precision: Precision,
}

impl PrecisionArgs {
    /// Opens the device with it.
    pub(crate) fn open(&self, global: &Global, output: &Output) -> Result<Device> {
        global.open(output)?.at(self.precision)
    }
}

impl Global {
    /// Opens the device, and says on stderr why it is not a GPU.
    pub(crate) fn open(&self, output: &Output) -> Result<Device> {
        let (device, note) = devices::open(&self.device)?;
        if let Some(note) = note {
            output.note(note);
        }
        if let Some(note) = device.recall() {
            output.note(note);
        }
        Ok(device)
    }
}

/// Images and what is done to them.
#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// A folder of images (flat, or one subfolder a class), .npy, .npz, idx, or random:N.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<String>,
    /// A known preprocessing: imagenet, cifar10, mnist, unit or raw.
    #[arg(long)]
    preset: Option<String>,
    /// Resize: S for the shorter side, HxW for both.
    #[arg(long, value_name = "S")]
    resize: Option<String>,
    /// Crop the centre: S or HxW.
    #[arg(long, value_name = "S")]
    crop: Option<String>,
    /// Subtracted from each channel, after the scale.
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    mean: Option<Vec<f32>>,
    /// Each channel is divided by it.
    #[arg(long, value_delimiter = ',')]
    std: Option<Vec<f32>>,
    /// nchw or nhwc.
    #[arg(long)]
    layout: Option<String>,
    /// rgb or bgr.
    #[arg(long)]
    channels: Option<String>,
    /// What 0..255 is divided by.
    #[arg(long)]
    scale: Option<f32>,
    /// A file of class names, one a line, in the order of their indices.
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Added to every label.
    #[arg(long, value_name = "N", default_value_t = 0)]
    label_offset: i64,
    /// An image that cannot be decoded is an error.
    #[arg(long)]
    strict: bool,
    /// At most so many images.
    #[arg(long, value_name = "N", requires = "data")]
    pub(crate) images: Option<usize>,
    /// Takes them from all over the set, chosen by this seed, instead of the first.
    #[arg(long, value_name = "SEED", requires = "images")]
    sample: Option<u64>,
    /// Part K of N.
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// Lets random inputs decide what is cut.
    #[arg(long)]
    allow_random: bool,
}

fn parsed<T: std::str::FromStr<Err = Error>>(text: Option<&String>) -> Result<Option<T>> {
    text.map(|t| t.parse()).transpose()
}

impl DataArgs {
    /// Opens the data for a network's input.
    pub(crate) fn open(&self, graph: &Graph) -> Result<Dataset> {
        self.open_visited(graph, None)
    }

    /// Opens all of another data set, whose images are read as these are.
    pub(crate) fn open_other(&self, spec: &str, graph: &Graph) -> Result<Dataset> {
        let all = DataOptions { images: None, sample: None, shard: None, ..self.options(None)? };
        Dataset::open(spec, &all, &input_shape(graph)?)
    }

    fn open_visited(&self, graph: &Graph, order: Option<u64>) -> Result<Dataset> {
        let spec = self.data.as_deref().ok_or_else(|| {
            Error::new("no data were given")
                .expected("--data FOLDER, .npy, .npz, idx or random:N")
                .remedy("add --data")
        })?;
        Dataset::open(spec, &self.options(order)?, &input_shape(graph)?)
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
            classes: self.classes.clone(),
            label_offset: self.label_offset,
            strict: self.strict,
            images: self.images,
            sample: self.sample,
            shard: parsed(self.shard.as_ref())?,
            order,
        })
    }

    /// Opens data that decide what is cut: random ones only if that was said.
    pub(crate) fn open_real(&self, graph: &Graph) -> Result<Dataset> {
        self.open_in_order(graph, None)
    }

    /// The same, visited in an order made from a seed.
    pub(crate) fn open_in_order(&self, graph: &Graph, order: Option<u64>) -> Result<Dataset> {
        let data = self.open_visited(graph, order)?;
        if data.is_random() && !self.allow_random {
            return Err(Error::new("random inputs say nothing about a network")
                .expected("real images")
                .got(self.data.clone().unwrap_or_default())
                .remedy("give real images, or add --allow-random"));
        }
        Ok(data)
    }

    /// The files and folders that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.data.iter().map(PathBuf::from).chain(self.classes.clone())
    }

    /// Where the images come from.
    pub(crate) fn origin(&self) -> Origin {
        let data = self.data.clone().unwrap_or_default();
        let data = match (self.sample, self.images) {
            (Some(seed), Some(count)) => format!("{data}, {count} images by seed {seed}"),
            _ => data,
        };
        Origin { data, shard: self.shard.clone() }
    }
}

/// What a profile says of where its images come from: as the user wrote it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// The data set, and which images of it.
    pub(crate) data: String,
    /// The part of it.
    pub(crate) shard: Option<String>,
}

/// What is recorded of a data set's preprocessing.
pub(crate) fn recipe(data: &Dataset) -> Option<Preprocessing> {
    (!data.is_random()).then(|| data.preprocessing().clone())
}

/// Says which files were skipped.
pub(crate) fn tell_skipped(data: &Dataset, output: &Output) {
    let skipped = data.skipped();
    for (path, why) in skipped.iter().take(5) {
        output.note(format!("skipped {}: {why}", path.display()));
    }
    if skipped.len() > 5 {
        output.note(format!("skipped {} files in all", skipped.len()));
    }
}

/// The dimensions of the only input, `None` where free.
fn input_shape(graph: &Graph) -> Result<Vec<Option<usize>>> {
    match graph.inputs.as_slice() {
        [input] => Ok(input
            .dims
            .iter()
            .enumerate()
            .map(|(at, dim)| match dim {
                Dim::Fixed(n) if at > 0 => Some(*n),
                Dim::Fixed(_) | Dim::Free(_) => None,
            })
            .collect()),
        inputs => Err(Error::new("a network with several inputs cannot be fed with images")
            .file(&graph.path)
            .expected("one input")
            .got(inputs.len().to_string())
            .remedy(
                "leave --data out: it can be cut by a criterion on weights such as l1, and run with `secateur run`",
            )),
    }
}
