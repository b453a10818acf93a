//! Where the largest or smallest element of an axis stands.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::kernel::{Dispatch, Kernel, Row};
use crate::kernels::shader::{grid, row, uniform, word};

/// `[outer, axis, inner]` to `[outer, inner]`: the index of the largest element, the first of equals.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// Indices before the axis, all together.
    pub outer: usize,
    /// Length of the axis; at most 2²⁴, so that a float holds every index.
    pub axis: usize,
    /// Indices after the axis, all together.
    pub inner: usize,
    /// Whether the smallest is wanted.
    pub least: bool,
    /// Whether the last of equals is wanted.
    pub last: bool,
}

uniform! { len: u32, axis: u32, inner: u32 }

/// The kernel's row.
pub(crate) static ROW: Row = row! {
    name: "arg",
    file: "reduction/arg",
    shared: [],
    doc: "the index of an axis' largest or smallest element",
};

impl Arg {
    /// Both host faces: comparisons are exact in any precision.
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
    fn row(&self) -> &'static Row {
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
            // Coarse steps, so that there are equals.
            case.inputs[0].iter_mut().for_each(|x| *x = (*x * 3.0).round());
            cases.push(case);
        }
    }
    cases
}
