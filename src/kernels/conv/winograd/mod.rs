//! Winograd's minimal filtering, F(4×4, 3×3) and F(2×2, 3×3).

pub(crate) mod filters;
pub(crate) mod gemm;
pub(crate) mod host;
pub(crate) mod input;
pub(crate) mod output;
pub(crate) mod test_cases;
pub(crate) mod tiling;
pub(crate) mod transform;
