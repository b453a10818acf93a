//! The decision and the cut: who is tied to whom, what it is worth, what goes, the smaller model, the proof.

pub mod allocate;
pub mod channels;
pub mod cut;
mod dead;
mod editor;
mod mask;
pub mod prove;
pub mod rewrite;
pub mod score;
mod sizes;

pub use allocate::{Budget, Limits, Scope, allocate};
pub use channels::{Channels, Knot};
pub use cut::Cut;
pub use prove::{Proof, prove};
pub use rewrite::{Pruned, Smaller, rewrite, smaller};
pub use score::{Criterion, Normalize, scores};
