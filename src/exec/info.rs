//! What is known of an adapter.

use serde::Serialize;

/// One adapter, as `devices` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// Its number for `--device`.
    pub index: usize,
    /// The adapter's name.
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// The driver's name.
    pub driver: String,
    /// The driver's version, in its own words.
    pub driver_info: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub kind: &'static str,
    /// The largest part of a buffer that a kernel can see, in bytes.
    pub max_storage_buffer_binding_size: u64,
    /// The largest buffer, in bytes.
    pub max_buffer_size: u64,
    /// Workgroups in one dimension.
    pub max_compute_workgroups_per_dimension: u32,
    /// Invocations in one workgroup.
    pub max_compute_invocations_per_workgroup: u32,
    /// Workgroup memory, in bytes.
    pub max_compute_workgroup_storage_size: u32,
    /// Whether it can tell how long its work took.
    pub timestamp_query: bool,
    /// Whether shaders may talk within a subgroup.
    pub subgroup: bool,
    /// Whether shaders may compute in `f16`.
    pub shader_f16: bool,
    /// The size of subgroups, where it is the same for every shader.
    pub subgroup_size: Option<u32>,
    /// Width and height of textures.
    pub max_texture_dimension: u32,
}
