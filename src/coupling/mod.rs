//! Channel dependency analysis: which channels of a network can only be removed together.
//!
//! Every output channel of every layer with weights gets a new label. Operators then propagate labels as they
//! propagate numbers ([`Propagation`]): data movement moves them, pointwise operators unite labels that meet, and
//! contractions consume the labels of the axis they sum over. Channels whose labels end up in one class are coupled.
//!
//! Operators that mix along axes unite, for each index of the other axes, all labels along the mixed ones, so that
//! whole slices can be removed ([`Propagation::mix`]).
//!
//! Tensors stay rectangular. If labels vary along several axes, one axis shrinks, and labels that share an index of it
//! are united. The axis is chosen once everything else is known ([`Coupling::resolve_deferred`]). The label [`FROZEN`]
//! marks channels that must stay: the network's inputs and outputs, and the last channels of a tensor.

mod classes;
mod deferred;
mod labels;
mod mixing;
mod propagation;
mod state;

pub use classes::{Block, EquivalenceClasses};
pub use labels::{AxisSlices, ChannelLabels, FROZEN, Label};
pub use mixing::Inexact;
pub use propagation::Propagation;
pub use state::{Coupling, LabelledAxis, Mixing, PassedProduct, Producer, Role};

pub(crate) use labels::for_each_index;
