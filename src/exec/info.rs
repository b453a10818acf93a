//! Description of an adapter: names, limits and features.

use serde::Serialize;

/// An adapter with its limits and features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// The number by which it is chosen.
    pub index: usize,
    /// The name of the adapter.
    pub name: String,
    /// The API: `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// The name of the driver.
    pub driver: String,
    /// The version of the driver, as the driver reports it.
    pub driver_info: String,
    /// The kind: `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub kind: &'static str,
    /// The largest binding of a kernel, in bytes.
    pub max_storage_buffer_binding_size: u64,
    /// The largest buffer that can be allocated, in bytes.
    pub max_buffer_size: u64,
    /// The most workgroups in one dimension of a launch.
    pub max_compute_workgroups_per_dimension: u32,
    /// The most invocations in one workgroup.
    pub max_compute_invocations_per_workgroup: u32,
    /// The memory of a workgroup, in bytes.
    pub max_compute_workgroup_storage_size: u32,
    /// True if it supports timestamp queries.
    pub timestamp_query: bool,
    /// True if shaders may use subgroup operations.
    pub subgroup: bool,
    /// True if shaders may use `f16`.
    pub shader_f16: bool,
    /// The size of subgroups, if it is equal for all shaders.
    pub subgroup_size: Option<u32>,
    /// The largest width and height of a texture.
    pub max_texture_dimension: u32,
}
