//! Recurrent layers: the loop over time steps of ONNX's RNN, GRU and LSTM.

mod cell;
pub(crate) mod host;
pub(crate) mod kernel;
mod reference;
mod test_cases;

pub use cell::{Cell, GateFunction};
pub use kernel::RecurrentKernel;
