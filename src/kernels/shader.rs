//! What the Rust side of every shader needs: the row, the uniform, the grid of workgroups.

/// Invocations of a workgroup, in every shader.
pub(crate) const WORKGROUP: usize = 64;
/// Most workgroups that every device takes in one dimension.
const MAX_WORKGROUPS: usize = 65_535;

/// Workgroups for at least so many invocations. `invocation` in `shaders/shared/grid.wgsl` numbers
/// them; there may be more than wanted, so every shader compares its number with the count.
pub fn grid(invocations: usize) -> [u32; 3] {
    let groups = invocations.div_ceil(WORKGROUP);
    let y = groups.div_ceil(MAX_WORKGROUPS).max(1);
    [groups.div_ceil(y) as u32, y as u32, 1]
}

/// A length, index or count as shaders hold it. Buffers end at 2³¹ elements on every device, so what
/// does not fit is a bug of the caller.
pub(crate) fn word(n: usize) -> u32 {
    i32::try_from(n).expect("a kernel call over less than 2^31 elements") as u32
}

/// Such a pair.
pub(crate) fn words(pair: [usize; 2]) -> [u32; 2] {
    pair.map(word)
}

/// Builds a kernel's row: the shared parts of its shader are named, and stand before its own file.
macro_rules! row {
    (name: $name:literal, file: $file:literal, shared: [$($shared:literal),* $(,)?], doc: $doc:literal $(,)?) => {
        $crate::kernels::kernel::Row {
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
pub(crate) use uniform;
