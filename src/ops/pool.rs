//! The operators MaxPool, AveragePool, GlobalMaxPool and GlobalAveragePool.

use super::lower::{Lowering, Slot};
use super::window::{ResolvedWindow, WindowAttributes, plane};
use super::{Build, Constancy, Operator};
use crate::coupling::Propagation;
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::reduction::{PoolKernel, PoolKind};
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::kernels::window::Windows;
use crate::tensor::show;

#[derive(Debug)]
struct Pool {
    kind: PoolKind,
    window: WindowAttributes,
}

#[derive(Debug)]
struct GlobalPool(ReduceOp);

/// Builds MaxPool: the maximum of each window.
pub(super) fn max_pool(build: &Build) -> Result<Box<dyn Operator>> {
    if build.outputs > 1 {
        return Err(Error::new("MaxPool's second output (indices) is not supported")
            .expected("one output")
            .got(build.outputs.to_string())
            .unsupported());
    }
    Ok(Box::new(Pool { kind: PoolKind::Max, window: WindowAttributes::parse(&build.attrs)? }))
}

/// Builds AveragePool: the mean of each window.
pub(super) fn average_pool(build: &Build) -> Result<Box<dyn Operator>> {
    let count_include_pad = build.attrs.int_or("count_include_pad", 0)? != 0;
    Ok(Box::new(Pool {
        kind: PoolKind::Average { count_include_pad },
        window: WindowAttributes::parse(&build.attrs)?,
    }))
}

/// Builds GlobalAveragePool: the mean of each channel.
pub(super) fn global_average_pool(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(GlobalPool(ReduceOp::Mean)))
}

/// Builds GlobalMaxPool: the maximum of each channel.
pub(super) fn global_max_pool(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(GlobalPool(ReduceOp::Max)))
}

/// Passes channels of axis 1 on unchanged.
fn propagate_channels(flow: &mut Propagation) {
    let labels = flow.axis_labels(0, 1);
    flow.set_output_along(0, 1, &labels);
}

impl Pool {
    /// Returns the kernel that pools `planes` planes along height and width.
    fn planes(&self, planes: usize, w: &ResolvedWindow) -> PoolKernel {
        PoolKernel { kind: self.kind, planes, windows: w.planes(), pad_end: plane(w.pad_end) }
    }
}

impl Operator for Pool {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let window = self.window.fit(&x.shape, None)?;
        Ok(vec![x.with_shape(&window.shape(x.shape[0], x.shape[1], x.shape.len()))])
    }

    /// Lowers 3-D pools to a pool of planes and one along depth.
    ///
    /// A mean of means is exact because all windows at one place of the plane contain equally many elements.
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

    fn is_max_pool_2x2(&self, inputs: &Inputs) -> bool {
        let Some(x) = inputs.optional(0).filter(|x| x.shape.len() == 4) else { return false };
        self.window.fit(&x.shape, None).is_ok_and(|w| self.planes(1, &w).is_by_twos())
    }

    /// Averages that count the padding as zeros change the borders.
    fn constancy(&self, inputs: &Inputs, channels: &[usize]) -> Constancy {
        let Some(x) = inputs.optional(0).filter(|_| channels == [1]) else { return Constancy::Lost };
        let padded = |w: &ResolvedWindow| (w.pad_begin, w.pad_end) != ([0; 3], [0; 3]);
        match self.window.fit(&x.shape, None) {
            Ok(w) if self.kind == PoolKind::Average { count_include_pad: true } && padded(&w) => {
                Constancy::Padded { value: 0.0, around: true }
            }
            Ok(_) => Constancy::Passed,
            Err(_) => Constancy::Lost,
        }
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        propagate_channels(flow);
        Ok(())
    }
}

impl Operator for GlobalPool {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        if x.shape.len() < 2 {
            return Err(Error::new("a global pool over a tensor without channels")
                .got(show(&x.shape))
                .with_kind(ErrorKind::InvalidModel));
        }
        let mut shape = vec![1; x.shape.len()];
        shape[..2].copy_from_slice(&x.shape[..2]);
        Ok(vec![x.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let kernel = ReduceKernel { op: self.0, outer: x[0] * x[1], axis: x[2..].iter().product(), inner: 1 };
        l.call(kernel, vec![Slot::Input(0)], Slot::Output(0));
        Ok(())
    }

    fn constancy(&self, _: &Inputs, channels: &[usize]) -> Constancy {
        if channels == [1] { Constancy::Passed } else { Constancy::Lost }
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        propagate_channels(flow);
        Ok(())
    }
}
