//! Sources of a data set's images, detected from the content of a file, not from its name.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::arrays::{self, Array, Kind};
use super::decode;
use super::encoded::Skipped;
use super::folder::{self, Listing, SUPPORTED};
use super::given::Given;
use super::idx;
use super::labels::{ClassNames, Labels};
use super::npz;
use super::parquet;
use super::picture::{Frame, Picture, Preprocessor};
use super::pictures::Pictures;
use super::recipe::{Layout, NetworkInput, PixelFormat, Size};
use super::shards;
use super::webdataset;
use crate::error::{Error, Result};
use crate::tensor::show;

/// The number of bytes from a file's start that identify its format.
const START: u64 = 512;

/// The first bytes of a parquet table.
const TABLE: &[u8] = b"PAR1";

/// The source of a set's images, in order.
#[derive(Debug)]
pub(super) enum ImageSource {
    /// Encoded pictures, decoded on demand.
    Encoded {
        pictures: Pictures,
        /// Places of pictures that their EXIF orientation turned, as far as they were visited.
        turned: Mutex<BTreeSet<usize>>,
    },
    /// Images of one size in one array, N×C×H×W or N×H×W×C.
    Array { array: Array, size: Size, channels: usize, layout: Layout },
}

/// A source with its number of images, and their labels before any offset if known.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) source: ImageSource,
    pub(super) len: usize,
    pub(super) labels: Option<Labels>,
}

/// Opens a folder or file of images, several pictures, or shards.
pub(super) fn open(given: &Given, classes: Option<&ClassNames>, input: NetworkInput) -> Result<Opened> {
    match given {
        Given::Path { path, part } if path.is_dir() => {
            npz::refuse_part(path, part.as_deref())?;
            open_folder(path, classes, input)
        }
        Given::Path { path, part } => open_file((path, part.as_deref()), classes, input),
        Given::Files { listing: Listing { files, labels }, .. }
            if files.iter().any(|p| folder::is_image(p)) =>
        {
            Ok(Opened::encoded(Pictures::Files(files.clone()), labels.clone()))
        }
        Given::Files { listing, .. } => open_shards(&listing.files, classes),
    }
}

fn open_folder(path: &Path, classes: Option<&ClassNames>, input: NetworkInput) -> Result<Opened> {
    let Listing { files, labels } = folder::list(path, classes, folder::PICTURES)?;
    if !files.is_empty() {
        return Ok(Opened::encoded(Pictures::Files(files), labels));
    }
    let has = |p: &Path, extensions: &[&str]| {
        p.extension().is_some_and(|e| extensions.iter().any(|known| e.eq_ignore_ascii_case(known)))
    };
    let is_data = |p: &PathBuf| has(p, &["npz", "npy", "tar", "parquet"]) || idx::is_images(p);
    let found: Vec<_> = folder::entries(path)?.into_iter().filter(is_data).collect();
    let sets: BTreeSet<_> = found.iter().map(|p| (shards::set_name(p), p.extension())).collect();
    match found.as_slice() {
        [] => Err(Error::new("the folder has no images").file(path).remedy(format!("give {SUPPORTED}"))),
        [one] => open_file((one, None), classes, input),
        several if sets.len() == 1 && has(&several[0], &["tar", "parquet"]) => open_shards(several, classes),
        several => {
            let names = several.iter().filter_map(|p| p.file_name()).map(|n| n.to_string_lossy());
            Err(Error::new("the folder has several data sets")
                .file(path)
                .got(names.collect::<Vec<_>>().join(", "))
                .remedy("give one of the files, or several as in train-{000..011}.tar"))
        }
    }
}

/// Reads the bytes of a file that identify its format.
fn start_of(path: &Path) -> Result<Vec<u8>> {
    let mut start = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(START).read_to_end(&mut start))
        .map_err(|e| Error::io("open the data", path, e))?;
    Ok(start)
}

/// Opens archives or tables that are parts of one set, in order.
fn open_shards(files: &[PathBuf], classes: Option<&ClassNames>) -> Result<Opened> {
    let mut tables = 0;
    for path in files {
        let start = start_of(path)?;
        if start.starts_with(TABLE) {
            tables += 1;
        } else if !webdataset::is_archive(path, &start) {
            return Err(Error::new("not a shard of a data set")
                .file(path)
                .expected("a WebDataset .tar, or a .parquet file")
                .remedy(format!("give {SUPPORTED}")));
        }
    }
    if tables == files.len() {
        let (tables, labels) = parquet::open(files, classes)?;
        return Ok(Opened::encoded(Pictures::Tables(tables), labels));
    }
    if tables > 0 {
        return Err(Error::new("shards of different formats")
            .file(&files[0])
            .expected("only .tar, or only .parquet files")
            .got(format!("{tables} .parquet files of {}", files.len()))
            .remedy("give the files of one format"));
    }
    let (archives, labels) = webdataset::open(files, classes)?;
    Ok(Opened::encoded(Pictures::Archives(archives), labels))
}

fn open_file(
    (path, part): (&Path, Option<&str>),
    classes: Option<&ClassNames>,
    input: NetworkInput,
) -> Result<Opened> {
    let start = start_of(path)?;
    let is_archive = matches!(start.as_slice(), [b'P', b'K', 3 | 5, ..]);
    npz::refuse_part(path, part.filter(|_| !is_archive))?;
    let (images, labels) = match start.as_slice() {
        _ if decode::starts_as_picture(&start) || folder::is_image(path) => {
            return Ok(Opened::encoded(Pictures::Files(vec![path.to_path_buf()]), None));
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => (arrays::open_npy(path)?, None),
        _ if is_archive => npz::open(path, part, "")?,
        start if start.starts_with(TABLE) || webdataset::is_archive(path, start) => {
            return open_shards(&[path.to_path_buf()], classes);
        }
        [0x1f, 0x8b, ..] if is_packed_archive(path) => {
            return Err(Error::new("a compressed archive, whose pictures cannot be read in any order")
                .file(path)
                .expected("a .tar file without compression")
                .remedy("unpack it with gunzip"));
        }
        [0x1f, 0x8b, ..] | [0, 0, ..] => {
            let labels = idx::labels_beside(path).map(|p| idx::open(&p)?.class_indices()).transpose()?;
            (idx::open(path)?, labels)
        }
        _ => {
            return Err(Error::new("not a supported data set")
                .file(path)
                .remedy(format!("give {SUPPORTED}")));
        }
    };
    of_array(images, labels, input).map_err(|e| e.file(path))
}

fn is_packed_archive(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.ends_with(".tgz") || name.ends_with(".tar.gz")
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
    Ok(Opened { source, len, labels: labels.map(Labels::from) })
}

impl Opened {
    fn encoded(pictures: Pictures, labels: Option<Labels>) -> Self {
        let len = pictures.len();
        Self { source: ImageSource::Encoded { pictures, turned: Mutex::default() }, len, labels }
    }

    /// Groups consecutive images to samples, which have the label of their first image.
    pub(super) fn grouped(self, group: usize) -> Result<Self> {
        let len = self.len / group;
        if len == 0 {
            return Err(Error::new("fewer images than the network takes at once")
                .expected(format!("{group} images for one sample"))
                .got(self.len.to_string())
                .remedy("give more images: consecutive ones are the frames of a clip"));
        }
        let labels = self.labels.map(|labels| labels.at((0..len).map(|sample| sample * group)));
        Ok(Self { len, labels, ..self })
    }
}

impl ImageSource {
    /// Returns the number of visited pictures that their EXIF orientation turned.
    pub(super) fn turned(&self) -> usize {
        match self {
            Self::Encoded { turned, .. } => turned.lock().unwrap_or_else(PoisonError::into_inner).len(),
            Self::Array { .. } => 0,
        }
    }

    pub(super) fn pixel_format(&self) -> PixelFormat {
        match self {
            Self::Array { array, channels, .. } if array.element.kind == Kind::Float => {
                PixelFormat::Floats(*channels)
            }
            Self::Array { channels, .. } => PixelFormat::Bytes(*channels),
            Self::Encoded { .. } => PixelFormat::Files,
        }
    }

    /// Decodes and preprocesses images on all cores.
    pub(super) fn frames(
        &self,
        places: &[usize],
        preprocessor: &Preprocessor,
    ) -> Result<Vec<Result<Frame, Skipped>>> {
        match self {
            Self::Encoded { pictures, turned } => pictures
                .read(places)?
                .into_par_iter()
                .zip(places)
                .map(|(encoded, &place)| {
                    let decoded = encoded.and_then(|encoded| {
                        let picture = Picture::decode(&encoded, preprocessor.recipe.channels);
                        picture.map_err(|reason| (encoded.name.clone(), reason)).map(|p| (p, encoded.name))
                    });
                    match decoded {
                        Ok(((picture, is_turned), name)) => {
                            if is_turned {
                                turned.lock().unwrap_or_else(PoisonError::into_inner).insert(place);
                            }
                            preprocessor.apply(picture).map(Ok).map_err(|e| e.file(name))
                        }
                        Err(skipped) => Ok(Err(skipped)),
                    }
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
                        let picture = Picture::of_row(array.element, bytes, *size, (*channels, *layout));
                        preprocessor.apply(picture).map(Ok)
                    })
                    .collect()
            }
        }
    }
}
