//! How numbers are encoded in a device's memory.

use std::borrow::Cow;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::tensor::Precision;

/// Size of a buffer of `len` elements, in bytes: whole `vec4`s, and at least one, as an empty buffer cannot be bound.
pub(super) fn bytes(len: usize, precision: Precision) -> u64 {
    ((len * precision.size()).max(1) as u64).next_multiple_of(16)
}

/// Encodes numbers for the device.
pub(super) fn encode(data: &[f32], precision: Precision) -> Cow<'_, [u8]> {
    match precision {
        Precision::F32 => Cow::Borrowed(bytemuck::cast_slice(data)),
        Precision::F16 => {
            let mut encoded = vec![f16::ZERO; data.len()];
            encoded.convert_from_f32_slice(data);
            Cow::Owned(bytemuck::cast_slice(&encoded).to_vec())
        }
    }
}

/// Pads bytes to the alignment of writes to a buffer.
pub(super) fn padded(mut bytes: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let whole = bytes.len().next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT as usize);
    if whole > bytes.len() {
        bytes.to_mut().resize(whole, 0);
    }
    bytes
}

/// Decodes numbers from the device.
pub(super) fn decode(bytes: &[u8], precision: Precision) -> Vec<f32> {
    match precision {
        Precision::F32 => bytemuck::pod_collect_to_vec(bytes),
        Precision::F16 => bytemuck::pod_collect_to_vec::<u8, f16>(bytes).to_f32_vec(),
    }
}

/// The format of textures with `per` elements a texel.
pub(super) fn texture_format(per: usize, precision: Precision) -> wgpu::TextureFormat {
    match (per, precision) {
        (1, Precision::F32) => wgpu::TextureFormat::R32Float,
        (1, Precision::F16) => wgpu::TextureFormat::R16Float,
        (_, Precision::F32) => wgpu::TextureFormat::Rgba32Float,
        (_, Precision::F16) => wgpu::TextureFormat::Rgba16Float,
    }
}
