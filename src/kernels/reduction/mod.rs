//! Reductions along an axis or over sliding windows.

pub(crate) mod arg;
pub(crate) mod cumsum;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod topk;

pub use self::arg::Arg;
pub use self::cumsum::CumSum;
pub use self::pool::{Pool, PoolKind};
pub use self::reduce::{Reduce, ReduceOp};
pub use self::topk::TopK;
