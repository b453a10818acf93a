//! Input textures: copies of arrays for shaders that read texels.
//!
//! A texture of a buffer is copied again after the buffer has changed. wgpu clears the rest of a new texture, so its
//! last row stays zero.

use super::device::Gpu;
use super::encoding::texture_format;
use crate::kernels::binding::{InputBinding, ROW_TEXELS};
use crate::tensor::Precision;

/// A texture of rows of [`ROW_TEXELS`] texels.
#[derive(Clone, Debug)]
pub(super) struct InputTexture {
    texture: wgpu::Texture,
    pub(super) view: wgpu::TextureView,
    per: usize,
    precision: Precision,
}

/// A copy of the first `len` elements of a buffer into its texture.
#[derive(Clone, Debug)]
pub(super) struct TextureCopy {
    pub(super) buffer: wgpu::Buffer,
    pub(super) texture: InputTexture,
    pub(super) len: usize,
}

/// How shaders bind a texture; `kernels::source` declares it accordingly.
fn usage(per: usize, precision: Precision) -> wgpu::TextureUsages {
    match (per, precision) {
        (1, Precision::F16) => wgpu::TextureUsages::TEXTURE_BINDING,
        _ => wgpu::TextureUsages::STORAGE_BINDING,
    }
}

impl InputTexture {
    /// Creates a texture for `len` elements, `per` a texel.
    pub(super) fn new(gpu: &Gpu, per: usize, precision: Precision, len: usize) -> Self {
        let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: extent(ROW_TEXELS, InputBinding::Texels(per).texture_rows(len)),
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: texture_format(per, precision),
            usage: usage(per, precision) | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Self { texture, view, per, precision }
    }

    fn row_bytes(&self) -> usize {
        ROW_TEXELS * self.per * self.precision.size()
    }

    /// The part of the texture that starts at a row.
    fn at_row(&self, row: usize) -> wgpu::TexelCopyTextureInfo<'_> {
        let mut part = self.texture.as_image_copy();
        part.origin.y = row as u32;
        part
    }

    /// Writes the encoded elements of a constant.
    pub(super) fn write(&self, gpu: &Gpu, data: &[u8]) {
        let row = self.row_bytes();
        let layout = |bytes: usize| wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(bytes as u32),
            rows_per_image: None,
        };
        let (whole, rest) = data.split_at(data.len() / row * row);
        let rows = whole.len() / row;
        if rows > 0 {
            gpu.queue.write_texture(self.at_row(0), whole, layout(row), extent(ROW_TEXELS, rows));
        }
        if !rest.is_empty() {
            let mut last = rest.to_vec();
            last.resize(row, 0);
            gpu.queue.write_texture(self.at_row(rows), &last, layout(row), extent(ROW_TEXELS, 1));
        }
    }
}

impl TextureCopy {
    /// Encodes the copy: whole rows, then the rest of the last row.
    pub(super) fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let texels = self.len.div_ceil(self.texture.per);
        let rows = texels / ROW_TEXELS;
        let source = |row: usize| wgpu::TexelCopyBufferInfo {
            buffer: &self.buffer,
            layout: wgpu::TexelCopyBufferLayout {
                offset: (row * self.texture.row_bytes()) as u64,
                bytes_per_row: Some(self.texture.row_bytes() as u32),
                rows_per_image: None,
            },
        };
        if rows > 0 {
            encoder.copy_buffer_to_texture(source(0), self.texture.at_row(0), extent(ROW_TEXELS, rows));
        }
        if texels > rows * ROW_TEXELS {
            let rest = extent(texels - rows * ROW_TEXELS, 1);
            encoder.copy_buffer_to_texture(source(rows), self.texture.at_row(rows), rest);
        }
    }
}

fn extent(width: usize, height: usize) -> wgpu::Extent3d {
    wgpu::Extent3d { width: width as u32, height: height as u32, depth_or_array_layers: 1 }
}
