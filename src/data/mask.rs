//! Masks: pictures whose pixels are class indices.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::recipe::Size;

/// A mask: the class index of every pixel, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mask {
    pub(super) size: Size,
    pub(super) classes: Vec<u32>,
}

/// Decodes a mask, or returns the reason for which the file is none in one line.
///
/// A palette's colours are not looked up: PASCAL VOC's files hold their class indices as places in a palette.
pub(super) fn decode(path: &Path) -> Result<Mask, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let file = File::open(path).map_err(|e| text(&e))?;
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::IDENTITY);
    match decoder.read_info() {
        Ok(reader) => indices(reader),
        Err(png::DecodingError::Format(_)) => grey(path),
        Err(e) => Err(text(&e)),
    }
}

fn indices(mut reader: png::Reader<BufReader<File>>) -> Result<Mask, String> {
    let length = reader.output_buffer_size().ok_or("its size is impossible")?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| "it does not fit into memory")?;
    bytes.resize(length, 0);
    let frame = reader.next_frame(&mut bytes).map_err(|e| e.to_string())?;
    if !matches!(frame.color_type, png::ColorType::Grayscale | png::ColorType::Indexed) {
        return Err("it holds colours instead of class indices".to_owned());
    }
    let size = Size { height: frame.height as usize, width: frame.width as usize };
    let bits = match frame.bit_depth {
        png::BitDepth::One => 1,
        png::BitDepth::Two => 2,
        png::BitDepth::Four => 4,
        png::BitDepth::Eight => 8,
        png::BitDepth::Sixteen => 16,
    };
    let mut classes = Vec::with_capacity(size.height * size.width);
    for row in bytes.chunks_exact(frame.line_size.max(1)).take(size.height) {
        let pixel = |x: usize| match bits {
            16 => u32::from(row[2 * x]) << 8 | u32::from(row[2 * x + 1]),
            // The first pixel of a byte is in its highest bits.
            _ => u32::from(row[x * bits / 8]) >> (8 - bits - x * bits % 8) & ((1 << bits) - 1),
        };
        classes.extend((0..size.width).map(pixel));
    }
    Ok(Mask { size, classes })
}

/// Decodes a grey picture of another format.
fn grey(path: &Path) -> Result<Mask, String> {
    let reader = image::ImageReader::open(path).and_then(image::ImageReader::with_guessed_format);
    let decoded = reader.map_err(|e| e.to_string())?.decode().map_err(|e| e.to_string())?;
    if decoded.color().has_color() {
        return Err("it holds colours instead of class indices".to_owned());
    }
    let size = Size { height: decoded.height() as usize, width: decoded.width() as usize };
    let classes = match decoded {
        image::DynamicImage::ImageLuma16(image) => image.into_raw().into_iter().map(u32::from).collect(),
        other => other.into_luma8().into_raw().into_iter().map(u32::from).collect(),
    };
    Ok(Mask { size, classes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes 5×2 pixels of a colour type and depth.
    fn written(color: png::ColorType, depth: png::BitDepth, rows: &[u8]) -> Result<Mask, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        let mut encoder = png::Encoder::new(File::create(&path).unwrap(), 5, 2);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            encoder.set_palette([9u8; 3 * 16].as_slice());
        }
        encoder.write_header().unwrap().write_image_data(rows).unwrap();
        decode(&path)
    }

    #[test]
    fn class_indices_are_read_at_every_depth() {
        let expected = vec![1, 0, 1, 1, 0, 0, 1, 0, 0, 1];
        let bits = [0b1011_0000, 0b0100_1000];
        let found = written(png::ColorType::Indexed, png::BitDepth::One, &bits).unwrap();
        assert_eq!((found.size, found.classes), (Size { height: 2, width: 5 }, expected));
        let nibbles = [0x12, 0x3f, 0x40, 0x00, 0x70, 0x10];
        let found = written(png::ColorType::Indexed, png::BitDepth::Four, &nibbles).unwrap();
        assert_eq!(found.classes, [1, 2, 3, 15, 4, 0, 0, 7, 0, 1], "places in the palette, not its colours");
        let bytes: Vec<u8> = (250..=255).chain(0..4).collect();
        let found = written(png::ColorType::Grayscale, png::BitDepth::Eight, &bytes).unwrap();
        assert_eq!(found.classes[..6], [250, 251, 252, 253, 254, 255]);
        let wide: Vec<u8> = (0..10).flat_map(|v| [1, v]).collect();
        let found = written(png::ColorType::Grayscale, png::BitDepth::Sixteen, &wide).unwrap();
        assert_eq!(found.classes[..3], [256, 257, 258]);
        let colours = written(png::ColorType::Rgb, png::BitDepth::Eight, &[0; 30]);
        assert!(colours.unwrap_err().contains("colours"));
    }
}
