//! Recordings in .wav files, for networks whose only input is 1-D sound.
//!
//! Samples of 8 to 32 bits are divided by 2^(bits − 1), so they lie between −1 and 1; floats are taken as they are.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavReader};
use rayon::prelude::*;

use super::encoded::Skipped;
use super::folder::{self, Listing, Members, SUPPORTED};
use super::given::Given;
use super::labels::{ClassNames, Labels};
use super::picture::Frame;
use super::recipe::{DataOptions, Preprocessing};
use super::resample::{resample, resampled_len};
use super::spec::{SampleSpec, SoundInput};
use crate::error::{Error, Result};
use crate::tensor::SampleShape;

/// The most samples of a channel after resampling; only a damaged header asks for more.
const MOST_SAMPLES: u128 = 1 << 28;

/// Sound formats that are not decoded, with their extensions.
const UNSUPPORTED: [(&str, &[&str]); 7] = [
    ("FLAC", &["flac"]),
    ("MP3", &["mp3"]),
    ("Ogg", &["ogg", "oga", "opus"]),
    ("AAC", &["aac", "m4a"]),
    ("AIFF", &["aif", "aiff", "aifc"]),
    ("AU", &["au", "snd"]),
    ("WMA", &["wma"]),
];

/// The recordings among a folder's files.
const RECORDINGS: Members = Members { one: "recording", belongs: is_recording };

/// Recordings with a file for each sample.
#[derive(Debug)]
pub(super) struct Recordings {
    files: Vec<PathBuf>,
    input: SoundInput,
}

/// Recordings with their labels before any offset, if known.
pub(super) type OpenedRecordings = (Recordings, Option<Labels>);

/// The decoded samples of a recording.
struct Sound {
    rate: u32,
    /// The samples of each channel.
    channels: Vec<Vec<f32>>,
}

/// Returns whether a file's name has the extension of sound, decoded or not.
pub(super) fn is_recording(path: &Path) -> bool {
    let Some(extension) = path.extension().map(|e| e.to_string_lossy().to_lowercase()) else { return false };
    matches!(extension.as_str(), "wav" | "wave") || unsupported(path).is_some()
}

/// Returns the format that is not decoded and has this name's extension.
fn unsupported(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_string_lossy().to_lowercase();
    UNSUPPORTED.iter().find(|(_, known)| known.contains(&extension.as_str())).map(|(name, _)| *name)
}

/// Returns whether data are recordings; a folder that has pictures too is one of recordings only if they are `wanted`.
pub(super) fn is_sound(given: &Given, wanted: bool) -> bool {
    let path = match given {
        Given::Path { path, .. } => path,
        Given::Files { listing, .. } => return listing.files.first().is_some_and(|file| is_recording(file)),
    };
    if path.is_dir() {
        return folder_is_sound(path, wanted, false).unwrap_or(false);
    }
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(12).read_to_end(&mut start));
    read.is_ok() && (is_recording(path) || start.starts_with(b"RIFF") && start.ends_with(b"WAVE"))
}

/// Decides by the first folder with recordings or pictures; links below class folders are not followed.
fn folder_is_sound(path: &Path, wanted: bool, is_nested: bool) -> Option<bool> {
    let entries = folder::entries(path).ok()?;
    let has = |belongs: fn(&Path) -> bool| entries.iter().any(|p| belongs(p) && p.is_file());
    let sound = has(is_recording);
    if sound && wanted {
        return Some(true);
    }
    if has(folder::is_image) {
        return Some(false);
    }
    let nested = entries.iter().filter(|p| p.is_dir() && !(is_nested && p.is_symlink()));
    sound.then_some(true).or_else(|| nested.into_iter().find_map(|p| folder_is_sound(p, wanted, true)))
}

/// Returns the error for recordings that the network does not take.
pub(super) fn refused(spec: &SampleSpec) -> Error {
    Error::new("the network does not take recordings")
        .expected("one input of samples L, C×L or L×C, with 1 or 2 channels")
        .got(spec.show())
        .remedy("compute what the network takes, such as spectrograms, and save it as .npy")
}

/// Opens a folder of recordings, several files, or one.
pub(super) fn open(
    given: &Given,
    classes: Option<&ClassNames>,
    input: SoundInput,
) -> Result<OpenedRecordings> {
    let Listing { files, labels } = match given {
        Given::Path { path, .. } if path.is_dir() => folder::list(path, classes, RECORDINGS)?,
        Given::Path { path, .. } => Listing { files: vec![path.clone()], labels: None },
        Given::Files { listing, .. } => listing.clone(),
    };
    if files.is_empty() {
        return Err(Error::new("the folder has no recordings").remedy(format!("give {SUPPORTED}")));
    }
    Ok((Recordings { files, input }, labels))
}

impl Recordings {
    /// Returns the files in order.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Resolves the options that make sense for recordings.
    ///
    /// # Errors
    /// Options for images, and without `rate` recordings of different sample rates.
    pub(super) fn recipe(&self, options: &DataOptions) -> Result<Preprocessing> {
        if let Some(name) = options.for_images() {
            return Err(Error::new(format!("{name} is for images"))
                .expected("recordings, which are cropped or padded to the network's length")
                .remedy(format!("leave out {name}; `rate`, `mean`, `std` and `scale` prepare recordings")));
        }
        let rate = match options.rate {
            Some(0) => {
                return Err(Error::new("`rate` must be a positive number")
                    .got("0")
                    .remedy("give the sample rate in Hz, as in 16000"));
            }
            Some(rate) => Some(rate),
            None => self.common_rate(options)?,
        };
        let (layout, length) = (self.input.layout, self.input.length());
        let plain = Preprocessing::of_arrays(options, self.input.channels)?;
        Ok(Preprocessing { layout, rate, length, ..plain })
    }

    /// Returns the sample rate of all recordings that are used; `None` if no header can be read.
    fn common_rate(&self, options: &DataOptions) -> Result<Option<u32>> {
        // A sample is drawn from all recordings.
        let used = options.images.filter(|_| options.sample.is_none()).unwrap_or(usize::MAX);
        let files = &self.files[..used.min(self.files.len())];
        let rate = |file: &PathBuf| WavReader::open(file).ok().map(|reader| reader.spec().sample_rate);
        let rates: Vec<Option<u32>> = files.par_iter().map(rate).collect();
        let mut known = rates.iter().zip(files).filter_map(|(rate, file)| Some(((*rate)?, file)));
        let Some((rate, first)) = known.next() else { return Ok(None) };
        if let Some((other, file)) = known.find(|&(other, _)| other != rate) {
            let name = |file: &Path| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(Error::new("the recordings have different sample rates")
                .expected(format!("{rate} Hz, as \"{}\" has, or `rate`", name(first)))
                .got(format!("{other} Hz in \"{}\"", name(file)))
                .remedy("set `rate` to the sample rate that the network was trained with, in Hz"));
        }
        Ok(Some(rate))
    }

    /// Returns the least and the largest sample rate of recordings; `None` if no header can be read.
    pub(super) fn rates(&self, places: &[usize]) -> Option<[u32; 2]> {
        let rate = |&place: &usize| Some(WavReader::open(&self.files[place]).ok()?.spec().sample_rate);
        let rates: Vec<u32> = places.iter().filter_map(rate).collect();
        Some([*rates.iter().min()?, *rates.iter().max()?])
    }

    /// Reads and prepares recordings on all cores.
    ///
    /// # Errors
    /// A recording without the network's channels.
    pub(super) fn frames(
        &self,
        places: &[usize],
        recipe: &Preprocessing,
    ) -> Result<Vec<Result<Frame, Skipped>>> {
        let one = |&place: &usize| {
            let file = &self.files[place];
            let sound = decode(file).and_then(|sound| {
                let len = sound.channels.first().map_or(0, Vec::len);
                let after = resampled_len(len, sound.rate, recipe.rate.unwrap_or(sound.rate));
                (after <= MOST_SAMPLES)
                    .then_some(sound)
                    .ok_or_else(|| format!("{after} samples after resampling, more than {MOST_SAMPLES}"))
            });
            match sound {
                Ok(sound) => self.prepared(sound, recipe).map(Ok).map_err(|e| e.file(file)),
                Err(reason) => Ok(Err((file.clone(), reason))),
            }
        };
        places.par_iter().map(one).collect()
    }

    /// Mixes, resamples, crops or pads, and normalizes a recording.
    fn prepared(&self, sound: Sound, recipe: &Preprocessing) -> Result<Frame> {
        let wanted = self.input.channels;
        let held = sound.channels.len();
        let channels = match (held, wanted) {
            _ if held == wanted => sound.channels,
            (_, 1) => vec![mixed(&sound.channels)],
            _ => {
                return Err(Error::new("the recording does not have the network's channels")
                    .expected(format!("{wanted} channels"))
                    .got(held.to_string())
                    .remedy(format!("convert it to {wanted} channels, as ffmpeg does with -ac {wanted}")));
            }
        };
        let planes: Vec<Vec<f32>> = channels
            .into_iter()
            .enumerate()
            .map(|(channel, samples)| {
                let mut samples = match recipe.rate {
                    Some(rate) if rate != sound.rate => resample(&samples, sound.rate, rate),
                    _ => samples,
                };
                if let Some(len) = recipe.length {
                    fit(&mut samples, len);
                }
                samples.iter_mut().for_each(|x| *x = recipe.normalise(*x, channel));
                samples
            })
            .collect();
        let len = planes[0].len();
        let shape = SampleShape(vec![self.input.shape(len)]);
        let data = if self.input.is_channels_last() {
            (0..len).flat_map(|i| planes.iter().map(move |plane| plane[i])).collect()
        } else {
            planes.concat()
        };
        Ok(Frame { shape, data })
    }
}

/// Returns the mean of the channels.
fn mixed(channels: &[Vec<f32>]) -> Vec<f32> {
    let len = channels.iter().map(Vec::len).min().unwrap_or(0);
    let mean = |i: usize| channels.iter().map(|c| f64::from(c[i])).sum::<f64>() / channels.len() as f64;
    (0..len).map(|i| mean(i) as f32).collect()
}

/// Reduces a longer recording to its centre, and pads a shorter one with zeros at its end.
fn fit(samples: &mut Vec<f32>, len: usize) {
    samples.drain(..samples.len().saturating_sub(len) / 2);
    samples.resize(len, 0.0);
}

/// Decodes a file; the error is one line.
fn decode(path: &Path) -> Result<Sound, String> {
    if let Some(format) = unsupported(path) {
        return Err(format!("{format} is not supported; convert it to WAV"));
    }
    let reason = |e: hound::Error| match e {
        hound::Error::Unsupported => {
            "an encoding of WAV that is not supported; convert it to PCM of 16 bits".to_owned()
        }
        e => e.to_string(),
    };
    let reader = WavReader::open(path).map_err(reason)?;
    let spec = reader.spec();
    let samples: Vec<f32> = match spec.sample_format {
        SampleFormat::Float => reader.into_samples::<f32>().collect::<Result<_, _>>().map_err(reason)?,
        SampleFormat::Int => {
            let full = f64::from(spec.bits_per_sample - 1).exp2();
            let scaled = |x: Result<i32, _>| x.map(|x| (f64::from(x) / full) as f32);
            reader.into_samples::<i32>().map(scaled).collect::<Result<_, _>>().map_err(reason)?
        }
    };
    let count = usize::from(spec.channels);
    if samples.len() < count {
        return Err("the recording is empty".to_owned());
    }
    if spec.sample_rate == 0 {
        return Err("the header has a sample rate of 0".to_owned());
    }
    let channel = |c: usize| samples.iter().skip(c).step_by(count).copied().collect();
    Ok(Sound { rate: spec.sample_rate, channels: (0..count).map(channel).collect() })
}
