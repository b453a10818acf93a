//! The operators MaxPool, AveragePool, and pools of whole channels.

use super::lower::{Lowering, Slot};
use super::unpool::check_flat_indices;
use super::window::{ResolvedWindow, WindowAttributes, plane};
use super::{Build, Constancy, Operator};
use crate::coupling::Propagation;
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::reduction::PoolIndices;
use crate::kernels::reduction::{PoolKernel, PoolKind};
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::kernels::window::Windows;
use crate::tensor::{DType, show};

#[derive(Debug)]
struct Pool {
    kind: PoolKind,
    window: WindowAttributes,
    /// The form of the second output, the indices of maxima, if the node has it.
    indices: Option<IndexOrder>,
}

/// The axis that varies fastest in indices, attribute `storage_order`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum IndexOrder {
    RowMajor,
    ColumnMajor,
}

#[derive(Debug)]
struct GlobalPool(ReduceOp);

/// Builds MaxPool: the maximum of each window, and its index if the node has a second output.
pub(super) fn max_pool(build: &Build) -> Result<Box<dyn Operator>> {
    let order = match build.attrs.int_or("storage_order", 0)? {
        0 => IndexOrder::RowMajor,
        _ => IndexOrder::ColumnMajor,
    };
    Ok(Box::new(Pool {
        kind: PoolKind::Max,
        window: WindowAttributes::parse(&build.attrs)?,
        indices: (build.outputs > 1).then_some(order),
    }))
}

/// Builds AveragePool: the mean of each window.
pub(super) fn average_pool(build: &Build) -> Result<Box<dyn Operator>> {
    let count_include_pad = build.attrs.int_or("count_include_pad", 0)? != 0;
    Ok(Box::new(Pool {
        kind: PoolKind::Average { count_include_pad },
        window: WindowAttributes::parse(&build.attrs)?,
        indices: None,
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

/// Builds GlobalLpPool: the L1 or L2 norm of each channel.
pub(super) fn global_lp_pool(build: &Build) -> Result<Box<dyn Operator>> {
    match build.attrs.int_or("p", 2)? {
        1 => Ok(Box::new(GlobalPool(ReduceOp::L1))),
        2 => Ok(Box::new(GlobalPool(ReduceOp::L2))),
        p => Err(Error::new("a norm that is not supported")
            .expected("p = 1 or 2")
            .got(p.to_string())
            .unsupported()),
    }
}

/// Passes channels of axis 1 on unchanged.
pub(super) fn propagate_channels(flow: &mut Propagation) {
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
        let shape = window.shape(x.shape[0], x.shape[1], x.shape.len());
        let mut facts = vec![x.with_shape(&shape)];
        if self.indices.is_some() {
            check_flat_indices(&x.shape)?;
            facts.push(Fact::new(DType::I64, &shape));
        }
        Ok(facts)
    }

    /// Lowers 3-D pools to a pool of planes and one along depth.
    ///
    /// A mean of means is exact because all windows at one place of the plane contain equally many elements.
    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let w = self.window.fit(x, None)?;
        let (channels, [depth, ..], [out_depth, height, width]) = (x[0] * x[1], w.input, w.output);
        if let Some(order) = self.indices {
            let column_major = order == IndexOrder::ColumnMajor;
            let kernel = PoolIndices { planes: channels, windows: w.volume(), column_major };
            l.call(kernel, vec![Slot::Input(0)], Slot::Output(1));
        }
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
        let Some(x) = inputs.optional(0).filter(|x| x.shape.len() == 4 && self.indices.is_none()) else {
            return false;
        };
        self.window.fit(&x.shape, None).is_ok_and(|w| self.planes(1, &w).is_by_twos())
    }

    /// Averages that count the padding as zeros change the borders. Indices are not followed.
    fn constancy(&self, inputs: &Inputs, channels: &[usize]) -> Constancy {
        let Some(x) = inputs.optional(0).filter(|_| channels == [1] && self.indices.is_none()) else {
            return Constancy::Lost;
        };
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
        if self.indices.is_some() {
            let labels = flow.axis_labels(0, 1);
            flow.set_output_along(1, 1, &labels);
        }
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
        let within = matches!(self.0, ReduceOp::Mean | ReduceOp::Max);
        if within && channels == [1] { Constancy::Passed } else { Constancy::Lost }
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        propagate_channels(flow);
        Ok(())
    }
}
