//! ArgMax and ArgMin over one axis.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::gradient::Gradient;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Index of the largest element of an axis, the first if several are equal.
///
/// Input: `[outer, axis, inner]`. Output: `[outer, inner]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Length of the axis, at most 2²⁴: an `f32` must represent every index exactly.
    pub axis: usize,
    /// Product of the dimensions after the axis.
    pub inner: usize,
    /// True to find the smallest element instead.
    pub least: bool,
    /// True to return the last of equal elements.
    pub last: bool,
}

uniform! { len: u32, axis: u32, inner: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "arg",
    file: "reduction/arg",
    shared: [],
    doc: "the index of an axis' largest or smallest element",
};

impl Arg {
    /// Implements both host versions: comparisons are exact in any precision.
    fn find<T: Copy + PartialOrd>(&self, x: &[T], index: impl Fn(usize) -> T, output: &mut [T]) {
        for (at, y) in output.iter_mut().enumerate() {
            let first = at / self.inner * self.axis * self.inner + at % self.inner;
            let mut best = 0;
            for a in 1..self.axis {
                let (new, old) = (x[first + a * self.inner], x[first + best * self.inner]);
                let better = if self.least { new < old } else { new > old };
                if better || (self.last && new == old) {
                    best = a;
                }
            }
            *y = index(best);
        }
    }
}

impl Kernel for Arg {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.outer * self.axis * self.inner]
    }

    fn output_len(&self) -> usize {
        self.outer * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        self.find(inputs[0], |i| i as f64, output);
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        self.find(inputs[0], |i| i as f32, output);
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params { len: word(self.output_len()), axis: word(self.axis), inner: word(self.inner) };
        let flag = |f: bool| f64::from(u8::from(f));
        Dispatch {
            overrides: vec![("LEAST", flag(self.least)), ("LAST", flag(self.last))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn gradient(&self, _input: usize) -> Gradient {
        Gradient::Zero
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (least, last) in [(false, false), (true, false), (false, true), (true, true)] {
        for (label, outer, axis, inner) in
            [("one element", 1, 1, 1), ("rows", 17, 65, 1), ("a middle axis", 3, 5, 67)]
        {
            let kernel = Arg { outer, axis, inner, least, last };
            let mut case = noise_case(format!("{label}, least {least}, last {last}"), kernel);
            // Coarse steps, so that some elements are equal.
            case.inputs[0].iter_mut().for_each(|x| *x = (*x * 3.0).round());
            cases.push(case);
        }
    }
    cases
}
