//! QuantizeLinear and DequantizeLinear: between numbers and the small integers that stand for them.
//! The engine computes with the numbers; weights stay small integers in the file.

use std::sync::Arc;

use super::lower::{Lowering, Slot};
use super::moving::strided;
use super::{Build, Operator};
use crate::dye::flow::{Flow, Role};
use crate::error::{Error, LEAVE_OUT, Result};
use crate::fact::{Fact, Inputs, axis};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::{Binary, BinaryOp};
use crate::kernels::elementwise::Unary;
use crate::tensor::{DType, show, strides};

#[derive(Debug)]
struct Linear {
    axis: i64,
    /// Back to numbers.
    back: bool,
    /// Elements along the axis that share a scale, where that is not all or one.
    block: usize,
    output_dtype: Option<DType>,
}

fn linear(build: &Build, back: bool) -> Result<Box<dyn Operator>> {
    let block = build.attrs.int_or("block_size", 0)?;
    let block = usize::try_from(block).map_err(|_| Error::new("a negative block_size"))?;
    let code = build.attrs.int_or("output_dtype", 0)?;
    let output_dtype = match code {
        0 => None,
        code => Some(i32::try_from(code).ok().and_then(DType::from_onnx).ok_or_else(|| {
            Error::new("a quantized type that the engine does not know")
                .expected("an integer type of 8 to 32 bits")
                .got(format!("type {code}"))
                .remedy(LEAVE_OUT)
        })?),
    };
    Ok(Box::new(Linear { axis: build.attrs.int_or("axis", 1)?, back, block, output_dtype }))
}

/// Builds a QuantizeLinear.
pub(super) fn quantize(build: &Build) -> Result<Box<dyn Operator>> {
    linear(build, false)
}

/// Builds a DequantizeLinear.
pub(super) fn dequantize(build: &Build) -> Result<Box<dyn Operator>> {
    linear(build, true)
}

impl Linear {
    /// The shape under which scale and zero point broadcast to the input, and the axis along which they vary.
    fn layout(&self, inputs: &Inputs) -> Result<(Vec<usize>, Option<usize>)> {
        let (x, scale) = (&inputs.get(0)?.shape, &inputs.get(1)?.shape);
        let count: usize = scale.iter().product();
        if self.block > 0 {
            // Repeated along the axis, they are as large as the input.
            let at = axis(self.axis, x.len())?;
            let fits = |a: usize| scale[a] == if a == at { x[a].div_ceil(self.block) } else { x[a] };
            if scale.len() != x.len() || !(0..x.len()).all(fits) {
                return Err(Error::new("the scale of a quantization in blocks does not fit")
                    .expected(format!("{} with blocks of {} along axis {at}", show(x), self.block))
                    .got(show(scale)));
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
                .got(show(scale)));
        }
        let mut shape = vec![1; x.len()];
        shape[at] = x[at];
        Ok((shape, Some(at)))
    }

    /// Scale or zero point (input `i`), in blocks repeated to the size of the input.
    fn spread(&self, l: &mut Lowering, i: usize) -> Result<Slot> {
        if self.block == 0 {
            return Ok(Slot::Input(i));
        }
        let (x, small) = (l.inputs.get(0)?.shape.clone(), l.inputs.get(i)?.shape.clone());
        let (at, len) = (axis(self.axis, x.len())?, x.iter().product());
        let (from, to) = (strides(&small), strides(&x));
        let whole = l.temp(len);
        for part in 0..small[at] {
            // The last block may be shorter.
            let (first, mut count) = (part * self.block, x.clone());
            count[at] = self.block.min(x[at] - first);
            let mut step = from.clone();
            step[at] = 0;
            let source = (small.iter().product(), part * from[at] as usize, step);
            let copy = strided(&count, source, (len, first * to[at] as usize, to.clone()))?;
            l.call(copy, vec![Slot::Input(i)], whole.clone());
        }
        Ok(whole)
    }

    fn quantized(&self, inputs: &Inputs) -> DType {
        inputs.optional(2).map(|zero| zero.dtype).or(self.output_dtype).unwrap_or(DType::U8)
    }
}

/// The least and largest of a small integer type.
fn range(dtype: DType) -> Result<(f32, f32)> {
    Ok(match dtype {
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        DType::U16 => (0.0, 65_535.0),
        DType::I16 => (-32_768.0, 32_767.0),
        other => {
            return Err(Error::new("a quantized type that is not supported")
                .expected("8 or 16 bits")
                .got(format!("{other:?}"))
                .remedy(LEAVE_OUT));
        }
    })
}

impl Operator for Linear {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, scale) = (inputs.get(0)?, inputs.get(1)?);
        self.layout(inputs)?;
        if let Some(zero) = inputs.optional(2)
            && zero.shape.iter().product::<usize>() != scale.shape.iter().product::<usize>()
        {
            return Err(Error::new("the zero point of a quantization does not fit its scale")
                .expected(show(&scale.shape))
                .got(show(&zero.shape)));
        }
        let dtype = if self.back { self.output_dtype.unwrap_or(scale.dtype) } else { self.quantized(inputs) };
        if !self.back {
            range(dtype)?;
        }
        Ok(vec![Fact::new(dtype, &x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = l.inputs.get(0)?.shape.clone();
        let (small, _) = self.layout(&l.inputs)?;
        let len: usize = x.iter().product();
        let with = |op| {
            Binary::new(op, &x, &small, Activation::None)
                .ok_or_else(|| Error::new("scale or zero point does not broadcast to the input"))
        };
        let scale = self.spread(l, 1)?;
        let zero = match l.inputs.optional(2) {
            Some(_) => self.spread(l, 2)?,
            None => Slot::Constant(Arc::new(vec![0.0; small.iter().product()])),
        };
        if self.back {
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

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        let x = flow.dyed(0);
        if self.block > 0 {
            flow.freeze_all("is quantized in blocks");
            return Ok(());
        }
        if let (_, Some(at)) = self.layout(&flow.inputs)? {
            let labels = flow.along(0, at);
            flow.cut(1, 0, &labels, Role::Passenger);
            flow.cut(2, 0, &labels, Role::Passenger);
        }
        flow.set(0, x);
        Ok(())
    }

    /// Scale and zero point go along with what they belong to.
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
