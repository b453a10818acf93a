//! Lists the adapters of Vulkan, Metal and DX12, in an order that is stable from run to run.

use wgpu::{Adapter, Backend, DeviceType, Features};

use crate::exec::info::DeviceInfo;

/// Returns all adapters with their descriptions, the best first; none if there is no driver.
pub(in crate::exec) fn adapters() -> Vec<(Adapter, DeviceInfo)> {
    let number = |(index, adapter): (usize, Adapter)| {
        let info = info(index, &adapter);
        (adapter, info)
    };
    enumerate().into_iter().enumerate().map(number).collect()
}

/// Returns all adapters, sorted by kind, backend, name and bus.
fn enumerate() -> Vec<Adapter> {
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    descriptor.flags = wgpu::InstanceFlags::empty();
    // Refuses an allocation that does not fit as out of memory, before the system swaps or kills.
    descriptor.memory_budget_thresholds.for_resource_creation = Some(95);
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters = pollster::block_on(instance.enumerate_adapters(backends));
    adapters.sort_by_cached_key(|adapter| {
        let info = adapter.get_info();
        (rank(info.device_type), backend_rank(info.backend), info.name, info.device_pci_bus_id)
    });
    adapters
}

/// Describes an adapter, with its number in [`adapters`].
fn info(index: usize, adapter: &Adapter) -> DeviceInfo {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    DeviceInfo {
        index,
        name: info.name,
        backend: info.backend.to_string(),
        driver: info.driver,
        driver_info: info.driver_info,
        kind: kind(info.device_type),
        max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
        max_buffer_size: limits.max_buffer_size,
        max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
        max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
        max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
        timestamp_query: features.contains(Features::TIMESTAMP_QUERY),
        subgroup: features.contains(Features::SUBGROUP),
        shader_f16: features.contains(Features::SHADER_F16),
        subgroup_size: (features.contains(Features::SUBGROUP)
            && info.subgroup_min_size == info.subgroup_max_size)
            .then_some(info.subgroup_max_size),
        max_texture_dimension: limits.max_texture_dimension_2d,
    }
}

fn kind(device: DeviceType) -> &'static str {
    match device {
        DeviceType::DiscreteGpu => "discrete",
        DeviceType::IntegratedGpu => "integrated",
        DeviceType::VirtualGpu => "virtual",
        DeviceType::Cpu => "cpu",
        DeviceType::Other => "other",
    }
}

fn rank(device: DeviceType) -> u8 {
    match device {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

/// Orders the backends of one GPU: the compiler of DX12 is the slower one.
fn backend_rank(backend: Backend) -> u8 {
    match backend {
        Backend::Vulkan | Backend::Metal => 0,
        _ => 1,
    }
}
