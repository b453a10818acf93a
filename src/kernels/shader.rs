//! The Rust side of shaders: rows, uniforms and the grid of workgroups.

/// Invocations of a workgroup in every shader.
pub(crate) const WORKGROUP: usize = 64;
/// Most workgroups in one dimension that every device allows.
const MAX_WORKGROUPS: usize = 65_535;

/// Number of workgroups for at least `invocations` invocations.
///
/// `invocation` in `shaders/shared/grid.wgsl` computes an invocation's index. There may be more than requested, so
/// every shader compares the index with the count.
pub fn grid(invocations: usize) -> [u32; 3] {
    let groups = invocations.div_ceil(WORKGROUP);
    let y = groups.div_ceil(MAX_WORKGROUPS).max(1);
    [groups.div_ceil(y) as u32, y as u32, 1]
}

/// Converts a length, index or count to a shader's type. Buffers have fewer than 2³¹ elements on every device, so a
/// larger number is a bug of the caller.
pub(crate) fn word(n: usize) -> u32 {
    i32::try_from(n).expect("a kernel call over less than 2^31 elements") as u32
}

/// Converts a pair of numbers to a shader's type.
pub(crate) fn words(pair: [usize; 2]) -> [u32; 2] {
    pair.map(word)
}

/// Builds a kernel's row. The source is the named shared parts, then the shader's own file.
macro_rules! row {
    (name: $name:literal, file: $file:literal, shared: [$($shared:literal),* $(,)?], doc: $doc:literal $(,)?) => {
        $crate::kernels::kernel::KernelRow {
            name: $name,
            file: $file,
            shader: concat!(
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/shared/grid.wgsl")),
                $(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/shared/", $shared, ".wgsl")),)*
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $file, ".wgsl"))
            ),
            doc: $doc,
            params: Params::FIELDS,
            params_size: Params::SIZE,
        }
    };
}
pub(crate) use row;

/// Declares the Rust struct of a shader's uniform, with its layout for the test against the WGSL.
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
pub(crate) use uniform;
