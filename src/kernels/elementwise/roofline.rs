//! Measures the two limits of the roofline model (Williams, Waterman, Patterson, 2009): memory bandwidth and the rate
//! of fused multiply-adds.
//!
//! A call copies its input and applies some rounds of multiply-adds to each element: none for a plain copy, some
//! hundred for arithmetic only. Two chains an element, and eight elements an invocation or four vectors on the host,
//! hide the latency of the arithmetic.

use bytemuck::bytes_of;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::instructions;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Multiply-add chains, `y = a + b`: `a` and `b` start as `x/4` and `3x/4`, and become `a·x/2 + x/2` and `b·x/2 +
/// x/2` in each round.
#[derive(Clone, Debug, PartialEq)]
pub struct Roofline {
    /// Number of elements, a multiple of 4.
    pub len: usize,
    /// Rounds of multiply-adds on each element.
    pub rounds: usize,
}

/// Elements of a host task.
const TASK: usize = 1 << 14;

impl Roofline {
    /// Floating-point operations of the call.
    pub fn flops(&self) -> f64 {
        4.0 * self.len as f64 * self.rounds as f64
    }

    /// Bytes that the call reads and writes.
    pub fn bytes(&self) -> f64 {
        8.0 * self.len as f64
    }
}

uniform! { len: u32, rounds: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "roofline",
    file: "elementwise/roofline",
    shared: [],
    doc: "copy with multiply-adds, to measure a device's limits",
};

impl Kernel for Roofline {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.len]
    }

    fn output_len(&self) -> usize {
        self.len
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (y, &x) in output.iter_mut().zip(inputs[0]) {
            let (mut a, mut b) = (0.25 * x, 0.75 * x);
            for _ in 0..self.rounds {
                (a, b) = (a * 0.5 * x + 0.5 * x, b * 0.5 * x + 0.5 * x);
            }
            *y = a + b;
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let arch = instructions::arch();
        output.par_chunks_mut(TASK).zip(inputs[0].par_chunks(TASK)).for_each(|(y, x)| {
            if self.rounds == 0 {
                y.copy_from_slice(x);
            } else {
                arch.dispatch(Chains { rounds: self.rounds, x, y });
            }
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params { len: word(self.len / 4), rounds: word(self.rounds) };
        Dispatch {
            overrides: vec![],
            params: bytes_of(&params).to_vec(),
            workgroups: grid((self.len / 4).div_ceil(2)),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::ELEMENTWISE
    }
}

struct Chains<'a> {
    rounds: usize,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Chains<'_> {
    /// Processes four vectors at a time.
    #[inline(always)]
    fn four<S: Simd>(simd: S, rounds: usize, x: &[f32], y: &mut [f32]) {
        let ((x, _), (y, _)) = (S::as_simd_f32s(x), S::as_mut_simd_f32s(y));
        let zero = simd.splat_f32s(0.0);
        let (mut a, mut b, mut half) = ([zero; 4], [zero; 4], [zero; 4]);
        for i in 0..4 {
            a[i] = simd.mul_f32s(simd.splat_f32s(0.25), x[i]);
            b[i] = simd.mul_f32s(simd.splat_f32s(0.75), x[i]);
            half[i] = simd.mul_f32s(simd.splat_f32s(0.5), x[i]);
        }
        for _ in 0..rounds {
            for i in 0..4 {
                a[i] = simd.mul_add_e_f32s(a[i], half[i], half[i]);
                b[i] = simd.mul_add_e_f32s(b[i], half[i], half[i]);
            }
        }
        for i in 0..4 {
            y[i] = simd.add_f32s(a[i], b[i]);
        }
    }
}

impl WithSimd for Chains<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let four = 4 * S::F32_LANES;
        for (x, y) in self.x.chunks(four).zip(self.y.chunks_mut(four)) {
            if x.len() == four {
                Self::four(simd, self.rounds, x, y);
                continue;
            }
            let (mut from, mut to) = ([0.0; 64], [0.0; 64]);
            from[..x.len()].copy_from_slice(x);
            Self::four(simd, self.rounds, &from[..four], &mut to[..four]);
            y.copy_from_slice(&to[..x.len()]);
        }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, len, rounds| noise_case(label, Roofline { len, rounds });
    vec![
        case("a copy", 76, 0),
        case("one quad", 4, 1),
        case("three rounds, vectors that are not full", 1252, 3),
        case("many rounds", 256, 100),
    ]
}
