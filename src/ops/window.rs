//! The sliding windows of convolutions and pools: kernel, strides, dilations, pads and `auto_pad`.

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::volume::VolumeWindows;
use crate::kernels::window::Windows;
use crate::onnx::attrs::Attrs;
use crate::tensor::show;

/// The values of the attribute `auto_pad`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AutoPad {
    NotSet,
    SameUpper,
    SameLower,
    Valid,
}

/// The window attributes of a node; absent ones have defaults that depend on the input's rank.
#[derive(Clone, Debug)]
pub(super) struct WindowAttributes {
    kernel: Option<Vec<i64>>,
    strides: Option<Vec<i64>>,
    dilations: Option<Vec<i64>>,
    pads: Option<Vec<i64>>,
    auto_pad: AutoPad,
    ceil_mode: bool,
}

/// A window over depth, height and width; the leading axes of 1-D and 2-D windows have length 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ResolvedWindow {
    pub(super) input: [usize; 3],
    pub(super) output: [usize; 3],
    pub(super) kernel: [usize; 3],
    pub(super) stride: [usize; 3],
    pub(super) dilation: [usize; 3],
    pub(super) pad_begin: [usize; 3],
    pub(super) pad_end: [usize; 3],
}

impl ResolvedWindow {
    /// Returns the windows over depth, height and width.
    pub(super) fn volume(&self) -> VolumeWindows {
        VolumeWindows {
            input: self.input,
            output: self.output,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            pad: self.pad_begin,
        }
    }

    /// Returns the windows over height and width.
    pub(super) fn planes(&self) -> Windows {
        Windows {
            in_hw: plane(self.input),
            out_hw: plane(self.output),
            kernel: plane(self.kernel),
            stride: plane(self.stride),
            dilation: plane(self.dilation),
            pad: plane(self.pad_begin),
        }
    }
}

impl WindowAttributes {
    /// Reads the window attributes of a node.
    ///
    /// # Errors
    /// Attributes of other types, and an unknown `auto_pad`.
    pub(super) fn parse(attrs: &Attrs) -> Result<Self> {
        let auto_pad = match attrs.string("auto_pad")?.as_deref() {
            None | Some("NOTSET" | "") => AutoPad::NotSet,
            Some("SAME_UPPER") => AutoPad::SameUpper,
            Some("SAME_LOWER") => AutoPad::SameLower,
            Some("VALID") => AutoPad::Valid,
            Some(other) => {
                return Err(Error::new("an unknown auto_pad")
                    .expected("NOTSET, SAME_UPPER, SAME_LOWER or VALID")
                    .got(other)
                    .invalid_model());
            }
        };
        Ok(Self {
            kernel: attrs.ints("kernel_shape")?,
            strides: attrs.ints("strides")?,
            dilations: attrs.ints("dilations")?,
            pads: attrs.ints("pads")?,
            auto_pad,
            ceil_mode: attrs.int_or("ceil_mode", 0)? != 0,
        })
    }

    /// Resolves the window for an input of shape N×C×spatial.
    ///
    /// `weights` are the spatial dimensions of a convolution's weights; `None` for pools.
    ///
    /// # Errors
    /// Attributes that do not fit the input, and a window larger than its padded input.
    pub(super) fn fit(&self, input: &[usize], weights: Option<&[usize]>) -> Result<ResolvedWindow> {
        let rank = input.len().saturating_sub(2);
        check_rank(rank, input)?;
        let kernel = match (&self.kernel, weights) {
            (Some(kernel), _) => sizes("kernel_shape", kernel, rank, 1)?,
            (None, Some(weights)) => weights.to_vec(),
            (None, None) => return Err(no_kernel_shape()),
        };
        if let Some(weights) = weights
            && weights != kernel.as_slice()
        {
            return Err(Error::new("kernel_shape and the weights differ")
                .expected(show(&kernel))
                .got(show(weights))
                .with_kind(ErrorKind::InvalidModel));
        }
        let (strides, dilations, pads) = self.steps(rank)?;
        let mut w = ResolvedWindow::POINT;
        for axis in 0..rank {
            let at = 3 - rank + axis;
            let (size, k, stride, dilation) = (input[2 + axis], kernel[axis], strides[axis], dilations[axis]);
            let reach = dilation.saturating_mul(k - 1).saturating_add(1);
            let (begin, end) = match self.auto_pad {
                AutoPad::NotSet => (pads[axis], pads[axis + rank]),
                AutoPad::Valid => (0, 0),
                AutoPad::SameUpper | AutoPad::SameLower => {
                    let out = size.div_ceil(stride);
                    let total = (out.saturating_sub(1) * stride + reach).saturating_sub(size);
                    let (less, more) = (total / 2, total - total / 2);
                    if self.auto_pad == AutoPad::SameUpper { (less, more) } else { (more, less) }
                }
            };
            let padded = size.saturating_add(begin).saturating_add(end);
            // If sizes are rounded up, one window may extend beyond the padded input.
            if padded < reach && !(self.ceil_mode && reach - padded < stride) {
                return Err(Error::new("the window is larger than its padded input")
                    .expected(format!("at least {reach} along spatial axis {axis}"))
                    .got(padded.to_string())
                    .remedy("use larger images"));
            }
            let span = padded.saturating_sub(reach);
            let mut out = span / stride + 1;
            if self.ceil_mode {
                out = span.div_ceil(stride) + 1;
                // A window must start inside the input or the padding before it.
                if (out - 1) * stride >= size + begin {
                    out -= 1;
                }
            }
            w.input[at] = size;
            w.output[at] = out;
            w.kernel[at] = k;
            w.stride[at] = stride;
            w.dilation[at] = dilation;
            w.pad_begin[at] = begin;
            w.pad_end[at] = end;
        }
        Ok(w)
    }

    /// Returns strides, dilations and pads, with defaults for absent ones.
    fn steps(&self, rank: usize) -> Result<(Vec<usize>, Vec<usize>, Vec<usize>)> {
        let or_ones = |name, list: &Option<Vec<i64>>| match list {
            Some(list) => sizes(name, list, rank, 1),
            None => Ok(vec![1; rank]),
        };
        let pads = match &self.pads {
            Some(pads) => sizes("pads", pads, 2 * rank, 0)?,
            None => vec![0; 2 * rank],
        };
        Ok((or_ones("strides", &self.strides)?, or_ones("dilations", &self.dilations)?, pads))
    }

    /// Returns the shape of the input of the MaxPool whose output has shape N×C×spatial.
    ///
    /// # Errors
    /// Attributes that do not fit the shape, and pads that leave an empty result.
    pub(super) fn unpooled(&self, pooled: &[usize]) -> Result<Vec<usize>> {
        let rank = pooled.len().saturating_sub(2);
        check_rank(rank, pooled)?;
        let Some(kernel) = &self.kernel else { return Err(no_kernel_shape()) };
        let kernel = sizes("kernel_shape", kernel, rank, 1)?;
        let (strides, _, pads) = self.steps(rank)?;
        let mut shape = pooled[..2].to_vec();
        for axis in 0..rank {
            let covered = (pooled[2 + axis].saturating_sub(1) * strides[axis]).saturating_add(kernel[axis]);
            let size = covered.checked_sub(pads[axis] + pads[axis + rank]).filter(|&n| n > 0);
            shape.push(size.ok_or_else(|| {
                Error::new("the pads of a MaxUnpool leave nothing")
                    .expected(format!("less than {covered} along spatial axis {axis}"))
                    .got(format!("{}", pads[axis] + pads[axis + rank]))
                    .with_kind(ErrorKind::InvalidModel)
            })?);
        }
        Ok(shape)
    }

    /// Resolves each spatial axis of a transposed convolution.
    ///
    /// `extra` is the attribute `output_padding`, `wanted` the attribute `output_shape`.
    ///
    /// # Errors
    /// Attributes that do not fit the input, and pads that leave an empty output.
    pub(super) fn fit_transposed(
        &self,
        input: &[usize],
        weights: &[usize],
        extra: Option<&[i64]>,
        wanted: Option<&[i64]>,
    ) -> Result<Vec<TransposedAxis>> {
        let rank = input.len().saturating_sub(2);
        check_rank(rank, input)?;
        let (strides, dilations, pads) = self.steps(rank)?;
        let extra = match extra {
            Some(extra) => sizes("output_padding", extra, rank, 0)?,
            None => vec![0; rank],
        };
        let wanted = match wanted {
            // Some exporters include batch and channels.
            Some(list) if list.len() == rank + 2 => Some(sizes("output_shape", &list[2..], rank, 1)?),
            Some(list) => Some(sizes("output_shape", list, rank, 1)?),
            None => None,
        };
        (0..rank)
            .map(|axis| {
                let (stride, dilation) = (strides[axis], dilations[axis]);
                // The length that all windows cover together.
                let full = stride.saturating_mul(input[2 + axis].saturating_sub(1))
                    + extra[axis]
                    + dilation.saturating_mul(weights[axis].saturating_sub(1))
                    + 1;
                let same = matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
                let size = match &wanted {
                    Some(wanted) => Some(wanted[axis]),
                    None if same => Some(input[2 + axis].saturating_mul(stride)),
                    None => None,
                };
                let (before, output) = match size {
                    Some(size) => {
                        let total = full as isize - size as isize;
                        let (less, more) = (total.div_euclid(2), total - total.div_euclid(2));
                        let upper = self.auto_pad == AutoPad::SameUpper;
                        (if upper { less } else { more }, Some(size))
                    }
                    None if self.auto_pad == AutoPad::Valid => (0, Some(full)),
                    None => {
                        let (begin, end) = (pads[axis], pads[axis + rank]);
                        (begin as isize, full.checked_sub(begin + end).filter(|&n| n > 0))
                    }
                };
                let output = output.ok_or_else(|| {
                    Error::new("the pads of a transposed convolution leave nothing")
                        .expected(format!("less than {full} along spatial axis {axis}"))
                        .got(format!("{}", pads[axis] + pads[axis + rank]))
                        .with_kind(ErrorKind::InvalidModel)
                })?;
                Ok(TransposedAxis { stride, dilation, before, output })
            })
            .collect()
    }
}

/// The geometry of one spatial axis of a transposed convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TransposedAxis {
    pub(super) stride: usize,
    pub(super) dilation: usize,
    /// The number of elements removed at the start of the covered length; a negative number adds zeros.
    pub(super) before: isize,
    pub(super) output: usize,
}

impl ResolvedWindow {
    /// The window of a single element.
    pub(super) const POINT: Self = Self {
        input: [1; 3],
        output: [1; 3],
        kernel: [1; 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad_begin: [0; 3],
        pad_end: [0; 3],
    };

    /// Returns the shape of the output for an input of this rank.
    pub(super) fn shape(&self, batch: usize, channels: usize, rank: usize) -> Vec<usize> {
        let mut shape = vec![batch, channels];
        shape.extend(&self.output[5 - rank..]);
        shape
    }
}

/// Returns height and width of a triple.
pub(super) fn plane(triple: [usize; 3]) -> [usize; 2] {
    [triple[1], triple[2]]
}

fn no_kernel_shape() -> Error {
    Error::new("the attribute kernel_shape is missing").with_kind(ErrorKind::InvalidModel)
}

fn check_rank(rank: usize, input: &[usize]) -> Result<()> {
    if (1..=3).contains(&rank) {
        return Ok(());
    }
    Err(Error::new(format!("a window over {rank} spatial axes is not supported"))
        .expected("N×C×W, N×C×H×W or N×C×D×H×W")
        .got(show(input))
        .unsupported())
}

fn sizes(name: &str, list: &[i64], len: usize, least: i64) -> Result<Vec<usize>> {
    if list.len() != len || list.iter().any(|&v| v < least || v > i64::from(u32::MAX)) {
        return Err(Error::new(format!("the attribute {name} does not fit"))
            .expected(format!("{len} numbers from {least} up"))
            .got(format!("{list:?}"))
            .with_kind(ErrorKind::InvalidModel));
    }
    Ok(list.iter().map(|&v| v as usize).collect())
}
