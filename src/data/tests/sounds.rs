//! Tests of recordings: encodings, sample rates, channels, lengths, labels, and files that are skipped.

use hound::{SampleFormat, WavSpec, WavWriter};

use super::*;

/// A network of one channel of 8 samples.
const MONO: [Option<usize>; 3] = [None, Some(1), Some(8)];
/// A network of one channel of any length.
const FREE: [Option<usize>; 3] = [None, Some(1), None];

fn spec(rate: u32, channels: u16, bits: u16) -> WavSpec {
    let sample_format = if bits == 32 { SampleFormat::Float } else { SampleFormat::Int };
    WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format }
}

fn write<S: hound::Sample + Copy>(path: &Path, spec: WavSpec, samples: &[S]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer = WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|&x| writer.write_sample(x).unwrap());
    writer.finalize().unwrap();
}

/// Creates a folder of floats, one channel at 8000 Hz.
fn folder_of_floats(files: &[(&str, &[f32])]) -> TempDir {
    let folder = tempdir().unwrap();
    files.iter().for_each(|(name, samples)| write(&folder.path().join(name), spec(8000, 1, 32), samples));
    folder
}

fn none() -> DataOptions {
    DataOptions::default()
}

#[test]
fn every_depth_becomes_numbers_from_minus_1_to_1() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.wav");
    for bits in [8, 16, 24] {
        let full = 1 << (bits - 1);
        write(&path, spec(8000, 1, bits), &[-full, -full / 2, 0, full / 4, full - 1]);
        let got = all(&open(&path, &none(), &FREE).unwrap(), 1).unwrap();
        assert_eq!(got, [-1.0, -0.5, 0.0, 0.25, 1.0 - 1.0 / full as f32], "{bits} bits");
    }
    let wide = WavSpec { sample_format: SampleFormat::Int, ..spec(8000, 1, 32) };
    write(&path, wide, &[i32::MIN, 0, 1 << 30]);
    assert_eq!(all(&open(&path, &none(), &FREE).unwrap(), 1).unwrap(), [-1.0, 0.0, 0.5]);
    write(&path, spec(8000, 1, 32), &[-1.5f32, 0.125, 1.5]);
    let data = open(&path, &none(), &FREE).unwrap();
    assert_eq!(all(&data, 1).unwrap(), [-1.5, 0.125, 1.5], "floats stay");
    let recipe = data.preprocessing();
    assert_eq!((recipe.rate, recipe.length), (Some(8000), None));
}

#[test]
fn sample_rates_differ_only_with_a_common_one() {
    let folder = folder_of_floats(&[("a.wav", &[0.5; 80])]);
    write(&folder.path().join("b.wav"), spec(16_000, 1, 32), &[0.5f32; 160]);
    let error = open(folder.path(), &none(), &FREE).unwrap_err().to_string();
    for part in ["8000 Hz, as \"a.wav\"", "16000 Hz in \"b.wav\"", "set `rate`"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let first = DataOptions { images: Some(1), ..none() };
    assert_eq!(open(folder.path(), &first, &FREE).unwrap().preprocessing().rate, Some(8000));
    for (rate, length) in [(8000, 80), (16_000, 160), (4000, 40), (3000, 30)] {
        let data = open(folder.path(), &DataOptions { rate: Some(rate), ..none() }, &FREE).unwrap();
        let batch = data.batches(2).next().unwrap().unwrap();
        assert_eq!((batch.count, batch.sample.only().unwrap()), (2, &[1, length][..]), "{rate} Hz");
        assert!((batch.data[length / 2] - 0.5).abs() < 0.01, "the level stays");
        assert_eq!(data.preprocessing().rate, Some(rate));
    }
}

#[test]
fn channels_are_mixed_and_ordered_for_the_network() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.wav");
    write(&path, spec(8000, 2, 32), &[0.5f32, 0.25, -0.5, -1.0, 0.0, 1.0]);
    let got = |input: &[Option<usize>], options: &DataOptions| {
        let batch = open(&path, options, input).unwrap().batches(1).next().unwrap().unwrap();
        (batch.sample.only().unwrap().to_vec(), batch.data)
    };
    let mixed = vec![0.375, -0.75, 0.5];
    let planes = vec![0.5, -0.5, 0.0, 0.25, -1.0, 1.0];
    let pairs = vec![0.5, 0.25, -0.5, -1.0, 0.0, 1.0];
    let n = None;
    for (input, shape, data) in [
        (vec![n, n], vec![3], &mixed),
        (vec![n, Some(1), n], vec![1, 3], &mixed),
        (vec![n, n, Some(1)], vec![3, 1], &mixed),
        (vec![n, Some(1), Some(1), n], vec![1, 1, 3], &mixed),
        (vec![n, Some(2), n], vec![2, 3], &planes),
        (vec![n, Some(2), Some(1), n], vec![2, 1, 3], &planes),
        (vec![n, n, Some(2)], vec![3, 2], &pairs),
    ] {
        assert_eq!(got(&input, &none()), (shape, data.clone()), "{input:?}");
    }
    let nhwc = DataOptions { layout: Some(Layout::Nhwc), ..none() };
    assert_eq!(got(&[n, Some(2), Some(2)], &nhwc), (vec![2, 2], vec![0.5, 0.25, -0.5, -1.0]));
    assert_eq!(got(&[n, Some(2), Some(2)], &none()), (vec![2, 2], vec![0.5, -0.5, 0.25, -1.0]));
    let normalized =
        DataOptions { mean: Some(vec![0.5, 0.0]), std: Some(vec![1.0, 0.5]), scale: Some(0.5), ..none() };
    assert_eq!(got(&[n, Some(2), n], &normalized).1, [0.5, -1.5, -0.5, 1.0, -4.0, 4.0]);
    write(&path, spec(8000, 1, 32), &[0.5f32; 3]);
    let strict = open(&path, &none(), &[n, Some(2), n]).unwrap();
    let error = strict.sample().unwrap_err().to_string();
    assert!(error.contains("a.wav") && error.contains("2 channels"), "{error}");
    for input in [vec![n, Some(3), n], vec![n, n, n], vec![n, Some(40), Some(100)]] {
        let error = open(&path, &none(), &input).unwrap_err().to_string();
        assert!(error.contains("does not take recordings"), "{input:?}: {error}");
    }
}

#[test]
fn recordings_get_the_networks_length_or_keep_their_own() {
    let long: Vec<f32> = (0..13).map(|i| i as f32).collect();
    let folder = folder_of_floats(&[("a.wav", &long), ("b.wav", &[1.0, 2.0, 3.0])]);
    let data = open(folder.path(), &none(), &MONO).unwrap();
    assert_eq!(data.preprocessing().length, Some(8));
    let expected = [2., 3., 4., 5., 6., 7., 8., 9., 1., 2., 3., 0., 0., 0., 0., 0.];
    assert_eq!(all(&data, 2).unwrap(), expected);
    let data = open(folder.path(), &none(), &FREE).unwrap();
    let shapes = data.batches(2).map(|b| b.unwrap().sample.only().unwrap().to_vec());
    assert_eq!(shapes.collect::<Vec<_>>(), [[1, 13], [1, 3]]);
}

#[test]
fn labels_are_those_of_folders_and_tables() {
    let folder =
        folder_of_floats(&[("off/a.wav", &[1.0; 8]), ("on/a.wav", &[2.0; 8]), ("on/b.WAV", &[3.0; 8])]);
    let data = open(folder.path(), &none(), &MONO).unwrap();
    assert_eq!(data.labels().unwrap(), [0, 1, 1]);
    let values: Vec<f32> = all(&data, 3).unwrap().into_iter().step_by(8).collect();
    assert_eq!(values, [1.0, 2.0, 3.0]);
    let folder = folder_of_floats(&[("a.wav", &[1.0; 8]), ("b.wav", &[2.0; 8])]);
    fs::write(folder.path().join("labels.csv"), "slice_file_name,classID\nb.wav,7\na.wav,4\n").unwrap();
    assert_eq!(open(folder.path(), &none(), &MONO).unwrap().labels().unwrap(), [4, 7]);
    fs::write(folder.path().join("labels.csv"), "file,label\na.wav,4\n").unwrap();
    let error = open(folder.path(), &none(), &MONO).unwrap_err().to_string();
    assert!(error.contains("recordings of the folder have no row"), "{error}");
}

#[test]
fn recordings_that_cannot_be_read_are_skipped_and_named() {
    let folder = folder_of_floats(&[("a.wav", &[1.0; 8]), ("empty.wav", &[]), ("nan.wav", &[f32::NAN; 8])]);
    let good = fs::read(folder.path().join("a.wav")).unwrap();
    fs::write(folder.path().join("broken.wav"), b"no sound").unwrap();
    fs::write(folder.path().join("cut.wav"), &good[..good.len() - 5]).unwrap();
    fs::write(folder.path().join("song.mp3"), b"ID3").unwrap();
    fs::write(folder.path().join("notes.txt"), b"text").unwrap();
    // The header's rate of 1 Hz would become gigabytes.
    write(&folder.path().join("slow.wav"), spec(1, 1, 8), &[0i8; 100]);
    let options = DataOptions { rate: Some(4_000_000_000), ..none() };
    let data = open(&folder.path().join("slow.wav"), &options, &FREE).unwrap();
    assert!(data.sample().unwrap_err().to_string().contains("after resampling"));
    fs::remove_file(folder.path().join("slow.wav")).unwrap();
    let data = open(folder.path(), &none(), &MONO).unwrap();
    assert_eq!(data.len(), 6);
    assert_eq!(all(&data, 6).unwrap(), [1.0; 8]);
    let skipped = data.skipped();
    let names: Vec<_> = skipped.iter().map(|(p, _)| p.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["broken.wav", "cut.wav", "empty.wav", "nan.wav", "song.mp3"], "{skipped:?}");
    assert_eq!(skipped[2].1, "the recording is empty");
    assert_eq!(skipped[3].1, "recording 4 holds NaN, which is not a finite number");
    assert_eq!(skipped[4].1, "MP3 is not supported; convert it to WAV");
    let strict = open(folder.path(), &DataOptions { strict: true, ..none() }, &MONO).unwrap();
    assert!(all(&strict, 6).unwrap_err().to_string().contains("a recording cannot be decoded"));
}

#[test]
fn options_for_images_and_pictures_are_kept_apart() {
    let folder = folder_of_floats(&[("a.wav", &[1.0; 8])]);
    let size = Size { height: 4, width: 4 };
    for (name, options) in [
        ("`preset`", plain()),
        ("`resize`", DataOptions { resize: Some(ResizeTo::Exact(size)), ..none() }),
        ("`crop`", DataOptions { crop: Some(size), ..none() }),
        ("`channels`", DataOptions { channels: Some(ChannelOrder::Bgr), ..none() }),
        ("`rate`", DataOptions { rate: Some(0), ..none() }),
    ] {
        let error = open(folder.path(), &options, &MONO).unwrap_err().to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
    let rate = DataOptions { rate: Some(8000), ..none() };
    let array = folder.path().join("a.npy");
    write_npy_f32(&array, &[1, 1, 8], &[0.0; 8]).unwrap();
    assert!(open(&array, &rate, &MONO).unwrap_err().to_string().contains("`rate` is for recordings"));
    // Pictures beside recordings, such as spectrograms: the network decides.
    RgbImage::from_raw(5, 7, pattern()).unwrap().save(folder.path().join("a.png")).unwrap();
    assert_eq!(open(folder.path(), &none(), &INPUT).unwrap().preprocessing().rate, None);
    assert_eq!(open(folder.path(), &none(), &MONO).unwrap().preprocessing().rate, Some(8000));
}

#[test]
fn recipes_of_images_keep_their_bytes() {
    let image = Preprocessing::unchanged(1, Layout::Nchw);
    let text = serde_json::to_string(&image).unwrap();
    assert!(!text.contains("rate") && !text.contains("length"), "{text}");
    assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), image);
    let sound = Preprocessing { rate: Some(8000), length: Some(8), ..image };
    let text = serde_json::to_string(&sound).unwrap();
    assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), sound);
}
