//! Statistics over images: channel statistics, Gram matrices, cross-moments and histograms.

pub(crate) mod channel_stats;
pub(crate) mod cross_moment;
pub(crate) mod gram;
pub mod value_bins;
pub(crate) mod value_counts;

pub use self::channel_stats::ChannelStats;
pub use self::cross_moment::CrossMoment;
pub use self::gram::GramKernel;
pub use self::value_counts::ValueCounts;
