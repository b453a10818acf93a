//! Compiles kernels to compute pipelines, each variant once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::encoding::texture_format;
use crate::kernels::KernelRow;
use crate::kernels::binding::InputBinding;
use crate::kernels::source::ShaderTypes;
use crate::tensor::Precision;

/// The key of a cached pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PipelineKey {
    /// The name of the kernel.
    pub(super) row: &'static str,
    /// Override constants, by name and the bits of their values.
    pub(super) overrides: Vec<(&'static str, u64)>,
    /// The types of the shader's arrays.
    pub(super) types: ShaderTypes,
}

/// A pipeline with the layout of its bind group.
#[derive(Debug)]
pub(super) struct CompiledPipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// The shader modules and pipelines that a device has compiled so far.
#[derive(Debug, Default)]
pub(super) struct PipelineCache {
    modules: Mutex<HashMap<(&'static str, ShaderTypes), wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<PipelineKey, Arc<CompiledPipeline>>>,
}

impl PipelineCache {
    /// Returns a compiled pipeline, if there is one.
    pub(super) fn get(&self, key: &PipelineKey) -> Option<Arc<CompiledPipeline>> {
        lock(&self.pipelines).get(key).map(Arc::clone)
    }

    /// Adds a pipeline to the cache. If another thread was faster, returns that thread's.
    pub(super) fn insert(&self, key: &PipelineKey, pipeline: CompiledPipeline) -> Arc<CompiledPipeline> {
        Arc::clone(lock(&self.pipelines).entry(key.clone()).or_insert(Arc::new(pipeline)))
    }

    /// Compiles a pipeline, without adding it.
    pub(super) fn compile(
        &self,
        device: &wgpu::Device,
        row: &'static KernelRow,
        key: &PipelineKey,
    ) -> CompiledPipeline {
        let of = (row.name, key.types.clone());
        let module = lock(&self.modules).get(&of).cloned().unwrap_or_else(|| {
            device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(row.name),
                source: wgpu::ShaderSource::Wgsl(key.types.text(row).into()),
            })
        });
        lock(&self.modules).insert(of, module.clone());
        let inputs = key.types.inputs.iter().map(|&(binding, precision)| input_type(binding, precision));
        let entries: Vec<_> = (0..).zip(own_types().into_iter().chain(inputs)).map(layout_entry).collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(row.name),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(row.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let constants: Vec<(&str, f64)> =
            key.overrides.iter().map(|&(name, bits)| (name, f64::from_bits(bits))).collect();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(row.name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        CompiledPipeline { pipeline, layout }
    }
}

/// The bindings that every shader has: the uniform and the output.
fn own_types() -> [wgpu::BindingType; 2] {
    [wgpu::BufferBindingType::Uniform, wgpu::BufferBindingType::Storage { read_only: false }].map(buffer_type)
}

fn input_type(binding: InputBinding, precision: Precision) -> wgpu::BindingType {
    match (binding, precision) {
        (InputBinding::Buffer, _) => buffer_type(wgpu::BufferBindingType::Storage { read_only: true }),
        (InputBinding::Texels(1), Precision::F16) => wgpu::BindingType::Texture {
            sample_type: wgpu::TextureSampleType::Float { filterable: false },
            view_dimension: wgpu::TextureViewDimension::D2,
            multisampled: false,
        },
        (InputBinding::Texels(per), _) => wgpu::BindingType::StorageTexture {
            access: wgpu::StorageTextureAccess::ReadOnly,
            format: texture_format(per, precision),
            view_dimension: wgpu::TextureViewDimension::D2,
        },
    }
}

fn buffer_type(ty: wgpu::BufferBindingType) -> wgpu::BindingType {
    wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None }
}

fn layout_entry((binding, ty): (u32, wgpu::BindingType)) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry { binding, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None }
}

/// Locks a cache of pipelines. A panic while a cache was locked leaves it valid, so poisoning is ignored.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
