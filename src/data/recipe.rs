//! The preprocessing recipe: what is asked for, and what that comes to for one network and one data set.
//!
//! A recipe is asked for by a [`Preset`] and parts that override it ([`DataOptions`]), and resolved once into
//! a [`Preprocessing`] that has nothing left to decide. That is what profiles and reports record, and two
//! profiles may only be merged when theirs are equal.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A named recipe. Its parts can be overridden one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// torchvision's ImageNet evaluation: shorter side to 256 (or 256/224 of the network's input), centre
    /// crop to the input, RGB / 255, mean .485 .456 .406, deviation .229 .224 .225.
    ImageNet,
    /// CIFAR-10 as the widespread PyTorch ResNets (akamaster's) take it: RGB / 255 with ImageNet's mean and
    /// deviation, not CIFAR-10's own; 32×32 stays as it is.
    Cifar10,
    /// Grey / 255 without mean or deviation. Caffe's LeNet divides by 256: add `--scale 256`; CNTK's takes
    /// 0..255: `--scale 1`.
    Mnist,
    /// 0..1: divided by 255, resized to the network's input. What is done when nothing is asked for.
    Unit,
    /// 0..255 as it is, resized to the network's input.
    Raw,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 5] = [Self::ImageNet, Self::Cifar10, Self::Mnist, Self::Unit, Self::Raw];
    const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
    const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageNet => "imagenet",
            Self::Cifar10 => "cifar10",
            Self::Mnist => "mnist",
            Self::Unit => "unit",
            Self::Raw => "raw",
        }
    }

    fn scale(self) -> f32 {
        if self == Self::Raw { 1.0 } else { 255.0 }
    }

    fn coloured(self) -> bool {
        matches!(self, Self::ImageNet | Self::Cifar10)
    }

    /// The input where the network leaves it free.
    fn usual_size(self) -> Option<usize> {
        match self {
            Self::ImageNet => Some(224),
            Self::Cifar10 => Some(32),
            Self::Mnist => Some(28),
            Self::Unit | Self::Raw => None,
        }
    }
}

impl FromStr for Preset {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|p| p.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            let error = Error::new("an unknown preset").expected(names.join(", ")).got(format!("\"{text}\""));
            error.meant(text, names, "choose one of these")
        })
    }
}

/// Height and width in pixels; `224` or `240x320` (height first) on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Size {
    pub height: usize,
    pub width: usize,
}

impl Size {
    fn square(side: usize) -> Self {
        Self { height: side, width: side }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

fn side(text: &str) -> Result<usize> {
    text.trim().parse().ok().filter(|n| (1..=65_535).contains(n)).ok_or_else(|| {
        Error::new("not a size in pixels")
            .expected("pixels, or height x width")
            .got(format!("\"{text}\""))
            .remedy("for example 256, or 240x320")
    })
}

impl FromStr for Size {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(['x', ',', '×']) {
            Some((height, width)) => Ok(Self { height: side(height)?, width: side(width)? }),
            None => Ok(Self::square(side(text)?)),
        }
    }
}

/// How large the image is made before the crop, by antialiased bilinear resizing as Pillow does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResizeTo {
    /// The shorter side to so many pixels, the longer one in proportion, as torchvision does it (`256`).
    Shorter(usize),
    /// The whole image to this size, whatever its proportions (`240x320`).
    Exact(Size),
}

impl FromStr for ResizeTo {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text.contains(['x', ',', '×']) {
            Ok(Self::Exact(text.parse()?))
        } else {
            Ok(Self::Shorter(side(text)?))
        }
    }
}

/// The order of colour channels that the network wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ChannelOrder {
    Rgb,
    Bgr,
}

impl FromStr for ChannelOrder {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "rgb" => Ok(Self::Rgb),
            "bgr" => Ok(Self::Bgr),
            _ => Err(Error::new("an unknown channel order")
                .expected("rgb or bgr")
                .got(format!("\"{text}\""))
                .meant(text, ["rgb", "bgr"], "leave --channels out for rgb")),
        }
    }
}

/// The order of the axes that the network wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channel, height, width: ONNX's own.
    Nchw,
    /// Batch, height, width, channel: many networks that came from TensorFlow.
    Nhwc,
}

impl FromStr for Layout {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "nchw" => Ok(Self::Nchw),
            "nhwc" => Ok(Self::Nhwc),
            _ => Err(Error::new("an unknown layout")
                .expected("nchw or nhwc")
                .got(format!("\"{text}\""))
                .meant(text, ["nchw", "nhwc"], "leave --layout out: it is mostly found by itself")),
        }
    }
}

/// A part of a data set for one of several workers: part `index` of `count`, counted from 1 (`2/8`).
///
/// Parts are contiguous, so that merging in their order gives the images in theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Shard {
    pub index: usize,
    pub count: usize,
}

impl FromStr for Shard {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
        match parsed {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Self { index, count }),
            _ => Err(Error::new("not a shard")
                .expected("K/N with K from 1 to N")
                .got(format!("\"{text}\""))
                .remedy("for example 2/8")),
        }
    }
}

/// What the user asked for. `None` leaves the part to the preset, then to the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataOptions {
    /// The recipe that the other parts override.
    pub preset: Option<Preset>,
    /// How large the image is made.
    pub resize: Option<ResizeTo>,
    /// What is cut from its centre afterwards.
    pub crop: Option<Size>,
    /// Subtracted after division by `scale`: one value a channel or one for all, in the network's order.
    pub mean: Option<Vec<f32>>,
    /// What the difference is divided by: one value a channel or one for all, in the network's order.
    pub std: Option<Vec<f32>>,
    /// The axes of the network's input; read off its shape when not given.
    pub layout: Option<Layout>,
    /// The order of its colour channels; RGB when not given.
    pub channels: Option<ChannelOrder>,
    /// What 0..255 is divided by: 255 for 0..1, 1 to leave it.
    pub scale: Option<f32>,
    /// A file of class names, one a line: its order gives the class indices of class folders.
    pub classes: Option<PathBuf>,
    /// Added to every label (1 for networks whose class 0 is a background).
    pub label_offset: i64,
    /// Makes an undecodable image an error, which otherwise is skipped and counted.
    pub strict: bool,
    /// At most so many images, from the start.
    pub images: Option<usize>,
    /// Chooses them from all, from this seed, instead of taking the first.
    pub sample: Option<u64>,
    /// One part of what is left then.
    pub shard: Option<Shard>,
    /// Visits them in an order made from this seed, not in their own.
    pub order: Option<u64>,
}

/// The resolved recipe, in the order in which it is applied. Undecided is nothing, so that equal recipes
/// mean equal inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// How large the image is made; `None` leaves it.
    pub resize: Option<ResizeTo>,
    /// What is cut from its centre; `None` leaves it.
    pub crop: Option<Size>,
    /// Colour channels of the network's input. Colour becomes one channel by Rec. 601's luma.
    pub channels: usize,
    /// Their order.
    pub order: ChannelOrder,
    /// Divides first.
    pub scale: f32,
    /// Subtracted then, one value a channel.
    pub mean: Vec<f32>,
    /// Divides last, one value a channel.
    pub std: Vec<f32>,
    /// The order of the axes of a batch.
    pub layout: Layout,
}

/// The network's input as data sees it; `None` is free.
#[derive(Clone, Copy, Debug)]
pub(super) struct NetworkInput {
    pub(super) channels: Option<usize>,
    pub(super) height: Option<usize>,
    pub(super) width: Option<usize>,
    pub(super) layout: Layout,
}

impl NetworkInput {
    pub(super) fn new(shape: &[Option<usize>], layout: Option<Layout>) -> Result<Self> {
        let &[_, a, b, c] = shape else {
            return Err(Error::new("images need a network whose input has four axes")
                .expected("N×C×H×W or N×H×W×C")
                .got(format!("{} axes", shape.len()))
                .remedy("use random:N here"));
        };
        let colours = |d: Option<usize>| matches!(d, Some(1 | 3));
        let guess = if !colours(a) && a.is_some() && colours(c) { Layout::Nhwc } else { Layout::Nchw };
        Ok(match layout.unwrap_or(guess) {
            layout @ Layout::Nchw => Self { channels: a, height: b, width: c, layout },
            layout @ Layout::Nhwc => Self { channels: c, height: a, width: b, layout },
        })
    }

    /// Whether the network takes images of this size.
    pub(super) fn takes(self, size: Size) -> bool {
        self.height.is_none_or(|h| h == size.height) && self.width.is_none_or(|w| w == size.width)
    }

    /// The error when it does not.
    pub(super) fn refuse(self, size: Size) -> Error {
        let dim = |d: Option<usize>| d.map_or_else(|| "any".to_owned(), |d| d.to_string());
        let wanted = format!("{}x{}", dim(self.height), dim(self.width));
        Error::new("after resizing and cropping, the image is not of the network's size")
            .got(size.to_string())
            .remedy(format!("end with --crop {wanted}, or use --resize {wanted} alone"))
            .expected(wanted)
    }
}

/// What the data set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PixelFormat {
    /// Image files, grey or in colour.
    Files,
    /// Bytes, as images have them, in so many channels.
    Bytes(usize),
    /// Floats in so many channels: somebody has prepared these already.
    Floats(usize),
}

impl Preprocessing {
    /// Decides everything that the options leave open.
    pub(super) fn resolve(options: &DataOptions, input: NetworkInput, stored: PixelFormat) -> Result<Self> {
        let preset = options.preset;
        let prepared = matches!(stored, PixelFormat::Floats(_)) && preset.is_none();
        let channels = channels(preset, input, stored)?;
        if channels != 3 && options.channels == Some(ChannelOrder::Bgr) {
            return Err(Error::new("--channels bgr needs three channels")
                .got(channels.to_string())
                .remedy("leave --channels out"));
        }
        let usual = preset.and_then(Preset::usual_size);
        let net = input.height.or(usual).zip(input.width.or(usual));
        let net = net.map(|(height, width)| Size { height, width });
        let (resize, crop) = match preset {
            Some(Preset::ImageNet) => {
                // 256 for 224, and in proportion for other inputs, rounded.
                let shorter = net.map(|n| (n.height.max(n.width) * 256 + 112) / 224);
                (options.resize.or(shorter.map(ResizeTo::Shorter)), options.crop.or(net))
            }
            _ => {
                let whole = net.filter(|_| !prepared && options.crop.is_none()).map(ResizeTo::Exact);
                (options.resize.or(whole), options.crop)
            }
        };
        if let (Some(ResizeTo::Exact(resized)), Some(crop)) = (resize, crop)
            && (crop.height > resized.height || crop.width > resized.width)
        {
            return Err(Error::new("the crop is larger than what it is taken from")
                .expected(format!("at most {resized}"))
                .got(crop.to_string())
                .remedy("give a larger --resize or a smaller --crop"));
        }
        let last = crop.or(if let Some(ResizeTo::Exact(size)) = resize { Some(size) } else { None });
        if let Some(size) = last.filter(|&size| !input.takes(size)) {
            return Err(input.refuse(size));
        }
        let scale = options.scale.unwrap_or(preset.map_or(if prepared { 1.0 } else { 255.0 }, Preset::scale));
        if !(scale.is_finite() && scale > 0.0) {
            return Err(Error::new("--scale must be a positive number")
                .got(scale.to_string())
                .remedy("leave it out for 255, or give --scale 1 where nothing is divided"));
        }
        let coloured = preset.is_some_and(Preset::coloured);
        let (mean, std) = if coloured {
            (Preset::IMAGENET_MEAN.to_vec(), Preset::IMAGENET_STD.to_vec())
        } else {
            (vec![0.0], vec![1.0])
        };
        let mean = per_channel("--mean", options.mean.clone().unwrap_or(mean), channels)?;
        let std = per_channel("--std", options.std.clone().unwrap_or(std), channels)?;
        if std.contains(&0.0) {
            return Err(
                Error::new("--std divides, so it must not be 0").remedy("give 1 where nothing is divided")
            );
        }
        let order = options.channels.unwrap_or(ChannelOrder::Rgb);
        Ok(Self { resize, crop, channels, order, scale, mean, std, layout: input.layout })
    }

    /// `value`, 0..255, in `channel` of the network's order. The arithmetic is torchvision's, in `f32`.
    pub(super) fn normalise(&self, value: f32, channel: usize) -> f32 {
        (value / self.scale - self.mean[channel]) / self.std[channel]
    }
}

/// The number of channels that the network gets, if it can get them from what is stored.
fn channels(preset: Option<Preset>, input: NetworkInput, stored: PixelFormat) -> Result<usize> {
    let by_preset = if preset == Some(Preset::Mnist) { Some(1) } else { None };
    let held = match stored {
        PixelFormat::Files => None,
        PixelFormat::Bytes(n) | PixelFormat::Floats(n) => Some(n),
    };
    let channels = input.channels.or(by_preset).or(held).unwrap_or(3);
    let possible = match stored {
        PixelFormat::Files => matches!(channels, 1 | 3),
        PixelFormat::Bytes(n) => n == channels || matches!((n, channels), (1, 3) | (3, 1)),
        PixelFormat::Floats(n) => n == channels,
    };
    let count = |n: usize| format!("{n} channel{}", if n == 1 { "" } else { "s" });
    if !possible {
        let got = held.map_or_else(|| "images, which have 1 or 3".to_owned(), count);
        return Err(Error::new("the data does not have the network's channels")
            .expected(count(channels))
            .got(got)
            .remedy(
                "give images that have them; where the channels come last in the network, say --layout nhwc",
            ));
    }
    if let Some(preset) = preset.filter(|p| p.coloured() && channels != 3) {
        return Err(Error::new(format!("preset \"{}\" is for three colour channels", preset.name()))
            .got(count(channels))
            .remedy("use --preset mnist or unit, with --mean and --std of your own"));
    }
    Ok(channels)
}

fn per_channel(option: &str, values: Vec<f32>, channels: usize) -> Result<Vec<f32>> {
    if values.iter().any(|v| !v.is_finite()) {
        return Err(Error::new(format!("{option} takes finite numbers"))
            .got(format!("{values:?}"))
            .remedy("give one for all channels, or one for each"));
    }
    match values.len() {
        1 => Ok(vec![values[0]; channels]),
        n if n == channels => Ok(values),
        n => Err(Error::new(format!("{option} takes one value, or one a channel"))
            .expected(format!("1 or {channels} values"))
            .got(n.to_string())
            .remedy("part the values by commas")),
    }
}
