//! Kernels: what the engine computes with, one file each, three faces of one definition.
//!
//! A kernel is plain data (its parameters) with
//! * [`Kernel::reference`]: the definition, in `f64`, slow and obviously right;
//! * [`Kernel::cpu`]: the fast host version, on all cores;
//! * [`Kernel::dispatch`]: how its shader is launched. The shader is `shaders/NAME.wgsl`.
//!
//! A device may have a better way to compute a call than the kernel's own shader: [`algorithms`].
//!
//! Every shader binds `@binding(0)` a uniform `Params`, `@binding(1)` the output (read_write storage),
//! and `@binding(2 + i)` input `i` (read-only storage, or a texture: [`Kernel::view`]), all in `@group(0)`, entry point `main`.
//! What their elements are is said by [`source`].
//! The table [`KERNELS`] is what tests iterate: every row has cases, and every shader a row.

pub mod activation;
pub mod affine;
pub mod algorithms;
pub mod arg;
mod band;
pub mod binary;
pub mod channel_stats;
pub mod conv;
pub mod conv_lanes;
pub mod conv_pooled;
pub mod conv_tiled;
pub mod copy;
pub mod cross;
pub mod cumsum;
pub mod depthwise;
pub mod depthwise_texels;
pub mod fill;
pub mod gather;
pub mod gram;
pub mod layout;
pub mod lrn;
pub mod matmul;
pub mod normalize;
pub mod pool;
pub mod products_lanes;
pub mod reduce;
pub mod resample;
pub mod roofline;
pub mod rows_lanes;
mod scratch;
pub mod select;
pub mod softmax;
pub mod source;
mod tile;
pub mod topk;
pub mod unary;
pub mod unfold;
pub mod way;
pub mod window;
pub mod winograd;
pub mod winograd_in;
pub mod winograd_out;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use crate::compare::Tolerance;

use way::View;

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
    fn view(&self, _input: usize) -> View {
        View::Buffer
    }
    /// The input, always the last, that is an array like the output and is added to it before the activation.
    fn addend(&self) -> Option<usize> {
        None
    }
    /// The size of subgroups that the shader is made for; `None` where it is right for any, or uses none.
    fn subgroup(&self) -> Option<u32> {
        None
    }
    /// The call by which ways are timed: the same for every batch size. `None` where there is nothing to choose.
    fn timed_as(&self) -> Option<Arc<dyn Kernel>> {
        None
    }
    /// The same call for `images` of a batch's images. `None` where it is not known that each image is computed by
    /// itself and lies by itself, in every input that is no constant and in the output.
    fn of_images(&self, _batch: usize, _images: usize) -> Option<Arc<dyn Kernel>> {
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
    /// The stem of the shader's file.
    pub name: &'static str,
    /// The WGSL source, but for what its arrays' types are ([`source::Types::text`]).
    pub shader: &'static str,
    /// One line for people.
    pub doc: &'static str,
    /// The uniform's Rust layout: (field name, byte offset), in order; compared with the WGSL.
    pub params: &'static [(&'static str, usize)],
    /// The uniform's size in bytes.
    pub params_size: usize,
    /// Awkward calls with inputs, on which all three faces must agree.
    pub cases: fn() -> Vec<Case>,
}

/// A call with inputs, for tests.
#[derive(Debug, Clone)]
pub struct Case {
    /// What is awkward about it.
    pub label: String,
    /// The call.
    pub kernel: Arc<dyn Kernel>,
    /// Its inputs.
    pub inputs: Vec<Vec<f32>>,
}

/// Every kernel.
pub static KERNELS: &[&Row] = &[
    &affine::ROW,
    &arg::ROW,
    &binary::ROW,
    &channel_stats::ROW,
    &conv::ROW,
    &conv_lanes::ROW,
    &conv_lanes::ROW_QUADS,
    &conv_pooled::ROW,
    &conv_tiled::ROW,
    &copy::ROW,
    &cross::ROW,
    &cumsum::ROW,
    &depthwise::ROW,
    &depthwise_texels::ROW,
    &fill::ROW,
    &gather::ROW,
    &gram::ROW,
    &lrn::ROW,
    &matmul::ROW,
    &normalize::ROW,
    &pool::ROW,
    &products_lanes::ROW,
    &reduce::ROW,
    &resample::ROW,
    &roofline::ROW,
    &rows_lanes::ROW,
    &select::ROW,
    &softmax::ROW,
    &topk::ROW,
    &unary::ROW,
    &unfold::ROW,
    &winograd_in::ROW,
    &winograd_in::ROW_QUADS,
    &winograd_out::ROW,
];

/// Invocations of a workgroup, in every shader.
const WORKGROUP: usize = 64;
/// Most workgroups that every device takes in one dimension.
const MAX_WORKGROUPS: usize = 65_535;

/// The batch at which ways are timed.
const TIMED_BATCH: usize = 4;

/// Workgroups for at least so many invocations. `invocation` in `shaders/shared/grid.wgsl` numbers
/// them; there may be more than wanted, so every shader compares its number with the count.
pub fn grid(invocations: usize) -> [u32; 3] {
    let groups = invocations.div_ceil(WORKGROUP);
    let y = groups.div_ceil(MAX_WORKGROUPS).max(1);
    [groups.div_ceil(y) as u32, y as u32, 1]
}

/// What `images` of a batch's images have of `count` things, if each image has as many.
fn share(count: usize, batch: usize, images: usize) -> Option<usize> {
    count.is_multiple_of(batch).then(|| count / batch * images)
}

/// A length, index or count as shaders hold it. Buffers end at 2³¹ elements on every device, so what
/// does not fit is a bug of the caller.
fn word(n: usize) -> u32 {
    i32::try_from(n).expect("a kernel call over less than 2^31 elements") as u32
}

/// Such a pair.
fn words(pair: [usize; 2]) -> [u32; 2] {
    pair.map(word)
}

/// The WGSL source of a kernel: the shared parts named, then its own.
macro_rules! shader {
    ($name:literal $(, $shared:literal)*) => {
        concat!(
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/shared/grid.wgsl")),
            $(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/shared/", $shared, ".wgsl")),)*
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name, ".wgsl"))
        )
    };
}
use shader;

/// Declares the Rust side of a shader's uniform, with its layout for the test against the WGSL.
macro_rules! uniform {
    ($($field:ident: $kind:ty),* $(,)?) => {
        #[repr(C)]
        #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        struct Params {
            $($field: $kind,)*
        }

        impl Params {
            const FIELDS: &'static [(&'static str, usize)] =
                &[$((stringify!($field), std::mem::offset_of!(Self, $field)),)*];
            const SIZE: usize = size_of::<Self>();
        }
    };
}
use uniform;

/// Numbers in [-1, 1) for test cases, the same for the same seed.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        // A 64-bit linear congruential generator; its top 24 bits are good, and all that a float holds.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// A case whose inputs are noise.
fn noise_case(label: impl Into<String>, kernel: impl Kernel) -> Case {
    let lens = kernel.input_lens();
    let inputs = lens.iter().enumerate().map(|(i, &len)| noise(len, 1 + i as u64)).collect();
    Case { label: label.into(), kernel: Arc::new(kernel), inputs }
}
