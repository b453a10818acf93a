//! The decision and the cut: who is tied to whom, what it is worth, what goes, the smaller model, the proof.

pub mod allocate;
pub mod channels;
pub mod criteria;
pub mod cut;
mod dead;
mod editor;
pub mod judge;
pub mod prove;
pub mod reading;
pub mod rewrite;
pub mod score;
mod sizes;
pub mod support;
pub mod times;

pub use allocate::{Budget, Counted, Limits, Scope, allocate};
pub use channels::{Channels, Knot};
pub use criteria::{CRITERIA, Criterion, Needs, Score};
pub use cut::{Cut, CutKnot, Judged};
pub(crate) use editor::Editor;
pub use judge::Judge;
pub use prove::{Answers, Proof, prove};
pub use reading::{Compensated, Readers};
pub(crate) use rewrite::kept_indices;
pub use rewrite::{Pruned, rewrite, smaller, written};
pub use score::{Normalize, Scoring, scores};
pub use support::{confidence, settled};
pub use times::Times;
