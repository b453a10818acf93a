//! Label images: a mask or a target picture for every image of a data set.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::arrays::{self, Array, Kind};
use super::encoded::EncodedPicture;
use super::letterbox::Letterbox;
use super::mask::{self, Mask};
use super::metrics::segmentation::IGNORED;
use super::picture::{Picture, centred, shorter_to};
use super::recipe::{ChannelOrder, Layout, Preprocessing, ResizeTo, Size};
use super::{DataSources, Dataset, folder, npz, resolve};
use crate::error::{Error, Result};
use crate::tensor::show;

/// The place of an image in its data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImagePlace {
    /// The number of the image, or of the sample of several images, in the whole set, from 0.
    pub index: usize,
    /// The image's file, if it has one of its own; of a sample, that of its first image.
    pub file: Option<PathBuf>,
}

impl Dataset {
    /// Returns the place of the image at position `at` of a pass ([`super::Batch::places`]).
    ///
    /// # Panics
    /// Panics if the pass has fewer images.
    pub fn place(&self, at: usize) -> ImagePlace {
        let index = self.inner.range.start + self.order[at];
        let file = self.inner.parts.file(index);
        ImagePlace { index, file }
    }
}

/// Masks or target pictures, found by the names or numbers of images.
#[derive(Clone, Debug)]
pub struct LabelImages {
    path: PathBuf,
    source: LabelSource,
}

#[derive(Clone, Debug)]
enum LabelSource {
    /// Files by their stems, which are those of the images.
    Files(HashMap<String, PathBuf>),
    /// One array, whose first axis counts images.
    Array(Array),
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

impl LabelImages {
    /// Opens a folder of pictures, a `.npy` file, or the labels of a `.npz` file.
    ///
    /// Pictures belong to images with the same stem: `masks/7.png` to `images/7.jpg`. Arrays are N×H×W or N×C×H×W.
    ///
    /// # Errors
    /// A path that cannot be read, or without pictures or such an array.
    pub fn open(path: &Path) -> Result<Self> {
        let source = if path.is_dir() {
            LabelSource::Files(files(path)?)
        } else {
            let start = std::fs::File::open(path)
                .and_then(|file| {
                    let mut start = Vec::new();
                    std::io::Read::read_to_end(&mut std::io::Read::take(file, 2), &mut start)?;
                    Ok(start)
                })
                .map_err(|e| Error::io("open the label images", path, e))?;
            let array = match start.as_slice() {
                b"\x93N" => Some(arrays::open_npy(path)?),
                b"PK" => npz::label_images(path, None)?,
                _ => None,
            };
            let array = array.filter(Array::is_of_images).ok_or_else(|| {
                Error::new("these are no label images")
                    .file(path)
                    .expected("a folder of pictures, or an array N×H×W or N×C×H×W (`labels` of a .npz)")
                    .remedy("give one label image for each image")
            })?;
            LabelSource::Array(array)
        };
        Ok(Self { path: path.to_path_buf(), source })
    }

    /// Opens the label images that a `.npz` file holds beside its images, if there are any.
    ///
    /// # Errors
    /// A file that cannot be read, and label images in one of several sources.
    pub fn within(data: &DataSources) -> Result<Option<Self>> {
        let mut found = None;
        let paths = resolve::paths(data)?;
        for (path, part) in &paths {
            let is_archive = path.extension().is_some_and(|extension| extension == "npz");
            if !path.is_file() || !is_archive {
                continue;
            }
            let array = npz::label_images(path, part.as_deref())?.filter(Array::is_of_images);
            if let Some(array) = array {
                found = Some(Self { path: path.clone(), source: LabelSource::Array(array) });
            }
        }
        match found {
            Some(Self { path, .. }) if paths.len() > 1 => {
                Err(Error::new("label images inside of one of several data sets")
                    .file(path)
                    .expected("one data set, or label images of all images as `labels`")
                    .remedy("give one data set, or set `labels` to a .npy file of all label images"))
            }
            found => Ok(found),
        }
    }

    /// Returns whether a label image is a mask: a grey or palette picture, or an array of integers N×H×W.
    ///
    /// # Errors
    /// An image without a label image.
    pub fn are_masks(&self, place: &ImagePlace) -> Result<bool> {
        match &self.source {
            LabelSource::Files(_) => Ok(mask::decode(self.file(place)?).is_ok()),
            LabelSource::Array(array) => Ok(array.shape.len() == 3 && array.element.kind != Kind::Float),
        }
    }

    /// Returns the largest value of pictures of bytes after division by the recipe's scale; `None` for floats.
    pub fn peak(&self, recipe: &Preprocessing) -> Option<f64> {
        let bytes = match &self.source {
            LabelSource::Files(_) => true,
            LabelSource::Array(array) => array.element.kind == Kind::Uint && array.element.size == 1,
        };
        bytes.then(|| 255.0 / f64::from(recipe.scale))
    }

    /// Returns the class of every pixel of a map of size `height` × `width` that a network computes for an image.
    ///
    /// A mask of another size is taken to have the size of the image before preprocessing: it is resized and cropped
    /// like the image, and the nearest of its pixels counts.
    ///
    /// # Errors
    /// An image without a mask, or a file that is no mask.
    pub fn classes(&self, place: &ImagePlace, recipe: &Preprocessing, to: [usize; 2]) -> Result<Vec<u32>> {
        let mask = match &self.source {
            LabelSource::Files(_) => {
                let file = self.file(place)?;
                mask::decode(file).map_err(|reason| {
                    Error::new("this label image is no mask")
                        .file(file)
                        .expected("a grey or palette picture whose values are class indices")
                        .got(reason)
                        .remedy("write masks as grey PNG files; 255 marks pixels that do not count")
                })?
            }
            LabelSource::Array(array) => {
                let row = self.row(array, place)?;
                let [height, width] = match array.shape[1..] {
                    [height, width] | [1, height, width] | [height, width, 1]
                        if array.element.kind != Kind::Float =>
                    {
                        [height, width]
                    }
                    _ => {
                        return Err(Error::new("the label images are no masks")
                            .file(&self.path)
                            .expected("an array of integers, N×H×W")
                            .got(format!("{} of {}", show(&array.shape), array.element.name()))
                            .remedy("save one class index for each pixel, as uint8 for example"));
                    }
                };
                // A negative index is another convention for pixels that do not count.
                let class = |v: i64| u32::try_from(v).unwrap_or(IGNORED);
                let classes = array.element.to_i64(&row).into_iter().map(class).collect();
                Mask { size: Size { height, width }, classes }
            }
        };
        let to = Size { height: to[0], width: to[1] };
        let (rows, columns) = sampled(mask.size, to, recipe).map_err(|e| e.file(&self.path))?;
        let width = mask.size.width;
        let at = |&y: &Option<usize>| columns.iter().map(move |&x| Some(y? * width + x?));
        // The padding of a letterbox does not count.
        Ok(rows.iter().flat_map(at).map(|i| i.map_or(IGNORED, |i| mask.classes[i])).collect())
    }

    /// Returns the target picture of an image, in the layout of the network's output `shape` (without the batch axis).
    ///
    /// Bytes are divided by the recipe's scale like inputs, but have neither its mean nor its deviation. Floats stay.
    ///
    /// # Errors
    /// An image without a picture, and one of another size.
    pub fn picture(&self, place: &ImagePlace, recipe: &Preprocessing, shape: &[usize]) -> Result<Vec<f32>> {
        let misfit = |got: String| {
            Error::new("a label image does not have the size of the output")
                .expected(show(shape))
                .got(got)
                .remedy("give label images of the output's size")
        };
        match &self.source {
            LabelSource::Array(array) => {
                let row = self.row(array, place)?;
                let one = &array.shape[1..];
                let count: usize = one.iter().product();
                let extents =
                    |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|&d| d != 1).collect() };
                if count != shape.iter().product::<usize>() || extents(one) != extents(shape) {
                    return Err(misfit(show(one)).file(&self.path));
                }
                let values = array.element.to_f32(&row);
                let bytes = array.element.kind == Kind::Uint && array.element.size == 1;
                let scale = if bytes { recipe.scale } else { 1.0 };
                Ok(values.into_iter().map(|v| v / scale).collect())
            }
            LabelSource::Files(_) => {
                let file = self.file(place)?;
                let dims = match (recipe.layout, shape) {
                    (Layout::Nchw, &[channels, height, width]) => Some((channels, height, width)),
                    (Layout::Nhwc, &[height, width, channels]) => Some((channels, height, width)),
                    (_, &[height, width]) => Some((1, height, width)),
                    _ => None,
                };
                let (channels, height, width) =
                    dims.filter(|dims| matches!(dims.0, 1 | 3)).ok_or_else(|| {
                        Error::new("the output is no picture, so pictures cannot be its labels")
                            .expected("one or three channels")
                            .got(show(shape))
                            .remedy("give an array of the output's shape as `labels`")
                    })?;
                let decoded =
                    EncodedPicture::of_file(file).and_then(|encoded| Picture::decode(&encoded, channels));
                let (picture, _) = decoded.map_err(|reason| {
                    Error::new("a label image cannot be decoded")
                        .file(file)
                        .got(reason)
                        .remedy("replace it, or remove its image")
                })?;
                let size = Size { height, width };
                if picture.size() != size {
                    return Err(misfit(picture.size().to_string()).file(file));
                }
                let values = picture.values(channels);
                let plane = height * width;
                let held = |c: usize| if recipe.order == ChannelOrder::Bgr { channels - 1 - c } else { c };
                let from = |c: usize, at: usize| values[held(c) * plane + at] / recipe.scale;
                Ok(match recipe.layout {
                    Layout::Nchw => (0..channels)
                        .flat_map(|c| (0..plane).map(move |at| (c, at)))
                        .map(|(c, at)| from(c, at))
                        .collect(),
                    Layout::Nhwc => (0..plane)
                        .flat_map(|at| (0..channels).map(move |c| (c, at)))
                        .map(|(c, at)| from(c, at))
                        .collect(),
                })
            }
        }
    }

    /// Returns the label file of an image.
    fn file(&self, place: &ImagePlace) -> Result<&Path> {
        let LabelSource::Files(files) = &self.source else {
            return Err(Error::new("label images in one array have no files").internal());
        };
        let Some(image) = &place.file else {
            return Err(Error::new("a folder of label images needs images with names")
                .file(&self.path)
                .got(format!("image {} of an array", place.index))
                .remedy("give the label images as an array, too"));
        };
        files.get(&stem(image)).map(PathBuf::as_path).ok_or_else(|| {
            Error::new("an image has no label image")
                .file(image)
                .expected(format!("a picture named {} in {}", stem(image), self.path.display()))
                .remedy("add it, or remove the image")
        })
    }

    /// Returns the bytes of an image's label.
    fn row<'a>(&self, array: &'a Array, place: &ImagePlace) -> Result<std::borrow::Cow<'a, [u8]>> {
        let count = array.shape[0];
        if place.index >= count {
            return Err(Error::new("there are fewer label images than images")
                .file(&self.path)
                .expected(format!("one for image {}", place.index))
                .got(format!("{count} in all"))
                .remedy("give one label image for each image"));
        }
        array.rows(place.index..place.index + 1)
    }
}

fn files(path: &Path) -> Result<HashMap<String, PathBuf>> {
    let mut files = HashMap::new();
    for file in folder::entries(path)?.into_iter().filter(|file| folder::is_image(file)) {
        if let Some(other) = files.insert(stem(&file), file.clone()) {
            return Err(Error::new("two label images have one name")
                .file(&file)
                .got(other.display().to_string())
                .remedy("keep one of them"));
        }
    }
    if files.is_empty() {
        return Err(Error::new("the folder has no label images")
            .file(path)
            .remedy("give a folder of pictures named like the images"));
    }
    Ok(files)
}

/// Rows or columns of a mask; `None` in the padding of a letterbox.
type Places = Vec<Option<usize>>;

/// Returns the rows and columns of a mask that are nearest to those of an output, through resizing and cropping.
fn sampled(mask: Size, to: Size, recipe: &Preprocessing) -> Result<(Places, Places)> {
    if let (Some(_), Some(ResizeTo::Exact(size))) = (recipe.letterbox, recipe.resize)
        && mask != to
        && mask != size
    {
        let Letterbox { inner, top, left } = Letterbox::new(mask, size);
        return Ok((
            unpadded(mask.height, (inner.height, top), size.height, to.height),
            unpadded(mask.width, (inner.width, left), size.width, to.width),
        ));
    }
    let resized = match recipe.resize {
        Some(ResizeTo::Exact(size)) => size,
        Some(ResizeTo::Shorter(side)) => shorter_to(side, mask),
        None => mask,
    };
    let crop = recipe.crop.unwrap_or(resized);
    // Masks of the output's size, or of the size of the network's input, went through it already.
    let (resized, crop) = if mask == to || mask == crop { (mask, mask) } else { (resized, crop) };
    if crop.height > resized.height || crop.width > resized.width {
        return Err(Error::new("a mask is smaller than the crop")
            .expected(format!("at least {crop}"))
            .got(resized.to_string())
            .remedy("give masks of the size of their images"));
    }
    let axis = |mask: usize, resized: usize, crop: usize, to: usize| -> Places {
        let offset = centred(resized - crop) as f64;
        let place = |i: usize| {
            let within = (i as f64 + 0.5) * crop as f64 / to as f64 + offset;
            Some(((within * mask as f64 / resized as f64) as usize).min(mask - 1))
        };
        (0..to).map(place).collect()
    };
    Ok((
        axis(mask.height, resized.height, crop.height, to.height),
        axis(mask.width, resized.width, crop.width, to.width),
    ))
}

/// Returns the places along an axis of a mask whose `inner` pixels lie behind `before` of a padded image.
fn unpadded(mask: usize, (inner, before): (usize, usize), padded: usize, to: usize) -> Places {
    let place = |i: usize| {
        let within = (i as f64 + 0.5) * padded as f64 / to as f64 - before as f64;
        let is_inside = (0.0..inner as f64).contains(&within);
        is_inside.then(|| ((within * mask as f64 / inner as f64) as usize).min(mask - 1))
    };
    (0..to).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataOptions;

    fn recipe(resize: Option<ResizeTo>, crop: Option<Size>) -> Preprocessing {
        Preprocessing {
            resize,
            crop,
            letterbox: None,
            channels: 3,
            order: ChannelOrder::Bgr,
            scale: 255.0,
            mean: vec![0.5],
            std: vec![0.5],
            layout: Layout::Nchw,
            rate: None,
            length: None,
        }
    }

    fn square(side: usize) -> Size {
        Size { height: side, width: side }
    }

    fn place(index: usize, file: &Path) -> ImagePlace {
        ImagePlace { index, file: Some(file.to_path_buf()) }
    }

    #[test]
    fn masks_go_through_the_geometry_of_their_images() {
        // 8×16 is resized to 4×8 and cropped to its middle 4×4: columns 4..12 of the mask.
        let recipe = recipe(Some(ResizeTo::Shorter(4)), Some(square(4)));
        let (rows, columns) = sampled(Size { height: 8, width: 16 }, square(4), &recipe).unwrap();
        let some = |places: &[usize]| places.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!((rows, columns), (some(&[1, 3, 5, 7]), some(&[5, 7, 9, 11])));
        let (rows, _) = sampled(Size { height: 8, width: 16 }, square(2), &recipe).unwrap();
        assert_eq!(rows, some(&[2, 6]), "an output of half the input's size");
        let (rows, columns) = sampled(square(4), square(4), &recipe).unwrap();
        assert_eq!((rows, columns), (some(&[0, 1, 2, 3]), some(&[0, 1, 2, 3])), "of the output's own size");
        assert!(sampled(square(3), square(2), &self::recipe(None, Some(square(4)))).is_err());
    }

    #[test]
    fn padding_of_a_letterbox_does_not_count() {
        // 4×8 becomes 2×4 in the middle rows of 4×4.
        let boxed = Preprocessing { letterbox: Some(114), ..recipe(Some(ResizeTo::Exact(square(4))), None) };
        let (rows, columns) = sampled(Size { height: 4, width: 8 }, square(4), &boxed).unwrap();
        assert_eq!(rows, [None, Some(1), Some(3), None]);
        assert_eq!(columns, [Some(1), Some(3), Some(5), Some(7)]);
        let (rows, _) = sampled(square(4), square(4), &boxed).unwrap();
        assert_eq!(rows, [Some(0), Some(1), Some(2), Some(3)], "padded already");
    }

    #[test]
    fn labels_are_found_by_stem_or_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masks");
        std::fs::create_dir(&path).unwrap();
        let grey = image::GrayImage::from_raw(2, 1, vec![4, 255]).unwrap();
        grey.save(path.join("cat.png")).unwrap();
        let labels = LabelImages::open(&path).unwrap();
        let recipe = recipe(None, None);
        let cat = place(5, Path::new("images/cat.jpg"));
        assert!(labels.are_masks(&cat).unwrap());
        assert_eq!(labels.classes(&cat, &recipe, [1, 2]).unwrap(), [4, 255]);
        let missing = labels.classes(&place(5, Path::new("images/dog.jpg")), &recipe, [1, 2]);
        assert!(missing.unwrap_err().to_string().contains("named dog"));
        let file = folder.path().join("labels.npy");
        let tensor =
            crate::tensor::Tensor::from_f64(crate::tensor::DType::I32, &[2, 1, 2], &[7.0, 8.0, 9.0, -1.0]);
        arrays::write_npy(&file, &tensor).unwrap();
        let labels = LabelImages::open(&file).unwrap();
        assert_eq!(labels.classes(&place(1, &file), &recipe, [1, 2]).unwrap(), [9, 255]);
        assert!(labels.classes(&place(2, &file), &recipe, [1, 2]).is_err(), "one too few");
    }

    #[test]
    fn pictures_have_the_scale_and_order_of_inputs_without_mean() {
        let folder = tempfile::tempdir().unwrap();
        let colours = image::RgbImage::from_raw(2, 1, vec![255, 0, 51, 0, 0, 102]).unwrap();
        colours.save(folder.path().join("a.png")).unwrap();
        let labels = LabelImages::open(folder.path()).unwrap();
        let a = place(0, Path::new("a.jpg"));
        assert!(!labels.are_masks(&a).unwrap());
        let found = labels.picture(&a, &recipe(None, None), &[3, 1, 2]).unwrap();
        assert_eq!(found, [0.2, 0.4, 0.0, 0.0, 1.0, 0.0], "blue first");
        let nhwc = Preprocessing { layout: Layout::Nhwc, ..recipe(None, None) };
        assert_eq!(labels.picture(&a, &nhwc, &[1, 2, 3]).unwrap(), [0.2, 0.0, 1.0, 0.4, 0.0, 0.0]);
        let small = labels.picture(&a, &recipe(None, None), &[3, 1, 1]);
        assert!(small.unwrap_err().to_string().contains("1x2"));
    }

    #[test]
    fn places_name_the_files_of_images() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "b.png", "c.png"] {
            image::RgbImage::new(2, 2).save(folder.path().join(name)).unwrap();
        }
        let input = [None, Some(3), Some(2), Some(2)];
        let spec = folder.path().to_string_lossy().into_owned();
        let data = Dataset::open(&spec, &DataOptions::default(), &input).unwrap();
        let (_, held) = data.split(0.34).unwrap();
        let found = held.place(0);
        assert_eq!((found.index, found.file.map(|f| stem(&f))), (2, Some("c".to_owned())));
    }
}
