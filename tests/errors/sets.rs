//! Data sets that do not contain images, or do not fit the network.

use std::io::Write as _;

use super::case::{Case, Files, case};
use super::notation::model;
use super::numpy::numpy_header;
pub(crate) use super::numpy::{npy, npz};

/// Creates a picture of one colour.
pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Creates a recording of 16 bits with 64 samples in each channel.
fn wav(rate: u32, channels: u16) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    (0..64 * i32::from(channels)).for_each(|i| writer.write_sample(100 * i).unwrap());
    writer.finalize().unwrap();
    bytes.into_inner()
}

fn idx(kind: u8, dims: &[u32], data: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|d| d.to_be_bytes()).collect();
    [&[0, 0, kind, (dims.len() / 4) as u8][..], &dims, data].concat()
}

/// Creates an archive with a forged unpacked size, which matches the forged header of its array.
fn boasting() -> Vec<u8> {
    let shape = "99999, 3, 8, 8";
    let mut bytes = npz(&[("images", &npy("|u1", shape, b""))]);
    let promised = npy("|u1", shape, b"").len() as u32 + 99_999 * 192;
    let entry = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    bytes[entry + 24..entry + 28].copy_from_slice(&promised.to_le_bytes());
    bytes
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// Damages the checksum of a file.
fn spoilt(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.len() - 8;
    bytes[at] ^= 1;
    bytes
}

/// Title, the files of the data set, and other options.
type Set = (&'static str, Vec<(&'static str, Vec<u8>)>, &'static str);

fn sets() -> Vec<Set> {
    let pixels = |n: usize| npy("|u1", &format!("{n}, 3, 8, 8"), &vec![7; n * 192]);
    let labels = |n: usize| npy("<i8", &format!("{n},"), &vec![0; 8 * n]);
    let named = |title, name, bytes: Vec<u8>| (title, vec![(name, bytes)], "");
    let asked = |title, options| (title, vec![("a.npy", pixels(4))], options);
    let table = |title, rows: &str| {
        (title, vec![("f/a.png", png(8, 8)), ("f/labels.csv", rows.as_bytes().to_vec())], "")
    };
    vec![
        named("data that are not there", "", vec![]),
        named("an empty folder", "f/", vec![]),
        ("a folder of two data sets", vec![("f/a.npy", pixels(1)), ("f/b.npy", pixels(1))], ""),
        ("images beside class folders", vec![("f/a.png", png(8, 8)), ("f/cat/b.png", png(8, 8))], ""),
        (
            "a class without a name",
            vec![("f/cat/a.png", png(8, 8)), ("names", b"dog\n".to_vec())],
            "--classes names",
        ),
        (
            "a class named twice",
            vec![("f/cat/a.png", png(8, 8)), ("names", b"cat\ncat\n".to_vec())],
            "--classes names",
        ),
        ("class names that are not there", vec![("f/cat/a.png", png(8, 8))], "--classes names"),
        table("labels without a column", "file,weight\na.png,1\n"),
        table("a table without a header", "a.png,1\n"),
        table("labels in rows of other lengths", "file,label\na.png\n"),
        (
            "labels in another encoding",
            vec![("f/a.png", png(8, 8)), ("f/labels.csv", b"file,label\na.png,\xff\n".to_vec())],
            "",
        ),
        (
            "labels that are no classes",
            vec![
                ("f/a.png", png(8, 8)),
                ("f/labels.csv", b"file,label\na.png,cat\n".to_vec()),
                ("names", b"dog\n".to_vec()),
            ],
            "--classes names",
        ),
        named(
            "an image of a format that is not read",
            "f/a.avif",
            b"\0\0\0\x14ftypavif\0\0\0\0avif".to_vec(),
        ),
        table("labels of a file that is not there", "file,label\nb.png,1\n"),
        table("labels of a file twice", "file,label\na.png,1\na.png,1\n"),
        table("labels that leave a file out", "file,label\n"),
        named("a text", "a.txt", b"These are no images.\n".to_vec()),
        named("a file of no known kind", "a.bin", b"These are no images.\n".to_vec()),
        named("an image that is none", "f/a.png", b"no image".to_vec()),
        ("an image that is none, and no other may go", vec![("f/a.png", b"no image".to_vec())], "--strict"),
        ("an image that cannot be resized", vec![("f/a.png", png(60_000, 1))], "--resize 6000"),
        ("an image smaller than the crop", vec![("f/a.png", png(4, 4))], "--crop 8 --resize 4"),
        ("an image of another size", vec![("f/a.png", png(9, 9))], "--resize 9 --crop 9"),
        ("an image of another shape", vec![("f/a.png", png(8, 16))], "--resize 8 --preset raw"),
        named("an array that ends at once", "a.npy", b"\x93NUMPY\x01".to_vec()),
        named("an array that ends in its header", "a.npy", b"\x93NUMPY\x01\0\xff\0{".to_vec()),
        named("an array with a long header", "a.npy", b"\x93NUMPY\x02\0\xff\xff\xff\x7f".to_vec()),
        named("an array with a header that says nothing", "a.npy", numpy_header("{}", b"")),
        named("an array of text", "a.npy", npy("<U3", "4, 3, 8, 8", b"")),
        named("an array beyond memory", "a.npy", npy("<f8", "9999999999, 9999999999", b"")),
        named("an array that was cut short", "a.npy", pixels(4)[..500].to_vec()),
        named("an array of rank 2", "a.npy", npy("<f4", "4, 4", &[0; 64])),
        named("an array of no images", "a.npy", npy("<f4", "0, 3, 8, 8", b"")),
        named("an array of long integers", "a.npy", npy("<i8", "1, 3, 8, 8", &[0; 8 * 192])),
        named("floats of another size", "a.npy", npy("<f4", "1, 3, 4, 4", &[0; 4 * 48])),
        ("floats to be resized", vec![("a.npy", npy("<f4", "1, 3, 4, 4", &[0; 4 * 48]))], "--resize 8x8"),
        named("images in other channels", "a.npy", npy("|u1", "1, 4, 8, 8", &[0; 256])),
        named(
            "an image that is NaN",
            "a.npy",
            npy("<f4", "8, 3, 8, 8", &f32::NAN.to_le_bytes().repeat(8 * 192)),
        ),
        named("an archive that was cut short", "a.npz", npz(&[("images", &pixels(4))])[..99].to_vec()),
        named("an archive of other arrays", "a.npz", npz(&[("pictures", &pixels(4)), ("more", &pixels(4))])),
        named("an archive that holds no array", "a.npz", npz(&[("images", b"pictures")])),
        named("an archive that boasts", "a.npz", boasting()),
        named("an archive of fewer labels", "a.npz", npz(&[("images", &pixels(4)), ("labels", &labels(3))])),
        named(
            "labels that are floats",
            "a.npz",
            npz(&[("images", &pixels(1)), ("labels", &npy("<f4", "1,", &0.5f32.to_le_bytes()))]),
        ),
        (
            "labels below 0",
            vec![("a.npz", npz(&[("images", &pixels(4)), ("labels", &labels(4))]))],
            "--label-offset -1",
        ),
        named("an idx file that ends in its header", "a-idx3-ubyte", vec![0, 0, 8]),
        named("an idx file of another kind", "a-idx3-ubyte", vec![0, 0, 0, 0, 1, 1]),
        named("an idx file of floats", "a-idx3-ubyte", idx(13, &[1, 8, 8], &[0; 256])),
        named("an idx file that was cut short", "a-idx3-ubyte", idx(8, &[10_000, 8, 8], &[0; 64])),
        named("a gzipped text", "a-idx3-ubyte.gz", gz(b"These are no images.")),
        named(
            "a gzipped idx file with too little in it",
            "a-idx3-ubyte.gz",
            gz(&idx(8, &[9, 8, 8], &[0; 64])),
        ),
        named(
            "a gzipped idx file with another checksum",
            "a-idx3-ubyte.gz",
            spoilt(gz(&idx(8, &[1, 8, 8], &[0; 64]))),
        ),
        asked("a preset that is mistyped", "--preset imagent"),
        asked("a preset that is none", "--preset frobnicate"),
        asked("a size that is none", "--resize large"),
        asked("an order that is none", "--channels bgrr"),
        asked("a layout that is none", "--layout nhcw"),
        asked("a shard that is none", "--shard 3/2"),
        asked("an empty shard", "--shard 1/9"),
        asked("a crop larger than the image", "--resize 8x8 --crop 9"),
        asked("a scale of 0", "--scale 0"),
        asked("a sample rate for images", "--rate 16000"),
        named("a recording for a network of images", "a.wav", wav(8000, 1)),
        asked("a deviation of 0", "--std 0"),
        asked("two means for three channels", "--mean 0,0"),
        asked("a mean that is no number", "--mean nan"),
        asked("two deviations for three channels", "--std 1,1"),
        asked("a deviation that is no number", "--std nan"),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let from = |model_name: &str, data: &str, more: &str| {
        format!("prune {model_name} --criterion l1 --keep-macs 0.7 -o out --data {data} {more}")
            .trim_end()
            .to_owned()
    };
    let found = sets().into_iter().map(|(title, files, options)| {
        // If there is a folder, --data names it.
        let first = files[0].0;
        let data = if first.starts_with("f/") {
            "f"
        } else if first.is_empty() {
            "nowhere"
        } else {
            first
        };
        let made: Files =
            files.into_iter().filter(|f| !f.0.is_empty()).map(|(n, b)| (n.to_owned(), b)).collect();
        made.iter().fold(case(title, &from("good.onnx", data, options)), |c, (n, b)| c.with(n, b.clone()))
    });
    let networks = [
        ("random images in no number", "good.onnx", "random:none", ""),
        ("random images of no size", "free.onnx", "random:4", "--allow-random"),
        ("images for a network of rows", "rows.onnx", "a.npy", ""),
        ("bgr for one channel", "grey.onnx", "a.npy", "--channels bgr"),
        ("a preset of colours for one channel", "grey.onnx", "a.npy", "--preset imagenet"),
        ("images of several sizes", "free.onnx", "f", ""),
    ];
    let other = networks.into_iter().map(|(title, network, data, more)| {
        let text = match network {
            "free.onnx" => {
                "Conv [N,3,H,W] =[8,3,3,3]; Relu ^; Conv ^ =[4,8,3,3]; GlobalAveragePool ^; Flatten ^"
            }
            "rows.onnx" => "Gemm [N,8] =[8,8]; Relu ^; Gemm ^ =[8,4]",
            _ => "Conv [N,1,8,8] =[8,1,3,3]; Relu ^; Conv ^ =[4,8,3,3]",
        };
        let case = case(title, &from(network, data, more)).with(network, model(text));
        let case = case.with("a.npy", npy("|u1", "4, 1, 8, 8", &[7; 256]));
        (0..6).fold(case, |case, k| case.with(&format!("f/{k}.png"), png(8 + k % 2, 8)))
    });
    found.chain(other).chain(recordings()).collect()
}

/// Recordings for a network of sound with so many channels.
fn recordings() -> Vec<Case> {
    let sound = |title: &str, channels: usize, files: &[(&str, Vec<u8>)], more: &str| {
        let line = format!("prune sound.onnx --criterion l1 --keep-macs 0.7 -o out --data f {more}");
        let network = format!("Conv [N,{channels},64] =[8,{channels},3]; Relu ^; Conv ^ =[4,8,3]");
        let case = case(title, line.trim_end()).with("sound.onnx", model(&network));
        files.iter().fold(case, |case, (name, bytes)| case.with(&format!("f/{name}"), bytes.clone()))
    };
    let one = || vec![("a.wav", wav(8000, 1))];
    vec![
        sound("recordings of two sample rates", 1, &[("a.wav", wav(8000, 1)), ("b.wav", wav(16_000, 1))], ""),
        sound("a mono recording for a network of two channels", 2, &one(), ""),
        sound("a sample rate of 0", 1, &one(), "--rate 0"),
        sound("a sample rate that is no number", 1, &one(), "--rate fast"),
        sound("a crop of recordings", 1, &one(), "--crop 32"),
        sound("a recording that is none", 1, &[("a.wav", b"no sound".to_vec())], ""),
        sound(
            "a recording that is none, and no other may go",
            1,
            &[("a.wav", wav(8000, 1)), ("b.wav", b"no sound".to_vec())],
            "--strict",
        ),
        sound("a recording of a format that is not read", 1, &[("a.flac", b"fLaC".to_vec())], ""),
        sound(
            "a table of labels beside class folders of recordings",
            1,
            &[("labels.csv", b"file,label\n".to_vec()), ("on/a.wav", wav(8000, 1))],
            "",
        ),
        sound(
            "recordings beside class folders",
            1,
            &[("a.wav", wav(8000, 1)), ("on/b.wav", wav(8000, 1))],
            "",
        ),
        sound(
            "labels that leave a recording out",
            1,
            &[("a.wav", wav(8000, 1)), ("labels.csv", b"file,label\n".to_vec())],
            "",
        ),
    ]
}
