//! The resources that shaders read their inputs from.

/// Texels in a row of an input texture.
pub const ROW_TEXELS: usize = 4096;

/// The resource that a shader reads an input from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputBinding {
    /// A read-only storage buffer.
    Buffer,
    /// A texture with 1 or 4 elements a texel, in rows of [`ROW_TEXELS`] texels, and a last row of zeros.
    Texels(usize),
}

impl InputBinding {
    /// Rows of a texture for `len` elements, including the row of zeros; 0 for a buffer.
    pub fn texture_rows(self, len: usize) -> usize {
        match self {
            Self::Buffer => 0,
            Self::Texels(per) => len.div_ceil(per * ROW_TEXELS) + 1,
        }
    }
}
