//! Choice of a convolution's algorithm on the host, by rules from measurements.
//!
//! The rules do not depend on the batch, so neither do the bits of an image's result.

use crate::kernels::conv::host::direct::DirectConv;
use crate::kernels::conv::host::implicit::ImplicitConv;
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::winograd::host::{F2x2, F4x4};
use crate::kernels::gemm::microkernel::Strip;
use crate::kernels::host::padded_planes::PaddedPlanes;
use crate::kernels::kernel::Prepared;

/// Cost of writing an element of the im2col matrix, in products of the same number of elements.
const UNFOLD: usize = 20;

/// Packs the weights for the fastest algorithm.
pub(crate) fn prepare(conv: &ConvKernel, weights: &[f32], bias: &[f32]) -> Box<dyn Prepared> {
    if F4x4::suits(conv) {
        Box::new(F4x4::new(conv, weights, bias))
    } else if F2x2::suits(conv) {
        Box::new(F2x2::new(conv, weights, bias))
    } else if is_implicit_faster(conv) {
        Box::new(ImplicitConv::new(conv, weights, bias))
    } else {
        Box::new(DirectConv::new(conv, weights, bias))
    }
}

/// Returns whether implicit GEMM computes fewer sums between rows than im2col costs.
fn is_implicit_faster(conv: &ConvKernel) -> bool {
    let planes = PaddedPlanes::of(&conv.windows, conv.windows.out_hw[0]);
    let lanes: usize = Strip::cut(planes.positions(&conv.windows)).iter().map(|strip| strip.width).sum();
    let filters = conv.group_out();
    !conv.pointwise() && lanes * filters <= conv.out_plane() * (filters + UNFOLD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::conv::test_cases::plain_convs;
    use crate::kernels::kernel::Kernel;

    /// Implicit GEMM and im2col add the same products in the same order.
    #[test]
    fn implicit_gemm_has_the_bits_of_im2col() {
        for (label, conv) in plain_convs() {
            let noise = |len: usize, factor: usize| -> Vec<f32> {
                (0..len).map(|i| (i * factor % 1009) as f32 / 504.5 - 1.0).collect()
            };
            let lens = conv.input_lens();
            let (x, weights, bias) = (noise(lens[0], 7919), noise(lens[1], 7907), noise(lens[2], 7901));
            let run = |prepared: &dyn Prepared| {
                let mut output = vec![f32::NAN; conv.output_len()];
                prepared.run(&[&x, &weights, &bias], &mut output);
                output.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let implicit = run(&ImplicitConv::new(&conv, &weights, &bias));
            assert_eq!(implicit, run(&DirectConv::new(&conv, &weights, &bias)), "{label}");
        }
    }
}
