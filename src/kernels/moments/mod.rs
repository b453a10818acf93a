//! Statistics over images: channel statistics, Gram matrices and cross-moments.

pub(crate) mod channel_stats;
pub(crate) mod cross_moment;
pub(crate) mod gram;

pub use self::channel_stats::ChannelStats;
pub use self::cross_moment::CrossMoment;
pub use self::gram::GramKernel;
