//! The attributes of RNN, GRU and LSTM.

use crate::error::{Error, Result};
use crate::kernels::activation::Activation;
use crate::kernels::recurrent::{Cell, GateFunction};
use crate::onnx::attrs::Attrs;

/// The order in which steps are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Reverse,
    Bidirectional,
}

/// The attributes of a recurrent layer.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    /// The kind of cell, without peepholes.
    pub(super) cell: Cell,
    /// The number of hidden units, if the node declares it.
    pub(super) hidden: Option<usize>,
    /// The functions of each direction: f, g and h, of which the cell may use fewer.
    pub(super) functions: Vec<[GateFunction; 3]>,
    /// The bound of the magnitude of all arguments of gates.
    pub(super) clip: Option<f32>,
    /// True if the batch is the first axis.
    pub(super) batch_first: bool,
    direction: Direction,
}

impl Attributes {
    /// Reads the attributes of a node.
    ///
    /// # Errors
    /// Attributes that violate the standard, and unknown functions.
    pub(super) fn read(attrs: &Attrs, cell: Cell) -> Result<Self> {
        let direction = match attrs.string("direction")?.unwrap_or_default().as_str() {
            "" | "forward" => Direction::Forward,
            "reverse" => Direction::Reverse,
            "bidirectional" => Direction::Bidirectional,
            other => {
                return Err(Error::new("the attribute direction does not fit")
                    .expected("forward, reverse or bidirectional")
                    .got(other)
                    .invalid_model());
            }
        };
        let hidden = attrs.int("hidden_size")?.and_then(|n| usize::try_from(n).ok());
        let count = if direction == Direction::Bidirectional { 2 } else { 1 };
        let functions = functions(attrs, cell, count)?;
        let clip = attrs.float("clip")?.filter(|&bound| bound > 0.0);
        let batch_first = attrs.int_or("layout", 0)? != 0;
        Ok(Self { cell, hidden, functions, clip, batch_first, direction })
    }

    /// Returns the number of directions.
    pub(super) fn directions(&self) -> usize {
        self.functions.len()
    }

    /// Returns whether the only direction runs backwards.
    pub(super) fn reverse(&self) -> bool {
        self.direction == Direction::Reverse
    }
}

/// Returns the functions of each direction.
fn functions(attrs: &Attrs, cell: Cell, directions: usize) -> Result<Vec<[GateFunction; 3]>> {
    let defaults: &[&str] = match cell {
        Cell::Rnn => &["Tanh"],
        Cell::Gru { .. } => &["Sigmoid", "Tanh"],
        Cell::Lstm { .. } => &["Sigmoid", "Tanh", "Tanh"],
    };
    let names = match attrs.strings("activations")? {
        Some(names) if !names.is_empty() => names,
        _ => defaults.repeat(directions).into_iter().map(str::to_owned).collect(),
    };
    if names.len() != directions * defaults.len() {
        return Err(Error::new("the attribute activations does not fit")
            .expected(format!("{} in all", directions * defaults.len()))
            .got(names.join(", "))
            .invalid_model());
    }
    let mut parameters = Parameters {
        alpha: attrs.floats("activation_alpha")?.unwrap_or_default().into_iter(),
        beta: attrs.floats("activation_beta")?.unwrap_or_default().into_iter(),
    };
    let all = names.iter().map(|name| parameters.function(name)).collect::<Result<Vec<_>>>()?;
    let unused = GateFunction::from(Activation::None);
    let of_direction = |own: &[GateFunction]| std::array::from_fn(|i| own.get(i).copied().unwrap_or(unused));
    Ok(all.chunks(defaults.len()).map(of_direction).collect())
}

/// The parameters of functions, in the order of the functions that take them.
struct Parameters {
    alpha: std::vec::IntoIter<f32>,
    beta: std::vec::IntoIter<f32>,
}

impl Parameters {
    /// Returns the function of this name with its parameters.
    fn function(&mut self, name: &str) -> Result<GateFunction> {
        let mut alpha = |default: f32| self.alpha.next().unwrap_or(default);
        let plain = GateFunction::from;
        Ok(match name.to_ascii_lowercase().as_str() {
            "relu" => plain(Activation::Relu),
            "tanh" => plain(Activation::Tanh),
            "sigmoid" => plain(Activation::Sigmoid),
            "softsign" => plain(Activation::Softsign),
            "softplus" => plain(Activation::Softplus),
            "leakyrelu" => plain(Activation::LeakyRelu(alpha(0.01))),
            "thresholdedrelu" => plain(Activation::ThresholdedRelu(alpha(1.0))),
            "elu" => plain(Activation::Elu(alpha(1.0))),
            "hardsigmoid" => {
                let alpha = alpha(0.2);
                plain(Activation::HardSigmoid(alpha, self.beta.next().unwrap_or(0.5)))
            }
            "affine" => {
                let (outer, shift) = self.pair(name)?;
                GateFunction { outer, shift, ..plain(Activation::None) }
            }
            "scaledtanh" => {
                let (outer, inner) = self.pair(name)?;
                GateFunction { outer, inner, ..plain(Activation::Tanh) }
            }
            _ => {
                return Err(Error::new("the attribute activations names an unknown function")
                    .expected(
                        "Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, Elu, \
                         Softsign or Softplus",
                    )
                    .got(name)
                    .invalid_model());
            }
        })
    }

    /// Returns the next alpha and beta, for which the standard has no defaults.
    fn pair(&mut self, name: &str) -> Result<(f32, f32)> {
        self.alpha.next().zip(self.beta.next()).ok_or_else(|| {
            Error::new(format!("the function {name} lacks its parameters"))
                .expected("a number each in activation_alpha and activation_beta")
                .invalid_model()
        })
    }
}
