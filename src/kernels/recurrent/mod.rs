//! Recurrent layers: the loop over time steps of ONNX's RNN, GRU and LSTM.

mod cell;
mod host;
pub(crate) mod kernel;
mod reference;
mod shape;
pub(crate) mod test_cases;

pub use cell::{Cell, GateFunction};
pub use shape::RecurrentKernel;
