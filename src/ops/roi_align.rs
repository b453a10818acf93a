//! The operator RoiAlign, which resamples regions of images to one size.

use super::lower::{Lowering, Slot};
use super::pool::propagate_channels;
use super::{Build, Operator};
use crate::coupling::Propagation;
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::sampling::RoiAlign as RoiAlignKernel;
use crate::tensor::show;

#[derive(Debug)]
struct RoiAlign {
    output: [usize; 2],
    samples: usize,
    scale: f32,
    half_pixel: bool,
    max: bool,
}

/// Builds RoiAlign: regions of images, resampled to one size by linear interpolation.
pub(super) fn roi_align(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    let choice = |name: &str, default: &str, on: &str, off: &str| {
        let given = attrs.string(name)?.unwrap_or_else(|| default.to_owned());
        if given == on || given == off {
            return Ok(given == on);
        }
        Err(Error::new(format!("an unknown {name}"))
            .expected(format!("{on} or {off}"))
            .got(given)
            .invalid_model())
    };
    let size = |name: &str, default: i64, least: usize| {
        let given = attrs.int_or(name, default)?;
        usize::try_from(given).ok().filter(|&n| n >= least && n < 1 << 16).ok_or_else(|| {
            Error::new(format!("the attribute {name} does not fit"))
                .expected(format!("{least} or more"))
                .got(given.to_string())
                .invalid_model()
        })
    };
    // Before opset 16, the attribute did not exist, and regions were not moved by half a pixel.
    let mode = if build.opset < 16 { "output_half_pixel" } else { "half_pixel" };
    Ok(Box::new(RoiAlign {
        output: [size("output_height", 1, 1)?, size("output_width", 1, 1)?],
        samples: size("sampling_ratio", 0, 0)?,
        scale: attrs.float_or("spatial_scale", 1.0)?,
        half_pixel: choice("coordinate_transformation_mode", mode, "half_pixel", "output_half_pixel")?,
        max: choice("mode", "avg", "max", "avg")?,
    }))
}

impl Operator for RoiAlign {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, regions, images) = (inputs.get(0)?, &inputs.get(1)?.shape, &inputs.get(2)?.shape);
        match (&x.shape[..], &regions[..], &images[..]) {
            (&[_, channels, _, _], &[count, 4], &[images]) if count == images => {
                Ok(vec![x.with_shape(&[count, channels, self.output[0], self.output[1]])])
            }
            _ => Err(Error::new("the regions of RoiAlign do not fit its input")
                .expected("N×C×H×W, R×4 and R")
                .got(format!("{}, {} and {}", show(&x.shape), show(regions), show(images)))
                .with_kind(ErrorKind::InvalidModel)),
        }
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let kernel = RoiAlignKernel {
            batch: x[0],
            channels: x[1],
            input: [x[2], x[3]],
            regions: l.shape(0)[0],
            output: self.output,
            scale: self.scale,
            samples: self.samples,
            half_pixel: self.half_pixel,
            max: self.max,
        };
        l.call(kernel, (0..3).map(Slot::Input).collect(), Slot::Output(0));
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        for i in [1, 2] {
            let regions = flow.input_labels(i);
            flow.freeze(regions.labels(), "takes its regions from all of them");
        }
        propagate_channels(flow);
        Ok(())
    }
}
