//! Decoding of picture files to 8 bits, recognized by their content.
//!
//! Pixels are those of Pillow's `ImageOps.exif_transpose` and `convert("RGB")`: turned by the EXIF orientation, alpha
//! dropped, palettes expanded, CMYK by (1 − C)(1 − K). Of an animation, the first frame is decoded. Wider samples are
//! rounded to 8 bits over their whole range; Pillow truncates those of colour, and clips those of grey.

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

/// Extensions of the formats that are decoded.
const DECODED: [&str; 16] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "bmp", "dib", "gif", "webp", "tif", "tiff", "pnm", "ppm",
    "pgm", "pbm",
];

/// Picture formats that are not decoded, with their extensions.
const UNSUPPORTED: [(&str, &[&str]); 16] = [
    ("AVIF", &["avif", "avifs"]),
    ("HEIC", &["heic", "heif", "hif"]),
    ("JPEG XL", &["jxl"]),
    ("JPEG 2000", &["jp2", "j2k", "j2c", "jpx", "jpf"]),
    ("DICOM", &["dcm", "dicom"]),
    ("OpenEXR", &["exr"]),
    ("Radiance HDR", &["hdr"]),
    ("DirectDraw Surface", &["dds"]),
    ("QOI", &["qoi"]),
    ("Targa", &["tga"]),
    ("PCX", &["pcx"]),
    ("ICO", &["ico"]),
    ("PAM", &["pam", "pfm"]),
    ("SVG", &["svg", "svgz"]),
    ("Photoshop", &["psd", "psb"]),
    (CAMERA_RAW, &["dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf", "pef", "srw"]),
];

/// Raw pictures of cameras, whose content looks like TIFF with a thumbnail.
const CAMERA_RAW: &str = "camera raw";

/// A decoded picture, channels last.
pub(super) struct Decoded {
    pub(super) height: usize,
    pub(super) width: usize,
    /// 1 for grey, 3 for colour.
    pub(super) channels: usize,
    pub(super) bytes: Vec<u8>,
    /// True if the picture was turned or mirrored by its EXIF orientation.
    pub(super) turned: bool,
}

/// Returns whether the name has the extension of a picture, decoded or not.
pub(super) fn is_picture(path: &Path) -> bool {
    extension(path).is_some_and(|e| DECODED.contains(&e.as_str())) || unsupported_name(path).is_some()
}

/// Returns whether the first bytes of a file are those of a picture, decoded or not.
pub(super) fn starts_as_picture(start: &[u8]) -> bool {
    image::guess_format(start).is_ok() || unsupported_content(start).is_some()
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_string_lossy().to_lowercase())
}

/// Returns the format that is not decoded and has this name's extension.
fn unsupported_name(path: &Path) -> Option<&'static str> {
    let extension = extension(path)?;
    UNSUPPORTED.iter().find(|(_, extensions)| extensions.contains(&extension.as_str())).map(|(name, _)| *name)
}

/// Returns the format of the content, if it is known and not decoded.
fn unsupported_content(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(4..8) == Some(b"ftyp") {
        let length = bytes[..4].iter().fold(0, |n, &b| n << 8 | usize::from(b));
        let brands = bytes[8..bytes.len().min(length)].chunks_exact(4);
        let has = |names: &[&[u8]]| brands.clone().any(|brand| names.contains(&brand));
        return if has(&[b"avif", b"avis"]) {
            Some("AVIF")
        } else {
            has(&[b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"]).then_some("HEIC")
        };
    }
    let starts: [(&[u8], &str); 10] = [
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"\x76\x2f\x31\x01", "OpenEXR"),
        (b"#?RADIANCE", "Radiance HDR"),
        (b"DDS ", "DirectDraw Surface"),
        (b"qoif", "QOI"),
        (b"8BPS", "Photoshop"),
        (b"\0\0\x01\0", "ICO"),
    ];
    let dicom = (bytes.get(128..132) == Some(b"DICM")).then_some("DICOM");
    starts.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, name)| *name).or(dicom)
}

/// Decodes a file's content; the error is one line. `name` is the file's, for formats without a signature.
pub(super) fn decode(bytes: &[u8], name: &Path) -> Result<Decoded, String> {
    let refused = |format: &str| format!("{format} is not supported; convert it to PNG or JPEG");
    let named = unsupported_name(name);
    if let Some(format) = unsupported_content(bytes).or(named.filter(|&format| format == CAMERA_RAW)) {
        return Err(refused(format));
    }
    let one_line = |e: image::ImageError| e.to_string();
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    if reader.format().is_none() {
        return Err(named.map_or_else(|| "the content is no known picture format".to_owned(), refused));
    }
    let mut decoder = reader.into_decoder().map_err(one_line)?;
    Limits::default().reserve(decoder.total_bytes()).map_err(one_line)?;
    let orientation = decoder.orientation().map_err(one_line)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(one_line)?;
    picture.apply_orientation(orientation);
    let (height, width) = (picture.height() as usize, picture.width() as usize);
    let channels = if picture.color().has_color() { 3 } else { 1 };
    let wide = picture.color().bytes_per_pixel() > picture.color().channel_count();
    let bytes = match (&picture, channels) {
        (DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_), _) => {
            return Err("a picture of floats, whose range is unknown; \
                        convert it to 8 or 16 bits, or save it as .npy"
                .to_owned());
        }
        (_, 1) if wide => narrow(picture.into_luma16().into_raw()),
        _ if wide => narrow(picture.into_rgb16().into_raw()),
        (_, 1) => picture.into_luma8().into_raw(),
        _ => picture.into_rgb8().into_raw(),
    };
    Ok(Decoded { height, width, channels, bytes, turned: orientation != Orientation::NoTransforms })
}

/// Scales 16-bit samples to 8 bits, rounded.
fn narrow(samples: Vec<u16>) -> Vec<u8> {
    samples.into_iter().map(|v| ((u32::from(v) + 128) / 257) as u8).collect()
}
