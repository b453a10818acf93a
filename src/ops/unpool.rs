//! The operator MaxUnpool, which puts elements back where a MaxPool found them.

use super::axes::MOST_INDICES;
use super::lower::{Lowering, Slot};
use super::window::WindowAttributes;
use super::{Build, Operator, Rewrite};
use crate::coupling::Propagation;
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::movement::{Fill, ScatterKernel};
use crate::tensor::show;

#[derive(Debug)]
struct MaxUnpool {
    window: WindowAttributes,
}

/// Builds MaxUnpool: elements at the places that MaxPool's indices name, and zeros elsewhere.
///
/// Indices count the elements of the output, as in PyTorch and ONNX Runtime, also if the input `output_shape` gives its
/// shape.
pub(super) fn max_unpool(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(MaxUnpool { window: WindowAttributes::parse(&build.attrs)? }))
}

/// Checks that flat indices of a tensor of this shape are exact.
///
/// # Errors
/// More than [`MOST_INDICES`] elements.
pub(super) fn check_flat_indices(shape: &[usize]) -> Result<()> {
    if shape.iter().product::<usize>() <= MOST_INDICES {
        return Ok(());
    }
    Err(Error::new("indices of more elements than single precision counts exactly")
        .expected(format!("at most {MOST_INDICES} elements"))
        .got(show(shape))
        .remedy("set a smaller `batch`, or use smaller images")
        .unsupported())
}

impl MaxUnpool {
    /// Returns the shape of the output.
    fn shape(&self, inputs: &Inputs) -> Result<Vec<usize>> {
        let (x, indices) = (&inputs.get(0)?.shape, &inputs.get(1)?.shape);
        if x != indices || x.len() < 3 {
            return Err(Error::new("the indices of MaxUnpool do not fit its input")
                .expected(format!("N×C×…, of equal shape, as in {}", show(x)))
                .got(show(indices))
                .with_kind(ErrorKind::InvalidModel));
        }
        let inferred = self.window.unpooled(x)?;
        let Some(given) = inputs.ints(2, "the output_shape of MaxUnpool")? else { return Ok(inferred) };
        let shape: Vec<usize> = given.iter().filter_map(|&d| usize::try_from(d).ok()).collect();
        if shape.len() != x.len() || shape[..2] != x[..2] || shape.contains(&0) {
            return Err(Error::new("the output_shape of MaxUnpool does not fit its input")
                .expected(format!("{}×{}×…, {} numbers in all", x[0], x[1], x.len()))
                .got(format!("{given:?}"))
                .with_kind(ErrorKind::InvalidModel));
        }
        Ok(shape)
    }
}

impl Operator for MaxUnpool {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let shape = self.shape(inputs)?;
        check_flat_indices(&shape)?;
        Ok(vec![inputs.get(0)?.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (x, shape) = (&l.inputs.get(0)?.shape, l.shape(0));
        let (axis, count) = (shape[2..].iter().product(), x[2..].iter().product());
        l.call(Fill { len: shape.iter().product(), value: 0.0 }, vec![], Slot::Output(0));
        let kernel = ScatterKernel { outer: x[0] * x[1], axis, count, inner: 1, flat: true };
        l.call(kernel, vec![Slot::Input(0), Slot::Input(1)], Slot::Output(0));
        Ok(())
    }

    /// Couples each channel with that of the indices, which lose the same channels in the MaxPool that computes them.
    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let (x, indices) = (flow.axis_labels(0, 1), flow.axis_labels(1, 1));
        flow.unite_all(&x, &indices);
        if flow.is_constant(1) {
            flow.freeze(&x, "puts channels at constant places, which count all of them");
        }
        flow.set_output_along(0, 1, &x);
        Ok(())
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        if let (Some(channels), Some(mut shape)) = (r.shrunk(0, 1), r.literal(2)) {
            shape[1] = channels as i64;
            r.set_list("output_shape", 2, false, shape);
        }
        Ok(())
    }
}
