//! Graphs of models: with all weights, from a model that is no longer needed, or with shapes only.

use std::borrow::Cow;
use std::sync::Arc;

use super::Graph;
use super::flatten::flatten;
use crate::error::{Error, Result};
use crate::onnx::proto::TensorProto;
use crate::onnx::tensor::{decode, shape};
use crate::onnx::{Model, damaged};
use crate::tensor::{DType, Data, Tensor};

impl Graph {
    /// Builds the graph of a model with its bindings.
    ///
    /// # Errors
    /// Unsupported operators (all in one message), undefined names, cycles, weights that are NaN, inputs that are not
    /// tensors, branches whose condition is not constant, and bindings that do not fit the inputs.
    pub fn from_model(model: &Model) -> Result<Self> {
        let graph = flatten(model).and_then(|flat| Self::build(&flat)).and_then(Self::checked);
        graph.map_err(|e| damaged(e, &model.path))?.bind(&model.bindings)
    }

    /// Builds the graph of a model and frees the bytes of each tensor after decoding, which saves memory.
    ///
    /// # Errors
    /// The conditions of [`Graph::from_model`].
    pub fn from_model_owned(model: Model) -> Result<Self> {
        let (path, bindings) = (model.path.clone(), model.bindings.clone());
        let build = |model: Model| {
            let mut flat = match flatten(&model)? {
                Cow::Owned(flat) => flat,
                Cow::Borrowed(_) => model,
            };
            let empty = |tensor: &mut TensorProto| {
                let tensor = std::mem::take(tensor);
                decode(&tensor)
            };
            let decoded =
                flat.graph_mut().initializer.iter_mut().map(|t| Ok((t.name().to_owned(), empty(t)?)));
            let decoded = decoded.collect::<Result<Vec<_>>>()?;
            Self::with(&flat, decoded)
        };
        build(model).and_then(Self::checked).map_err(|e| damaged(e, &path))?.bind(&bindings)
    }

    /// Builds the graph of a model for shape inference, with zeros as elements of large constants.
    ///
    /// The zeros are in memory that is never touched and so is not allocated by the system.
    ///
    /// # Errors
    /// The conditions of [`Graph::from_model`], except weights that are NaN.
    pub fn shapes_only(model: &Model) -> Result<Self> {
        let build = |flat: &Model| {
            let constants = flat.graph().initializer.iter().map(|t| Ok((t.name().to_owned(), outline(t)?)));
            Self::with(flat, constants.collect::<Result<Vec<_>>>()?)
        };
        let graph = flatten(model).and_then(|flat| build(&flat));
        graph.map_err(|e| damaged(e, &model.path))?.bind(&model.bindings)
    }

    fn checked(self) -> Result<Self> {
        self.weights_are_numbers()?;
        Ok(self)
    }

    /// Rejects NaN weights, which would make all outputs NaN.
    fn weights_are_numbers(&self) -> Result<()> {
        for value in self.values.iter().filter(|v| !v.consumers.is_empty()) {
            let Some(Tensor { data: Data::Float(data), .. }) = &value.constant else { continue };
            if let Some(at) = data.iter().position(|x| x.is_nan()) {
                let consumer = &self.nodes[value.consumers[0]];
                return Err(Error::new(format!("the weights \"{}\" contain NaN", value.name))
                    .node(&consumer.name)
                    .expected("finite numbers")
                    .got(format!("NaN at element {at}"))
                    .remedy("the training diverged, or the file is damaged: export the network again"));
            }
        }
        Ok(())
    }
}

/// The largest constant that may be a shape, in elements.
const MOST_OF_A_SHAPE: usize = 1 << 12;

/// Decodes a constant, with zeros as elements if it is too large to be a shape.
fn outline(proto: &TensorProto) -> Result<Tensor> {
    let shape = shape(proto)?;
    let (len, dtype) = (shape.iter().product(), DType::from_onnx(proto.data_type()));
    match dtype.filter(|_| len > MOST_OF_A_SHAPE) {
        Some(dtype) if dtype.is_float() => {
            Ok(Tensor { dtype, shape, data: Data::Float(Arc::new(vec![0.0; len])) })
        }
        Some(dtype) => Ok(Tensor { dtype, shape, data: Data::Int(Arc::new(vec![0; len])) }),
        None => decode(proto),
    }
}
