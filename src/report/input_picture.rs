//! Pictures of images as the network receives them, after resize, crop, padding and normalization.

use super::page::InputSheet;
use super::pictures::{Bitmap, interleaved, sheet, smaller};
use crate::data::{Batch, ChannelOrder, Layout, Preprocessing};
use crate::error::Result;

/// The most images shown.
const IMAGES: usize = 3;
/// The longest side of an image, in pixels.
const SIDE: usize = 160;

/// Draws the first three images of a preprocessed batch; `None` if they are no images.
///
/// The values of all channels are mapped to 0..255 by their least and largest value, which the page names. Channels are
/// shown in the order of colours that the recipe gives them.
///
/// # Errors
/// A picture that cannot be encoded.
pub fn inputs(batch: &Batch, recipe: &Preprocessing) -> Result<Option<InputSheet>> {
    let Some(shape) = batch.sample.only().filter(|_| recipe.rate.is_none()) else { return Ok(None) };
    let (depth, height, width) = match (shape, recipe.layout) {
        (&[c, h, w], Layout::Nchw) | (&[h, w, c], Layout::Nhwc) if matches!(c, 1 | 3) => (c, h, w),
        _ => return Ok(None),
    };
    let area = height * width;
    let shown = &batch.data[..batch.count.min(IMAGES) * depth * area];
    let finite = || shown.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    if low > high {
        return Ok(None);
    }
    let range = (high - low).max(f32::MIN_POSITIVE);
    let bgr = recipe.order == ChannelOrder::Bgr && depth == 3;
    let tile = |image: &[f32]| {
        let plane = |c: usize| {
            let at = |i: usize| if recipe.layout == Layout::Nchw { c * area + i } else { i * depth + c };
            let plane: Vec<f32> = (0..area).map(|i| image[at(i)]).collect();
            smaller(&plane, [height, width], SIDE)
        };
        let planes: Vec<_> = (0..depth).map(plane).collect();
        let [height, width] = planes[0].1;
        let byte = |c: usize, i: usize| (255.0 * (planes[c].0[i] - low) / range).round() as u8;
        Bitmap { width, height, pixels: interleaved(height * width, depth, bgr, byte) }
    };
    let tiles: Vec<Bitmap> = shown.chunks_exact((depth * area).max(1)).map(tile).collect();
    let size = [depth, height, width];
    Ok(Some(InputSheet { sheet: sheet(&tiles)?, range: [low, high], size }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataOptions, Dataset, Preset};

    /// Decodes the picture that a sheet holds.
    fn pixels(sheet: &InputSheet) -> Vec<u8> {
        const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digits = sheet.sheet.png.chars().filter(|&c| c != '=');
        let bits: Vec<u8> = digits
            .flat_map(|c| {
                let digit = DIGITS.find(c).expect("a digit");
                (0..6).rev().map(move |bit| (digit >> bit & 1) as u8)
            })
            .collect();
        let bytes: Vec<u8> =
            bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | bit)).collect();
        image::load_from_memory(&bytes).expect("a PNG").into_bytes()
    }

    #[test]
    fn images_are_drawn_by_the_range_of_their_values() {
        // Two images of 2×1 pixels, blue first in the network: (0, 51, 102), (153, 204, 255), then black.
        let bytes = vec![0, 51, 102, 153, 204, 255, 0, 0, 0, 0, 0, 0];
        for (layout, input) in [
            (Layout::Nchw, [None, Some(3), Some(2), Some(1)]),
            (Layout::Nhwc, [None, Some(2), Some(1), Some(3)]),
        ] {
            let options = DataOptions {
                preset: Some(Preset::Unit),
                mean: Some(vec![0.5]),
                std: Some(vec![0.5]),
                channels: Some(ChannelOrder::Bgr),
                layout: Some(layout),
                ..DataOptions::default()
            };
            let data =
                Dataset::from_bytes(bytes.clone(), &[2, 2, 1, 3], None, &options, &input).expect("images");
            let batch = data.batches(2).next().expect("a batch").expect("images");
            let found = inputs(&batch, data.preprocessing()).expect("no error").expect("images");
            assert_eq!((found.range, found.size, found.sheet.count), ([-1.0, 1.0], [3, 2, 1], 2));
            // The tiles lie side by side.
            assert_eq!(pixels(&found), [0, 51, 102, 0, 0, 0, 153, 204, 255, 0, 0, 0], "{layout:?}");
        }
    }

    #[test]
    fn other_data_are_no_pictures() {
        let data = Dataset::from_bytes(vec![0; 8], &[2, 4], None, &DataOptions::default(), &[None, Some(4)]);
        let data = data.expect("vectors");
        let batch = data.batches(2).next().expect("a batch").expect("vectors");
        assert!(inputs(&batch, data.preprocessing()).expect("no error").is_none());
    }
}
