//! How shaders read their inputs.

/// Texels in a row of a view.
pub const ROW_TEXELS: usize = 4096;

/// How a shader reads an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputBinding {
    /// A storage buffer.
    Buffer,
    /// A texture of rows of [`ROW_TEXELS`] texels and a row of zeros behind them, so many elements a texel: 1 or 4.
    Texels(usize),
}

impl InputBinding {
    /// Rows of a texture for so many elements, the zeros included; 0 for a buffer.
    pub fn texture_rows(self, len: usize) -> usize {
        match self {
            Self::Buffer => 0,
            Self::Texels(per) => len.div_ceil(per * ROW_TEXELS) + 1,
        }
    }
}
