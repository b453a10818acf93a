//! Sources of a data set's images, detected from the content of a file, not from its name.

use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::arrays::{self, Array, Kind};
use super::folder::{self, SUPPORTED};
use super::idx;
use super::picture::{Frame, Picture, Pixels};
use super::prepared::Prepared;
use super::recipe::{DataOptions, Layout, NetworkInput, PixelFormat, Preprocessing, Size};
use super::rows::Rows;
use super::synthetic::{GOLDEN, mix, splitmix64};
use crate::error::{Error, Result};
use crate::tensor::{SampleShape, show};

/// The source of a set's images, in order.
#[derive(Debug)]
pub(super) enum ImageSource {
    /// Image files, decoded on demand.
    Files(Vec<PathBuf>),
    /// Images of one size in one array, N×C×H×W or N×H×W×C.
    Array { array: Array, size: Size, channels: usize, layout: Layout },
    /// Arrays that are taken as they are.
    Rows(Rows),
    /// Normally distributed noise of these shapes; integer inputs get 0, 1 or 2.
    Random { shape: SampleShape, integers: Vec<bool> },
}

/// A source with its number of images, and their labels before any offset if known.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) source: ImageSource,
    pub(super) len: usize,
    pub(super) labels: Option<Vec<i64>>,
}

/// An image that could not be decoded: its file and the reason.
pub(super) type Skipped = (PathBuf, String);

/// Opens a folder or file of images.
pub(super) fn open(path: &Path, classes: Option<&Path>, input: NetworkInput) -> Result<Opened> {
    if path.is_dir() { open_folder(path, classes, input) } else { open_file(path, input) }
}

fn open_folder(path: &Path, classes: Option<&Path>, input: NetworkInput) -> Result<Opened> {
    let folder::Listing { files, labels } = folder::list(path, classes)?;
    if !files.is_empty() {
        return Ok(Opened { len: files.len(), labels, source: ImageSource::Files(files) });
    }
    let is_array = |p: &PathBuf| p.extension().is_some_and(|e| e == "npz" || e == "npy") || idx::is_images(p);
    let arrays: Vec<_> = folder::entries(path)?.into_iter().filter(is_array).collect();
    match arrays.as_slice() {
        [] => Err(Error::new("the folder has no images").file(path).remedy(format!("give {SUPPORTED}"))),
        [one] => open_file(one, input),
        several => {
            let names = several.iter().filter_map(|p| p.file_name()).map(|n| n.to_string_lossy());
            Err(Error::new("the folder has several data sets")
                .file(path)
                .got(names.collect::<Vec<_>>().join(", "))
                .remedy("give one of the files"))
        }
    }
}

fn open_file(path: &Path, input: NetworkInput) -> Result<Opened> {
    let mut start = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(6).read_to_end(&mut start))
        .map_err(|e| Error::io("open the data", path, e))?;
    let (images, labels) = match start.as_slice() {
        b"\x93NUMPY" => (arrays::open_npy(path)?, None),
        [b'P', b'K', 3 | 5, ..] => arrays::open_npz(path, &["images", "x", "data"])?,
        [0x1f, 0x8b, ..] | [0, 0, ..] => {
            let labels = idx::labels_beside(path).map(|p| idx::open(&p)).transpose()?;
            (idx::open(path)?, labels)
        }
        _ if folder::is_image(path) => {
            let source = ImageSource::Files(vec![path.to_path_buf()]);
            return Ok(Opened { source, len: 1, labels: None });
        }
        _ => {
            return Err(Error::new("not a supported data set")
                .file(path)
                .remedy(format!("give {SUPPORTED}")));
        }
    };
    let labels = labels.map(|l| l.integers()).transpose().map_err(|e| e.file(path))?;
    of_array(images, labels, input).map_err(|e| e.file(path))
}

/// Creates a source from an array of images, and infers the meaning of its axes.
pub(super) fn of_array(array: Array, labels: Option<Vec<i64>>, input: NetworkInput) -> Result<Opened> {
    let colours = |d: usize| matches!(d, 1 | 3);
    let wanted = |d: usize| input.channels.map_or_else(|| colours(d), |c| c == d);
    let (channels, height, width, layout) = match array.shape[..] {
        [_, h, w] => (1, h, w, Layout::Nchw),
        [_, a, b, c] => {
            let first = match (wanted(a), wanted(c)) {
                (true, true) => input.layout == Layout::Nchw,
                (false, false) => colours(a) || !colours(c),
                (first, _) => first,
            };
            if first { (a, b, c, Layout::Nchw) } else { (c, a, b, Layout::Nhwc) }
        }
        _ => {
            return Err(Error::new("not an array of images")
                .expected("N×C×H×W, N×H×W×C or N×H×W")
                .got(show(&array.shape))
                .remedy("reshape it"));
        }
    };
    let len = array.shape[0];
    if array.shape.contains(&0) {
        return Err(Error::new("the array of images is empty")
            .got(show(&array.shape))
            .remedy("give at least one image"));
    }
    if !matches!((array.element.kind, array.element.size), (Kind::Float, _) | (Kind::Uint, 1)) {
        return Err(Error::new("an array of images has an unsupported type")
            .expected("u8, or floats that are preprocessed already")
            .got(array.element.name())
            .remedy("convert it with astype('uint8') or astype('float32')"));
    }
    if let Some(labels) = labels.as_ref().filter(|l| l.len() != len) {
        return Err(Error::new("images and labels differ in number")
            .expected(format!("{len} labels"))
            .got(labels.len().to_string())
            .remedy("give labels that belong to these images"));
    }
    let source = ImageSource::Array { array, size: Size { height, width }, channels, layout };
    Ok(Opened { source, len, labels })
}

impl Opened {
    /// Groups consecutive images to samples, which have the label of their first image.
    pub(super) fn grouped(self, group: usize) -> Result<Self> {
        let len = self.len / group;
        if len == 0 {
            return Err(Error::new("fewer images than the network takes at once")
                .expected(format!("{group} images for one sample"))
                .got(self.len.to_string())
                .remedy("give more images: consecutive ones are the frames of a clip"));
        }
        let labels = self.labels.map(|labels| labels.into_iter().step_by(group).take(len).collect());
        Ok(Self { len, labels, ..self })
    }
}

impl ImageSource {
    /// Resolves the options for arrays that are taken as they are.
    pub(super) fn rows_recipe(&self, options: &DataOptions) -> Result<Preprocessing> {
        match self {
            Self::Rows(rows) => rows.recipe(options),
            _ => Ok(Preprocessing::unchanged(1, Layout::Nchw)),
        }
    }

    pub(super) fn pixel_format(&self) -> PixelFormat {
        match self {
            Self::Array { array, channels, .. } if array.element.kind == Kind::Float => {
                PixelFormat::Floats(*channels)
            }
            Self::Array { channels, .. } => PixelFormat::Bytes(*channels),
            Self::Files(_) | Self::Rows(_) | Self::Random { .. } => PixelFormat::Files,
        }
    }

    /// Decodes and preprocesses images on all cores.
    pub(super) fn frames(
        &self,
        places: &[usize],
        prepared: &Prepared,
    ) -> Result<Vec<Result<Frame, Skipped>>> {
        let preprocessor = match (self, prepared) {
            (Self::Rows(rows), _) => {
                return Ok(rows.frames(places, prepared.recipe())?.into_iter().map(Ok).collect());
            }
            (Self::Random { shape, integers }, _) => {
                let frame = |i| Ok(Frame { shape: shape.clone(), data: noise(i as u64, shape, integers) });
                return Ok(places.par_iter().map(|&place| frame(place)).collect());
            }
            (_, Prepared::Images(preprocessor)) => preprocessor,
            (_, Prepared::AsTheyAre(_)) => {
                return Err(Error::new("images without a recipe").internal());
            }
        };
        match self {
            Self::Rows(_) | Self::Random { .. } => Ok(vec![]),
            Self::Files(files) => places
                .par_iter()
                .map(|&place| &files[place])
                .map(|path| match Picture::decode(path, preprocessor.recipe.channels) {
                    Ok(picture) => preprocessor.apply(picture).map(Ok).map_err(|e| e.file(path)),
                    Err(reason) => Ok(Err((path.clone(), reason))),
                })
                .collect(),
            Self::Array { array, size, channels, layout } => {
                // Adjacent images are read at once.
                let runs = places.chunk_by(|a, b| a + 1 == *b).map(|run| run[0]..run[run.len() - 1] + 1);
                let runs = runs.map(|run| array.rows(run)).collect::<Result<Vec<_>>>()?;
                let one = size.height * size.width * channels * array.element.size;
                runs.par_iter()
                    .flat_map(|bytes| bytes.par_chunks_exact(one))
                    .map(|bytes| {
                        let pixels = match array.element.kind {
                            Kind::Float => Pixels::Floats(array.element.to_f32(bytes)),
                            _ => Pixels::Bytes(bytes.into()),
                        };
                        preprocessor.apply(Picture::new(pixels, *size, *channels, *layout)).map(Ok)
                    })
                    .collect()
            }
        }
    }
}

/// Computes sample `index` of the random data set: nearly standard normal, with equal bits on every machine.
///
/// The sum of twelve uniform numbers minus six has mean 0 and variance 1, and needs no logarithm or cosine, which
/// differ between platforms. The uniform numbers are 16 bits each of SplitMix64 (Steele, Lea and Flood, 2014).
fn noise(index: u64, shape: &SampleShape, integers: &[bool]) -> Vec<f32> {
    let mut words = splitmix64(mix(index.wrapping_mul(GOLDEN)));
    let mut value = || {
        let bits = words.by_ref().take(3);
        let sum: u64 = bits.flat_map(|bits| (0..4).map(move |k| (bits >> (16 * k)) & 0xffff)).sum();
        // Exact: the sum is below 2^20, and the mean of sixteen bits is 32767.5.
        (sum as f32 - 12.0 * 32_767.5) / 65_536.0
    };
    let mut data = Vec::with_capacity(shape.elements());
    for (shape, &integer) in shape.0.iter().zip(integers) {
        let values = (0..shape.iter().product::<usize>()).map(|_| value());
        data.extend(values.map(|v| if integer { v.abs().floor().min(2.0) } else { v }));
    }
    data
}
