//! What every kernel is: the trait, its launch, its row in the table.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use crate::compare::Tolerance;
use crate::kernels::binding::InputBinding;

/// The batch at which ways are timed.
pub(crate) const AUTOTUNE_BATCH: usize = 4;

/// One call of a kernel: its parameters. Knows nothing of buffers or devices.
///
/// Inputs and output are flat, row-major. `reference` and `cpu` get the whole output buffer and
/// write their part of it (a concatenation is several copies into one buffer).
pub trait Kernel: Any + Debug + Send + Sync {
    /// Its row in [`KERNELS`].
    fn row(&self) -> &'static Row;
    /// How many elements each input has.
    fn input_lens(&self) -> Vec<usize>;
    /// How many elements the output buffer has.
    fn output_len(&self) -> usize;
    /// Whether it adds to its output, all of it, instead of overwriting it: what stood there before counts.
    fn accumulates(&self) -> bool {
        false
    }
    /// The definition, in `f64`.
    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]);
    /// The fast host version. Must give the same bits for an image whatever the batch is.
    ///
    /// A kernel that stands only in other kernels' ways on devices needs none: the definition serves.
    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let inputs: Vec<Vec<f64>> =
            inputs.iter().map(|data| data.iter().map(|&x| x.into()).collect()).collect();
        let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let mut wide: Vec<f64> = output.iter().map(|&y| y.into()).collect();
        self.reference(&inputs, &mut wide);
        output.iter_mut().zip(wide).for_each(|(y, wide)| *y = wide as f32);
    }
    /// The host version made ready: whatever depends on constant inputs alone (weights in the order in which they are
    /// read) is computed once. `constants` holds them in the order of the inputs. `None` where there is nothing to gain.
    fn prepare(&self, _constants: &[Option<&[f32]>]) -> Option<Box<dyn Prepared>> {
        None
    }
    /// How the shader is launched.
    fn dispatch(&self) -> Dispatch;
    /// The layout in which the shader wants a constant input, where it is not row-major as is.
    /// Inputs for which this is `Some` must be constants.
    fn pack(&self, _input: usize, _data: &[f32]) -> Option<Vec<f32>> {
        None
    }
    /// How the shader reads an input.
    fn binding(&self, _input: usize) -> InputBinding {
        InputBinding::Buffer
    }
    /// The input, always the last, that is an array like the output and is added to it before the activation.
    fn residual(&self) -> Option<usize> {
        None
    }
    /// The size of subgroups that the shader is made for; `None` where it is right for any, or uses none.
    fn subgroup(&self) -> Option<u32> {
        None
    }
    /// The call by which ways are timed: the same for every batch size. `None` where there is nothing to choose.
    fn autotune_key(&self) -> Option<Arc<dyn Kernel>> {
        None
    }
    /// The same call for `images` of a batch's images. `None` where it is not known that each image is computed by
    /// itself and lies by itself, in every input that is no constant and in the output.
    fn micro_batch(&self, _batch: usize, _images: usize) -> Option<Arc<dyn Kernel>> {
        None
    }
    /// How far `cpu` and the shader may be from `reference`.
    fn tolerance(&self) -> Tolerance;
}

/// A call of a kernel's host version, with its constants worked up. Gives the bits that [`Kernel::cpu`] gives.
pub trait Prepared: Send + Sync {
    /// Computes; `inputs` are all of the kernel's, the constants among them.
    fn run(&self, inputs: &[&[f32]], output: &mut [f32]);
}

/// A launch: pipeline constants, uniform bytes, workgroups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dispatch {
    /// WGSL `override` constants by name.
    pub overrides: Vec<(&'static str, f64)>,
    /// The bytes of the uniform `Params`.
    pub params: Vec<u8>,
    /// Workgroups in x, y, z; each at most 65,535.
    pub workgroups: [u32; 3],
}

/// A row of [`KERNELS`].
#[derive(Debug)]
pub struct Row {
    /// The kernel's name.
    pub name: &'static str,
    /// The shader's file, without extension, in `shaders`.
    pub file: &'static str,
    /// The WGSL source, but for what its arrays' types are ([`source::ShaderTypes::text`]).
    pub shader: &'static str,
    /// One line for people.
    pub doc: &'static str,
    /// The uniform's Rust layout: (field name, byte offset), in order; compared with the WGSL.
    pub params: &'static [(&'static str, usize)],
    /// The uniform's size in bytes.
    pub params_size: usize,
}

/// What `images` of a batch's images have of `count` things, if each image has as many.
pub(crate) fn share(count: usize, batch: usize, images: usize) -> Option<usize> {
    count.is_multiple_of(batch).then(|| count / batch * images)
}
