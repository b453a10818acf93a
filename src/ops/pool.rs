//! Pools: MaxPool, AveragePool and the global ones.

use super::lower::{Lowering, Slot};
use super::window::{Window, Windowed, plane};
use super::{Build, Operator};
use crate::dye::flow::Flow;
use crate::error::{Error, LEAVE_OUT, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::reduction::{Pool as PoolKernel, PoolKind};
use crate::kernels::reduction::{Reduce, ReduceOp};
use crate::kernels::window::Windows;
use crate::tensor::show;

#[derive(Debug)]
struct Pool {
    kind: PoolKind,
    window: Window,
}

#[derive(Debug)]
struct GlobalPool(ReduceOp);

/// Builds a MaxPool.
pub(super) fn max_pool(build: &Build) -> Result<Box<dyn Operator>> {
    if build.outputs > 1 {
        return Err(Error::new("MaxPool's second output (indices) is not supported")
            .expected("one output")
            .got(build.outputs.to_string())
            .remedy(LEAVE_OUT));
    }
    Ok(Box::new(Pool { kind: PoolKind::Max, window: Window::parse(&build.attrs)? }))
}

/// Builds an AveragePool.
pub(super) fn average_pool(build: &Build) -> Result<Box<dyn Operator>> {
    let count_include_pad = build.attrs.int_or("count_include_pad", 0)? != 0;
    Ok(Box::new(Pool { kind: PoolKind::Average { count_include_pad }, window: Window::parse(&build.attrs)? }))
}

/// Builds a GlobalAveragePool.
pub(super) fn global_average_pool(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(GlobalPool(ReduceOp::Mean)))
}

/// Builds a GlobalMaxPool.
pub(super) fn global_max_pool(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(GlobalPool(ReduceOp::Max)))
}

/// Channels go through one by one.
fn carry_channels(flow: &mut Flow) {
    let labels = flow.along(0, 1);
    flow.set_along(0, 1, &labels);
}

impl Pool {
    /// What it does along height and width, of so many planes.
    fn planes(&self, planes: usize, w: &Windowed) -> PoolKernel {
        PoolKernel { kind: self.kind, planes, windows: w.planes(), pad_end: plane(w.pad_end) }
    }
}

impl Operator for Pool {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let window = self.window.fit(&x.shape, None)?;
        Ok(vec![x.with_shape(&window.shape(x.shape[0], x.shape[1], x.shape.len()))])
    }

    /// Planes first, then depth: a maximum of maxima, and a mean of means, since the windows of one place
    /// in the plane all have as many elements.
    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let w = self.window.fit(x, None)?;
        let (channels, [depth, ..], [out_depth, height, width]) = (x[0] * x[1], w.input, w.output);
        let planes = self.planes(channels * depth, &w);
        if depth == 1 && w.kernel[0] == 1 && out_depth == 1 {
            l.call(planes, vec![Slot::Input(0)], Slot::Output(0));
            return Ok(());
        }
        let depths = PoolKernel {
            kind: self.kind,
            planes: channels,
            windows: Windows {
                in_hw: [depth, height * width],
                out_hw: [out_depth, height * width],
                kernel: [w.kernel[0], 1],
                stride: [w.stride[0], 1],
                dilation: [w.dilation[0], 1],
                pad: [w.pad_begin[0], 0],
            },
            pad_end: [w.pad_end[0], 0],
        };
        let between = l.temp(channels * depth * height * width);
        l.call(planes, vec![Slot::Input(0)], between.clone());
        l.call(depths, vec![between], Slot::Output(0));
        Ok(())
    }

    fn pools_by_twos(&self, inputs: &Inputs) -> bool {
        let Some(x) = inputs.optional(0).filter(|x| x.shape.len() == 4) else { return false };
        self.window.fit(&x.shape, None).is_ok_and(|w| self.planes(1, &w).is_by_twos())
    }

    /// The padding counts as zeros in one kind only.
    fn keeps_constants(&self) -> bool {
        self.kind != PoolKind::Average { count_include_pad: true }
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        carry_channels(flow);
        Ok(())
    }
}

impl Operator for GlobalPool {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        if x.shape.len() < 2 {
            return Err(Error::new("a global pool over a tensor without channels").got(show(&x.shape)));
        }
        let mut shape = vec![1; x.shape.len()];
        shape[..2].copy_from_slice(&x.shape[..2]);
        Ok(vec![x.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let kernel = Reduce { op: self.0, outer: x[0] * x[1], axis: x[2..].iter().product(), inner: 1 };
        l.call(kernel, vec![Slot::Input(0)], Slot::Output(0));
        Ok(())
    }

    fn keeps_constants(&self) -> bool {
        true
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        carry_channels(flow);
        Ok(())
    }
}
