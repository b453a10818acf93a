//! Pictures of a page: filters, images and their feature maps.

use std::collections::HashMap;

use image::ExtendedColorType;
use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};

use super::network::{LayerSize, sizes};
use super::parts::{FeatureMaps, FilterSheet, LayerSection, Sheet};
use crate::data::{Batch, ChannelOrder, Layout, Preprocessing};
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::{Session, SessionOptions};
use crate::graph::facts::Facts;
use crate::graph::{Graph, Sizes, ValueId};
use crate::stats::Filters;

/// The most filters shown.
const FILTERS: usize = 512;
/// The most images shown.
const IMAGES: usize = 3;
/// The longest side of an image, in pixels.
const IMAGE_SIDE: usize = 96;
/// The longest side of the picture of an image whose prediction changed, in pixels.
const THUMBNAIL_SIDE: usize = 64;
/// The most layers with feature maps shown.
const LAYERS: usize = 3;
/// The most feature maps shown per layer.
const CHANNELS: usize = 48;
/// The longest side of a feature map, in pixels.
const MAP_SIDE: usize = 32;
/// The least shorter side of a feature map worth showing, in pixels.
const LEAST_SIDE: usize = 4;

/// A picture of bytes, grey or in colour.
pub(super) struct Bitmap {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Pixels row by row, of 1 or 3 bytes each.
    pub(super) pixels: Vec<u8>,
}

/// Draws the filters of the first layer with windows over one or three channels.
///
/// # Errors
/// Weights that are not floats.
pub fn filters(graph: &Graph, facts: &Facts, recipe: Option<&Preprocessing>) -> Result<Option<FilterSheet>> {
    let found = sizes(graph, facts).into_iter().enumerate().find_map(|(place, size)| {
        let [height, width] = size.kernel[..] else { return None };
        let depth = size.inputs / size.taps.layer.groups.max(1);
        let weight = facts.get(size.taps.weight)?.value.as_ref()?;
        (matches!(depth, 1 | 3) && height * width > 1).then_some((
            place,
            size.taps,
            weight,
            depth,
            [height, width],
        ))
    });
    let Some((place, taps, weight, depth, [height, width])) = found else { return Ok(None) };
    let bgr = recipe.is_some_and(|r| r.order == ChannelOrder::Bgr);
    let rows = Filters::of(&taps.layer, weight, None)?.rows;
    let tiles = rows.iter().take(FILTERS).map(|row| {
        // Each filter has its own range around zero: the picture shows the pattern, the scatter plot its strength.
        let most = row.iter().fold(0.0f64, |most, w| most.max(w.abs()));
        let byte = |w: f64| if most > 0.0 { (127.5 + 127.5 * w / most).round() as u8 } else { 128 };
        let pixels =
            interleaved(height * width, depth, bgr, |channel, at| byte(row[channel * height * width + at]));
        Bitmap { width, height, pixels }
    });
    Ok(Some(FilterSheet { layer: place, sheet: sheet(&tiles.collect::<Vec<_>>())? }))
}

/// Interleaves planes to pixels.
pub(super) fn interleaved(len: usize, depth: usize, bgr: bool, get: impl Fn(usize, usize) -> u8) -> Vec<u8> {
    let channel = |c: usize| if bgr { depth - 1 - c } else { c };
    (0..len * depth).map(|i| get(channel(i % depth), i / depth)).collect()
}

/// The images of a page with their feature maps.
#[derive(Clone, Debug, Default)]
pub struct DrawnMaps {
    /// Images before their preprocessing; `None` if they are no pictures.
    pub images: Option<Sheet>,
    /// Feature maps of some layers.
    pub maps: Vec<FeatureMaps>,
    /// Lowest and highest value of each channel that is shown, by layer.
    ranges: Vec<Vec<[f32; 2]>>,
}

/// Draws images before their preprocessing, and their feature maps in some layers.
///
/// The layers are the first, one in the middle, and the last with maps of at least 4 pixels. `images` is a preprocessed
/// batch, of which the first three are drawn.
///
/// # Errors
/// A network that does not run on the device.
pub fn maps(
    graph: &Graph,
    device: &Device,
    images: Option<&Batch>,
    recipe: Option<&Preprocessing>,
) -> Result<DrawnMaps> {
    let only = images.and_then(|batch| Some((batch, batch.sample.only()?)));
    let Some((batch, shape)) = only else { return Ok(DrawnMaps::default()) };
    let facts = Facts::infer(graph, &graph.input_shapes(None, &Sizes::Sample(batch.sample.clone()))?)?;
    let chosen = chosen(&sizes(graph, &facts), &facts);
    let mut drawn = DrawnMaps::default();
    for (&(layer, _), found) in chosen.iter().zip(planes(graph, device, batch, &chosen)?) {
        let Some(planes) = found else { continue };
        let step = planes.channels.div_ceil(CHANNELS);
        let channels: Vec<usize> = (0..planes.channels).step_by(step).collect();
        let ranges: Vec<[f32; 2]> = channels.iter().map(|&channel| planes.range(channel)).collect();
        let shown: Vec<_> = channels.iter().copied().zip(ranges.iter().copied()).collect();
        drawn.maps.push(FeatureMaps { layer, sheets: planes.sheets(&shown)?, after: vec![], channels });
        drawn.ranges.push(ranges);
    }
    let one: usize = shape.iter().product();
    let images = batch.data[..batch.count.min(IMAGES) * one].chunks(one.max(1));
    let shown: Option<Vec<Bitmap>> = images.map(|image| shown(image, shape, recipe, IMAGE_SIDE)).collect();
    drawn.images = shown.as_deref().map(sheet).transpose()?;
    Ok(drawn)
}

impl DrawnMaps {
    /// Adds the maps of the kept channels in the pruned network, in the ranges of the original.
    ///
    /// `layers` are those of the page, by whose names the pruned network's layers are found.
    ///
    /// # Errors
    /// A network that does not run on the device.
    pub fn add_pruned(
        &mut self,
        graph: &Graph,
        device: &Device,
        images: &Batch,
        layers: &[LayerSection],
    ) -> Result<()> {
        let facts = Facts::infer(graph, &graph.input_shapes(None, &Sizes::Sample(images.sample.clone()))?)?;
        let others = sizes(graph, &facts);
        let by_name: HashMap<&str, &LayerSize> =
            others.iter().map(|size| (graph.nodes[size.taps.node].name.as_str(), size)).collect();
        let found = |map: &FeatureMaps| by_name.get(layers[map.layer].name.as_str()).map(|s| activation(s));
        let places: Vec<(usize, ValueId)> =
            self.maps.iter().enumerate().filter_map(|(i, map)| Some((i, found(map)?))).collect();
        for (&(i, _), planes) in places.iter().zip(planes(graph, device, images, &places)?) {
            let map = &mut self.maps[i];
            let state = layers[map.layer].state.as_bytes();
            let Some(planes) = planes.filter(|p| p.channels == layers[map.layer].width[1]) else { continue };
            let is_cut = |channel: usize| state.get(channel) == Some(&b'c');
            // A kept channel moves up by the removed ones before it.
            let moved = |channel: usize| (0..channel).filter(|&before| !is_cut(before)).count();
            let of_map = map.channels.iter().zip(&self.ranges[i]).filter(|(channel, _)| !is_cut(**channel));
            let shown: Vec<_> = of_map.map(|(&channel, &range)| (moved(channel), range)).collect();
            map.after = planes.sheets(&shown)?;
        }
        Ok(())
    }
}

/// Draws images of one size before their preprocessing, smaller than those of feature maps; `None` for other images.
///
/// Returns the place of each image in the picture.
///
/// # Errors
/// A picture that cannot be encoded.
pub fn thumbnails(
    images: &[Option<Batch>],
    recipe: &Preprocessing,
) -> Result<(Option<Sheet>, Vec<Option<usize>>)> {
    let mut tiles: Vec<Bitmap> = Vec::new();
    let mut places = Vec::new();
    for image in images {
        let tile = image.as_ref().and_then(|image| {
            let shape = image.sample.only()?;
            shown(image.data.get(..shape.iter().product())?, shape, Some(recipe), THUMBNAIL_SIDE)
        });
        // The tiles of a picture have one size.
        let fits = |tile: &Bitmap| {
            tiles.first().is_none_or(|first| (first.width, first.height) == (tile.width, tile.height))
        };
        let tile = tile.filter(fits);
        places.push(tile.as_ref().map(|_| tiles.len()));
        tiles.extend(tile);
    }
    let picture = if tiles.is_empty() { None } else { Some(sheet(&tiles)?) };
    Ok((picture, places))
}

/// The planes of a value for some images.
struct Planes {
    values: Vec<f32>,
    images: usize,
    channels: usize,
    height: usize,
    width: usize,
}

impl Planes {
    fn plane(&self, image: usize, channel: usize) -> &[f32] {
        let len = self.height * self.width;
        &self.values[(image * self.channels + channel) * len..][..len]
    }

    /// Returns the lowest and highest value of a channel over all images, after its planes were made smaller.
    fn range(&self, channel: usize) -> [f32; 2] {
        let small =
            (0..self.images).map(|i| smaller(self.plane(i, channel), [self.height, self.width], MAP_SIDE));
        let finite = small.flat_map(|(plane, _)| plane).filter(|v| v.is_finite());
        finite.fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], v| [low.min(v), high.max(v)])
    }

    /// Draws channels in their ranges: a picture for each image.
    fn sheets(&self, channels: &[(usize, [f32; 2])]) -> Result<Vec<Sheet>> {
        let tile = |image: usize, (channel, [low, high]): (usize, [f32; 2])| {
            let (plane, [height, width]) =
                smaller(self.plane(image, channel), [self.height, self.width], MAP_SIDE);
            let range = (high - low).max(f32::MIN_POSITIVE);
            // NaN becomes black: a cast converts it to 0.
            let pixels = plane.iter().map(|v| (255.0 * (v - low) / range) as u8).collect();
            Bitmap { width, height, pixels }
        };
        let picture =
            |image: usize| sheet(&channels.iter().map(|&channel| tile(image, channel)).collect::<Vec<_>>());
        (0..self.images).map(picture).collect()
    }
}

/// Computes the planes of values for the first images of a batch; `None` for a value without planes for each image.
fn planes(
    graph: &Graph,
    device: &Device,
    batch: &Batch,
    values: &[(usize, ValueId)],
) -> Result<Vec<Option<Planes>>> {
    let images = batch.count.min(IMAGES);
    let wanted = SessionOptions {
        images,
        sizes: Sizes::Sample(batch.sample.clone()),
        taps: values.iter().map(|&(_, value)| value).collect(),
        outputs: false,
        ..SessionOptions::default()
    };
    if values.is_empty() {
        return Ok(vec![]);
    }
    let mut session = Session::new(graph, device, &wanted, &|_| vec![])?;
    let shapes: Vec<Vec<usize>> = session.plan.outputs.iter().map(|p| p.shape.clone()).collect();
    let mut found = vec![Vec::new(); shapes.len()];
    let of_run = session.batch;
    let elements = images * batch.sample.elements();
    session.run_samples(&batch.data[..elements], &mut |outputs, real| {
        for (all, output) in found.iter_mut().zip(outputs) {
            all.extend_from_slice(&output[..output.len() / of_run * real]);
        }
        Ok(())
    })?;
    let planes = |(shape, values): (&Vec<usize>, Vec<f32>)| match shape[..] {
        [n, channels, height, width] if n == of_run => {
            Some(Planes { values, images, channels, height, width })
        }
        _ => None,
    };
    Ok(shapes.iter().zip(found).map(planes).collect())
}

/// Returns the output of a layer, after its activation if there is one.
fn activation(size: &LayerSize) -> ValueId {
    size.taps.post.as_ref().map_or(size.taps.pre, |&(_, value)| value)
}

/// Chooses the layers with feature maps; returns their places and values.
fn chosen(sizes: &[LayerSize], facts: &Facts) -> Vec<(usize, ValueId)> {
    let can = |&(_, value): &(usize, ValueId)| match facts.shape(value) {
        [_, channels, height, width] => *channels > 1 && *height.min(width) >= LEAST_SIDE,
        _ => false,
    };
    let all: Vec<(usize, ValueId)> =
        sizes.iter().enumerate().map(|(place, size)| (place, activation(size))).filter(can).collect();
    let wanted = LAYERS.min(all.len());
    (0..wanted).map(|i| all[i * (all.len() - 1) / wanted.saturating_sub(1).max(1)]).collect()
}

/// Draws an image before its preprocessing; `None` if it is not one.
fn shown(image: &[f32], shape: &[usize], recipe: Option<&Preprocessing>, side: usize) -> Option<Bitmap> {
    // Recordings have a sample rate, and are no pictures.
    let recipe = recipe.filter(|recipe| recipe.rate.is_none())?;
    let (depth, height, width) = match (shape, recipe.layout) {
        (&[c, h, w], Layout::Nchw) | (&[h, w, c], Layout::Nhwc) if matches!(c, 1 | 3) => (c, h, w),
        (&[h, w], _) => (1, h, w),
        _ => return None,
    };
    let area = height * width;
    let planes: Vec<_> = (0..depth)
        .map(|c| {
            let (mean, std) = (recipe.mean.get(c).copied()?, recipe.std.get(c).copied()?);
            let at = |i: usize| if recipe.layout == Layout::Nchw { c * area + i } else { i * depth + c };
            let plane: Vec<f32> = (0..area).map(|i| (image[at(i)] * std + mean) * recipe.scale).collect();
            Some(smaller(&plane, [height, width], side))
        })
        .collect::<Option<_>>()?;
    let [height, width] = planes.first()?.1;
    let bgr = recipe.order == ChannelOrder::Bgr && depth == 3;
    let pixels = interleaved(height * width, depth, bgr, |c, i| planes[c].0[i].round() as u8);
    Some(Bitmap { width, height, pixels })
}

/// Shrinks a plane to sides of at most `most`, by means over squares of pixels.
pub(super) fn smaller(plane: &[f32], [height, width]: [usize; 2], most: usize) -> (Vec<f32>, [usize; 2]) {
    let by = height.max(width).div_ceil(most).max(1);
    let [h, w] = [height / by, width / by].map(|n| n.max(1));
    let (tall, wide) = (by.min(height), by.min(width));
    let mean = |i: usize| {
        let (top, left) = (i / w * tall, i % w * wide);
        let rows = (top..top + tall).map(|y| plane[y * width + left..][..wide].iter().sum::<f32>());
        rows.sum::<f32>() / (tall * wide) as f32
    };
    ((0..h * w).map(mean).collect(), [h, w])
}

/// Encodes tiles of one size as one picture.
pub(super) fn sheet(tiles: &[Bitmap]) -> Result<Sheet> {
    let Some(first) = tiles.first() else { return Ok(Sheet::default()) };
    let (width, height) = (first.width, first.height);
    let depth = first.pixels.len() / (width * height).max(1);
    let columns = (1..=tiles.len()).find(|n| n * n >= tiles.len()).unwrap_or(1);
    let rows = tiles.len().div_ceil(columns);
    let line = columns * width * depth;
    let mut all = vec![0u8; rows * height * line];
    for (i, tile) in tiles.iter().enumerate() {
        for (y, pixels) in tile.pixels.chunks(width * depth).enumerate() {
            let at = (i / columns * height + y) * line + i % columns * width * depth;
            all[at..at + pixels.len()].copy_from_slice(pixels);
        }
    }
    let color = if depth == 3 { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::Adaptive)
        .write_image(&all, (columns * width) as u32, (rows * height) as u32, color)
        .map_err(|e| {
            Error::new("a picture of the report cannot be encoded")
                .got(e.to_string())
                .with_source(e)
                .internal()
        })?;
    Ok(Sheet { png: base64(&png), tile: [width, height], columns, count: tiles.len() })
}

/// Encodes bytes in base64 with padding, RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, &b| bits << 8 | u32::from(b)) << (8 * (3 - three.len()));
        for i in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63]);
            text.push(if i > three.len() { '=' } else { digit });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }

    #[test]
    fn planes_shrink_by_means() {
        let plane: Vec<f32> = (0..24u8).map(f32::from).collect();
        assert_eq!(smaller(&plane, [4, 6], 6), (plane.clone(), [4, 6]));
        let (half, size) = smaller(&plane, [4, 6], 3);
        assert_eq!((half, size), (vec![3.5, 5.5, 7.5, 15.5, 17.5, 19.5], [2, 3]));
        assert_eq!(smaller(&[1.0, 2.0, 3.0, 4.0, 5.0], [1, 5], 2), (vec![2.0], [1, 1]));
    }

    #[test]
    fn a_sheet_contains_its_tiles() {
        let tile = |v: u8| Bitmap { width: 2, height: 1, pixels: vec![v, v + 1] };
        let sheet = sheet(&[tile(10), tile(20), tile(30)]).expect("a picture");
        assert_eq!((sheet.tile, sheet.columns, sheet.count), ([2, 1], 2, 3));
        // The pixels of the decoded PNG.
        let digits: Vec<u8> = sheet.png.bytes().filter(|&b| b != b'=').collect();
        let place =
            |b: u8| "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".find(char::from(b));
        let bits: Vec<u32> = digits.iter().map(|&b| place(b).expect("a digit") as u32).collect();
        let bytes: Vec<u8> = (0..bits.len() * 6 / 8)
            .map(|i| {
                (0..8)
                    .fold(0, |byte, j| byte << 1 | (bits[(8 * i + j) / 6] >> (5 - (8 * i + j) % 6) & 1) as u8)
            })
            .collect();
        let picture = image::load_from_memory(&bytes).expect("a PNG").into_luma8();
        assert_eq!(picture.dimensions(), (4, 2));
        assert_eq!(picture.into_raw(), [10, 11, 20, 21, 30, 31, 0, 0]);
    }

    #[test]
    fn images_are_shown_as_they_were() {
        let recipe = Preprocessing {
            resize: None,
            crop: None,
            letterbox: None,
            channels: 3,
            order: ChannelOrder::Bgr,
            scale: 255.0,
            mean: vec![0.5, 0.25, 0.0],
            std: vec![0.5, 0.25, 1.0],
            layout: Layout::Nchw,
            rate: None,
            length: None,
        };
        let image: Vec<f32> = [100.0, 50.0, 200.0]
            .iter()
            .zip(recipe.mean.iter().zip(&recipe.std))
            .map(|(v, (mean, std))| (v / 255.0 - mean) / std)
            .collect();
        let tile = shown(&image, &[3, 1, 1], Some(&recipe), 96).expect("an image");
        assert_eq!(tile.pixels, [200, 50, 100], "blue came first");
        assert!(shown(&image, &[3, 1, 1], None, 96).is_none());
    }
}
