//! The operators QuantizeLinear and DequantizeLinear.
//!
//! The engine computes in floating point; quantized weights keep their integer type in the file.

use std::sync::Arc;

use super::data_movement::strided;
use super::lower::{Lowering, Slot};
use super::{Build, Operator};
use crate::coupling::{Propagation, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs, axis};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::Unary;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp};
use crate::tensor::{DType, show, strides};

#[derive(Debug)]
struct LinearQuantization {
    axis: i64,
    /// True for DequantizeLinear, false for QuantizeLinear.
    dequantizes: bool,
    /// The number of elements along the axis that share a scale; 0 without blocks.
    block: usize,
    output_dtype: Option<DType>,
}

fn linear(build: &Build, dequantizes: bool) -> Result<Box<dyn Operator>> {
    let block = build.attrs.int_or("block_size", 0)?;
    let block = usize::try_from(block).map_err(|_| Error::new("a negative block_size").invalid_model())?;
    let code = build.attrs.int_or("output_dtype", 0)?;
    let output_dtype = match code {
        0 => None,
        code => Some(i32::try_from(code).ok().and_then(DType::from_onnx).ok_or_else(|| {
            Error::new("an unsupported quantized type")
                .expected("an integer type of 8 to 32 bits")
                .got(format!("type {code}"))
                .unsupported()
        })?),
    };
    Ok(Box::new(LinearQuantization {
        axis: build.attrs.int_or("axis", 1)?,
        dequantizes,
        block,
        output_dtype,
    }))
}

/// Builds QuantizeLinear: round(x / scale) + zero point, saturated.
pub(super) fn quantize(build: &Build) -> Result<Box<dyn Operator>> {
    linear(build, false)
}

/// Builds DequantizeLinear: (x − zero point)·scale.
pub(super) fn dequantize(build: &Build) -> Result<Box<dyn Operator>> {
    linear(build, true)
}

impl LinearQuantization {
    /// Returns the shape in which scale and zero point broadcast to the input, and the axis along which they vary.
    fn layout(&self, inputs: &Inputs) -> Result<(Vec<usize>, Option<usize>)> {
        let (x, scale) = (&inputs.get(0)?.shape, &inputs.get(1)?.shape);
        let count: usize = scale.iter().product();
        if self.block > 0 {
            // Repeated along the axis, scale and zero point have the shape of the input.
            let at = axis(self.axis, x.len())?;
            let fits = |a: usize| scale[a] == if a == at { x[a].div_ceil(self.block) } else { x[a] };
            if scale.len() != x.len() || !(0..x.len()).all(fits) {
                return Err(Error::new("the scale of a quantization in blocks does not fit")
                    .expected(format!("{} with blocks of {} along axis {at}", show(x), self.block))
                    .got(show(scale))
                    .with_kind(ErrorKind::InvalidModel));
            }
            return Ok((x.clone(), Some(at)));
        }
        if count == 1 && scale.len() <= 1 {
            return Ok((vec![1], None));
        }
        let at = axis(self.axis, x.len())?;
        if *scale != [x[at]] {
            return Err(Error::new("the scale of a quantization does not fit")
                .expected(format!("one number, or {} along axis {at}", x[at]))
                .got(show(scale))
                .with_kind(ErrorKind::InvalidModel));
        }
        let mut shape = vec![1; x.len()];
        shape[at] = x[at];
        Ok((shape, Some(at)))
    }

    /// Emits scale or zero point (input `i`), whose blocks are repeated to the shape of the input.
    fn parameter(&self, l: &mut Lowering, i: usize) -> Result<Slot> {
        if self.block == 0 {
            return Ok(Slot::Input(i));
        }
        let (x, small) = (l.inputs.get(0)?.shape.clone(), l.inputs.get(i)?.shape.clone());
        let (at, len) = (axis(self.axis, x.len())?, x.iter().product());
        let (from, to) = (strides(&small), strides(&x));
        let repeated = l.temp(len);
        for part in 0..small[at] {
            // The last block may be shorter.
            let (first, mut count) = (part * self.block, x.clone());
            count[at] = self.block.min(x[at] - first);
            let mut step = from.clone();
            step[at] = 0;
            let source = (small.iter().product(), part * from[at] as usize, step);
            let copy = strided(&count, source, (len, first * to[at] as usize, to.clone()))?;
            l.call(copy, vec![Slot::Input(i)], repeated.clone());
        }
        Ok(repeated)
    }

    fn quantized(&self, inputs: &Inputs) -> DType {
        inputs.optional(2).map(|zero| zero.dtype).or(self.output_dtype).unwrap_or(DType::U8)
    }
}

/// Returns the smallest and largest number of a quantized type.
///
/// # Errors
/// Types other than integers of 8 or 16 bits.
fn range(dtype: DType) -> Result<(f32, f32)> {
    Ok(match dtype {
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        DType::U16 => (0.0, 65_535.0),
        DType::I16 => (-32_768.0, 32_767.0),
        other => {
            return Err(Error::new("an unsupported quantized type")
                .expected("8 or 16 bits")
                .got(format!("{other:?}"))
                .unsupported());
        }
    })
}

impl Operator for LinearQuantization {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, scale) = (inputs.get(0)?, inputs.get(1)?);
        self.layout(inputs)?;
        if let Some(zero) = inputs.optional(2)
            && zero.shape.iter().product::<usize>() != scale.shape.iter().product::<usize>()
        {
            return Err(Error::new("the zero point of a quantization does not fit its scale")
                .expected(show(&scale.shape))
                .got(show(&zero.shape))
                .with_kind(ErrorKind::InvalidModel));
        }
        let dtype =
            if self.dequantizes { self.output_dtype.unwrap_or(scale.dtype) } else { self.quantized(inputs) };
        if !self.dequantizes {
            range(dtype)?;
        }
        Ok(vec![Fact::new(dtype, &x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = l.inputs.get(0)?.shape.clone();
        let (small, _) = self.layout(&l.inputs)?;
        let len: usize = x.iter().product();
        if let Some(activation) = self.rounding(&l.inputs).filter(|_| l.rounds_at_once) {
            l.call(Unary { len, activation }, vec![Slot::Input(0)], Slot::Output(0));
            return Ok(());
        }
        let with = |op| {
            BinaryKernel::new(op, &x, &small, Activation::None)
                .ok_or_else(|| Error::new("scale or zero point does not broadcast to the input").internal())
        };
        let scale = self.parameter(l, 1)?;
        let zero = match l.inputs.optional(2) {
            Some(_) => self.parameter(l, 2)?,
            None => Slot::Constant(Arc::new(vec![0.0; small.iter().product()])),
        };
        if self.dequantizes {
            let centred = l.temp(len);
            l.call(with(BinaryOp::Sub)?, vec![Slot::Input(0), zero], centred.clone());
            l.call(with(BinaryOp::Mul)?, vec![centred, scale], Slot::Output(0));
            return Ok(());
        }
        let (low, high) = range(self.quantized(&l.inputs))?;
        let [scaled, rounded, shifted] = [(); 3].map(|()| l.temp(len));
        l.call(with(BinaryOp::Div)?, vec![Slot::Input(0), scale], scaled.clone());
        l.call(Unary { len, activation: Activation::Round }, vec![scaled], rounded.clone());
        l.call(with(BinaryOp::Add)?, vec![rounded, zero], shifted.clone());
        l.call(Unary { len, activation: Activation::Clip(low, high) }, vec![shifted], Slot::Output(0));
        Ok(())
    }

    fn dequantization(&self, inputs: &Inputs) -> Option<Vec<usize>> {
        self.layout(inputs).ok().filter(|_| self.dequantizes && self.block == 0).map(|(shape, _)| shape)
    }

    fn rounding(&self, inputs: &Inputs) -> Option<Activation> {
        let whole = self.block == 0 && self.layout(inputs).is_ok_and(|(_, at)| at.is_none());
        let number = |i: usize| match inputs.optional(i)?.value.as_ref()?.to_f64()[..] {
            [number] => Some(number as f32),
            _ => None,
        };
        let scale = number(1).filter(|_| whole)?;
        let zero = if inputs.optional(2).is_some() { number(2)? } else { 0.0 };
        if self.dequantizes {
            return Some(Activation::Dequantize(scale, zero));
        }
        match self.quantized(inputs) {
            DType::U8 => Some(Activation::QuantizeU8(scale, zero)),
            DType::I8 => Some(Activation::QuantizeI8(scale, zero)),
            _ => None,
        }
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let x = flow.input_labels(0);
        if self.block > 0 {
            flow.freeze_all("is quantized in blocks");
            return Ok(());
        }
        if let (_, Some(at)) = self.layout(&flow.inputs)? {
            let labels = flow.axis_labels(0, at);
            flow.label_constant(1, 0, &labels, Role::PerChannel);
            flow.label_constant(2, 0, &labels, Role::PerChannel);
        }
        flow.set_output(0, x);
        Ok(())
    }

    /// Cuts scale and zero point together with the input, if the cut is along their axis.
    fn sources(&self, inputs: &Inputs, along: usize) -> Option<Vec<(usize, usize)>> {
        let (_, at) = self.layout(inputs).ok().filter(|_| self.block == 0)?;
        let mut sources = vec![(0, along)];
        if at == Some(along) {
            sources.push((1, 0));
            if inputs.optional(2).is_some() {
                sources.push((2, 0));
            }
        }
        Some(sources)
    }
}
