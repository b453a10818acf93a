//! Histogram of the values of a tensor, accumulated over images on the device.
//!
//! Bins are those of [`value_bins`]. Counts are exact: each is two numbers, so that `f32` holds it beyond 2²⁴. They are
//! sums of whole numbers, so that bits depend neither on the batch nor on the device's order of execution. The extremes
//! of each sign are kept in full.

use std::sync::Mutex;

use bytemuck::{bytes_of, cast_slice_mut};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::value_bins::{LOWEST, NORMAL, SHIFT, SIDE, SIGN, SLOTS, ZEROS, slot};
use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::host::scratch;
use crate::kernels::instructions;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{WORKGROUP, grid, row, uniform, word};

/// Adds the histogram of `x` to the output.
///
/// Inputs: `x [parts, elements]` and `weights [samples]`. Samples of weight 0 fill up the batch and are left out.
/// Output: the low parts of the counts by [`slot`]; their high parts, each in units of [`ValueCounts::CARRY`]; and four
/// extremes, for positive values and for negative ones: the smallest magnitude, [mirrored](ValueCounts::mirrored), and
/// the largest. An extreme is 0 if there are no values of this sign.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueCounts {
    /// Number of samples, each with a weight.
    pub samples: usize,
    /// Number of parts of `x` with weights of their own: all samples, or 1 if `x` mixes them.
    pub parts: usize,
    /// Number of elements of a part.
    pub elements: usize,
}

impl ValueCounts {
    /// The count at which a low part returns to 0 and the high part grows by one.
    pub const CARRY: u64 = 1 << 23;
    /// Number of elements of the output.
    pub const LEN: usize = 2 * SLOTS + 4;

    /// Maps the magnitudes of normal numbers to themselves in reverse order; it is its own inverse.
    ///
    /// So the smallest magnitude can accumulate from 0 as a maximum.
    pub fn mirrored(magnitude: f32) -> f32 {
        f32::from_bits(magnitude.to_bits() ^ !SIGN)
    }

    /// Returns the ranges of elements that count: neighbouring parts form one range.
    fn ranges<T: Copy + Default + PartialEq>(&self, weights: &[T]) -> Vec<std::ops::Range<usize>> {
        let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
        for part in (0..self.parts).filter(|&part| weights[part] != T::default()) {
            let range = part * self.elements..(part + 1) * self.elements;
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        ranges
    }

    /// Number of workgroups that share a part.
    fn chunks(&self) -> usize {
        self.elements.div_ceil(CHUNK).max(1)
    }
}

/// Elements of a workgroup. Its counts are halves of a word, so they are fewer than 2¹⁶.
const CHUNK: usize = 8192;

uniform! {
    len: u32,
    elements: u32,
    chunks: u32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "value_counts",
    file: "moments/value_counts",
    shared: [],
    doc: "histogram of a tensor's values, accumulated",
};

/// Adds `count` to a count of two parts.
fn add(low: f64, high: f64, count: u64) -> [f64; 2] {
    let sum = low + count as f64;
    let carry = (sum / ValueCounts::CARRY as f64).floor();
    [sum - carry * ValueCounts::CARRY as f64, high + carry]
}

impl Kernel for ValueCounts {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.parts * self.elements, self.samples]
    }

    fn output_len(&self) -> usize {
        Self::LEN
    }

    fn accumulates(&self) -> bool {
        true
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let mut counts = [0u64; SLOTS];
        for &x in self.ranges(inputs[1]).into_iter().flat_map(|range| &inputs[0][range]) {
            let x = x as f32;
            let slot = slot(x);
            counts[slot] += 1;
            if slot < ZEROS {
                let extremes = &mut output[2 * SLOTS + slot / SIDE * 2..][..2];
                extremes[0] = extremes[0].max(Self::mirrored(x.abs()).into());
                extremes[1] = extremes[1].max(x.abs().into());
            }
        }
        for (slot, count) in counts.into_iter().enumerate().filter(|&(_, count)| count > 0) {
            [output[slot], output[SLOTS + slot]] = add(output[slot], output[SLOTS + slot], count);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let output = Mutex::new(output);
        for range in self.ranges(inputs[1]) {
            let x = &inputs[0][range];
            // Enough elements to pay for a table.
            let parts = (x.len() >> 15).clamp(1, rayon::current_num_threads());
            let chunks = x.par_chunks(x.len().div_ceil(parts).max(1));
            chunks.for_each(|x| {
                scratch::with(TABLES * TABLE, |table| {
                    let table = cast_slice_mut(table);
                    table.fill(0);
                    let extremes = instructions::arch().dispatch(Count { x, table });
                    let mut output = output.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    add_table(x, table, extremes, &mut output);
                });
            });
        }
    }

    fn dispatch(&self) -> Dispatch {
        let len = self.parts * self.chunks();
        let params = Params { len: word(len), elements: word(self.elements), chunks: word(self.chunks()) };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(len * WORKGROUP) }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

/// Elements of a sign in a table, of which bins use the first ones.
const HALF: usize = 1 << 12;
/// Elements of a table on the host.
const TABLE: usize = 2 * HALF;
/// Tables that neighbouring elements use in turn, so that equal ones do not wait for each other.
const TABLES: usize = 2;
/// Elements whose places in the tables are computed at once.
const BLOCK: usize = 128;
/// The first of [`BLOCK`] places that count zeros.
const ZERO_PLACES: usize = SIDE;

/// Extremes of values as bits, offset so that comparisons skip zeros.
#[derive(Clone, Copy)]
struct Extremes {
    /// The largest of the bits as signed numbers: of the largest positive value.
    most: i32,
    /// The largest of the bits: of the largest negative value.
    least: u32,
    /// The smallest difference of the bits to those of the smallest normal number.
    smallest: u32,
    /// The smallest of these differences as signed numbers.
    smallest_negative: i32,
}

impl Extremes {
    const NONE: Self = Self { most: 0, least: 0, smallest: u32::MAX, smallest_negative: -1 };

    #[inline(always)]
    fn add(&mut self, bits: u32) {
        let above = bits.wrapping_sub(NORMAL);
        self.most = self.most.max(bits as i32);
        self.least = self.least.max(bits);
        self.smallest = self.smallest.min(above);
        self.smallest_negative = self.smallest_negative.min(above as i32);
    }

    #[inline(always)]
    fn merge(&mut self, other: Self) {
        self.most = self.most.max(other.most);
        self.least = self.least.max(other.least);
        self.smallest = self.smallest.min(other.smallest);
        self.smallest_negative = self.smallest_negative.min(other.smallest_negative);
    }

    /// Returns the smallest and the largest magnitude of positive and of negative values, if there are any.
    ///
    /// All values must be finite.
    fn magnitudes(self) -> [Option<[f32; 2]>; 2] {
        let positive = self.most as u32;
        let [smallest, smallest_negative] =
            [self.smallest, self.smallest_negative as u32].map(|above| above.wrapping_add(NORMAL));
        let negative = (self.least >= SIGN | NORMAL)
            .then(|| [smallest_negative & !SIGN, self.least & !SIGN].map(f32::from_bits));
        [(self.most >= NORMAL as i32).then(|| [smallest, positive].map(f32::from_bits)), negative]
    }
}

/// Counts the elements of `x` in tables.
struct Count<'a> {
    x: &'a [f32],
    table: &'a mut [u32],
}

impl WithSimd for Count<'_> {
    type Output = Extremes;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Extremes {
        let (blocks, rest) = self.x.as_chunks::<BLOCK>();
        let (tables, _) = self.table.as_chunks_mut::<TABLE>();
        let mut lanes = [Extremes::NONE; LANES];
        if let [first, second, ..] = tables {
            let mut places = [0u16; BLOCK];
            for block in blocks {
                locate(block, &mut places, &mut lanes);
                for &[a, b] in places.as_chunks::<2>().0 {
                    first[a as usize % TABLE] += 1;
                    second[b as usize % TABLE] += 1;
                }
            }
            for (lane, &x) in rest.iter().enumerate() {
                lanes[0].add(x.to_bits());
                first[place(x.to_bits(), lane as u32) as usize % TABLE] += 1;
            }
        }
        let mut all = Extremes::NONE;
        lanes.into_iter().for_each(|lane| all.merge(lane));
        all
    }
}

/// Elements whose extremes are kept apart.
const LANES: usize = 16;

/// Returns the place of a value in a table: the bin, or for a zero one of the places that depend on the lane.
#[inline(always)]
fn place(bits: u32, lane: u32) -> u16 {
    let magnitude = bits & !SIGN;
    let bin = (magnitude >> SHIFT).max(LOWEST - 1) - (LOWEST - 1);
    let bin = bin.min(SIDE as u32 - 1) + (bits >> 31) * HALF as u32;
    let zero = ZERO_PLACES as u32 + lane;
    (if magnitude < NORMAL { zero } else { bin }) as u16
}

/// Computes the places of a block, and extends the extremes.
#[inline(always)]
fn locate(block: &[f32; BLOCK], places: &mut [u16; BLOCK], lanes: &mut [Extremes; LANES]) {
    for (lane, (place_of, x)) in places.iter_mut().zip(block).enumerate() {
        *place_of = place(x.to_bits(), lane as u32);
    }
    for x in block.as_chunks::<LANES>().0 {
        for (lane, x) in lanes.iter_mut().zip(x) {
            lane.add(x.to_bits());
        }
    }
}

/// Adds the tables of the elements `x` to the output.
fn add_table(x: &[f32], tables: &[u32], extremes: Extremes, output: &mut [f32]) {
    let count = |place: usize| tables.chunks_exact(TABLE).map(|table| u64::from(table[place])).sum::<u64>();
    let mut add_to = |slot: usize, count: u64| {
        if count > 0 {
            let sum = add(output[slot].into(), output[SLOTS + slot].into(), count);
            [output[slot], output[SLOTS + slot]] = sum.map(|part| part as f32);
        }
    };
    (0..SIDE - 1).for_each(|bin| add_to(bin, count(bin)));
    (0..SIDE - 1).for_each(|bin| add_to(SIDE + bin, count(HALF + bin)));
    add_to(ZEROS, (ZERO_PLACES..ZERO_PLACES + BLOCK).map(count).sum());
    let mut magnitudes = extremes.magnitudes();
    if count(SIDE - 1) + count(HALF + SIDE - 1) > 0 {
        // Large values are few, and may be infinite or NaN.
        let mut finite = Extremes::NONE;
        for &x in x {
            let slot = slot(x);
            if slot == SIDE - 1 || slot == 2 * SIDE - 1 || slot > ZEROS {
                add_to(slot, 1);
            }
            if slot < ZEROS {
                finite.add(x.to_bits());
            }
        }
        magnitudes = finite.magnitudes();
    }
    for (extremes, magnitudes) in output[2 * SLOTS..].chunks_exact_mut(2).zip(magnitudes) {
        if let Some([smallest, largest]) = magnitudes {
            extremes[0] = extremes[0].max(ValueCounts::mirrored(smallest));
            extremes[1] = extremes[1].max(largest);
        }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, samples: usize, x: Vec<f32>| Case {
        label: label.to_owned(),
        kernel: std::sync::Arc::new(ValueCounts { samples, parts: samples, elements: x.len() / samples }),
        inputs: vec![x, vec![1.0; samples]],
    };
    let wide = |len: usize, seed| -> Vec<f32> {
        let exponents = noise(len, seed + 1).into_iter().map(|e| (e * 40.0).exp2());
        noise(len, seed).into_iter().zip(exponents).map(|(x, scale)| x * scale).collect()
    };
    let mut filled = case("samples of weight 0, full of NaN", 4, wide(4 * 300, 1));
    filled.inputs[1] = vec![0.0, 1.0, 1.0, 0.0];
    filled.inputs[0][..300].fill(f32::NAN);
    filled.inputs[0][900..].fill(f32::NAN);
    let mut special = wide(3 * 1000, 5);
    for (x, value) in special.iter_mut().step_by(7).zip(
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e20, -1e20, 0.0, -0.0, 1e-20]
            .into_iter()
            .cycle(),
    ) {
        *x = value;
    }
    let rectified = wide(2 * 20_000, 9).into_iter().map(|x| x.max(0.0)).collect();
    vec![
        case("one element", 1, vec![-1.5]),
        case("positive values only", 2, wide(2 * 131, 3).into_iter().map(f32::abs).collect()),
        case("negative values only", 1, wide(1000, 4).into_iter().map(|x| -x.abs()).collect()),
        case("both signs, several workgroups", 3, wide(3 * 9000, 2)),
        case("zeros after an activation, several tasks", 2, rectified),
        case("exactly one workgroup", 1, noise(CHUNK, 6)),
        case("zeros only", 5, vec![0.0; 5 * 100]),
        case("NaN, infinities and extreme values", 3, special),
        case("no finite value", 2, [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN].to_vec()),
        case("equal values", 1, vec![0.7; 40_000]),
        filled,
        Case {
            label: "samples that all have the first weight".to_owned(),
            kernel: std::sync::Arc::new(ValueCounts { samples: 3, parts: 1, elements: 500 }),
            inputs: vec![noise(500, 8), vec![1.0, 0.0, 0.0]],
        },
        Case {
            label: "no sample that counts".to_owned(),
            kernel: std::sync::Arc::new(ValueCounts { samples: 2, parts: 2, elements: 3 }),
            inputs: vec![noise(6, 1), vec![0.0; 2]],
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::moments::value_bins::{INFINITE, NAN};

    #[test]
    fn the_shader_has_the_numbers_of_the_host() {
        let numbers = [
            ("CHUNK", CHUNK as u32),
            ("SHIFT", SHIFT),
            ("BELOW", LOWEST - 1),
            ("SIDE", SIDE as u32),
            ("SLOTS", SLOTS as u32),
        ];
        for (name, number) in numbers {
            assert!(ROW.shader.contains(&format!("const {name}: u32 = {number}u;")), "{name}");
        }
        assert!(ROW.shader.contains(&format!("const CARRY: f32 = {}.0;", ValueCounts::CARRY)));
    }

    #[test]
    fn counts_are_exact_beyond_the_precision_of_a_float() {
        let kernel = ValueCounts { samples: 1, parts: 1, elements: (1 << 22) + 1 };
        let x = vec![0.75; kernel.elements];
        let mut output = vec![0.0; ValueCounts::LEN];
        (0..9).for_each(|_| kernel.cpu(&[&x, &[1.0]], &mut output));
        let slot = slot(0.75);
        let count = output[slot] as u64 + output[SLOTS + slot] as u64 * ValueCounts::CARRY;
        assert_eq!(count, 9 * ((1 << 22) + 1));
        assert!((output[slot] as u64) < ValueCounts::CARRY);
    }

    #[test]
    fn special_slots_are_behind_the_bins() {
        assert!(SIDE + BLOCK <= HALF, "places of zeros");
        assert_eq!([ZEROS, NAN, INFINITE], [2 * SIDE, 2 * SIDE + 1, 2 * SIDE + 2]);
    }

    #[test]
    fn mirrored_magnitudes_are_reversed() {
        let magnitudes = [f32::MIN_POSITIVE, 1e-20, 0.3, 1.0, 7e30, f32::MAX];
        let mirrored = magnitudes.map(ValueCounts::mirrored);
        assert!(mirrored.is_sorted_by(|a, b| a > b) && mirrored.iter().all(|x| x.is_normal()));
        assert_eq!(mirrored.map(ValueCounts::mirrored), magnitudes);
    }
}
