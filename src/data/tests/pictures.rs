//! Tests of picture formats: orientation, depths, colour spaces, animations, and formats that are not read.

use image::codecs::gif::GifEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ExtendedColorType, Frame, ImageEncoder, RgbaImage};

use super::*;

/// Decodes one file of this name and content, for a network of `channels` and any size.
fn decoded(name: &str, content: &[u8], channels: usize) -> Result<(Vec<usize>, Vec<f32>)> {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join(name), content).unwrap();
    let strict = DataOptions { strict: true, ..plain() };
    let data = open(folder.path(), &strict, &[None, Some(channels), None, None])?;
    let batch = data.batches(1).next().expect("one image")?;
    Ok((batch.sample.only().unwrap()[1..].to_vec(), batch.data))
}

fn saved(picture: &DynamicImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A grey .png of two rows, 1 2 3 and 4 5 6, with an EXIF orientation.
fn oriented(orientation: u8) -> Vec<u8> {
    // A TIFF header, and a directory of one entry: tag 0x112, one short.
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif).unwrap();
    encoder.write_image(&[1, 2, 3, 4, 5, 6], 3, 2, ExtendedColorType::L8).unwrap();
    bytes
}

/// The eight orientations of the EXIF standard, as Pillow's `ImageOps.exif_transpose` turns them.
#[test]
fn pictures_are_turned_by_their_exif_orientation() {
    let folder = tempdir().unwrap();
    for (orientation, rows, pixels) in [
        (1, 2, [1, 2, 3, 4, 5, 6]),
        (2, 2, [3, 2, 1, 6, 5, 4]),
        (3, 2, [6, 5, 4, 3, 2, 1]),
        (4, 2, [4, 5, 6, 1, 2, 3]),
        (5, 3, [1, 4, 2, 5, 3, 6]),
        (6, 3, [4, 1, 5, 2, 6, 3]),
        (7, 3, [6, 3, 5, 2, 4, 1]),
        (8, 3, [3, 6, 2, 5, 1, 4]),
    ] {
        fs::write(folder.path().join(format!("{orientation}.png")), oriented(orientation)).unwrap();
        let (shape, got) = decoded("a.png", &oriented(orientation), 1).unwrap();
        assert_eq!((shape, got), (vec![rows, 6 / rows], pixels.map(|v| v as f32).to_vec()), "{orientation}");
    }
    let data = open(folder.path(), &plain(), &[None, Some(1), None, None]).unwrap();
    for _ in 0..2 {
        assert_eq!(all(&data, 3).unwrap().len(), 48);
        assert_eq!(data.turned(), 7, "a second pass counts none twice");
    }
}

#[test]
fn wide_samples_become_the_nearest_of_256_levels() {
    let samples = [0, 128, 129, 257, 0x1234, 0x8000, 65_406, 65_407, 65_535];
    let nearest = samples.map(|v: u16| (f64::from(v) / 257.0).round() as f32);
    let grey = DynamicImage::ImageLuma16(image::ImageBuffer::from_raw(9, 1, samples.to_vec()).unwrap());
    let colour = DynamicImage::ImageRgb16(image::ImageBuffer::from_raw(3, 1, samples.to_vec()).unwrap());
    let planes: Vec<f32> = (0..3).flat_map(|c| (0..3).map(move |x| nearest[3 * x + c])).collect();
    for format in [image::ImageFormat::Png, image::ImageFormat::Tiff] {
        assert_eq!(decoded("a.png", &saved(&grey, format), 1).unwrap().1, nearest);
        assert_eq!(decoded("a.png", &saved(&colour, format), 3).unwrap().1, planes);
    }
    let netpbm = decoded("a.pgm", b"P5 3 1 100\n\0\x32\x64", 1).unwrap().1;
    assert_eq!(netpbm, [0.0, 128.0, 255.0], "white is 100");
}

/// A .jpg of 8×8 equal pixels in CMYK with Adobe's inverted samples; the byte at 17 is Adobe's colour transform.
const CMYK: &str = "ffd8ffee000e41646f626500640000000000ffdb004300010101010101010101010101010101020101010101020101010202\
     02020202020202030304030303030302020304030304040404040203050504040504040404ffc00014080008000804431100\
     4d11005911004b1100ffc4001600010101000000000000000000000000000a0609ffc4001410010000000000000000000000\
     0000000000ffda000e0443004d0059004b00003f00570d785c10c3ffd9";

/// Pillow 13.0.0: `convert("RGB")` gives (164, 134, 103), and (23, 47, 0) if the transform is YCCK.
#[test]
fn jpegs_of_print_are_those_of_pillow() {
    let mut bytes: Vec<u8> =
        (0..CMYK.len() / 2).map(|i| u8::from_str_radix(&CMYK[2 * i..2 * i + 2], 16).unwrap()).collect();
    for (transform, pixel) in [(0, [164, 134, 103]), (2, [23, 47, 0])] {
        bytes[17] = transform;
        let (_, got) = decoded("a.jpg", &bytes, 3).unwrap();
        near(&[got[0], got[64], got[128]], &pixel);
        assert_eq!(got.len(), 3 * 64);
    }
}

#[test]
fn transparency_is_dropped_and_the_first_frame_is_read() {
    let clear = RgbaImage::from_raw(2, 1, vec![10, 20, 30, 0, 40, 50, 60, 128]).unwrap();
    let opaque = [10.0, 40.0, 20.0, 50.0, 30.0, 60.0];
    for format in [image::ImageFormat::Png, image::ImageFormat::WebP, image::ImageFormat::Tiff] {
        let bytes = saved(&DynamicImage::ImageRgba8(clear.clone()), format);
        assert_eq!(decoded("a.png", &bytes, 3).unwrap().1, opaque, "{format:?}");
    }
    let grey = image::GrayAlphaImage::from_raw(2, 1, vec![7, 0, 8, 128]).unwrap();
    let bytes = saved(&DynamicImage::ImageLumaA8(grey), image::ImageFormat::Png);
    assert_eq!(decoded("a.png", &bytes, 1).unwrap().1, [7.0, 8.0]);
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for level in [40, 200] {
        let frame = RgbaImage::from_pixel(2, 1, image::Rgba([level, 0, level, 255]));
        encoder.encode_frame(Frame::new(frame)).unwrap();
    }
    drop(encoder);
    assert_eq!(decoded("a.gif", &bytes, 3).unwrap().1, [40.0, 40.0, 0.0, 0.0, 40.0, 40.0]);
}

#[test]
fn the_content_decides_about_the_format() {
    let picture = DynamicImage::ImageLuma8(GrayImage::from_raw(2, 1, vec![7, 8]).unwrap());
    let png = saved(&picture, image::ImageFormat::Png);
    for name in ["a.jfif", "a.JPG", "a.jpe", "a.heic", "without extension"] {
        assert_eq!(decoded(name, &png, 1).unwrap().1, [7.0, 8.0], "{name}");
        let folder = tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, &png).unwrap();
        assert_eq!(open(&path, &plain(), &[None, Some(1), Some(1), Some(2)]).unwrap().len(), 1, "{name}");
    }
    let avif = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf and pixels";
    for (name, content, words) in [
        ("a.avif", &avif[..], "AVIF is not supported; convert it to PNG or JPEG"),
        ("a.jpg", &avif[..], "AVIF is"),
        ("a", &avif[..], "AVIF is"),
        ("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC is"),
        ("a.png", b"\xff\x0a\xfa\x1f", "JPEG XL is"),
        ("a.heic", b"cut short", "HEIC is"),
        ("a.svg", b"<svg/>", "SVG is"),
        ("a.png", b"<svg/>", "no known picture format"),
        ("a.nef", &saved(&picture, image::ImageFormat::Tiff), "camera raw is"),
        ("a.dcm", &[&[0; 128][..], b"DICM"].concat(), "DICOM is"),
    ] {
        let error = decoded(name, content, 1).unwrap_err();
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
    let floats = image::Rgb32FImage::from_pixel(1, 1, image::Rgb([0.5; 3]));
    let bytes = saved(&DynamicImage::ImageRgb32F(floats), image::ImageFormat::Tiff);
    assert!(decoded("a.tif", &bytes, 3).unwrap_err().to_string().contains("range is unknown"));
}

#[test]
fn unread_pictures_are_named_and_other_files_are_not() {
    let folder = folder_of(&["cat/1.png", "dog/1.png"]);
    let at = |name: &str| folder.path().join(name);
    fs::write(at("cat/2.avif"), b"\0\0\0\x14ftypavif\0\0\0\0avif").unwrap();
    fs::write(at("dog/2.HEIC"), "").unwrap();
    fs::create_dir(at("__MACOSX")).unwrap();
    for name in
        ["cat/Thumbs.db", "cat/.DS_Store", "dog/notes.txt", "dog/a.json", "dog/._1.png", "dog/LICENSE"]
    {
        fs::write(at(name), "text").unwrap();
    }
    let data = open(folder.path(), &plain(), &INPUT).unwrap();
    assert_eq!(data.labels(), Some(&[0, 1, 0, 1][..]), "no class of __MACOSX");
    assert_eq!(all(&data, 4).unwrap().len(), 2 * 105);
    let skipped: Vec<_> = data.skipped().into_iter().collect();
    assert_eq!(skipped[0], (at("cat/2.avif"), "AVIF is not supported; convert it to PNG or JPEG".to_owned()));
    assert_eq!(skipped[1], (at("dog/2.HEIC"), "HEIC is not supported; convert it to PNG or JPEG".to_owned()));
    assert_eq!(skipped.len(), 2);
    let strict = open(folder.path(), &DataOptions { strict: true, ..plain() }, &INPUT).unwrap();
    assert!(all(&strict, 4).unwrap_err().to_string().contains("AVIF"));
}
