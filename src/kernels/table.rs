//! The table of kernels and the table of their test cases.

use super::case::Case;
use super::kernel::KernelRow;
use super::{
    conv, depthwise, elementwise, gemm, moments, movement, normalization, recurrent, reduction, sampling,
};

/// All kernels, by family and name.
pub static KERNELS: &[&KernelRow] = &[
    &conv::computed::ROW,
    &conv::kernel::ROW,
    &conv::gemv::ROW,
    &conv::lanes::ROW,
    &conv::lanes::ROW_QUADS,
    &conv::pooled::ROW,
    &conv::tiled::ROW,
    &conv::unfold::ROW,
    &conv::weight_gradient::ROW,
    &depthwise::kernel::ROW,
    &depthwise::texels::ROW,
    &elementwise::affine::ROW,
    &elementwise::binary::ROW,
    &elementwise::roofline::ROW,
    &elementwise::select::ROW,
    &elementwise::unary::ROW,
    &gemm::matmul::ROW,
    &moments::channel_stats::ROW,
    &moments::cross_moment::ROW,
    &moments::gram::ROW,
    &movement::copy::ROW,
    &movement::fill::ROW,
    &movement::gather::ROW,
    &movement::resample::ROW,
    &movement::scatter::ROW,
    &normalization::lrn::ROW,
    &normalization::normalize::ROW,
    &normalization::softmax::ROW,
    &recurrent::kernel::ROW,
    &reduction::arg::ROW,
    &reduction::cumsum::ROW,
    &reduction::pool::ROW,
    &reduction::pool_indices::ROW,
    &reduction::reduce::ROW,
    &reduction::topk::ROW,
    &sampling::deform::ROW,
    &sampling::grid_sample::ROW,
    &sampling::roi_align::ROW,
    &conv::winograd::gemm::ROW,
    &conv::winograd::input::ROW,
    &conv::winograd::input::ROW_QUADS,
    &conv::winograd::output::ROW,
];

/// Test cases of every kernel.
///
/// The program never references this table, so the linker drops the test cases.
#[doc(hidden)]
pub static CASES: &[(&KernelRow, fn() -> Vec<Case>)] = &[
    (&conv::computed::ROW, conv::computed::cases),
    (&conv::kernel::ROW, conv::kernel::cases),
    (&conv::gemv::ROW, conv::gemv::cases),
    (&conv::lanes::ROW, || conv::lanes::cases(&conv::lanes::ROW)),
    (&conv::lanes::ROW_QUADS, || conv::lanes::cases(&conv::lanes::ROW_QUADS)),
    (&conv::pooled::ROW, conv::pooled::cases),
    (&conv::tiled::ROW, conv::tiled::cases),
    (&conv::unfold::ROW, conv::unfold::cases),
    (&conv::weight_gradient::ROW, conv::weight_gradient::cases),
    (&depthwise::kernel::ROW, depthwise::kernel::cases),
    (&depthwise::texels::ROW, depthwise::texels::cases),
    (&elementwise::affine::ROW, elementwise::affine::cases),
    (&elementwise::binary::ROW, elementwise::binary::cases),
    (&elementwise::roofline::ROW, elementwise::roofline::cases),
    (&elementwise::select::ROW, elementwise::select::cases),
    (&elementwise::unary::ROW, elementwise::unary::cases),
    (&gemm::matmul::ROW, gemm::matmul::cases),
    (&moments::channel_stats::ROW, moments::channel_stats::cases),
    (&moments::cross_moment::ROW, moments::cross_moment::cases),
    (&moments::gram::ROW, moments::gram::cases),
    (&movement::copy::ROW, movement::copy::cases),
    (&movement::fill::ROW, movement::fill::cases),
    (&movement::gather::ROW, movement::gather::cases),
    (&movement::resample::ROW, movement::resample::cases),
    (&movement::scatter::ROW, movement::scatter::cases),
    (&normalization::lrn::ROW, normalization::lrn::cases),
    (&normalization::normalize::ROW, normalization::normalize::cases),
    (&normalization::softmax::ROW, normalization::softmax::cases),
    (&recurrent::kernel::ROW, recurrent::test_cases::cases),
    (&reduction::arg::ROW, reduction::arg::cases),
    (&reduction::cumsum::ROW, reduction::cumsum::cases),
    (&reduction::pool::ROW, reduction::pool::cases),
    (&reduction::pool_indices::ROW, reduction::pool_indices::cases),
    (&reduction::reduce::ROW, reduction::reduce::cases),
    (&reduction::topk::ROW, reduction::topk::cases),
    (&sampling::deform::ROW, sampling::deform::cases),
    (&sampling::grid_sample::ROW, sampling::grid_sample::cases),
    (&sampling::roi_align::ROW, sampling::roi_align::cases),
    (&conv::winograd::gemm::ROW, conv::winograd::gemm::cases),
    (&conv::winograd::input::ROW, || conv::winograd::input::cases(&conv::winograd::input::ROW)),
    (&conv::winograd::input::ROW_QUADS, || conv::winograd::input::cases(&conv::winograd::input::ROW_QUADS)),
    (&conv::winograd::output::ROW, conv::winograd::output::cases),
];

/// Returns the test cases of a kernel; none if [`CASES`] lacks it.
#[doc(hidden)]
pub fn cases_of(row: &KernelRow) -> Vec<Case> {
    CASES.iter().filter(|(of, _)| of.name == row.name).flat_map(|(_, cases)| cases()).collect()
}
