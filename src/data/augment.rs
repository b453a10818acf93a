//! Random changes of images between two epochs of a training.
//!
//! They act on arrays `[channels, height, width]` as the network reads them, after preprocessing. Every change depends on
//! the seed, the epoch and the sample alone, so that a training can be resumed anywhere.

use super::shuffled;
use super::synthetic::{GOLDEN, mix};
use crate::error::{Error, Result};

/// The random changes of images; the default changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Augment {
    /// True to mirror half of the images.
    pub flip: bool,
    /// The largest shift as a share of height and width; the border is filled with 0.
    pub shift: f64,
    /// The smallest share of the area that a random crop keeps; 0 for no crops.
    pub crop: f64,
    /// The largest relative change of contrast and of each channel's strength.
    pub color: f64,
    /// The parameter α of the Beta distribution by which pairs of images are mixed; 0 for none (Zhang 2018).
    pub mixup: f64,
}

impl Augment {
    /// Mirrored and shifted images.
    pub const USUAL: Self = Self { flip: true, shift: 0.125, crop: 0.0, color: 0.0, mixup: 0.0 };
    /// Mirrored, shifted and mixed images, for networks that imitate a teacher: it answers for mixtures, too.
    pub const IMITATION: Self = Self { mixup: 1.0, ..Self::USUAL };
    /// Shifted images, for pictures with a direction, such as digits.
    pub const SHIFT: Self = Self { flip: false, ..Self::USUAL };

    /// Changes one image of a shape `[channels, height, width]`.
    pub fn apply(&self, image: &mut [f32], shape: [usize; 3], dice: &mut Dice) {
        let [_, height, width] = shape;
        if self.crop > 0.0 {
            crop(image, shape, self.crop.min(1.0), dice);
        }
        if self.shift > 0.0 {
            let by = |size: usize, dice: &mut Dice| {
                let most = (self.shift * size as f64).round();
                (dice.uniform() * (2.0 * most + 1.0)).floor() - most
            };
            let (down, right) = (by(height, dice) as isize, by(width, dice) as isize);
            shift(image, shape, down, right);
        }
        if self.flip && dice.uniform() < 0.5 {
            image.chunks_exact_mut(width.max(1)).for_each(<[f32]>::reverse);
        }
        if self.color > 0.0 {
            recolor(image, shape, self.color, dice);
        }
    }

    /// Returns the share of the first image of a mixed pair, at least one half.
    pub fn mixed_share(&self, dice: &mut Dice) -> f64 {
        if self.mixup <= 0.0 {
            return 1.0;
        }
        // Beta(α, α) by Jöhnk's method: accept u^(1/α) and v^(1/α) whose sum is at most 1.
        for _ in 0..1000 {
            let (u, v) = (dice.uniform().powf(1.0 / self.mixup), dice.uniform().powf(1.0 / self.mixup));
            if u + v <= 1.0 && u + v > 0.0 {
                return (u / (u + v)).max(v / (u + v));
            }
        }
        0.5
    }
}

/// Lists the changes as [`str::parse`] reads them.
impl std::fmt::Display for Augment {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { flip, shift, crop, color, mixup } = *self;
        let strengths = [("shift", shift), ("crop", crop), ("color", color), ("mixup", mixup)];
        let strong = strengths.iter().filter(|(_, s)| *s > 0.0).map(|(name, s)| format!("{name}={s}"));
        let all: Vec<String> = flip.then(|| "flip".to_owned()).into_iter().chain(strong).collect();
        f.write_str(if all.is_empty() { "none" } else { "" })?;
        f.write_str(&all.join(","))
    }
}

impl std::str::FromStr for Augment {
    type Err = Error;

    /// Parses a list such as `flip,shift=0.125`, or `none`.
    fn from_str(text: &str) -> Result<Self> {
        let mut all = Self::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty() && *item != "none") {
            let (name, strength) =
                item.split_once('=').map_or((item, None), |(name, value)| (name, Some(value)));
            let strength = strength.map(str::parse::<f64>).transpose().ok();
            let strength = strength.filter(|s| s.is_none_or(|s| (0.0..=1.0).contains(&s)));
            let (Some(strength), true) = (strength, NAMES.contains(&name)) else {
                return Err(Error::new("this is no random change of images")
                    .expected("flip, shift, crop, color, mixup or none, with strengths from 0 to 1 such as shift=0.1")
                    .got(item)
                    .meant(name, NAMES, "for example flip,shift=0.1"));
            };
            match name {
                "flip" => all.flip = strength.is_none_or(|s| s > 0.0),
                "shift" => all.shift = strength.unwrap_or(0.125),
                "crop" => all.crop = strength.unwrap_or(0.5),
                "color" => all.color = strength.unwrap_or(0.2),
                _ => all.mixup = strength.unwrap_or(0.2),
            }
        }
        Ok(all)
    }
}

/// The names of random changes.
const NAMES: [&str; 5] = ["flip", "shift", "crop", "color", "mixup"];

/// A source of random numbers that depends on a seed, an epoch and the place of a sample.
#[derive(Clone, Copy, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Returns the source for a sample.
    pub fn of(seed: u64, epoch: usize, sample: usize) -> Self {
        let of = |x: u64, y: u64| mix(x ^ mix(y.wrapping_mul(GOLDEN)));
        Self { state: of(of(seed, epoch as u64 + 1), sample as u64 + 1) }
    }

    /// Returns a number in 0..1.
    pub fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(GOLDEN);
        (mix(self.state) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Returns the numbers below `count` in the random order of an epoch.
pub fn epoch_order(count: usize, seed: u64, epoch: usize) -> Vec<usize> {
    shuffled(count, seed ^ mix((epoch as u64 + 1).wrapping_mul(GOLDEN)))
}

/// Shifts an image; pixels from outside are 0.
fn shift(image: &mut [f32], [_, height, width]: [usize; 3], down: isize, right: isize) {
    let plane_len = height * width;
    let mut old = vec![0.0; plane_len];
    for plane in image.chunks_exact_mut(plane_len.max(1)) {
        old.copy_from_slice(plane);
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            let from = y as isize - down;
            row.fill(0.0);
            if !(0..height as isize).contains(&from) {
                continue;
            }
            let source = &old[from as usize * width..][..width];
            let (start, end) = (right.max(0) as usize, (width as isize + right.min(0)).max(0) as usize);
            if start < end {
                let first = (start as isize - right) as usize;
                row[start..end].copy_from_slice(&source[first..first + end - start]);
            }
        }
    }
}

/// Replaces an image by a random crop of at least the share `least` of its area, resized bilinearly.
///
/// The ratio of the crop's sides is between 3/4 and 4/3, as in torchvision's RandomResizedCrop.
fn crop(image: &mut [f32], [_, height, width]: [usize; 3], least: f64, dice: &mut Dice) {
    let area = least + (1.0 - least) * dice.uniform();
    let ratio = ((dice.uniform() * 2.0 - 1.0) * (4.0f64 / 3.0).ln()).exp();
    let (tall, wide) = ((area / ratio).sqrt().min(1.0), (area * ratio).sqrt().min(1.0));
    let (top, left) = (dice.uniform() * (1.0 - tall), dice.uniform() * (1.0 - wide));
    let samples = |size: usize, begin: f64, share: f64| -> Vec<(usize, usize, f32)> {
        let at = |i: usize| {
            let x = (begin + share * (i as f64 + 0.5) / size as f64) * size as f64 - 0.5;
            let x = x.clamp(0.0, (size - 1) as f64);
            (x as usize, (x as usize + 1).min(size - 1), x.fract() as f32)
        };
        (0..size).map(at).collect()
    };
    let (rows, columns) = (samples(height, top, tall), samples(width, left, wide));
    let mut old = vec![0.0; height * width];
    for plane in image.chunks_exact_mut((height * width).max(1)) {
        old.copy_from_slice(plane);
        for (row, &(y0, y1, fy)) in plane.chunks_exact_mut(width).zip(&rows) {
            let (above, below) = (&old[y0 * width..][..width], &old[y1 * width..][..width]);
            for (pixel, &(x0, x1, fx)) in row.iter_mut().zip(&columns) {
                let at = |line: &[f32]| line[x0] + fx * (line[x1] - line[x0]);
                *pixel = at(above) + fy * (at(below) - at(above));
            }
        }
    }
}

/// Multiplies the contrast about the mean, and each channel, by random factors.
fn recolor(image: &mut [f32], [_, height, width]: [usize; 3], most: f64, dice: &mut Dice) {
    let mean = image.iter().sum::<f32>() / image.len().max(1) as f32;
    let mut factor = || (1.0 + most * (2.0 * dice.uniform() - 1.0)) as f32;
    let contrast = factor();
    for plane in image.chunks_exact_mut((height * width).max(1)) {
        let strength = factor();
        plane.iter_mut().for_each(|x| *x = strength * (mean + contrast * (*x - mean)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_changes_are_parsed() {
        let none = Augment::default();
        for (text, expected) in [
            ("none", none),
            ("", none),
            ("flip", Augment { flip: true, ..none }),
            ("flip=0", none),
            ("flip,shift", Augment::USUAL),
            (" shift , flip=1", Augment::USUAL),
            (
                "shift=0.25,crop,color,mixup",
                Augment { flip: false, shift: 0.25, crop: 0.5, color: 0.2, mixup: 0.2 },
            ),
            ("crop=0.3,color=0,mixup=1", Augment { crop: 0.3, mixup: 1.0, ..none }),
        ] {
            let parsed: Augment = text.parse().unwrap();
            assert_eq!(parsed, expected, "{text}");
            assert_eq!(parsed.to_string().parse::<Augment>().unwrap(), parsed, "{parsed}");
        }
        assert_eq!(Augment::USUAL.to_string(), "flip,shift=0.125");
        for text in ["flop", "shift=2", "shift=-0.1", "crop=much", "shift=", "flip=nan", "flip shift", "=1"] {
            let error = text.parse::<Augment>().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    fn image(shape: [usize; 3]) -> Vec<f32> {
        (0..shape.iter().product()).map(|i| i as f32 + 1.0).collect()
    }

    #[test]
    fn a_shift_moves_pixels_and_fills_with_zeros() {
        let mut x = image([1, 3, 4]);
        shift(&mut x, [1, 3, 4], 1, -2);
        assert_eq!(x, [0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 7.0, 8.0, 0.0, 0.0]);
        shift(&mut x, [1, 3, 4], 0, 9);
        assert_eq!(x, [0.0; 12]);
    }

    #[test]
    fn the_whole_area_is_the_image() {
        // A ratio other than 1 is cut at the border, so only squares that cover everything are compared.
        let (mut x, shape) = (image([2, 5, 5]), [2, 5, 5]);
        let before = x.clone();
        let change = Augment { crop: 1.0, ..Augment::default() };
        let mut same = 0;
        for sample in 0..50 {
            x.copy_from_slice(&before);
            change.apply(&mut x, shape, &mut Dice::of(1, 0, sample));
            let (low, high) = (before[0].min(before[49]), before[49].max(before[0]));
            assert!(x.iter().all(|v| (low..=high).contains(v)), "interpolated between neighbours");
            same += usize::from(x == before);
        }
        assert!(same < 50, "the ratio varies");
    }

    #[test]
    fn changes_depend_on_seed_epoch_and_sample_only() {
        let change = Augment { flip: true, shift: 0.25, crop: 0.5, color: 0.2, mixup: 0.0 };
        let changed = |seed, epoch, sample| {
            let mut x = image([3, 8, 8]);
            change.apply(&mut x, [3, 8, 8], &mut Dice::of(seed, epoch, sample));
            x
        };
        assert_eq!(changed(1, 2, 3), changed(1, 2, 3));
        for (seed, epoch, sample) in [(2, 2, 3), (1, 3, 3), (1, 2, 4)] {
            assert_ne!(changed(1, 2, 3), changed(seed, epoch, sample));
        }
    }

    #[test]
    fn an_epoch_has_every_sample_once() {
        let order = epoch_order(101, 3, 0);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..101).collect::<Vec<_>>());
        assert_ne!(order, epoch_order(101, 3, 1));
        assert_ne!(order, sorted);
    }

    #[test]
    fn mixed_pairs_keep_at_least_half_of_the_first() {
        let change = Augment { mixup: 0.2, ..Augment::default() };
        let mut dice = Dice::of(1, 0, 0);
        let shares: Vec<f64> = (0..2000).map(|_| change.mixed_share(&mut dice)).collect();
        assert!(shares.iter().all(|share| (0.5..=1.0).contains(share)));
        // The mean of max(x, 1 − x) for Beta(0.2, 0.2) is 0.9 by numerical integration.
        let mean = shares.iter().sum::<f64>() / 2000.0;
        assert!((0.88..0.93).contains(&mean), "{mean}");
    }
}
