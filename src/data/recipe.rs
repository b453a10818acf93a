//! Preprocessing recipes: the requested options, and their resolution for one network and data set.
//!
//! A recipe is requested by a [`Preset`] and options that override its parts ([`DataOptions`]). It is resolved once
//! into a [`Preprocessing`] without open decisions, which profiles and reports record. Two profiles can be merged only
//! if theirs are equal.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A named recipe, whose parts can be overridden one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Evaluation recipe of torchvision for ImageNet.
    ///
    /// Shorter side to 256 (or 256/224 of the network's input), centre crop to the input, RGB / 255, mean .485 .456
    /// .406, standard deviation .229 .224 .225.
    ImageNet,
    /// Recipe of the widespread PyTorch ResNets for CIFAR-10 (akamaster's).
    ///
    /// RGB / 255 with the mean and deviation of ImageNet, not of CIFAR-10; 32×32 is not resized.
    Cifar10,
    /// Grey / 255 without mean or deviation.
    ///
    /// Caffe's LeNet divides by 256, so set `scale` to 256; CNTK's takes 0..255, so set it to 1.
    Mnist,
    /// Default recipe: divided by 255 to 0..1, resized to the network's input.
    Unit,
    /// Unchanged values 0..255, resized to the network's input.
    Raw,
}

impl Preset {
    /// All presets in order.
    pub const ALL: [Self; 5] = [Self::ImageNet, Self::Cifar10, Self::Mnist, Self::Unit, Self::Raw];
    const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
    const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

    /// Returns the name that options use.
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

    /// Returns the side of the input if the network leaves it free.
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

/// Height and width in pixels, written `224` or `240x320` (height first).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// The size to resize an image to before the crop, with Pillow's antialiased bilinear filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResizeTo {
    /// Resizes the shorter side, and the longer one in proportion as in torchvision (`256`).
    Shorter(usize),
    /// Resizes both sides, at any proportions (`240x320`).
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

/// The order of the colour channels in the network's input.
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
                .meant(text, ["rgb", "bgr"], "leave out `channels` for rgb")),
        }
    }
}

/// The order of the axes of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channel, height, width: the convention of ONNX.
    Nchw,
    /// Batch, height, width, channel: the convention of TensorFlow.
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
                .meant(text, ["nchw", "nhwc"], "leave out `layout`: it is mostly detected")),
        }
    }
}

/// A part of a data set for one of several workers: part `index` of `count`, from 1 (`2/8`).
///
/// Parts are contiguous, so that merging them in order preserves the order of the images.
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

/// The requested recipe and selection of images; `None` defers to the preset, then to the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataOptions {
    /// Recipe that the other options override.
    pub preset: Option<Preset>,
    /// Size to resize images to.
    pub resize: Option<ResizeTo>,
    /// Size of the centre crop afterwards.
    pub crop: Option<Size>,
    /// Value from 0 to 255 that pads images to the size of `resize`, else to that of the network.
    ///
    /// Images keep their proportions, and nothing is cropped; the geometry is that of Ultralytics' `LetterBox` with `auto=False`.
    pub letterbox: Option<u8>,
    /// Mean to subtract after division by `scale`: one value per channel in the network's order, or one for all.
    pub mean: Option<Vec<f32>>,
    /// Divisor after the subtraction: one value per channel in the network's order, or one for all.
    pub std: Option<Vec<f32>>,
    /// Axes of the network's input; by default derived from its shape.
    pub layout: Option<Layout>,
    /// Order of the colour channels; RGB by default.
    pub channels: Option<ChannelOrder>,
    /// Divisor of the values 0..255: 255 for 0..1, 1 for no change.
    pub scale: Option<f32>,
    /// Sample rate in Hz that recordings are resampled to; by default that of all of them.
    pub rate: Option<u32>,
    /// File of class names, one per line, whose order defines the class indices of class folders.
    pub classes: Option<PathBuf>,
    /// Number added to every label (1 for networks whose class 0 is a background).
    pub label_offset: i64,
    /// True to fail on an image that cannot be decoded, instead of skipping it.
    pub strict: bool,
    /// Maximum number of images, from the start of the set.
    pub images: Option<usize>,
    /// Seed for drawing `images` from the whole set, instead of the first ones.
    pub sample: Option<u64>,
    /// Shard of the remaining images.
    pub shard: Option<Shard>,
    /// Seed for visiting the images in a random order.
    pub order: Option<u64>,
}

impl DataOptions {
    /// Returns the first option that is set and makes sense for images alone, as text for errors.
    pub(super) fn for_images(&self) -> Option<&'static str> {
        let options = [
            ("`preset`", self.preset.is_some()),
            ("`resize`", self.resize.is_some()),
            ("`crop`", self.crop.is_some()),
            ("`letterbox`", self.letterbox.is_some()),
            ("`channels`", self.channels.is_some()),
        ];
        options.iter().find(|(_, set)| *set).map(|(name, _)| *name)
    }

    /// Returns the size that padded images have.
    ///
    /// # Errors
    /// A crop, and an unknown size.
    fn letterboxed_to(&self, net: Option<Size>) -> Result<Size> {
        if let Some(crop) = self.crop {
            return Err(Error::new("`letterbox` keeps the whole image, so nothing is cropped")
                .got(format!("a crop to {crop}"))
                .remedy("leave out `crop`, or `letterbox`"));
        }
        let asked = self.resize.map(|resize| match resize {
            ResizeTo::Shorter(side) => Size::square(side),
            ResizeTo::Exact(size) => size,
        });
        asked.or(net).ok_or_else(|| {
            Error::new("`letterbox` needs a size to pad images to: the network leaves it free")
                .remedy("set `resize` to the size of the input, for example 640 or 480x640")
        })
    }

    /// Refuses `rate` for data that are no recordings.
    pub(super) fn without_rate(&self) -> Result<()> {
        match self.rate {
            None => Ok(()),
            Some(_) => Err(Error::new("`rate` is for recordings")
                .expected("a .wav file, or a folder of them")
                .remedy("leave out `rate`")),
        }
    }
}

/// The resolved recipe, in the order of its steps.
///
/// Nothing is left open, so that equal recipes mean equal inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Size to resize images to; `None` for none.
    pub resize: Option<ResizeTo>,
    /// Size of the centre crop; `None` for none.
    pub crop: Option<Size>,
    /// Value from 0 to 255 that pads images to the size of `resize`, which then keeps their proportions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letterbox: Option<u8>,
    /// Number of colour channels of the network's input; colour becomes grey by the luma of Rec. 601.
    pub channels: usize,
    /// Order of the colour channels.
    pub order: ChannelOrder,
    /// Divisor of the first step.
    pub scale: f32,
    /// Mean to subtract then, one value per channel.
    pub mean: Vec<f32>,
    /// Divisor of the last step, one value per channel.
    pub std: Vec<f32>,
    /// Order of the axes of a batch.
    pub layout: Layout,
    /// Sample rate of recordings in Hz, after resampling; `None` for other data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Number of samples that recordings are cropped or padded to; `None` for other data, and if each keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
}

/// The shape of the network's image input; `None` for free axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct NetworkInput {
    pub(super) channels: Option<usize>,
    pub(super) height: Option<usize>,
    pub(super) width: Option<usize>,
    pub(super) layout: Layout,
    /// True if both the first and the last axis may be that of channels, and no option decides.
    pub(super) is_guessed: bool,
}

impl NetworkInput {
    /// Interprets the three axes of an image input.
    pub(super) fn new([a, b, c]: [Option<usize>; 3], layout: Option<Layout>) -> Self {
        let colours = |d: Option<usize>| matches!(d, Some(1 | 3));
        let guess = if !colours(a) && colours(c) { Layout::Nhwc } else { Layout::Nchw };
        let is_guessed = layout.is_none() && colours(a) && colours(c);
        match layout.unwrap_or(guess) {
            layout @ Layout::Nchw => Self { channels: a, height: b, width: c, layout, is_guessed },
            layout @ Layout::Nhwc => Self { channels: c, height: a, width: b, layout, is_guessed },
        }
    }

    /// Returns whether the network takes images of this size.
    pub(super) fn takes(self, size: Size) -> bool {
        self.height.is_none_or(|h| h == size.height) && self.width.is_none_or(|w| w == size.width)
    }

    /// Returns the error for an image of a size that does not fit.
    pub(super) fn refuse(self, size: Size) -> Error {
        let dim = |d: Option<usize>| d.map_or_else(|| "any".to_owned(), |d| d.to_string());
        let wanted = format!("{}x{}", dim(self.height), dim(self.width));
        Error::new("the preprocessed image does not have the network's size")
            .got(size.to_string())
            .remedy(format!("set `crop` to {wanted}, or `resize` alone to {wanted}"))
            .expected(wanted)
    }
}

/// The format of a data set's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PixelFormat {
    /// Encoded image files, grey or in colour.
    Files,
    /// Bytes 0..255, with the number of channels.
    Bytes(usize),
    /// Floats that are preprocessed already, with the number of channels.
    Floats(usize),
}

impl Preprocessing {
    /// Returns the nouns for the steps that differ from another recipe's.
    pub(super) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let steps = [
            ("sample rate", self.rate != other.rate),
            ("length", self.length != other.length),
            ("resize", self.resize != other.resize),
            ("crop", self.crop != other.crop),
            ("number of channels", self.channels != other.channels),
            ("order of channels", self.order != other.order),
            ("scale", self.scale != other.scale),
            ("mean", self.mean != other.mean),
            ("deviation", self.std != other.std),
            ("layout", self.layout != other.layout),
        ];
        steps.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect()
    }

    /// Resolves options for a network's input and a pixel format.
    pub(super) fn resolve(options: &DataOptions, input: NetworkInput, format: PixelFormat) -> Result<Self> {
        options.without_rate()?;
        let preset = options.preset;
        let prepared = matches!(format, PixelFormat::Floats(_)) && preset.is_none();
        let channels = channels(preset, input, format)?;
        if channels != 3 && options.channels == Some(ChannelOrder::Bgr) {
            return Err(Error::new("bgr needs three channels")
                .got(channels.to_string())
                .remedy("leave out `channels`"));
        }
        let usual = preset.and_then(Preset::usual_size);
        let net = input.height.or(usual).zip(input.width.or(usual));
        let net = net.map(|(height, width)| Size { height, width });
        let (resize, crop) = match preset {
            _ if options.letterbox.is_some() => (Some(ResizeTo::Exact(options.letterboxed_to(net)?)), None),
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
            return Err(Error::new("the crop is larger than the resized image")
                .expected(format!("at most {resized}"))
                .got(crop.to_string())
                .remedy("raise `resize`, or lower `crop`"));
        }
        let last = crop.or(if let Some(ResizeTo::Exact(size)) = resize { Some(size) } else { None });
        if let Some(size) = last.filter(|&size| !input.takes(size)) {
            return Err(input.refuse(size));
        }
        let scale = options.scale.unwrap_or(preset.map_or(if prepared { 1.0 } else { 255.0 }, Preset::scale));
        check_scale(scale)?;
        let coloured = preset.is_some_and(Preset::coloured);
        let (mean, std) = if coloured {
            (Preset::IMAGENET_MEAN.to_vec(), Preset::IMAGENET_STD.to_vec())
        } else {
            (vec![0.0], vec![1.0])
        };
        let mean = per_channel("`mean`", options.mean.clone().unwrap_or(mean), channels)?;
        let std = per_channel("`std`", options.std.clone().unwrap_or(std), channels)?;
        check_std(&std)?;
        let order = options.channels.unwrap_or(ChannelOrder::Rgb);
        let plain = Self::unchanged(channels, input.layout);
        Ok(Self { resize, crop, letterbox: options.letterbox, order, scale, mean, std, ..plain })
    }

    /// Resolves the options for arrays that are not images, with one channel for each index of their first axis.
    pub(super) fn of_arrays(options: &DataOptions, channels: usize) -> Result<Self> {
        let plain = Self::unchanged(channels, Layout::Nchw);
        let scale = options.scale.unwrap_or(1.0);
        check_scale(scale)?;
        let mean = per_channel("`mean`", options.mean.clone().unwrap_or(vec![0.0]), channels)?;
        let std = per_channel("`std`", options.std.clone().unwrap_or(vec![1.0]), channels)?;
        check_std(&std)?;
        Ok(Self { scale, mean, std, ..plain })
    }

    /// Normalises a `value` of 0..255 in a `channel` of the network, with torchvision's arithmetic in `f32`.
    pub(super) fn normalise(&self, value: f32, channel: usize) -> f32 {
        (value / self.scale - self.mean[channel]) / self.std[channel]
    }
}

/// Returns the number of channels of the network's input, if the pixel format can provide them.
fn channels(preset: Option<Preset>, input: NetworkInput, format: PixelFormat) -> Result<usize> {
    let by_preset = if preset == Some(Preset::Mnist) { Some(1) } else { None };
    let held = match format {
        PixelFormat::Files => None,
        PixelFormat::Bytes(n) | PixelFormat::Floats(n) => Some(n),
    };
    let channels = input.channels.or(by_preset).or(held).unwrap_or(3);
    let possible = match format {
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
                "give images that have them; if the network has its channels last, set `layout` to nhwc",
            ));
    }
    if let Some(preset) = preset.filter(|p| p.coloured() && channels != 3) {
        return Err(Error::new(format!("preset \"{}\" is for three colour channels", preset.name()))
            .got(count(channels))
            .remedy("set `preset` to mnist or unit, with your own `mean` and `std`"));
    }
    Ok(channels)
}

fn check_scale(scale: f32) -> Result<()> {
    if scale.is_finite() && scale > 0.0 {
        return Ok(());
    }
    Err(Error::new("`scale` must be a positive number")
        .got(scale.to_string())
        .remedy("leave it out for 255, or set it to 1 for no division"))
}

fn check_std(std: &[f32]) -> Result<()> {
    if std.contains(&0.0) {
        return Err(Error::new("`std` divides, so it must not be 0").remedy("set it to 1 for no division"));
    }
    Ok(())
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
        n => Err(Error::new(format!("{option} takes one value, or one per channel"))
            .expected(format!("1 or {channels} values"))
            .got(n.to_string())
            .remedy("give one for all channels, or one for each")),
    }
}
