//! Tests of data from files to batches, with valid and damaged files.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{GrayImage, RgbImage};
use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;
use tempfile::{TempDir, tempdir};

mod pictures;
mod recipes;
mod sets;
mod sounds;
mod sources;
mod streams;

use super::metrics::{Accuracy, Agreement, argmax, top_k};
use super::*;
use crate::compare::{Tolerance, compare};

/// The input shape of a network of 3×7×5 images.
const INPUT: [Option<usize>; 4] = [None, Some(3), Some(7), Some(5)];

/// An image of 7 rows and 5 columns whose byte `i` is `37·i mod 256`, channels last.
fn pattern() -> Vec<u8> {
    (0..7 * 5 * 3).map(|i| (37 * i % 256) as u8).collect()
}

fn plain() -> DataOptions {
    DataOptions { preset: Some(Preset::Raw), ..DataOptions::default() }
}

fn open(path: &Path, options: &DataOptions, input: &[Option<usize>]) -> Result<Dataset> {
    Dataset::open(path.to_str().expect("a path in Unicode"), options, input)
}

fn all(data: &Dataset, batch: usize) -> Result<Vec<f32>> {
    Ok(data.batches(batch).collect::<Result<Vec<_>>>()?.into_iter().flat_map(|b| b.data).collect())
}

fn one_image(options: &DataOptions, input: &[Option<usize>]) -> Vec<f32> {
    let data = Dataset::from_bytes(pattern(), &[1, 7, 5, 3], None, options, input).unwrap();
    all(&data, 1).unwrap()
}

/// Creates a folder with a .png of the pattern under each name, and subfolders as needed.
fn folder_of(names: &[&str]) -> TempDir {
    let folder = tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_raw(5, 7, pattern()).unwrap().save(path).unwrap();
    }
    folder
}

/// The bytes of a .npy file.
fn npy(descr: &str, fortran: bool, shape: &str, elements: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(elements);
    bytes
}

#[test]
fn arrays_come_back_as_they_were_written() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.npy");
    for (shape, data) in [
        (vec![2, 3], vec![1.5, -2.0, f32::MIN_POSITIVE, 0.0, 3e30, -0.25]),
        (vec![], vec![7.0]),
        (vec![0, 4], vec![]),
    ] {
        write_npy_f32(&path, &shape, &data).unwrap();
        assert_eq!(read_npy_f32(&path).unwrap(), (shape, data));
    }
    assert!(write_npy_f32(&path, &[2, 2], &[1.0]).is_err(), "three elements are missing");
    assert!(write_npy_f32(folder.path().join("no/a.npy"), &[1], &[1.0]).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn every_type_and_order_of_numpy_is_read() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let read = |bytes: Vec<u8>| {
        fs::write(&path, bytes).unwrap();
        read_npy_f32(&path).map(|(_, data)| data)
    };
    assert_eq!(read(npy("<f4", false, "(2,)", &[0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0])).unwrap(), [1.5, -2.0]);
    assert_eq!(read(npy(">f4", false, "(1,)", &[0x3f, 0xc0, 0, 0])).unwrap(), [1.5]);
    assert_eq!(read(npy("<f2", false, "(1,)", &[0, 0x3e])).unwrap(), [1.5]);
    assert_eq!(read(npy("<f8", false, "(1,)", &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f])).unwrap(), [1.5]);
    assert_eq!(read(npy(">i2", false, "(2,)", &[1, 2, 0xff, 0xfe])).unwrap(), [258.0, -2.0]);
    assert_eq!(read(npy("|u1", false, "(3,)", &[0, 128, 255])).unwrap(), [0.0, 128.0, 255.0]);
    assert_eq!(read(npy("|b1", false, "(2,)", &[1, 0])).unwrap(), [1.0, 0.0]);
    // Column after column in the file, row after row here.
    assert_eq!(
        read(npy("|i1", true, "(2, 3)", &[1, 4, 2, 5, 3, 6])).unwrap(),
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    );
    for (bytes, words) in [
        (npy("<U4", false, "(1,)", &[0; 16]), "unsupported type"),
        (npy("<f4", false, "(2,)", &[0; 7]), "does not match"),
        (npy("<f4", false, "(2,)", &[0; 9]), "does not match"),
        (npy("<f4", false, "(1000000000000,)", &[]), "does not match"),
        (npy("<f4", false, "(4000000000, 4000000000)", &[]), "larger than memory"),
        (npy("<f4", false, "(-1,)", &[]), "header cannot be read"),
        (b"\x93NUMPY\x01\x00\xff\xff{".to_vec(), "ends in the header"),
        (b"hello".to_vec(), "too short"),
        (b"hello, world".to_vec(), "does not start with"),
    ] {
        let error = read(bytes).unwrap_err();
        assert!(error.message().contains(words), "{words}: {error}");
        assert_eq!(error.file_path(), Some(path.as_path()));
    }
}

#[test]
fn an_archive_has_images_and_labels() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let images = Array4::from_shape_vec((2, 3, 7, 5), [pattern(), pattern()].concat()).unwrap();
    let write = |name: &str, labels: usize| {
        let mut archive = NpzWriter::new_compressed(fs::File::create(&path).unwrap());
        archive.add_array(name, &images).unwrap();
        archive.add_array("labels", &Array1::from_vec((0..labels as i64).collect())).unwrap();
        archive.finish().unwrap();
    };
    write("images", 2);
    let data = open(&path, &plain(), &INPUT).unwrap();
    assert_eq!((data.len(), data.labels()), (2, Some(&[0, 1][..])));
    let expected: Vec<f32> = pattern().into_iter().map(f32::from).collect();
    assert_eq!(all(&data, 1).unwrap(), [expected.clone(), expected].concat());
    let shifted = open(&path, &DataOptions { label_offset: 1, ..plain() }, &INPUT).unwrap();
    assert_eq!(shifted.labels(), Some(&[1, 2][..]));
    assert!(open(&path, &DataOptions { label_offset: -1, ..plain() }, &INPUT).is_err(), "a class −1");
    // The network takes another size or another number of channels.
    assert_eq!(
        all(&open(&path, &plain(), &[None, Some(3), Some(4), Some(3)]).unwrap(), 2).unwrap().len(),
        72
    );
    assert!(open(&path, &plain(), &[None, Some(4), Some(7), Some(5)]).is_err());
    write("images", 3);
    assert!(open(&path, &plain(), &INPUT).unwrap_err().message().contains("differ in number"));
    write("pictures", 2);
    assert!(open(&path, &plain(), &INPUT).unwrap_err().message().contains("pictures"));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(open(&path, &plain(), &INPUT).is_err());
}

#[test]
fn idx_files_find_their_labels_beside() {
    let folder = tempdir().unwrap();
    let images: Vec<u8> = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2][..], &[1, 2, 3, 4]].concat();
    let labels = [0, 0, 8, 1, 0, 0, 0, 2, 9, 7];
    let path = folder.path().join("t-images-idx3-ubyte.gz");
    let mut gzip = GzEncoder::new(fs::File::create(&path).unwrap(), Compression::default());
    gzip.write_all(&images).unwrap();
    gzip.finish().unwrap();
    let shape = [None, Some(1), Some(1), Some(2)];
    assert_eq!(open(&path, &plain(), &shape).unwrap().labels(), None);
    fs::write(folder.path().join("t-labels-idx1-ubyte"), labels).unwrap();
    let data = open(&path, &plain(), &shape).unwrap();
    assert_eq!(data.labels(), Some(&[9, 7][..]));
    assert_eq!(all(&data, 2).unwrap(), [1.0, 2.0, 3.0, 4.0]);
    // A folder with one set opens as that set.
    assert_eq!(open(folder.path(), &plain(), &shape).unwrap().len(), 2);
    let bare = folder.path().join("bare");
    for (bytes, words) in [
        (&images[..19], "does not match the file's length"),
        (&[images.as_slice(), &[5]].concat()[..], "does not match the file's length"),
        (&[0, 0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0, 0, 0, 1, 0], "does not match the file's length"),
        (&images[..9], "ends in its header"),
        (&[0, 0, 13, 1, 0, 0, 0, 0], "unsupported type"),
    ] {
        fs::write(&bare, bytes).unwrap();
        let error = open(&bare, &plain(), &shape).unwrap_err();
        assert!(error.message().contains(words), "{words}: {error}");
    }
}

#[test]
fn images_of_class_folders_alternate() {
    let folder = folder_of(&["cat/1.png", "cat/2.png", "cat/deep/3.png", "ant/1.png", "empty/x.png"]);
    fs::remove_file(folder.path().join("empty/x.png")).unwrap();
    let data = open(folder.path(), &plain(), &INPUT).unwrap();
    assert_eq!(data.labels(), Some(&[0, 1, 1, 1][..]), "ant, cat, cat, cat");
    let names = folder.path().join("classes.txt");
    fs::write(&names, "dog\ncat\nempty\nant\n").unwrap();
    let named = DataOptions { classes: Some(names.clone()), ..plain() };
    assert_eq!(open(folder.path(), &named, &INPUT).unwrap().labels(), Some(&[3, 1, 1, 1][..]));
    fs::write(&names, "dog\ncat\n").unwrap();
    assert!(open(folder.path(), &named, &INPUT).unwrap_err().message().contains("ant"));
    fs::copy(folder.path().join("cat/1.png"), folder.path().join("stray.png")).unwrap();
    assert!(open(folder.path(), &plain(), &INPUT).unwrap_err().message().contains("beside class folders"));
}

#[test]
fn a_table_of_labels_names_every_image_once() {
    let folder = folder_of(&["a.png", "b.png", "c.png"]);
    let csv = |text: &str| {
        fs::write(folder.path().join("labels.csv"), text).unwrap();
        open(folder.path(), &plain(), &INPUT)
    };
    let right = "\u{feff}author,file,label\nx, b.png ,7\ny,a.png,0\nz,c.png,2\n";
    assert_eq!(csv(right).unwrap().labels(), Some(&[0, 7, 2][..]), "in the order of the names");
    for (text, words) in [
        ("file,label\na.png,1\nb.png,2\n", "no row"),
        ("file,label\na.png,1\nb.png,2\nc.png,3\nd.png,4\n", "missing file"),
        ("file,label\na.png,1\na.png,1\nb.png,2\nc.png,3\n", "second time"),
        ("file,label\na.png,one\nb.png,2\nc.png,3\n", "no integer"),
        ("author,label\na.png,1\n", "no column"),
    ] {
        let error = csv(text).unwrap_err();
        assert!(error.message().contains(words), "{words}: {error}");
    }
}

#[test]
fn broken_images_are_skipped_and_recorded() {
    let folder = folder_of(&["a.png", "c.png"]);
    fs::write(folder.path().join("b.jpg"), b"\xff\xd8\xff\xe0 and then nothing").unwrap();
    fs::write(folder.path().join("notes.txt"), "not an image").unwrap();
    let data = open(folder.path(), &plain(), &INPUT).unwrap();
    for _ in 0..2 {
        let counts: Vec<usize> = data.batches(2).map(|b| b.unwrap().count).collect();
        assert_eq!(counts, [1, 1]);
        assert_eq!(data.skipped().len(), 1, "a second pass finds it again, not twice");
    }
    let strict = open(folder.path(), &DataOptions { strict: true, ..plain() }, &INPUT).unwrap();
    let error = all(&strict, 2).unwrap_err();
    assert!(error.file_path().unwrap().ends_with("b.jpg"), "{error}");
    fs::remove_file(folder.path().join("a.png")).unwrap();
    fs::remove_file(folder.path().join("c.png")).unwrap();
    assert!(
        all(&open(folder.path(), &plain(), &INPUT).unwrap(), 2).unwrap_err().message().contains("none of")
    );
    fs::remove_file(folder.path().join("b.jpg")).unwrap();
    assert!(open(folder.path(), &plain(), &INPUT).unwrap_err().message().contains("no images"));
}

/// Coefficients are rounded differently, so a level may differ; a wrong filter or offset is off by many.
const LEVEL: Tolerance = Tolerance { name: "one level of 256", absolute: 1.0, relative: 0.0 };

fn near(got: &[f32], pillow: &[i32]) {
    let verdict = compare(got, pillow, LEVEL);
    assert!(verdict.passed(), "{verdict}");
}

/// Pillow 13.0.0, on the pattern: `im.resize((width, height), Image.BILINEAR)` and `im.convert("L")`.
#[test]
fn pixels_are_those_of_pillow() {
    let size = |height, width| [None, Some(3), Some(height), Some(width)];
    let nhwc = DataOptions { layout: Some(Layout::Nhwc), ..plain() };
    let of = |height, width| one_image(&nhwc, &[None, Some(height), Some(width), Some(3)]);
    let smaller = [
        71, 108, 139, 120, 83, 117, 156, 130, 91, 137, 144, 123, 112, 133, 125, 113, 120, 127, 137, 144, 151,
        139, 131, 152, 141, 120, 127, 97, 134, 108, 147, 107, 144, 125, 156, 117,
    ];
    near(&of(4, 3), &smaller);
    let larger =
        [0, 37, 74, 49, 86, 123, 118, 139, 176, 187, 48, 85, 177, 38, 75, 86, 107, 144, 139, 176, 69];
    near(&of(9, 8)[..larger.len()], &larger);
    // Channels first: the same numbers in another order.
    let first = one_image(&plain(), &size(4, 3));
    near(&first[..3], &[71, 120, 156]);
    let grey = one_image(&plain(), &[None, Some(1), Some(4), Some(3)]);
    near(&grey, &[100, 98, 133, 139, 126, 119, 142, 135, 127, 120, 123, 143]);
}

#[test]
fn a_file_and_an_array_of_one_image_agree() {
    let folder = folder_of(&["a.png"]);
    let from_file = all(&open(folder.path(), &plain(), &INPUT).unwrap(), 1).unwrap();
    assert_eq!(from_file, one_image(&plain(), &INPUT));
    GrayImage::from_raw(5, 7, pattern()[..35].to_vec()).unwrap().save(folder.path().join("a.png")).unwrap();
    let grey = all(&open(folder.path(), &plain(), &INPUT).unwrap(), 1).unwrap();
    assert_eq!(grey[..35], grey[70..], "grey becomes three equal channels");
}

#[test]
fn presets_resize_crop_and_normalise() {
    let free = [None, Some(3), None, None];
    let raw = one_image(&plain(), &free);
    let normal = one_image(&DataOptions { preset: Some(Preset::Cifar10), ..DataOptions::default() }, &INPUT);
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    for (i, (&n, &r)) in normal.iter().zip(&raw).enumerate() {
        assert_eq!(n, (r / 255.0 - mean[i / 35]) / std[i / 35]);
    }
    let bgr = one_image(&DataOptions { channels: Some(ChannelOrder::Bgr), ..plain() }, &free);
    assert_eq!((&bgr[..35], &bgr[70..]), (&raw[70..], &raw[..35]));
    // The middle of the rows: 7 → 3 leaves 2 above; of the columns: 5 → 2 leaves 2 (1.5, to even).
    let crop = DataOptions { crop: Some("3x2".parse().unwrap()), ..plain() };
    assert_eq!(one_image(&crop, &free)[..2], raw[2 * 5 + 2..][..2]);
    // ImageNet: the shorter side to 256 for 224, then the middle.
    let preset = DataOptions { preset: Some(Preset::ImageNet), ..DataOptions::default() };
    let data = Dataset::from_bytes(pattern(), &[1, 7, 5, 3], None, &preset, &free).unwrap();
    let recipe = data.preprocessing();
    assert_eq!(recipe.resize, Some(ResizeTo::Shorter(256)));
    assert_eq!(recipe.crop, Some("224".parse().unwrap()));
    let bad = [
        DataOptions { scale: Some(0.0), ..plain() },
        DataOptions { std: Some(vec![0.0]), ..plain() },
        DataOptions { mean: Some(vec![1.0, 2.0]), ..plain() },
        DataOptions { crop: Some("8".parse().unwrap()), ..plain() },
    ];
    for options in bad {
        let opened = Dataset::from_bytes(pattern(), &[1, 7, 5, 3], None, &options, &free);
        assert!(opened.and_then(|data| all(&data, 1)).is_err(), "{options:?}");
    }
}

#[test]
fn an_image_does_not_depend_on_batch_or_shard() {
    let whole = Dataset::open("random:11", &DataOptions::default(), &INPUT).unwrap();
    let expected = all(&whole, 1).unwrap();
    assert_eq!(expected.len(), 11 * 105);
    for batch in [2, 4, 64] {
        assert_eq!(all(&whole, batch).unwrap(), expected);
    }
    let mut parts = Vec::new();
    for index in 1..=3 {
        let options = DataOptions { shard: Some(Shard { index, count: 3 }), ..DataOptions::default() };
        parts.extend(all(&Dataset::open("random:11", &options, &INPUT).unwrap(), 4).unwrap());
    }
    assert_eq!(parts, expected);
    let mean = expected.iter().sum::<f32>() / expected.len() as f32;
    let variance = expected.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / expected.len() as f32;
    assert!(mean.abs() < 0.1 && (variance - 1.0).abs() < 0.15, "{mean} {variance}");
    for spec in ["random:0", "random:none", "random:-1"] {
        assert!(Dataset::open(spec, &DataOptions::default(), &INPUT).is_err(), "{spec}");
    }
}

#[test]
fn a_pass_that_is_left_early_ends() {
    let data = Dataset::open("random:1000", &DataOptions::default(), &INPUT).unwrap();
    assert_eq!(data.batches(1).take(3).count(), 3);
}

#[test]
fn accuracy_counts_ties_and_nan_against_the_network() {
    assert!(top_k(&[0.0, 2.0, 2.0], 1, 1) && !top_k(&[0.0, 2.0, 2.0], 2, 1), "the lower index comes first");
    assert!(top_k(&[0.0, 2.0, 2.0], 2, 2));
    assert!(!top_k(&[f32::NAN, 1.0], 1, 1) && !top_k(&[f32::NAN, 1.0], 0, 2));
    assert!(!top_k(&[1.0], 5, 1), "a label beyond the classes");
    assert_eq!((argmax(&[1.0, 3.0, 3.0]), argmax(&[1.0, f32::NAN]), argmax(&[])), (Some(1), None, None));
    let mut accuracy = Accuracy::default();
    assert_eq!(accuracy.top1(), None);
    accuracy.add(&[0., 1., 0., 0., 0., 0., 9., 8., 7., 6., 5., 4.], 6, &[1, 5]);
    assert_eq!((accuracy.images(), accuracy.top1(), accuracy.top5()), (2, Some(0.5), Some(0.5)));
}

#[test]
fn agreement_is_what_its_formulas_say() {
    let mut agreement = Agreement::default();
    agreement.add(&[2.0, 1.0, 0.0, 3.0], &[2.0, 1.0, 3.0, 0.0], Some(2));
    assert_eq!(agreement.agreement(), Some(0.5));
    // KL of (p, 1−p) with p = 1/(1+e³) against its mirror image is 3·(1−2p); the first row gives 0.
    let p = 1.0 / (1.0 + 3f64.exp());
    assert!((agreement.kl().unwrap() - 3.0 * (1.0 - 2.0 * p) / 2.0).abs() < 1e-12);
    assert!((agreement.snr_db() - 10.0 * (14f64 / 18.0).log10()).abs() < 1e-12);
    assert_eq!(agreement.max_abs_err(), 3.0);
    let mut broken = Agreement::default();
    broken.add(&[1.0, 0.0], &[f32::NAN, 0.0], Some(2));
    assert_eq!((broken.agreement(), broken.max_abs_err()), (Some(0.0), f64::INFINITY));
    assert!(broken.snr_db().is_nan() && broken.kl().unwrap().is_nan());
}

#[test]
fn a_random_order_visits_every_image_once_and_can_be_resumed() {
    let images: Vec<u8> = (0..40).collect();
    let labels: Vec<u32> = (0..40).map(|i| i * 3).collect();
    let input = [None, Some(1), Some(1), Some(1)];
    let open = |order| {
        let options = DataOptions { order, ..plain() };
        Dataset::from_bytes(images.clone(), &[40, 1, 1, 1], Some(&labels), &options, &input).unwrap()
    };
    let visited = |data: &Dataset, start, batch| -> Vec<(u32, u32)> {
        data.batches_from(start, batch)
            .map(Result::unwrap)
            .flat_map(|b| b.data.iter().map(|&v| v as u32).zip(b.labels.unwrap()).collect::<Vec<_>>())
            .collect()
    };
    let own = visited(&open(None), 0, 7);
    assert!(own.iter().enumerate().all(|(i, &(v, l))| (v, l) == (i as u32, 3 * i as u32)));
    let data = open(Some(5));
    let shuffled = visited(&data, 0, 7);
    assert_ne!(shuffled, own);
    assert!(shuffled.iter().all(|(v, l)| *l == 3 * v), "labels stay with their images");
    let mut sorted = shuffled.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, own, "each once");
    assert_eq!(visited(&data, 0, 16), shuffled, "whatever the batch");
    assert_eq!(visited(&open(Some(6)), 0, 7).len(), 40);
    assert_ne!(visited(&open(Some(6)), 0, 7), shuffled, "another seed");
    let next = data.batches(7).nth(2).unwrap().unwrap().next;
    assert_eq!(visited(&data, next, 5), shuffled[next..], "goes on where it stopped");
}

#[test]
fn a_split_holds_out_the_same_share_of_every_class() {
    // Sixty images of class 0, then thirty of 1, then ten of 2: neighbours in the file are of one class.
    let labels: Vec<u32> = [(0, 60), (1, 30), (2, 10)].iter().flat_map(|&(c, n)| vec![c; n]).collect();
    // Every fifth place has class 1 in front of the others, so that a spread over places alone favours it.
    let mut others = labels.iter().copied().filter(|&label| label != 1);
    let mut mixed: Vec<u32> = (0..87).map(|i| if i % 5 == 4 { 1 } else { others.next().unwrap() }).collect();
    mixed.extend([1; 13]);
    let options = plain();
    let data = Dataset::from_bytes(
        vec![0; 100],
        &[100, 1, 1, 1],
        Some(&mixed),
        &options,
        &[None, Some(1), Some(1), Some(1)],
    );
    let (rest, held) = data.unwrap().split(0.2).unwrap();
    let counts = |data: &Dataset| {
        let mut counts = [0; 3];
        for batch in data.batches(64) {
            batch.unwrap().labels.unwrap().iter().for_each(|&label| counts[label as usize] += 1);
        }
        counts
    };
    assert_eq!((counts(&rest), counts(&held)), ([48, 24, 8], [12, 6, 2]));
}
