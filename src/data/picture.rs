//! Preprocessing of one image: decode, convert colours, resize, crop and normalise.
//!
//! Images stay in bytes until the last step, and results match Pillow and torchvision. The resampling filter is
//! Pillow's antialiased bilinear one (to one level of 256), the luma is Pillow's `convert("L")`, and the sizes and
//! offsets are torchvision's.

use std::borrow::Cow;

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma, Pixel, Rgb};

use super::arrays::{Element, Kind};
use super::decode;
use super::encoded::EncodedPicture;
use super::letterbox::Letterbox;
use super::recipe::{
    ChannelOrder, DataOptions, Layout, NetworkInput, PixelFormat, Preprocessing, ResizeTo, Size,
};
use crate::error::{Error, Result};
use crate::tensor::SampleShape;

/// The most pixels of a resized image; only very long and thin images exceed it.
const MOST_PIXELS: usize = 1 << 28;

/// An image with strides: element (channel, row, column) is at their scalar product with `strides`.
pub(super) struct Picture<'a> {
    size: Size,
    channels: usize,
    strides: [usize; 3],
    pixels: Pixels<'a>,
}

pub(super) enum Pixels<'a> {
    Bytes(Cow<'a, [u8]>),
    Floats(Vec<f32>),
}

impl<'a> Picture<'a> {
    /// Creates an image from an array with channels first or last.
    pub(super) fn new(pixels: Pixels<'a>, size: Size, channels: usize, layout: Layout) -> Self {
        Self { size, channels, strides: strides(layout, size, channels), pixels }
    }

    /// Decodes a file's content, to grey for a network of one channel, else to colour.
    ///
    /// Also returns whether EXIF turned the picture. The error is one line.
    pub(super) fn decode(encoded: &EncodedPicture, channels: usize) -> Result<(Self, bool), String> {
        let decoded = decode::decode(&encoded.bytes, &encoded.name)?;
        let turned = decoded.turned;
        Ok((Self::of_decoded(decoded).in_channels(channels), turned))
    }

    /// Creates an image from decoded pixels.
    pub(super) fn of_decoded(decoded: decode::Decoded) -> Self {
        let decode::Decoded { height, width, channels, bytes, .. } = decoded;
        Self::new(Pixels::Bytes(bytes.into()), Size { height, width }, channels, Layout::Nhwc)
    }

    /// Creates an image from a row of an array of bytes or floats.
    pub(super) fn of_row(
        element: Element,
        bytes: &'a [u8],
        size: Size,
        (channels, layout): (usize, Layout),
    ) -> Self {
        let pixels = match element.kind {
            Kind::Float => Pixels::Floats(element.to_f32(bytes)),
            _ => Pixels::Bytes(bytes.into()),
        };
        Self::new(pixels, size, channels, layout)
    }

    /// Returns the number of stored channels.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Returns whether the image has one channel, or three that are equal.
    pub(super) fn is_grey(&self) -> bool {
        let [sc, sy, sx] = self.strides;
        let mut pixels =
            (0..self.size.height).flat_map(|y| (0..self.size.width).map(move |x| y * sy + x * sx));
        match (&self.pixels, self.channels) {
            (_, 1) => true,
            (Pixels::Bytes(b), 3) => pixels.all(|i| b[i] == b[i + sc] && b[i] == b[i + 2 * sc]),
            (Pixels::Floats(f), 3) => pixels.all(|i| f[i] == f[i + sc] && f[i] == f[i + 2 * sc]),
            _ => false,
        }
    }

    /// Returns the least and the largest value.
    pub(super) fn range(&self) -> [f32; 2] {
        match &self.pixels {
            Pixels::Bytes(bytes) => range(bytes.iter().map(|&byte| f32::from(byte))),
            Pixels::Floats(floats) => range(floats.iter().copied()),
        }
    }

    /// Returns height and width.
    pub(super) fn size(&self) -> Size {
        self.size
    }

    /// Returns the values of `channels` planes, plane by plane.
    pub(super) fn values(self, channels: usize) -> Vec<f32> {
        let picture = self.in_channels(channels);
        let ([sc, sy, sx], Size { height, width }) = (picture.strides, picture.size);
        let places = (0..channels)
            .flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| c * sc + y * sy + x * sx)));
        match &picture.pixels {
            Pixels::Bytes(bytes) => places.map(|i| f32::from(bytes[i])).collect(),
            Pixels::Floats(floats) => places.map(|i| floats[i]).collect(),
        }
    }

    /// Converts grey to colour or colour to grey if the channel counts differ.
    fn in_channels(mut self, channels: usize) -> Self {
        let Pixels::Bytes(bytes) = &self.pixels else { return self };
        match (self.channels, channels) {
            // A stride of 0 repeats the plane without a copy.
            (1, 3) => {
                self.strides[0] = 0;
                self.channels = 3;
                self
            }
            (3, 1) => {
                let luma = |[r, g, b]: [u32; 3]| ((19_595 * r + 38_470 * g + 7_471 * b + 0x8000) >> 16) as u8;
                let [sc, sy, sx] = self.strides;
                let mut grey = Vec::with_capacity(self.size.height * self.size.width);
                for y in 0..self.size.height {
                    let at = (0..self.size.width).map(|x| y * sy + x * sx);
                    grey.extend(at.map(|i| luma([0, sc, 2 * sc].map(|c| u32::from(bytes[i + c])))));
                }
                Self::new(Pixels::Bytes(grey.into()), self.size, 1, Layout::Nchw)
            }
            _ => self,
        }
    }

    /// Resizes to `size` with Pillow's antialiased bilinear filter.
    fn resized(self, size: Size) -> Result<Self> {
        if size == self.size {
            return Ok(self);
        }
        let Pixels::Bytes(bytes) = &self.pixels else {
            return Err(Error::new("arrays of floats cannot be resized")
                .expected(size.to_string())
                .got(self.size.to_string())
                .remedy("resize them beforehand, or store them as u8"));
        };
        if size.height.saturating_mul(size.width) > MOST_PIXELS {
            return Err(Error::new("an image too long and thin to be resized")
                .got(self.size.to_string())
                .remedy("remove it, or set `resize` to HxW"));
        }
        if self.channels == 3 && self.strides == strides(Layout::Nhwc, self.size, 3) {
            let bytes = resample::<Rgb<u8>>(bytes, self.size, size)?;
            return Ok(Self::new(Pixels::Bytes(bytes.into()), size, 3, Layout::Nhwc));
        }
        let [sc, sy, sx] = self.strides;
        // A repeated grey plane is resized once.
        let held = if sc == 0 { 1 } else { self.channels };
        let mut planes = Vec::with_capacity(held * size.height * size.width);
        for c in 0..held {
            let places =
                (0..self.size.height).flat_map(|y| (0..self.size.width).map(move |x| y * sy + x * sx));
            let plane: Vec<u8> = places.map(|i| bytes[c * sc + i]).collect();
            planes.extend(resample::<Luma<u8>>(&plane, self.size, size)?);
        }
        Ok(Self::new(Pixels::Bytes(planes.into()), size, held, Layout::Nchw).in_channels(self.channels))
    }
}

/// Returns the least and the largest value of two ranges.
pub(super) fn joined(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    [a[0].min(b[0]), a[1].max(b[1])]
}

/// Returns the least and the largest finite value.
pub(super) fn range(values: impl Iterator<Item = f32>) -> [f32; 2] {
    let finite = values.filter(|value| value.is_finite());
    finite.fold([f32::INFINITY, f32::NEG_INFINITY], |range, value| joined(range, [value, value]))
}

fn strides(layout: Layout, size: Size, channels: usize) -> [usize; 3] {
    match layout {
        Layout::Nchw => [size.height * size.width, size.width, 1],
        Layout::Nhwc => [1, size.width * channels, channels],
    }
}

/// Resamples interleaved pixels of type `P` to another size.
fn resample<P: Pixel<Subpixel = u8> + 'static>(bytes: &[u8], from: Size, to: Size) -> Result<Vec<u8>> {
    let image = ImageBuffer::<P, _>::from_raw(from.width as u32, from.height as u32, bytes);
    let image = image
        .ok_or_else(|| Error::new("pixels that do not fill their image").got(from.to_string()).internal())?;
    Ok(resize(&image, to.width as u32, to.height as u32, FilterType::Triangle).into_raw())
}

/// One sample after preprocessing.
#[derive(Debug)]
pub(super) struct Frame {
    /// Shapes of the sample's arrays, without the batch axis.
    pub(super) shape: SampleShape,
    /// Elements of all arrays, row-major.
    pub(super) data: Vec<f32>,
}

/// A recipe prepared for one network, with tables that normalise bytes.
#[derive(Debug)]
pub(super) struct Preprocessor {
    pub(super) recipe: Preprocessing,
    input: NetworkInput,
    tables: Vec<[f32; 256]>,
}

impl Preprocessor {
    pub(super) fn new(recipe: Preprocessing, input: NetworkInput) -> Self {
        let table = |c| std::array::from_fn(|v| recipe.normalise(v as f32, c));
        let tables = (0..recipe.channels).map(table).collect();
        Self { recipe, input, tables }
    }

    /// Resolves other options for the same input.
    pub(super) fn by(&self, options: &DataOptions, format: PixelFormat) -> Result<Preprocessing> {
        Preprocessing::resolve(options, self.input, format)
    }

    /// Returns whether the order of the input's axes was guessed, although either would do.
    pub(super) fn has_guessed_layout(&self) -> bool {
        self.input.is_guessed
    }

    /// Applies the recipe; errors concern the recipe, not the image.
    pub(super) fn apply(&self, picture: Picture<'_>) -> Result<Frame> {
        let recipe = &self.recipe;
        let picture = picture.in_channels(recipe.channels);
        let boxed = match (recipe.letterbox, recipe.resize) {
            (Some(value), Some(ResizeTo::Exact(to))) => Some((value, to, Letterbox::new(picture.size, to))),
            _ => None,
        };
        let target = match (boxed, recipe.resize) {
            (Some((_, _, Letterbox { inner, .. })), _) => inner,
            (None, None) => picture.size,
            (None, Some(ResizeTo::Exact(size))) => size,
            (None, Some(ResizeTo::Shorter(side))) => shorter_to(side, picture.size),
        };
        let picture = picture.resized(target)?;
        let kept = recipe.crop.unwrap_or(picture.size);
        let size = boxed.map_or(kept, |(_, to, _)| to);
        if kept.height > picture.size.height || kept.width > picture.size.width {
            return Err(Error::new("the image is smaller than the crop")
                .expected(format!("at least {kept}"))
                .got(picture.size.to_string())
                .remedy("set `resize` to make it large enough"));
        }
        if !self.input.takes(size) {
            return Err(self.input.refuse(size));
        }
        let [sc, sy, sx] = picture.strides;
        let corner =
            centred(picture.size.height - kept.height) * sy + centred(picture.size.width - kept.width) * sx;
        let mut data = vec![0.0; recipe.channels * size.height * size.width];
        let [oc, oy, ox] = strides(recipe.layout, size, recipe.channels);
        let (top, left) = boxed.map_or((0, 0), |(_, _, letterbox)| (letterbox.top, letterbox.left));
        for c in 0..recipe.channels {
            if let Some((value, ..)) = boxed {
                let padding = recipe.normalise(f32::from(value), c);
                let plane = data[c * oc..].iter_mut().step_by(ox).take(size.height * size.width);
                plane.for_each(|out| *out = padding);
            }
            let held = if recipe.order == ChannelOrder::Bgr { recipe.channels - 1 - c } else { c };
            for y in 0..kept.height {
                let from = corner + held * sc + y * sy;
                let at = c * oc + (top + y) * oy + left * ox;
                let row = data[at..].iter_mut().step_by(ox).take(kept.width).enumerate();
                match &picture.pixels {
                    Pixels::Bytes(bytes) => {
                        let table = &self.tables[c];
                        row.for_each(|(x, out)| *out = table[usize::from(bytes[from + x * sx])]);
                    }
                    Pixels::Floats(floats) => {
                        row.for_each(|(x, out)| *out = recipe.normalise(floats[from + x * sx], c));
                    }
                }
            }
        }
        let shape = match recipe.layout {
            Layout::Nchw => vec![recipe.channels, size.height, size.width],
            Layout::Nhwc => vec![size.height, size.width, recipe.channels],
        };
        Ok(Frame { shape: SampleShape(vec![shape]), data })
    }
}

/// Returns the size with the shorter side at `side`; the longer one is rounded down, as in torchvision.
pub(super) fn shorter_to(side: usize, size: Size) -> Size {
    let Size { height, width } = size;
    if height <= width {
        Size { height: side, width: side * width / height.max(1) }
    } else {
        Size { height: side * height / width.max(1), width: side }
    }
}

/// Returns half of the margin, rounded half to even like Python's `round`, which torchvision uses for crops.
pub(super) fn centred(margin: usize) -> usize {
    let half = margin / 2;
    if margin % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}
