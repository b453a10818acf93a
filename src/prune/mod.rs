//! Structured pruning: channel dependencies, scores, allocation, the rewritten model and its proof.
//!
//! [`Channels`] finds coupled channels, [`scores`] rates them, [`allocate()`] chooses within a budget, [`rewrite()`]
//! removes them from the model, and [`prove()`] compares the result with the [`MaskedReference`].

pub mod allocate;
mod border_effect;
pub mod channels;
pub mod confidence;
mod constant_channels;
pub mod consumers;
pub mod criteria;
pub mod cut;
mod cut_constants;
mod editor;
pub mod elimination_curves;
mod folded_constants;
mod kept_indices;
pub mod masked_reference;
pub mod prove;
pub mod rewrite;
pub mod score;
mod sizes;
pub mod stamp;
pub mod times;
mod zeroed_slices;

pub use allocate::{Budget, Counted, CutLimits, Scope, allocate};
pub use border_effect::border_effect;
pub use channels::{Channels, CoupledChannels};
pub use confidence::{confidence, cut_confidence};
pub(crate) use constant_channels::{FoldedBias, folds};
pub use consumers::{Compensated, Consumers};
pub use criteria::{CRITERIA, Criterion, CustomCriterion, CustomLayer, Needs, Score};
pub use cut::{Cut, CutCoupled, Judged};
pub use editor::with_constants;
pub(crate) use editor::{Editor, remove_unused, used_names, value_names};
pub use elimination_curves::EliminationCurves;
pub use folded_constants::FoldedConstants;
pub(crate) use kept_indices::{kept_indices, kept_values};
pub use masked_reference::MaskedReference;
pub use prove::{Proof, ReferenceOutputs, prove};
pub use rewrite::{Rewritten, reread, rewrite, smaller, written};
pub use score::{ScoreNormalization, Scoring, scores};
pub use stamp::Stamp;
pub use times::Times;
pub(crate) use zeroed_slices::ZeroedSlices;
