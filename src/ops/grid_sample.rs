//! The operators GridSample and AffineGrid: images sampled at computed positions.

use std::sync::Arc;

use super::data_movement::strided;
use super::lower::{Lowering, Slot};
use super::pool::propagate_channels;
use super::{Build, Operator};
use crate::coupling::Propagation;
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::activation::Activation;
use crate::kernels::gemm::MatMulKernel;
use crate::kernels::sampling::{GridPadding, GridSample as GridSampleKernel, GridSampling};
use crate::tensor::show;

#[derive(Debug)]
struct GridSample {
    sampling: GridSampling,
    padding: GridPadding,
    align_corners: bool,
}

/// Builds GridSample: values of images at the positions of a grid.
pub(super) fn grid_sample(build: &Build) -> Result<Box<dyn Operator>> {
    let sampling = match build.attrs.string("mode")?.as_deref() {
        None | Some("linear" | "bilinear") => GridSampling::Linear,
        Some("nearest") => GridSampling::Nearest,
        Some("cubic" | "bicubic") => GridSampling::Cubic,
        Some(other) => return Err(unknown("mode", "linear, nearest or cubic", other)),
    };
    let padding = match build.attrs.string("padding_mode")?.as_deref() {
        None | Some("zeros") => GridPadding::Zeros,
        Some("border") => GridPadding::Border,
        Some("reflection") => GridPadding::Reflection,
        Some(other) => return Err(unknown("padding_mode", "zeros, border or reflection", other)),
    };
    let align_corners = build.attrs.int_or("align_corners", 0)? != 0;
    Ok(Box::new(GridSample { sampling, padding, align_corners }))
}

fn unknown(name: &str, expected: &str, got: &str) -> Error {
    Error::new(format!("an unknown {name}")).expected(expected).got(got.to_owned()).invalid_model()
}

impl Operator for GridSample {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, grid) = (inputs.get(0)?, &inputs.get(1)?.shape);
        let (rank, dims) = (x.shape.len(), grid.last().copied().unwrap_or(0));
        let known = (4..=5).contains(&rank);
        if !known || grid.len() != rank || dims + 2 != rank || grid[0] != x.shape[0] {
            return Err(Error::new("the grid of GridSample does not fit its input")
                .expected("N×C×H×W and N×…×2, or N×C×D×H×W and N×…×3")
                .got(format!("input {}, grid {}", show(&x.shape), show(grid)))
                .with_kind(ErrorKind::InvalidModel));
        }
        if rank == 5 && self.sampling == GridSampling::Cubic {
            return Err(Error::new("cubic interpolation of volumes is not supported")
                .expected("N×C×H×W")
                .got(show(&x.shape))
                .unsupported());
        }
        Ok(vec![x.with_shape(&[&x.shape[..2], &grid[1..rank - 1]].concat())])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (x, shape) = (&l.inputs.get(0)?.shape, l.shape(0));
        let dims = x.len() - 2;
        let mut input = [1; 3];
        input[3 - dims..].copy_from_slice(&x[2..]);
        let kernel = GridSampleKernel {
            batch: x[0],
            channels: x[1],
            input,
            positions: shape[2..].iter().product(),
            dims,
            sampling: self.sampling,
            padding: self.padding,
            align_corners: self.align_corners,
        };
        l.call(kernel, vec![Slot::Input(0), Slot::Input(1)], Slot::Output(0));
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let grid = flow.input_labels(1);
        flow.freeze(grid.labels(), "takes coordinates of positions from all of them");
        propagate_channels(flow);
        Ok(())
    }
}

#[derive(Debug)]
struct AffineGrid {
    align_corners: bool,
}

/// Builds AffineGrid: the positions of pixels after affine maps.
pub(super) fn affine_grid(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(AffineGrid { align_corners: build.attrs.int_or("align_corners", 0)? != 0 }))
}

impl AffineGrid {
    /// Returns the spatial dimensions of the grid.
    fn size(inputs: &Inputs) -> Result<Vec<usize>> {
        let theta = &inputs.get(0)?.shape;
        let given = inputs.ints(1, "the size of AffineGrid")?.unwrap_or_default();
        let size: Vec<usize> = given.iter().filter_map(|&d| usize::try_from(d).ok()).collect();
        let dims = size.len().saturating_sub(2);
        let fits =
            (2..=3).contains(&dims) && size.len() == given.len() && theta[..] == [size[0], dims, dims + 1];
        if !fits || size.contains(&0) {
            return Err(Error::new("the maps of AffineGrid do not fit its size")
                .expected("N×2×3 and N, C, H, W, or N×3×4 and N, C, D, H, W")
                .got(format!("{} and {given:?}", show(theta)))
                .with_kind(ErrorKind::InvalidModel));
        }
        Ok(size[2..].to_vec())
    }

    /// Returns the coordinate of index `i` of an axis, from −1 to 1.
    fn coordinate(&self, i: usize, len: usize) -> f32 {
        match (self.align_corners, len) {
            (true, 1) => 0.0,
            (true, _) => (2.0 * i as f64 / (len as f64 - 1.0) - 1.0) as f32,
            (false, _) => ((2.0 * i as f64 + 1.0) / len as f64 - 1.0) as f32,
        }
    }
}

impl Operator for AffineGrid {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (theta, size) = (inputs.get(0)?, Self::size(inputs)?);
        let shape = [&theta.shape[..1], &size, &[size.len()]].concat();
        Ok(vec![theta.with_shape(&shape)])
    }

    /// Lowers to a product of the pixels' own positions by the transposed maps.
    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (batch, size) = (l.inputs.get(0)?.shape[0], Self::size(&l.inputs)?);
        let (dims, positions) = (size.len(), size.iter().product::<usize>());
        let mut own = Vec::with_capacity(positions * (dims + 1));
        for at in 0..positions {
            let mut rest = at;
            // Coordinates are in the order x, y, z: the last axis first.
            for &len in size.iter().rev() {
                own.push(self.coordinate(rest % len, len));
                rest /= len;
            }
            own.push(1.0);
        }
        let (len, columns) = (batch * dims * (dims + 1), dims as isize + 1);
        let maps = l.temp(len);
        let (from, to) =
            (vec![columns * dims as isize, 1, columns], vec![columns * dims as isize, dims as isize, 1]);
        let copy = strided(&[batch, dims + 1, dims], (len, 0, from), (len, 0, to))?;
        l.call(copy, vec![Slot::Input(0)], maps.clone());
        let kernel = MatMulKernel {
            batch,
            m: positions,
            k: dims + 1,
            n: dims,
            a_batched: false,
            b_batched: true,
            activation: Activation::None,
        };
        l.call(kernel, vec![Slot::Constant(Arc::new(own)), maps], Slot::Output(0));
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        flow.freeze_all("computes coordinates of positions from all of them");
        Ok(())
    }
}
