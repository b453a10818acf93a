//! Reductions along an axis or over sliding windows.

pub(crate) mod arg;
pub(crate) mod cumsum;
pub(crate) mod pool;
pub(crate) mod pool_indices;
pub(crate) mod reduce;
pub(crate) mod topk;

pub use self::arg::Arg;
pub use self::cumsum::CumSumKernel;
pub use self::pool::{AveragePoolGradient, MaxPoolGradient, PoolKernel, PoolKind};
pub use self::pool_indices::PoolIndices;
pub use self::reduce::{ReduceKernel, ReduceOp};
pub use self::topk::TopKKernel;
