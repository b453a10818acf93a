//! The interface of every kernel: its call, its gradient, its launch and its row in the table.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use crate::compare::Tolerance;
use crate::kernels::binding::InputBinding;

/// Batch size of the calls that autotuning times.
pub(crate) const AUTOTUNE_BATCH: usize = 4;

/// One call of a kernel: its parameters, without buffers or devices.
///
/// Inputs and output are flat and row-major. `reference` and `cpu` receive the whole output buffer and write their
/// part of it; a concatenation is several calls into one buffer.
pub trait Kernel: Any + Debug + Send + Sync {
    /// The kernel's row in [`KERNELS`](super::KERNELS).
    fn row(&self) -> &'static KernelRow;
    /// Number of elements of each input.
    fn input_lens(&self) -> Vec<usize>;
    /// Number of elements of the output buffer.
    fn output_len(&self) -> usize;
    /// Returns whether the call updates its whole output, such as a sum, instead of overwriting it.
    fn accumulates(&self) -> bool {
        false
    }
    /// Computes the output in `f64`, by definition.
    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]);
    /// Computes the output on the host. The bits of an image must not depend on the batch.
    ///
    /// The default is the reference, for kernels that only occur in other kernels' algorithms.
    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let inputs: Vec<Vec<f64>> =
            inputs.iter().map(|data| data.iter().map(|&x| x.into()).collect()).collect();
        let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let mut wide: Vec<f64> = output.iter().map(|&y| y.into()).collect();
        self.reference(&inputs, &mut wide);
        output.iter_mut().zip(wide).for_each(|(y, wide)| *y = wide as f32);
    }
    /// Prepares the host version: computes once all that depends on constant inputs alone, such as packed weights.
    ///
    /// `constants` are in the order of the inputs. Returns `None` if there is nothing to gain.
    fn prepare(&self, _constants: &[Option<&[f32]>]) -> Option<Box<dyn Prepared>> {
        None
    }
    /// The launch of the shader.
    fn dispatch(&self) -> Dispatch;
    /// Packs a constant input in the layout of the shader; `None` if the shader reads it as it is.
    ///
    /// A computed input is packed on the device by [`Relayout`](super::movement::Relayout), if
    /// [`packs_by_moving`](Self::packs_by_moving).
    fn pack(&self, _input: usize, _data: &[f32]) -> Option<Vec<f32>> {
        None
    }
    /// Returns whether [`pack`](Self::pack) packs an input, without packing it.
    fn packs(&self, _input: usize) -> bool {
        false
    }
    /// Returns whether [`pack`](Self::pack) only moves elements and fills up with zeros.
    fn packs_by_moving(&self) -> bool {
        true
    }
    /// The resource that the shader reads an input from.
    fn binding(&self, _input: usize) -> InputBinding {
        InputBinding::Buffer
    }
    /// The input, always the last, that has the shape of the output and is added to it before the activation.
    fn residual(&self) -> Option<usize> {
        None
    }
    /// The subgroup size that the shader requires; `None` for any.
    fn subgroup(&self) -> Option<u32> {
        None
    }
    /// The call that autotuning times for this shape, at a fixed batch size; `None` if there are no alternatives.
    fn autotune_key(&self) -> Option<Arc<dyn Kernel>> {
        None
    }
    /// The call for `images` of the `batch` images of this one.
    ///
    /// Returns `None` unless it is known that images are computed independently and are contiguous in the output and
    /// in all inputs that are not constant.
    fn micro_batch(&self, _batch: usize, _images: usize) -> Option<Arc<dyn Kernel>> {
        None
    }
    /// The gradient of input `input`, computed from the inputs, the output and its gradient.
    ///
    /// Kernels that read or write a part of a buffer do so at the same place of its gradient. If several calls write one
    /// output, their parts are disjoint, unless a kernel [`overwrites`](Self::overwrites).
    fn gradient(&self, _input: usize) -> Gradient {
        Gradient::Unknown
    }
    /// Returns whether the call replaces elements that earlier calls wrote to the output for other purposes than to fill
    /// it, so that those have no gradient.
    fn overwrites(&self) -> bool {
        false
    }
    /// The largest deviation of `cpu` and of the shader from `reference`.
    fn tolerance(&self) -> Tolerance;
}

/// A call of a kernel's host version with prepared constants. Returns the same bits as [`Kernel::cpu`].
pub trait Prepared: Send + Sync {
    /// Computes the output from all inputs of the kernel, including the constants.
    fn run(&self, inputs: &[&[f32]], output: &mut [f32]);
}

/// A launch: override constants, uniform bytes and workgroups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dispatch {
    /// Values of the WGSL `override` constants by name.
    pub overrides: Vec<(&'static str, f64)>,
    /// Bytes of the uniform `Params`.
    pub params: Vec<u8>,
    /// Number of workgroups in x, y and z, each at most 65,535.
    pub workgroups: [u32; 3],
}

/// A row of [`KERNELS`](super::KERNELS).
#[derive(Debug)]
pub struct KernelRow {
    /// Unique name of the kernel.
    pub name: &'static str,
    /// Path of the shader below `shaders`, without extension.
    pub file: &'static str,
    /// The WGSL source, without the declarations that [`ShaderTypes::text`](super::source::ShaderTypes::text) adds.
    pub shader: &'static str,
    /// One-line description of the kernel.
    pub doc: &'static str,
    /// Fields of the uniform's Rust struct, by name and byte offset. Tests compare them with the WGSL.
    pub params: &'static [(&'static str, usize)],
    /// Size of the uniform in bytes.
    pub params_size: usize,
}

/// Part of `count` things that belongs to `images` of `batch` images, if each image has equally many.
pub(crate) fn share(count: usize, batch: usize, images: usize) -> Option<usize> {
    count.is_multiple_of(batch).then(|| count / batch * images)
}

/// The gradient of one input of a call.
#[derive(Clone, Debug)]
pub enum Gradient {
    /// No derivative is implemented; training names the node.
    Unknown,
    /// Zero: the input holds indices or conditions, or the output is piecewise constant in it.
    Zero,
    /// Calls that compute the gradient.
    Calls(GradientCalls),
}

/// An operand of a call of a gradient.
#[derive(Clone, Debug)]
pub enum GradientOperand {
    /// An input of the differentiated call.
    Input(usize),
    /// The output of the differentiated call.
    Output,
    /// The gradient of the output; it has the length of the whole output buffer.
    OutputGradient,
    /// A temporary, by its number.
    Temp(usize),
    /// Numbers that do not depend on the inputs.
    Constant(Arc<Vec<f32>>),
}

/// One call of a gradient, which writes a temporary in whole or in part.
#[derive(Clone, Debug)]
pub struct GradientCall {
    /// The kernel that is called.
    pub kernel: Arc<dyn Kernel>,
    /// The operands that the call reads.
    pub inputs: Vec<GradientOperand>,
    /// The number of the temporary that the call writes.
    pub output: usize,
}

/// The calls of a gradient.
#[derive(Clone, Debug)]
pub struct GradientCalls {
    /// The number of elements of each temporary.
    pub temps: Vec<usize>,
    /// The calls, in order of execution.
    pub calls: Vec<GradientCall>,
    /// The operand that equals the gradient, with the length of the input.
    pub result: GradientOperand,
}
