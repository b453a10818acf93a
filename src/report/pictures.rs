//! Pictures of a page: filters, images and their feature maps.

use image::ExtendedColorType;
use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};

use super::network::{LayerSize, sizes};
use super::page::{FeatureMaps, FilterSheet, Sheet};
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
) -> Result<(Option<Sheet>, Vec<FeatureMaps>)> {
    let only = images.and_then(|batch| Some((batch, batch.sample.only()?)));
    let Some((batch, shape)) = only else { return Ok((None, vec![])) };
    let one: usize = shape.iter().product();
    let count = batch.count.min(IMAGES);
    let images = &batch.data[..count * one];
    let of_images = Sizes::Sample(batch.sample.clone());
    let facts = Facts::infer(graph, &graph.input_shapes(None, &of_images)?)?;
    let chosen = chosen(&sizes(graph, &facts), &facts);
    let taps = chosen.iter().map(|&(_, value)| value).collect();
    let wanted =
        SessionOptions { images: count, sizes: of_images, taps, outputs: false, ..SessionOptions::default() };
    let mut session = Session::new(graph, device, &wanted, &|_| vec![])?;
    let shapes: Vec<Vec<usize>> = session.plan.outputs.iter().map(|p| p.shape.clone()).collect();
    let mut values = vec![Vec::new(); shapes.len()];
    let batch = session.batch;
    session.run_samples(images, &mut |outputs, real| {
        for (all, output) in values.iter_mut().zip(outputs) {
            all.extend_from_slice(&output[..output.len() / batch * real]);
        }
        Ok(())
    })?;
    let mut features = Vec::new();
    for ((&(layer, _), shape), values) in chosen.iter().zip(&shapes).zip(&values) {
        if let [n, channels, height, width] = shape[..]
            && n == batch
        {
            features.push(feature(layer, values, [count, channels, height, width])?);
        }
    }
    let shown = images.chunks(one.max(1)).map(|image| shown(image, shape, recipe));
    let shown: Option<Vec<Bitmap>> = shown.collect();
    Ok((shown.as_deref().map(sheet).transpose()?, features))
}

/// Chooses the layers with feature maps; returns their places and values.
fn chosen(sizes: &[LayerSize], facts: &Facts) -> Vec<(usize, ValueId)> {
    let value = |size: &LayerSize| size.taps.post.as_ref().map_or(size.taps.pre, |&(_, value)| value);
    let can = |&(_, value): &(usize, ValueId)| match facts.shape(value) {
        [_, channels, height, width] => *channels > 1 && *height.min(width) >= LEAST_SIDE,
        _ => false,
    };
    let all: Vec<(usize, ValueId)> =
        sizes.iter().enumerate().map(|(place, size)| (place, value(size))).filter(can).collect();
    let wanted = LAYERS.min(all.len());
    (0..wanted).map(|i| all[i * (all.len() - 1) / wanted.saturating_sub(1).max(1)]).collect()
}

/// Draws the feature maps of a layer, of evenly spaced channels.
///
/// Each channel has one range over all images, so that images can be compared.
fn feature(
    layer: usize,
    values: &[f32],
    [images, channels, height, width]: [usize; 4],
) -> Result<FeatureMaps> {
    let step = channels.div_ceil(CHANNELS);
    let picked: Vec<usize> = (0..channels).step_by(step).collect();
    let plane = |image: usize, channel: usize| {
        let at = (image * channels + channel) * height * width;
        smaller(&values[at..at + height * width], [height, width], MAP_SIDE)
    };
    let mut tiles: Vec<Vec<Bitmap>> = (0..images).map(|_| vec![]).collect();
    for &channel in &picked {
        let planes: Vec<_> = (0..images).map(|image| plane(image, channel)).collect();
        let finite = || planes.iter().flat_map(|p| &p.0).copied().filter(|v| v.is_finite());
        let (low, high) =
            (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
        let range = (high - low).max(f32::MIN_POSITIVE);
        for (tiles, (plane, [height, width])) in tiles.iter_mut().zip(planes) {
            // NaN becomes black: a cast converts it to 0.
            let pixels = plane.iter().map(|v| (255.0 * (v - low) / range) as u8).collect();
            tiles.push(Bitmap { width, height, pixels });
        }
    }
    let sheets = tiles.iter().map(|tiles| sheet(tiles)).collect::<Result<_>>()?;
    Ok(FeatureMaps { layer, channels: picked, sheets })
}

/// Draws an image before its preprocessing; `None` if it is not one.
fn shown(image: &[f32], shape: &[usize], recipe: Option<&Preprocessing>) -> Option<Bitmap> {
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
            Some(smaller(&plane, [height, width], IMAGE_SIDE))
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
        let tile = shown(&image, &[3, 1, 1], Some(&recipe)).expect("an image");
        assert_eq!(tile.pixels, [200, 50, 100], "blue came first");
        assert!(shown(&image, &[3, 1, 1], None).is_none());
    }
}
