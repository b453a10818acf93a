//! Views: arrays as textures, for shaders that read texels. A buffer's view is a copy, made anew when the buffer has
//! changed since; wgpu clears the rest of a new texture, so that its last row stays zeros.

use super::Gpu;
use crate::kernels::binding::{ROW_TEXELS, InputBinding};
use crate::tensor::Precision;

/// A texture of rows of [`ROW_TEXELS`] texels.
#[derive(Clone, Debug)]
pub(super) struct Texture {
    texture: wgpu::Texture,
    pub(super) view: wgpu::TextureView,
    per: usize,
    precision: Precision,
}

/// A copy of the first elements of a buffer into its view.
#[derive(Clone, Debug)]
pub(super) struct Fill {
    pub(super) buffer: wgpu::Buffer,
    pub(super) texture: Texture,
    pub(super) len: usize,
}

/// The format of texels of so many elements.
pub(super) fn format(per: usize, precision: Precision) -> wgpu::TextureFormat {
    match (per, precision) {
        (1, Precision::F32) => wgpu::TextureFormat::R32Float,
        (1, Precision::F16) => wgpu::TextureFormat::R16Float,
        (_, Precision::F32) => wgpu::TextureFormat::Rgba32Float,
        (_, Precision::F16) => wgpu::TextureFormat::Rgba16Float,
    }
}

/// How a shader reads such a texture: `kernels::source` writes the same into it.
fn usage(per: usize, precision: Precision) -> wgpu::TextureUsages {
    match (per, precision) {
        (1, Precision::F16) => wgpu::TextureUsages::TEXTURE_BINDING,
        _ => wgpu::TextureUsages::STORAGE_BINDING,
    }
}

impl Texture {
    /// For so many elements, `per` a texel.
    pub(super) fn new(gpu: &Gpu, per: usize, precision: Precision, len: usize) -> Self {
        let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: extent(ROW_TEXELS, InputBinding::Texels(per).rows(len)),
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: format(per, precision),
            usage: usage(per, precision) | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Self { texture, view, per, precision }
    }

    fn row_bytes(&self) -> usize {
        ROW_TEXELS * self.per * self.precision.size()
    }

    /// A part of it that starts at a row.
    fn at_row(&self, row: usize) -> wgpu::TexelCopyTextureInfo<'_> {
        let mut part = self.texture.as_image_copy();
        part.origin.y = row as u32;
        part
    }

    /// Writes a constant, whose bytes these are.
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

impl Fill {
    /// Copies the buffer's elements: whole rows, then what is left.
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
