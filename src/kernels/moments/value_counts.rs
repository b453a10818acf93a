//! Histogram of the values of a tensor, accumulated over images on the device.
//!
//! Bins are those of [`value_bins`]. Counts are exact: each is two numbers, so that `f32` holds it beyond 2²⁴. They are
//! sums of whole numbers, so that bits depend neither on the batch nor on the device's order of execution. The extremes
//! of each sign are kept in full.

use std::sync::{Mutex, PoisonError};

use bytemuck::{bytes_of, cast, cast_slice_mut};
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
    let (sum, modulus) = (low + count as f64, ValueCounts::CARRY as f64);
    if sum < modulus {
        return [sum, high];
    }
    let carry = (sum / modulus).floor();
    [sum - carry * modulus, high + carry]
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
            x.par_chunks(x.len().div_ceil(parts).max(1)).for_each(|x| {
                scratch::with(TABLE, |room| {
                    let Some(table) = cast_slice_mut(room).first_chunk_mut() else { return };
                    table.fill(0);
                    let magnitudes = instructions::arch().dispatch(Count { x, table });
                    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
                    add_table(x, table, magnitudes, &mut output);
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
/// Elements whose places in the table are computed at once.
const BLOCK: usize = 128;
/// The first of [`BLOCK`] places that count zeros, which are many: equal places would wait for each other.
const ZERO_PLACES: usize = SIDE;

/// Places of a block's elements in the table.
#[repr(align(64))]
struct Places([u32; BLOCK]);

/// The smallest and the largest magnitude of positive and of negative values, if there are any.
type Magnitudes = [Option<[f32; 2]>; 2];

/// Counts the elements of `x` in a table.
struct Count<'a> {
    x: &'a [f32],
    table: &'a mut [u32; TABLE],
}

impl WithSimd for Count<'_> {
    type Output = Magnitudes;

    /// Returns magnitudes that are right if all values are finite.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Magnitudes {
        let (blocks, rest) = self.x.as_chunks::<BLOCK>();
        let mut last = [0.0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        let last = (!rest.is_empty()).then_some(&last);
        let zero_places: [u32; BLOCK] = std::array::from_fn(|lane| (ZERO_PLACES + lane) as u32);
        let (zero_places, _) = S::as_simd_u32s(&zero_places);
        let mut places = Places([0; BLOCK]);
        let splat = |x: u32| simd.splat_u32s(x);
        let [unsigned, normal, half] = [!SIGN, NORMAL, HALF as u32].map(splat);
        let [shift, sign_shift] = [SHIFT, SIGN.ilog2() - HALF.ilog2()].map(splat);
        let [below, large] = [LOWEST - 1, SIDE as u32 - 1].map(splat);
        // Bits have the order of positive numbers; as signed numbers, those of negative ones come before. Zeros have the
        // largest differences to the smallest normal number.
        let (mut most, mut least) = (simd.splat_i32s(0), splat(0));
        let (mut smallest, mut smallest_negative) = (splat(u32::MAX), simd.splat_i32s(-1));
        for block in blocks.iter().chain(last) {
            let (vectors, _) = S::as_simd_f32s(block);
            let (to, _) = S::as_mut_simd_u32s(&mut places.0);
            for ((&x, to), &zero_place) in vectors.iter().zip(to).zip(zero_places) {
                let bits: S::u32s = cast(x);
                let magnitude = simd.and_u32s(bits, unsigned);
                let bin = simd.max_u32s(simd.wrapping_dyn_shr_u32s(magnitude, shift), below);
                let bin = simd.min_u32s(simd.sub_u32s(bin, below), large);
                let sign = simd.and_u32s(simd.wrapping_dyn_shr_u32s(bits, sign_shift), half);
                let is_zero = simd.less_than_u32s(magnitude, normal);
                *to = simd.select_u32s(is_zero, zero_place, simd.or_u32s(bin, sign));
                let above = simd.sub_u32s(bits, normal);
                most = simd.max_i32s(most, cast(x));
                least = simd.max_u32s(least, bits);
                smallest = simd.min_u32s(smallest, above);
                smallest_negative = simd.min_i32s(smallest_negative, cast(above));
            }
            for &place in &places.0 {
                self.table[place as usize % TABLE] += 1;
            }
        }
        if last.is_some() {
            // The last block was filled up with zeros.
            self.table[ZERO_PLACES + rest.len()..ZERO_PLACES + BLOCK]
                .iter_mut()
                .for_each(|count| *count -= 1);
        }
        let magnitude = |bits: u32| f32::from_bits(bits & !SIGN);
        let [most, smallest_negative] =
            [most, smallest_negative].map(|bits| bytemuck::cast_slice::<_, i32>(&[bits]).to_vec());
        let [least, smallest] =
            [least, smallest].map(|bits| bytemuck::cast_slice::<_, u32>(&[bits]).to_vec());
        let most = most.into_iter().fold(0, i32::max) as u32;
        let least = least.into_iter().fold(0, u32::max);
        let smallest = smallest.into_iter().fold(u32::MAX, u32::min).wrapping_add(NORMAL);
        let smallest_negative =
            (smallest_negative.into_iter().fold(-1, i32::min) as u32).wrapping_add(NORMAL);
        [
            (most >= NORMAL).then(|| [magnitude(smallest), magnitude(most)]),
            (least >= SIGN | NORMAL).then(|| [magnitude(smallest_negative), magnitude(least)]),
        ]
    }
}

/// Places of a table that are skipped at once if they are empty.
const GROUP: usize = 32;

/// Adds the table of the elements `x` to the output.
fn add_table(x: &[f32], table: &[u32; TABLE], mut magnitudes: Magnitudes, output: &mut [f32]) {
    let mut add_to = |slot: usize, count: u64| {
        let sum = add(output[slot].into(), output[SLOTS + slot].into(), count);
        [output[slot], output[SLOTS + slot]] = sum.map(|part| part as f32);
    };
    let (mut zeros, mut large) = (0, false);
    for (group, counts) in table.as_chunks::<GROUP>().0.iter().enumerate() {
        if counts.iter().fold(0, |all, count| all | count) == 0 {
            continue;
        }
        for (place, &count) in counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
            let (half, bin) = ((group * GROUP + place) / HALF, (group * GROUP + place) % HALF);
            match bin {
                ZERO_PLACES.. => zeros += u64::from(count),
                bin if bin == SIDE - 1 => large = true,
                bin => add_to(half * SIDE + bin, count.into()),
            }
        }
    }
    if zeros > 0 {
        add_to(ZEROS, zeros);
    }
    if large {
        // Few values are large. They may be infinite or NaN, and then the magnitudes are wrong.
        magnitudes = [None; 2];
        for &x in x {
            let slot = slot(x);
            if slot == SIDE - 1 || slot == 2 * SIDE - 1 || slot > ZEROS {
                add_to(slot, 1);
            }
            if slot < ZEROS {
                let [smallest, largest] = magnitudes[slot / SIDE].unwrap_or([x.abs(); 2]);
                magnitudes[slot / SIDE] = Some([smallest.min(x.abs()), largest.max(x.abs())]);
            }
        }
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
        const { assert!(SIDE + BLOCK <= HALF, "places of zeros") };
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
