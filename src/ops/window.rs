//! The sliding window that convolutions and pools share: kernel, strides, dilations, pads, auto_pad.

use crate::error::{Error, Result};
use crate::onnx::attrs::Attrs;
use crate::tensor::show;

/// How pads are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AutoPad {
    NotSet,
    SameUpper,
    SameLower,
    Valid,
}

/// The attributes of a window as the node gives them; defaults depend on the input's rank.
#[derive(Clone, Debug)]
pub(super) struct Window {
    kernel: Option<Vec<i64>>,
    strides: Option<Vec<i64>>,
    dilations: Option<Vec<i64>>,
    pads: Option<Vec<i64>>,
    auto_pad: AutoPad,
    ceil_mode: bool,
}

/// A window over one or two spatial axes, resolved; one axis is a row of height 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Windowed {
    pub(super) in_hw: [usize; 2],
    pub(super) out_hw: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) pad_begin: [usize; 2],
    pub(super) pad_end: [usize; 2],
}

impl Window {
    /// Reads the attributes that the node has.
    pub(super) fn parse(attrs: &Attrs) -> Result<Self> {
        let auto_pad = match attrs.string("auto_pad")?.as_deref() {
            None | Some("NOTSET" | "") => AutoPad::NotSet,
            Some("SAME_UPPER") => AutoPad::SameUpper,
            Some("SAME_LOWER") => AutoPad::SameLower,
            Some("VALID") => AutoPad::Valid,
            Some(other) => {
                return Err(Error::new("an unknown auto_pad")
                    .expected("NOTSET, SAME_UPPER, SAME_LOWER or VALID")
                    .got(other));
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

    /// Fits the window to an input of shape N×C×spatial. `weights` are the kernel's spatial dimensions where the
    /// node has weights; pools have them as an attribute.
    pub(super) fn fit(&self, input: &[usize], weights: Option<&[usize]>) -> Result<Windowed> {
        let rank = input.len().saturating_sub(2);
        if rank == 0 || rank > 2 {
            return Err(Error::new(format!("a window over {rank} spatial axes is not supported"))
                .expected("N×C×W or N×C×H×W")
                .got(show(input))
                .remedy("this version knows 1-D and 2-D convolutions and pools"));
        }
        let kernel = match (&self.kernel, weights) {
            (Some(kernel), _) => sizes("kernel_shape", kernel, rank, 1)?,
            (None, Some(weights)) => weights.to_vec(),
            (None, None) => return Err(Error::new("the attribute kernel_shape is missing")),
        };
        if let Some(weights) = weights
            && weights != kernel.as_slice()
        {
            return Err(Error::new("kernel_shape and the weights differ")
                .expected(show(&kernel))
                .got(show(weights)));
        }
        let or_ones = |name, list: &Option<Vec<i64>>| match list {
            Some(list) => sizes(name, list, rank, 1),
            None => Ok(vec![1; rank]),
        };
        let strides = or_ones("strides", &self.strides)?;
        let dilations = or_ones("dilations", &self.dilations)?;
        let pads = match &self.pads {
            Some(pads) => sizes("pads", pads, 2 * rank, 0)?,
            None => vec![0; 2 * rank],
        };
        let mut w = Windowed {
            in_hw: [1; 2],
            out_hw: [1; 2],
            kernel: [1; 2],
            stride: [1; 2],
            dilation: [1; 2],
            pad_begin: [0; 2],
            pad_end: [0; 2],
        };
        for axis in 0..rank {
            let at = 2 - rank + axis;
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
            if padded < reach {
                return Err(Error::new("the window is larger than its padded input")
                    .expected(format!("at least {reach} along spatial axis {axis}"))
                    .got(padded.to_string())
                    .remedy("give the network larger images"));
            }
            let span = padded - reach;
            let mut out = span / stride + 1;
            if self.ceil_mode {
                out = span.div_ceil(stride) + 1;
                // A window must start inside the input or the padding before it.
                if (out - 1) * stride >= size + begin {
                    out -= 1;
                }
            }
            w.in_hw[at] = size;
            w.out_hw[at] = out;
            w.kernel[at] = k;
            w.stride[at] = stride;
            w.dilation[at] = dilation;
            w.pad_begin[at] = begin;
            w.pad_end[at] = end;
        }
        Ok(w)
    }
}

impl Windowed {
    /// The output's shape for an input of this rank.
    pub(super) fn output(&self, batch: usize, channels: usize, rank: usize) -> Vec<usize> {
        let mut shape = vec![batch, channels];
        shape.extend(&self.out_hw[4 - rank..]);
        shape
    }
}

fn sizes(name: &str, list: &[i64], len: usize, least: i64) -> Result<Vec<usize>> {
    if list.len() != len || list.iter().any(|&v| v < least || v > i64::from(u32::MAX)) {
        return Err(Error::new(format!("the attribute {name} does not fit"))
            .expected(format!("{len} numbers from {least} up"))
            .got(format!("{list:?}")));
    }
    Ok(list.iter().map(|&v| v as usize).collect())
}
