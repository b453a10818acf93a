//! Options of every verb, and parsers of their values.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::config::Setting;
use super::output::Output;
use crate::error::Result;
use crate::pipeline::{Device, DeviceChoice, Precision, devices};

/// The choice when output is colored.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// Finds the choice in a command line that is not parsed yet, because parse errors are colored, too.
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

    /// Applies the choice to everything that is written.
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

/// Parses a count of at least one.
pub(super) fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "a whole number from 1 on is expected".to_owned())
}

/// Parses a time in seconds.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0);
    seconds.ok_or_else(|| "a number of seconds from 0 on is expected".to_owned())
}

/// The options of every verb.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print one JSON object to stdout, and nothing else there.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Color the output: auto, always or never.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Print no progress and no notes.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Device: auto, cpu, or a number or name from `devices`.
    ///
    /// Part of a name is enough.
    #[arg(long, global = true, env = "SECATEUR_DEVICE", value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: DeviceChoice,
    /// Read options from this file.
    ///
    /// Without --config, secateur.toml beside the model is read if it exists. Keys are long names of options, as in
    /// preset = "imagenet"; a section such as [prune] is for one command. Options of the command line win.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Do not read secateur.toml.
    #[arg(long, global = true, conflicts_with = "config")]
    pub(crate) no_config: bool,
    /// Values of all options, with the origin of each.
    #[arg(skip)]
    pub(crate) settings: Vec<Setting>,
    /// The device that the verb opened.
    #[arg(skip)]
    opened: OnceCell<Device>,
}

/// The precision of values between layers.
#[derive(Debug, Args)]
pub(crate) struct PrecisionArgs {
    /// Precision in which values between layers are stored: f32 or f16.
    ///
    /// f16 halves their memory and memory traffic; arithmetic remains in f32. `eval` shows the accuracy with f16.
    #[arg(long, value_name = "P", default_value = "f32")]
    precision: Precision,
}

impl PrecisionArgs {
    /// Opens the device at this precision.
    pub(crate) fn open(&self, global: &Global, output: &Output) -> Result<Device> {
        global.open(output)?.at(self.precision)
    }
}

impl Global {
    /// Returns the values of all options with their origins, for reports.
    pub(crate) fn settings(&self) -> Vec<(String, String, String)> {
        let parts = |Setting { name, value, origin }: &Setting| (name.clone(), value.clone(), origin.clone());
        self.settings.iter().map(parts).collect()
    }

    /// Opens the device, and notes on stderr why it is no GPU.
    pub(crate) fn open(&self, output: &Output) -> Result<Device> {
        let (device, note) = output.busy("opening the device", || devices::open(&self.device))?;
        if let Some(note) = note {
            output.note(note);
        }
        if let Some(note) = device.recall() {
            output.note(note);
        }
        // A verb opens one device.
        let _ = self.opened.set(device.clone());
        Ok(device)
    }

    /// Notes on stderr which kernels the device could not use.
    pub(crate) fn note_refused_kernels(&self, output: &Output) {
        self.opened.get().map_or_else(Vec::new, Device::notes).into_iter().for_each(|note| output.note(note));
    }
}
