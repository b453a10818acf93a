//! Calls with inputs, for the tests of kernels.

use std::sync::Arc;

use crate::kernels::kernel::Kernel;

/// A call with inputs, for tests.
#[derive(Debug, Clone)]
pub struct Case {
    /// The property that makes the case difficult.
    pub label: String,
    /// The call under test.
    pub kernel: Arc<dyn Kernel>,
    /// The inputs of the call.
    pub inputs: Vec<Vec<f32>>,
}

/// Pseudo-random numbers in [-1, 1), determined by the seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        // A 64-bit linear congruential generator. Its top 24 bits are good, and fill the mantissa of an `f32`.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// A test case with pseudo-random inputs.
pub(crate) fn noise_case(label: impl Into<String>, kernel: impl Kernel) -> Case {
    let lens = kernel.input_lens();
    let inputs = lens.iter().enumerate().map(|(i, &len)| noise(len, 1 + i as u64)).collect();
    Case { label: label.into(), kernel: Arc::new(kernel), inputs }
}
