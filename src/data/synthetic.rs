//! Synthetic images of the built-in demo: ten textured shapes, computed from a seed.
//!
//! The demo needs no download, so these 32×32 RGB images are computed. Classes differ in shape only: place, size,
//! rotation, colours, textures, contrast and clutter are independent of the label, and either shape or background may
//! be brighter. So no linear function of the pixels is much better than chance, but a small CNN is nearly always right.
//!
//! The bytes are equal on every machine. The generator uses a counter-based random source (integers), and only the
//! floating-point operations `+ - × ÷ √` and rounding to an integer, which IEEE 754 defines to the last bit. It avoids
//! `sin` and `cos`, which differ between implementations: directions are normalised random points, and waves are square
//! or triangular.

use rayon::prelude::*;

/// The class names; a label is an index into them.
pub const CLASSES: [&str; 10] =
    ["disc", "ring", "square", "frame", "triangle", "cross", "star", "crescent", "chevron", "hourglass"];

/// Height and width of an image, in pixels.
pub const SIZE: usize = 32;
/// Colour channels of an image: red, green, blue.
pub const CHANNELS: usize = 3;
/// Bytes of one image.
pub const BYTES: usize = CHANNELS * SIZE * SIZE;

/// Draws image `index` of the infinite series `seed`: 3×32×32 bytes (channel, row, column; RGB) and its label.
///
/// Labels cycle through the classes, so any ten consecutive images have one of each.
pub fn image(seed: u64, index: u64) -> (Vec<u8>, u32) {
    let mut pixels = vec![0; BYTES];
    let label = draw(seed, index, &mut pixels);
    (pixels, label)
}

/// Draws the first `n` images of the series `seed` (N×3×32×32), and returns their labels too.
pub fn images(seed: u64, n: usize) -> (Vec<u8>, Vec<u32>) {
    let mut pixels = vec![0; n * BYTES];
    let labels = pixels.par_chunks_mut(BYTES).enumerate().map(|(i, out)| draw(seed, i as u64, out)).collect();
    (pixels, labels)
}

/// Draws one image into `out` (`BYTES` long) and returns its label.
fn draw(seed: u64, index: u64, out: &mut [u8]) -> u32 {
    let label = (index % CLASSES.len() as u64) as usize;
    let mut rng = Rng::new(mix(mix(seed).wrapping_add(index)));
    let scene = Scene::new(label, &mut rng);
    let noise_amplitude = rng.range(0.0, 14.0);
    let noise = Rng::new(rng.next());
    for y in 0..SIZE {
        for x in 0..SIZE {
            let pixel = y * SIZE + x;
            for (c, value) in scene.colour(x as f32, y as f32).into_iter().enumerate() {
                let at = c * SIZE * SIZE + pixel;
                let value = value + noise_amplitude * (2.0 * noise.at(at as u64) - 1.0);
                // `as` saturates, and adding a half rounds to nearest.
                out[at] = (value + 0.5) as u8;
            }
        }
    }
    label as u32
}

// ---- Chance -------------------------------------------------------------------------------------------

/// 2⁶⁴ over the golden ratio.
pub(super) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Applies the finaliser of SplitMix64: a bijection whose output bits each depend on all input bits.
///
/// Steele, Lea and Flood, OOPSLA 2014.
pub(crate) fn finish(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Computes one step of SplitMix64.
pub(super) fn mix(value: u64) -> u64 {
    finish(value.wrapping_add(GOLDEN))
}

/// Returns the generator SplitMix64 from a seed: the finaliser of a state that grows by the golden ratio.
pub(crate) fn splitmix64(seed: u64) -> impl Iterator<Item = u64> {
    (0u64..).map(move |step| mix(seed.wrapping_add(step.wrapping_mul(GOLDEN))))
}

/// A counter-based random generator: number `i` of a key is a function of both.
struct Rng {
    key: u64,
    count: u64,
}

impl Rng {
    fn new(key: u64) -> Self {
        Self { key, count: 0 }
    }

    /// Returns number `i` of the key, in [0, 1), without advancing the sequence.
    fn at(&self, i: u64) -> f32 {
        let bits = mix(self.key ^ mix(i)) >> 40;
        bits as f32 / (1u64 << 24) as f32
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        mix(self.key ^ mix(self.count))
    }

    /// Draws a uniform number in [low, high).
    fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.next() >> 40) as f32 / (1u64 << 24) as f32)
    }

    /// Draws a uniform integer in 0..=`last`.
    fn upto(&mut self, last: u64) -> u64 {
        self.next() % (last + 1)
    }

    /// Draws a uniformly random unit vector, as a normalised point of the unit disc.
    fn direction(&mut self) -> [f32; 2] {
        loop {
            let (x, y) = (self.range(-1.0, 1.0), self.range(-1.0, 1.0));
            let square = x * x + y * y;
            if square > 0.01 && square <= 1.0 {
                let length = square.sqrt();
                return [x / length, y / length];
            }
        }
    }
}

// ---- Scene --------------------------------------------------------------------------------------------

type Colour = [f32; 3];

/// The random parameters of one image.
struct Scene {
    label: usize,
    centre: [f32; 2],
    axis: [f32; 2],
    /// Half the shape's width and height, in pixels, which differ slightly.
    half: [f32; 2],
    shape: Texture,
    ground: Texture,
    clutter: Vec<Stroke>,
    contrast: f32,
    brightness: f32,
}

impl Scene {
    fn new(label: usize, rng: &mut Rng) -> Self {
        let half = rng.range(7.0, 12.0);
        let stretch = rng.range(0.88, 1.14);
        // A shape may touch the border, but hardly ever crosses it.
        let slack = SIZE as f32 / 2.0 - half;
        let middle = (SIZE - 1) as f32 / 2.0;
        let (shape_colour, ground_colour) = two_colours(rng);
        Self {
            label,
            centre: [middle + rng.range(-slack, slack), middle + rng.range(-slack, slack)],
            axis: rng.direction(),
            half: [half * stretch, half / stretch],
            shape: Texture::new(shape_colour, ground_colour, rng),
            ground: Texture::new(ground_colour, shape_colour, rng),
            clutter: (0..rng.upto(6)).map(|_| Stroke::new(rng)).collect(),
            contrast: rng.range(0.45, 1.0),
            brightness: rng.range(-30.0, 30.0),
        }
    }

    /// Returns the colour of the pixel with the centre (`x`, `y`), in 0–255 before clipping.
    fn colour(&self, x: f32, y: f32) -> Colour {
        let under = blend(self.ground.colour(x, y), self.shape.colour(x, y), self.coverage(x, y));
        let over = self.clutter.iter().fold(under, |below, stroke| {
            let covered = stroke.coverage(x, y);
            if covered > 0.0 { blend(below, stroke.colour, covered) } else { below }
        });
        over.map(|value| 127.5 + self.contrast * (value - 127.5) + self.brightness)
    }

    /// Returns the share of the pixel that the shape covers, from 3×3 samples.
    fn coverage(&self, x: f32, y: f32) -> f32 {
        const STEP: f32 = 1.0 / 3.0;
        let inside = |i: u8| {
            let dx = x + STEP * (f32::from(i % 3) - 1.0) - self.centre[0];
            let dy = y + STEP * (f32::from(i / 3) - 1.0) - self.centre[1];
            let [cos, sin] = self.axis;
            contains(self.label, (cos * dx + sin * dy) / self.half[0], (cos * dy - sin * dx) / self.half[1])
        };
        (0..9).filter(|&i| inside(i)).count() as f32 / 9.0
    }
}

/// Returns whether the shape of class `label`, which fills about [-1, 1]², contains (`u`, `v`).
fn contains(label: usize, u: f32, v: f32) -> bool {
    let square_radius = u * u + v * v;
    let (near, far) = (u.abs().min(v.abs()), u.abs().max(v.abs()));
    match CLASSES[label] {
        "disc" => square_radius < 0.81,
        "ring" => (0.25..0.95).contains(&square_radius),
        "square" => far < 0.8,
        "frame" => (0.42..0.85).contains(&far),
        "triangle" => v > -0.55 && 0.866 * u.abs() + 0.5 * v < 0.55,
        "cross" => near < 0.3 && far < 1.0,
        "star" => {
            // A point is in a pentagram if it is on the inner side of at least four of the five lines.
            const NORMALS: [[f32; 2]; 5] =
                [[0.0, 1.0], [0.9511, 0.309], [0.5878, -0.809], [-0.5878, -0.809], [-0.9511, 0.309]];
            NORMALS.iter().filter(|n| n[0] * u + n[1] * v < 0.38).count() >= 4
        }
        "crescent" => square_radius < 1.0 && (u - 0.5) * (u - 0.5) + v * v > 0.56,
        "chevron" => u.abs() < 0.95 && (v - 0.95 * u.abs() + 0.45).abs() < 0.36,
        "hourglass" => v.abs() < 0.9 && u.abs() < 0.85 * v.abs() + 0.06,
        other => unreachable!("class {other} has no shape"),
    }
}

/// Draws colours for shape and background that are far enough apart to be distinguished.
fn two_colours(rng: &mut Rng) -> (Colour, Colour) {
    loop {
        let [a, b] = [(); 2].map(|()| [(); 3].map(|()| rng.range(20.0, 235.0)));
        if distance(a, b) > 110.0 {
            return (a, b);
        }
    }
}

fn distance(a: Colour, b: Colour) -> f32 {
    let square: f32 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    square.sqrt()
}

fn blend(a: Colour, b: Colour, share: f32) -> Colour {
    [0, 1, 2].map(|c| a[c] + share * (b[c] - a[c]))
}

// ---- Textures and clutter -----------------------------------------------------------------------------

enum Pattern {
    Plain,
    Gradient,
    Stripes,
    Checks,
    Dots,
    Clouds,
}

/// A pattern in two colours.
struct Texture {
    pattern: Pattern,
    colours: [Colour; 2],
    axis: [f32; 2],
    /// Length of a period, in pixels.
    period: f32,
    /// Offset of the pattern, in periods.
    phase: [f32; 2],
    lattice: Rng,
}

impl Texture {
    /// Draws a texture of `colour` and a second colour.
    ///
    /// The second colour differs by at most half the distance to `other`, in any direction of the colour cube, so that
    /// a pattern is always weaker than the shape's edge.
    fn new(colour: Colour, other: Colour, rng: &mut Rng) -> Self {
        let stray = rng.range(0.1, 0.5) * distance(colour, other);
        let second = loop {
            let offset = [(); 3].map(|()| rng.range(-1.0, 1.0));
            let length = distance(offset, [0.0; 3]);
            if length > 0.1 && length <= 1.0 {
                break [0, 1, 2].map(|c| colour[c] + offset[c] / length * stray);
            }
        };
        let pattern = match rng.upto(5) {
            0 => Pattern::Plain,
            1 => Pattern::Gradient,
            2 => Pattern::Stripes,
            3 => Pattern::Checks,
            4 => Pattern::Dots,
            _ => Pattern::Clouds,
        };
        Self {
            pattern,
            colours: [colour, second],
            axis: rng.direction(),
            period: rng.range(4.0, 9.0),
            phase: [rng.range(0.0, 1.0), rng.range(0.0, 1.0)],
            lattice: Rng::new(rng.next()),
        }
    }

    fn colour(&self, x: f32, y: f32) -> Colour {
        let [cos, sin] = self.axis;
        let (along, across) = (cos * x + sin * y, cos * y - sin * x);
        let (s, t) = (along / self.period + self.phase[0], across / self.period + self.phase[1]);
        let share = match self.pattern {
            Pattern::Plain => 0.0,
            Pattern::Gradient => triangle(s / 8.0),
            Pattern::Stripes => step(triangle(s)),
            Pattern::Checks => {
                let (a, b) = (step(triangle(s)), step(triangle(t)));
                a + b - 2.0 * a * b
            }
            Pattern::Dots => {
                let (a, b) = (triangle(s), triangle(t));
                step(1.0 - a * a - b * b)
            }
            Pattern::Clouds => self.clouds(s, t),
        };
        blend(self.colours[0], self.colours[1], share)
    }

    /// Returns value noise: random values on a lattice, interpolated.
    fn clouds(&self, s: f32, t: f32) -> f32 {
        let (row, column) = (t.floor(), s.floor());
        // An offset makes the coordinates of the lattice positive.
        let value = |dr: f32, dc: f32| {
            self.lattice.at(((row + dr + 4096.0) as u64) << 16 | (column + dc + 4096.0) as u64)
        };
        let smooth = |a: f32| a * a * (3.0 - 2.0 * a);
        let (right, down) = (smooth(s - column), smooth(t - row));
        let top = value(0.0, 0.0) + right * (value(0.0, 1.0) - value(0.0, 0.0));
        let bottom = value(1.0, 0.0) + right * (value(1.0, 1.0) - value(1.0, 0.0));
        top + down * (bottom - top)
    }
}

/// Returns a triangle wave of period 1 between 0 and 1.
fn triangle(x: f32) -> f32 {
    (2.0 * (x - x.floor()) - 1.0).abs()
}

/// Returns a step from 0 to 1 at a half, softened so that edges are about a pixel wide.
fn step(x: f32) -> f32 {
    ((x - 0.5) * 4.0 + 0.5).clamp(0.0, 1.0)
}

/// A speckle or a thin line in the foreground: a segment with a width.
struct Stroke {
    from: [f32; 2],
    along: [f32; 2],
    length: f32,
    radius: f32,
    colour: Colour,
}

impl Stroke {
    fn new(rng: &mut Rng) -> Self {
        let line = rng.upto(2) == 0;
        Self {
            from: [rng.range(0.0, SIZE as f32), rng.range(0.0, SIZE as f32)],
            along: rng.direction(),
            length: if line { rng.range(6.0, 22.0) } else { 0.0 },
            radius: if line { rng.range(0.4, 0.7) } else { rng.range(0.6, 1.4) },
            colour: [(); 3].map(|()| rng.range(0.0, 255.0)),
        }
    }

    /// Returns the covered share of the pixel at (`x`, `y`), from its distance to the segment.
    fn coverage(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.from[0], y - self.from[1]);
        let on = (dx * self.along[0] + dy * self.along[1]).clamp(0.0, self.length);
        let (ex, ey) = (dx - on * self.along[0], dy - on * self.along[1]);
        (self.radius + 0.5 - (ex * ex + ey * ey).sqrt()).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// Every platform must compute exactly these bytes, which the shipped network was trained on.
    #[test]
    fn bytes_are_pinned() {
        let (pixels, labels) = images(7, 10);
        let hash: String = Sha256::digest(&pixels).iter().take(8).map(|b| format!("{b:02x}")).collect();
        assert_eq!(hash, "a7e4072d928793dd");
        assert_eq!(labels, (0..10).collect::<Vec<u32>>());
    }

    #[test]
    fn series_agrees_with_single_images() {
        let (pixels, labels) = images(3, 37);
        for (i, (bytes, label)) in pixels.chunks(BYTES).zip(&labels).enumerate() {
            assert_eq!(image(3, i as u64), (bytes.to_vec(), *label));
        }
    }

    #[test]
    fn labels_are_balanced_and_images_differ() {
        let (pixels, labels) = images(1, 200);
        for class in 0..CLASSES.len() as u32 {
            assert_eq!(labels.iter().filter(|&&l| l == class).count(), 20, "class {class}");
        }
        let distinct: std::collections::HashSet<&[u8]> = pixels.chunks(BYTES).collect();
        assert_eq!(distinct.len(), 200);
        assert_ne!(pixels, images(2, 200).0);
    }

    /// No image is flat, and each channel of the whole set uses most of the range.
    #[test]
    fn values_vary() {
        let (pixels, _) = images(1, 200);
        for (i, bytes) in pixels.chunks(BYTES).enumerate() {
            let (low, high) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
            assert!(high - low > 40, "image {i} spans only {low}..{high}");
        }
        for c in 0..CHANNELS {
            let plane = SIZE * SIZE;
            let of_channel = || pixels.chunks(plane).skip(c).step_by(CHANNELS).flatten();
            assert!(of_channel().any(|&v| v < 16) && of_channel().any(|&v| v > 240), "channel {c}");
        }
    }

    /// Each class covers a part of its frame, and no two classes cover equal parts.
    #[test]
    fn shapes_differ() {
        let mask = |label| -> Vec<bool> {
            let at = |i: usize| (i as f32 - 24.5) / 24.0;
            (0..2500).map(|i| contains(label, at(i % 50), at(i / 50))).collect()
        };
        let masks: Vec<_> = (0..CLASSES.len()).map(mask).collect();
        for (a, first) in masks.iter().enumerate() {
            let area = first.iter().filter(|&&inside| inside).count();
            assert!((300..2000).contains(&area), "{} covers {area}", CLASSES[a]);
            for (b, second) in masks.iter().enumerate().skip(a + 1) {
                let differ = first.iter().zip(second).filter(|(x, y)| x != y).count();
                assert!(differ > 200, "{} and {} differ in {differ}", CLASSES[a], CLASSES[b]);
            }
        }
    }
}
