//! Likely recipes for images of a network whose preprocessing is not known.

use crate::data::{ChannelOrder, DataOptions, Dataset, ImageKind, Layout, Preset, Size};
use crate::error::Result;
use crate::tensor::SampleShape;

/// The longest side of inputs that are usual for CIFAR and similar sets.
const SMALL_SIDE: usize = 64;
/// The stored value above which floats are not those of 0..1.
const ABOVE_ONE: f32 = 2.0;

/// The mean and deviation of ImageNet's training images.
const IMAGENET: (&str, &str) = ("0.485,0.456,0.406", "0.229,0.224,0.225");
/// The mean and deviation of CIFAR-10's training images.
const CIFAR: (&str, &str) = ("0.4914,0.4822,0.4465", "0.247,0.2435,0.2616");
/// The mean and deviation that map 0..1 to −1..1, as TensorFlow's and Keras' networks take them.
const SYMMETRIC: (&str, &str) = ("0.5", "0.5");
/// The mean and deviation of MNIST's training images.
const MNIST: (&str, &str) = ("0.1307", "0.3081");
/// The means of Caffe's ImageNet networks, red first.
const CAFFE: &str = "123,117,104";

/// A recipe to try.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// The complete options of the recipe.
    pub(super) options: DataOptions,
    /// The options that make up the recipe: name and value.
    pub(super) named: Vec<(&'static str, String)>,
}

impl Candidate {
    fn new(base: &DataOptions, named: &[(&'static str, &str)]) -> Result<Self> {
        let mut candidate = Self { options: base.clone(), named: vec![] };
        named.iter().try_for_each(|(name, value)| candidate.set(name, value))?;
        Ok(candidate)
    }

    /// Sets an option by its text.
    fn set(&mut self, name: &'static str, value: &str) -> Result<()> {
        let numbers = || value.split(',').map(|v| v.parse().unwrap_or(f32::NAN)).collect::<Vec<f32>>();
        let options = &mut self.options;
        match name {
            "preset" => options.preset = Some(value.parse()?),
            "channels" => options.channels = Some(value.parse()?),
            "scale" => options.scale = numbers().first().copied(),
            "mean" => options.mean = Some(numbers()),
            "std" => options.std = Some(numbers()),
            "resize" => options.resize = Some(value.parse()?),
            _ => options.crop = Some(value.parse()?),
        }
        self.named.push((name, value.to_owned()));
        Ok(())
    }

    /// Returns the recipe with the shorter side at 256/224 of the input and a crop; `None` if it has this geometry.
    pub(super) fn cropped(&self, size: Size) -> Result<Option<Self>> {
        if self.options.crop.is_some() {
            return Ok(None);
        }
        let is_imagenet =
            self.named.iter().any(|(name, value)| (*name, value.as_str()) == ("mean", IMAGENET.0));
        if is_imagenet && self.options.preset.is_none() && self.options.scale.is_none() {
            let mut preset = Self { named: vec![], options: self.options.clone() };
            (preset.options.mean, preset.options.std) = (None, None);
            preset.set("preset", Preset::ImageNet.name())?;
            let order = self.options.channels.filter(|&order| order == ChannelOrder::Bgr);
            order.map_or(Ok(()), |_| preset.set("channels", "bgr"))?;
            return Ok(Some(preset));
        }
        let shorter = (size.height.max(size.width) * 256 + 112) / 224;
        let mut cropped = self.clone();
        cropped.set("resize", &shorter.to_string())?;
        cropped.set("crop", &size.to_string())?;
        Ok(Some(cropped))
    }
}

/// Returns the options without a preset and without mean, deviation, scale and order of channels.
pub(super) fn without_arithmetic(options: &DataOptions) -> DataOptions {
    DataOptions { preset: None, mean: None, std: None, scale: None, channels: None, ..options.clone() }
}

/// Returns whether recipes may differ in how images get the size of the input.
pub(super) fn has_free_geometry(options: &DataOptions, kind: &ImageKind, size: Size) -> bool {
    let is_fixed = options.resize.is_some() || options.crop.is_some() || options.letterbox.is_some();
    let fits = kind.sizes.iter().all(|&own| own == size);
    !is_fixed && !kind.is_float && !fits
}

/// Returns recipes for images of `channels` channels and an input of some size, the simplest first.
pub(super) fn candidates(
    base: &DataOptions,
    channels: usize,
    kind: &ImageKind,
    size: Size,
) -> Result<Vec<Candidate>> {
    let base = without_arithmetic(base);
    let is_small = size.height.max(size.width) <= SMALL_SIDE;
    let mut pairs = match (channels, is_small) {
        (3, true) => vec![IMAGENET, SYMMETRIC, CIFAR],
        (3, false) => vec![IMAGENET, SYMMETRIC],
        _ => vec![SYMMETRIC, MNIST],
    };
    let mut recipes: Vec<Vec<(&str, &str)>> = Vec::new();
    if kind.is_float {
        let [low, high] = kind.range;
        recipes.push(vec![]);
        let scale = (high > ABOVE_ONE && low >= 0.0).then_some(("scale", "255"));
        recipes.extend(scale.map(|scale| vec![scale]));
        if low < 0.0 {
            pairs.clear();
        }
        recipes.extend(
            pairs
                .iter()
                .map(|&(mean, std)| scale.into_iter().chain([("mean", mean), ("std", std)]).collect()),
        );
    } else {
        recipes.extend([vec![("preset", "unit")], vec![("preset", "raw")]]);
        recipes.extend(pairs.iter().map(|&(mean, std)| match (mean, is_small) {
            (mean, true) if mean == IMAGENET.0 => vec![("preset", "cifar10")],
            _ => vec![("mean", mean), ("std", std)],
        }));
    }
    let from_bytes = !kind.is_float || kind.range[1] > ABOVE_ONE;
    let mut all = Vec::new();
    for recipe in recipes {
        all.push(Candidate::new(&base, &recipe)?);
        if channels == 3 {
            all.push(Candidate::new(&base, &[recipe.as_slice(), &[("channels", "bgr")]].concat())?);
        }
    }
    if channels == 3 && from_bytes && kind.range[0] >= 0.0 {
        let raw = if kind.is_float { vec![] } else { vec![("preset", "raw")] };
        let reversed = CAFFE.split(',').rev().collect::<Vec<_>>().join(",");
        all.push(Candidate::new(&base, &[raw.as_slice(), &[("mean", CAFFE)]].concat())?);
        let bgr = [("mean", reversed.as_str()), ("channels", "bgr")];
        all.push(Candidate::new(&base, &[raw.as_slice(), &bgr].concat())?);
    }
    Ok(all)
}

/// Returns the height and width of an image input.
pub(super) fn size_of(data: &Dataset, sample: &SampleShape) -> Option<Size> {
    match (sample.only()?, data.preprocessing().layout) {
        (&[_, height, width], Layout::Nchw) | (&[height, width, _], Layout::Nhwc) => {
            Some(Size { height, width })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(is_float: bool, range: [f32; 2], side: usize) -> ImageKind {
        ImageKind {
            sizes: vec![Size { height: side, width: side }],
            one_size: true,
            element: if is_float { "f32" } else { "u8" }.to_owned(),
            is_float,
            channels: vec![3],
            grey: 0,
            count: 16,
            range,
        }
    }

    fn named(candidates: &[Candidate]) -> Vec<String> {
        let text = |c: &Candidate| {
            c.named.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
        };
        candidates.iter().map(text).collect()
    }

    #[test]
    fn recipes_fit_the_stored_values() {
        let size = |side: usize| Size { height: side, width: side };
        let base = DataOptions { images: Some(64), preset: Some(Preset::Mnist), ..DataOptions::default() };
        let bytes = candidates(&base, 3, &kind(false, [0.0, 255.0], 32), size(32)).unwrap();
        let names = named(&bytes);
        assert_eq!(names.len(), 12);
        assert!(names.contains(&"preset cifar10, channels bgr".to_owned()), "{names:?}");
        assert!(names.contains(&"preset raw, mean 104,117,123, channels bgr".to_owned()), "{names:?}");
        assert!(
            bytes.iter().all(|c| c.options.preset != Some(Preset::Mnist) && c.options.images == Some(64))
        );
        let floats = candidates(&base, 3, &kind(true, [0.0, 1.0], 224), size(224)).unwrap();
        assert!(floats.iter().all(|c| c.options.scale.is_none() && c.options.preset.is_none()));
        assert_eq!(named(&floats)[0], "", "as they are");
        let normalized = candidates(&base, 3, &kind(true, [-2.0, 2.5], 224), size(224)).unwrap();
        assert_eq!(named(&normalized), ["", "channels bgr"]);
        let grey = candidates(&base, 1, &kind(false, [0.0, 255.0], 28), size(28)).unwrap();
        assert_eq!(
            named(&grey),
            ["preset unit", "preset raw", "mean 0.5, std 0.5", "mean 0.1307, std 0.3081"]
        );
    }

    #[test]
    fn crops_have_the_proportions_of_imagenet() {
        let size = Size { height: 96, width: 96 };
        let (base, kind) = (DataOptions::default(), kind(false, [0.0, 255.0], 256));
        assert!(has_free_geometry(&base, &kind, size));
        let fixed = DataOptions { letterbox: Some(114), ..DataOptions::default() };
        assert!(!has_free_geometry(&fixed, &kind, size));
        assert!(!has_free_geometry(&base, &kind, Size { height: 256, width: 256 }), "of the input's size");
        let all = candidates(&base, 3, &kind, size).unwrap();
        let cropped: Vec<Candidate> = all.iter().filter_map(|c| c.cropped(size).unwrap()).collect();
        let names = named(&cropped);
        assert_eq!(names[0], "preset unit, resize 110, crop 96x96");
        assert!(names.contains(&"preset imagenet, channels bgr".to_owned()), "{names:?}");
        assert!(cropped[0].cropped(size).unwrap().is_none());
    }
}
