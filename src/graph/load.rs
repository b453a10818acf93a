//! Graphs of models: with all weights, from a model that is no longer needed, or with shapes only.

use std::borrow::Cow;
use std::sync::Arc;

use super::Graph;
use super::flatten::flatten;
use crate::error::{Error, Result};
use crate::onnx::proto::TensorProto;
use crate::onnx::tensor::{decode, shape};
use crate::onnx::{DAMAGED, Model};
use crate::tensor::{DType, Data, Tensor};

impl Graph {
    /// The graph of a model.
    ///
    /// # Errors
    /// Operators that the engine does not know (all in one message), names that nothing defines,
    /// cycles, weights that are not numbers, inputs that are not tensors, branches that only the run decides.
    pub fn from_model(model: &Model) -> Result<Self> {
        let graph = flatten(model).and_then(|flat| Self::build(&flat));
        graph.and_then(Self::checked).map_err(|e| e.file(&model.path).remedy(DAMAGED))
    }

    /// The graph of a model that nobody needs any more: each tensor's bytes are let go when it is decoded.
    ///
    /// # Errors
    /// As [`Graph::from_model`].
    pub fn from_model_owned(model: Model) -> Result<Self> {
        let path = model.path.clone();
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
        build(model).and_then(Self::checked).map_err(|e| e.file(&path).remedy(DAMAGED))
    }

    /// The graph of a model for questions of shape: the elements of large constants are zeros, in memory that is
    /// never touched and so takes no place.
    ///
    /// # Errors
    /// As [`Graph::from_model`], but for weights that are not numbers.
    pub fn shapes_only(model: &Model) -> Result<Self> {
        let build = |flat: &Model| {
            let constants = flat.graph().initializer.iter().map(|t| Ok((t.name().to_owned(), outline(t)?)));
            Self::with(flat, constants.collect::<Result<Vec<_>>>()?)
        };
        flatten(model).and_then(|flat| build(&flat)).map_err(|e| e.file(&model.path).remedy(DAMAGED))
    }

    fn checked(self) -> Result<Self> {
        self.weights_are_numbers()?;
        Ok(self)
    }

    /// A NaN among the weights makes every answer NaN: say so before anything is measured.
    fn weights_are_numbers(&self) -> Result<()> {
        for value in self.values.iter().filter(|v| !v.consumers.is_empty()) {
            let Some(Tensor { data: Data::Float(data), .. }) = &value.constant else { continue };
            if let Some(at) = data.iter().position(|x| x.is_nan()) {
                let reader = &self.nodes[value.consumers[0]];
                return Err(Error::new(format!("the weights \"{}\" are not numbers", value.name))
                    .node(&reader.name)
                    .expected("finite numbers")
                    .got(format!("NaN at element {at}"))
                    .remedy("the training diverged, or the file is damaged: export the network again"));
            }
        }
        Ok(())
    }
}

/// The longest constant that may be a shape, in elements.
const MOST_OF_A_SHAPE: usize = 1 << 12;

/// A constant, with zeros for its elements where it is a large one.
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
