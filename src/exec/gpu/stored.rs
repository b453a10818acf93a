//! Numbers as they lie in a device's memory.

use std::borrow::Cow;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::tensor::Precision;

/// The bytes of so many elements: whole `vec4`s, and never none, which could not be bound.
pub(super) fn bytes(len: usize, precision: Precision) -> u64 {
    ((len * precision.size()).max(1) as u64).next_multiple_of(16)
}

/// Numbers as the device keeps them.
pub(super) fn stored(data: &[f32], precision: Precision) -> Cow<'_, [u8]> {
    match precision {
        Precision::F32 => Cow::Borrowed(bytemuck::cast_slice(data)),
        Precision::F16 => {
            let mut halves = vec![f16::ZERO; data.len()];
            halves.convert_from_f32_slice(data);
            Cow::Owned(bytemuck::cast_slice(&halves).to_vec())
        }
    }
}

/// Whole words: what can be written into a buffer.
pub(super) fn padded(mut bytes: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let whole = bytes.len().next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT as usize);
    if whole > bytes.len() {
        bytes.to_mut().resize(whole, 0);
    }
    bytes
}

/// Numbers that the device kept.
pub(super) fn loaded(bytes: &[u8], precision: Precision) -> Vec<f32> {
    match precision {
        Precision::F32 => bytemuck::pod_collect_to_vec(bytes),
        Precision::F16 => bytemuck::pod_collect_to_vec::<u8, f16>(bytes).to_f32_vec(),
    }
}
