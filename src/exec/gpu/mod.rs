//! The GPU's interpreter: an open device with its compiled pipelines ([`Gpu`]), and a plan on it
//! ([`program::Program`]).
//!
//! wgpu reports errors beside its calls, to error scopes of the calling thread. `Gpu::guarded` opens the scopes
//! around a piece of work and turns what they caught into one [`Error`]; whatever comes outside of a scope (a lost
//! device) is remembered and stops the next piece of work. Nothing here may panic because of a driver.

pub mod adapter;
pub mod expand;
mod loader;
pub mod program;
mod stored;
mod transfer;
mod tune;
mod tuned;
mod view;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::expand::Pick;
use self::tuned::Tuned;
use super::Executor;
use super::info::DeviceInfo;
use crate::error::{Error, Result};
use crate::kernels::Row;
use crate::kernels::binding::InputBinding;
use crate::kernels::source::ShaderTypes;
use crate::plan::Plan;
use crate::tensor::Precision;

pub use wgpu::Adapter;

/// Why there is no GPU: the program could drive one.
pub(super) const WHY: Option<&str> = None;

/// The adapters here, the best first.
pub(super) fn adapters() -> Vec<(Adapter, DeviceInfo)> {
    let number = |(i, adapter): (usize, Adapter)| {
        let info = adapter::info(i, &adapter);
        (adapter, info)
    };
    adapter::enumerate().into_iter().enumerate().map(number).collect()
}

/// An open device.
#[derive(Debug)]
pub struct Gpu {
    info: DeviceInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    fault: Arc<Mutex<Option<String>>>,
    modules: Mutex<HashMap<(&'static str, ShaderTypes), wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<Key, Arc<Pipeline>>>,
    tuned: Mutex<Tuned>,
}

/// What makes a pipeline: the kernel's row, its override constants (their bits), and its arrays' types.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    row: &'static str,
    overrides: Vec<(&'static str, u64)>,
    types: ShaderTypes,
}

#[derive(Debug)]
struct Pipeline {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

impl Gpu {
    /// Opens an adapter with everything that it can do.
    ///
    /// # Errors
    /// A driver that does not give the device.
    pub fn open(adapter: &Adapter, info: DeviceInfo) -> Result<Self> {
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("secateur"),
            required_features: adapter.features()
                & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16),
            required_limits: adapter.limits(),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(|e| {
            Error::new(format!("cannot open the device \"{}\"", info.name))
                .got(e.to_string())
                .remedy("update its driver, or choose --device cpu")
        })?;
        let fault = Arc::new(Mutex::new(None));
        let remember = |fault: &Mutex<Option<String>>, text: String| {
            lock(fault).get_or_insert(text);
        };
        let uncaptured = Arc::clone(&fault);
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| remember(&uncaptured, e.to_string())));
        let lost = Arc::clone(&fault);
        device.set_device_lost_callback(move |reason, text| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                remember(&lost, format!("the device was lost: {text}"));
            }
        });
        let tuned = Mutex::new(Tuned::new(&info));
        let (modules, pipelines) = (Mutex::default(), Mutex::default());
        Ok(Self { info, device, queue, fault, modules, pipelines, tuned })
    }

    /// Which adapter it is.
    pub(super) fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Makes a plan's buffers and pipelines; every step that has a way of this name goes it.
    pub(super) fn load(
        self: &Arc<Self>,
        plan: &Plan,
        way: Option<&str>,
        poison: bool,
    ) -> Result<Box<dyn Executor>> {
        let pick = way.map_or(Pick::Best, Pick::Named);
        Ok(Box::new(program::Program::new(self, plan, pick, poison)?))
    }

    /// Takes in what was timed on this device before, from the user's folder for caches. The note says why that was
    /// not possible, if it was not.
    pub fn recall(&self) -> Option<String> {
        tuned::folder().and_then(|folder| lock(&self.tuned).recall(&folder))
    }

    /// Times the ways of the plans' calls for about so many seconds, takes the fastest from now on, and writes them
    /// down. `progress` is told how many shapes of how many are done. Returns how many were.
    ///
    /// # Errors
    /// A device that fails; a file that cannot be written.
    pub fn tune(
        self: &Arc<Self>,
        plans: &[&Plan],
        seconds: f64,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<usize> {
        let done = tune::tune(self, plans, seconds, progress)?;
        if let Some(folder) = tuned::folder() {
            lock(&self.tuned).save(&folder)?;
        }
        Ok(done)
    }

    /// Does a piece of work and returns the error that the device had to report, if any.
    fn guarded<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        self.fault()?;
        let scopes = [Validation, Internal, OutOfMemory].map(|f| self.device.push_error_scope(f));
        let result = work();
        // Scopes close in the reverse of their order; a full memory is the best explanation there can be.
        let mut errors: Vec<wgpu::Error> =
            scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).collect();
        self.fault()?;
        match errors.is_empty() {
            true => result,
            false => Err(self.report(errors.swap_remove(0))),
        }
    }

    fn report(&self, error: wgpu::Error) -> Error {
        let remedy = "use a smaller --batch or --device cpu";
        match error {
            wgpu::Error::OutOfMemory { .. } => {
                Error::new(format!("the memory of \"{}\" is full", self.info.name)).remedy(remedy)
            }
            wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
                Error::new(format!("\"{}\" refused the work", self.info.name))
                    .got(description.trim().replace('\n', " "))
                    .remedy("update the driver, or choose --device cpu")
            }
        }
    }

    /// What happened to the device outside of any scope, as an error: it stays broken.
    fn fault(&self) -> Result<()> {
        match lock(&self.fault).as_ref() {
            None => Ok(()),
            Some(text) => Err(Error::new(format!("\"{}\" failed", self.info.name))
                .got(text.clone())
                .remedy("use a smaller --batch or --device cpu")),
        }
    }

    /// Waits until a submission is done and its callbacks have been called.
    fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
        // wgpu panics here when the device is lost during the wait.
        match catch_unwind(AssertUnwindSafe(|| self.device.poll(wait))) {
            Ok(Ok(_)) => self.fault(),
            Ok(Err(error)) => Err(Error::new(format!("\"{}\" does not finish", self.info.name))
                .got(error.to_string())
                .remedy("use a smaller --batch or --device cpu")),
            Err(_) => {
                lock(&self.fault).get_or_insert_with(|| "the device was lost during the wait".into());
                self.fault()
            }
        }
    }

    /// The pipeline of a key, compiled at its first use. Two threads may compile the same one; the first stays.
    fn pipeline(&self, row: &'static Row, key: &Key) -> Result<Arc<Pipeline>> {
        if let Some(pipeline) = lock(&self.pipelines).get(key) {
            return Ok(Arc::clone(pipeline));
        }
        let made = self
            .guarded(|| Ok(self.compile(row, key)))
            .map_err(|e| e.context(format!("cannot compile the kernel {}", row.name)))?;
        Ok(Arc::clone(lock(&self.pipelines).entry(key.clone()).or_insert(Arc::new(made))))
    }

    fn compile(&self, row: &'static Row, key: &Key) -> Pipeline {
        let of = (row.name, key.types.clone());
        let module = lock(&self.modules).get(&of).cloned().unwrap_or_else(|| {
            self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(row.name),
                source: wgpu::ShaderSource::Wgsl(key.types.text(row).into()),
            })
        });
        lock(&self.modules).insert(of, module.clone());
        let inputs = key.types.inputs.iter().map(|&(view, precision)| input_type(view, precision));
        let entries: Vec<_> = (0..).zip(own_types().into_iter().chain(inputs)).map(layout_entry).collect();
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(row.name),
            entries: &entries,
        });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(row.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let constants: Vec<(&str, f64)> =
            key.overrides.iter().map(|&(name, bits)| (name, f64::from_bits(bits))).collect();
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
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
        Pipeline { pipeline, layout }
    }
}

/// The convention of every shader: the uniform, the output, then the inputs.
fn own_types() -> [wgpu::BindingType; 2] {
    [wgpu::BufferBindingType::Uniform, wgpu::BufferBindingType::Storage { read_only: false }].map(buffer_type)
}

fn input_type(view: InputBinding, precision: Precision) -> wgpu::BindingType {
    match (view, precision) {
        (InputBinding::Buffer, _) => buffer_type(wgpu::BufferBindingType::Storage { read_only: true }),
        (InputBinding::Texels(1), Precision::F16) => wgpu::BindingType::Texture {
            sample_type: wgpu::TextureSampleType::Float { filterable: false },
            view_dimension: wgpu::TextureViewDimension::D2,
            multisampled: false,
        },
        (InputBinding::Texels(per), _) => wgpu::BindingType::StorageTexture {
            access: wgpu::StorageTextureAccess::ReadOnly,
            format: view::format(per, precision),
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

/// A panic while a cache was locked leaves a cache that is still right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
