//! An open device, and the errors that it reports.
//!
//! wgpu reports errors to error scopes of the calling thread, not as results of its calls. `Gpu::guarded` opens the
//! scopes around a piece of work and turns the errors into one [`Error`]. Errors outside of a scope (a lost device)
//! are recorded, and fail the next piece of work. Nothing here panics because of a driver.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use super::autotune_cache::AutotuneCache;
use super::pipeline::{CompiledPipeline, PipelineCache, PipelineKey, lock};
use crate::error::{Error, Result};
use crate::exec::info::DeviceInfo;
use crate::kernels::KernelRow;
use crate::kernels::algorithm::Algorithm;

/// The remedy for work that is too large for a device.
pub(super) const SMALLER: &str = "use a smaller `batch`, or set `device` to cpu";

/// An open device with its queue.
#[derive(Debug)]
pub struct Gpu {
    pub(super) info: DeviceInfo,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    /// The first error outside of any scope.
    fault: Arc<Mutex<Option<String>>>,
    pipelines: PipelineCache,
    /// Kernels whose shaders this device cannot compile, with the reasons. No algorithm that uses one is chosen.
    refused: Mutex<BTreeMap<&'static str, String>>,
    pub(super) autotuned: Mutex<AutotuneCache>,
    /// A kernel whose shader fails, as if the driver had refused it.
    #[cfg(test)]
    pub(in crate::exec) broken: Mutex<Option<&'static str>>,
}

impl Gpu {
    /// Opens an adapter with all its limits, and the optional features that kernels use.
    ///
    /// # Errors
    /// Fails if the driver refuses the device.
    pub(in crate::exec) fn open(adapter: &wgpu::Adapter, info: DeviceInfo) -> Result<Self> {
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
                .remedy("update its driver, or set `device` to cpu")
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
        let autotuned = Mutex::new(AutotuneCache::new(&info));
        let (pipelines, refused) = (PipelineCache::default(), Mutex::default());
        Ok(Self {
            info,
            device,
            queue,
            fault,
            pipelines,
            refused,
            autotuned,
            #[cfg(test)]
            broken: Mutex::default(),
        })
    }

    /// Describes the adapter and its driver.
    pub(in crate::exec) fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Runs a piece of work. Returns its result, or the error that the device reported meanwhile.
    pub(super) fn guarded<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        self.fault()?;
        let scopes = [Validation, Internal, OutOfMemory].map(|f| self.device.push_error_scope(f));
        let result = work();
        // Scopes close in reverse order, so a full memory, which explains most, comes first.
        let mut errors: Vec<wgpu::Error> =
            scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).collect();
        self.fault()?;
        match errors.is_empty() {
            true => result,
            false => Err(self.report(errors.swap_remove(0))),
        }
    }

    fn report(&self, error: wgpu::Error) -> Error {
        match error {
            wgpu::Error::OutOfMemory { .. } => {
                Error::new(format!("the memory of \"{}\" is full", self.info.name)).remedy(SMALLER)
            }
            wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
                Error::new(format!("\"{}\" refused the work", self.info.name))
                    .got(description.trim().replace('\n', " "))
                    .remedy("update the driver, or set `device` to cpu")
            }
        }
    }

    /// Fails if the device reported an error outside of any scope; it then stays unusable.
    fn fault(&self) -> Result<()> {
        match lock(&self.fault).as_ref() {
            None => Ok(()),
            Some(text) => {
                Err(Error::new(format!("\"{}\" failed", self.info.name)).got(text.clone()).remedy(SMALLER))
            }
        }
    }

    /// Waits until a submission is done and its callbacks have run.
    pub(super) fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
        // wgpu panics here if the device is lost during the wait.
        match catch_unwind(AssertUnwindSafe(|| self.device.poll(wait))) {
            Ok(Ok(_)) => self.fault(),
            Ok(Err(error)) => Err(Error::new(format!("\"{}\" does not finish", self.info.name))
                .got(error.to_string())
                .remedy(SMALLER)),
            Err(_) => {
                lock(&self.fault).get_or_insert_with(|| "the device was lost during the wait".into());
                self.fault()
            }
        }
    }

    /// Records that a kernel's shader does not compile.
    pub(super) fn refuse(&self, row: &KernelRow, error: &Error) {
        lock(&self.refused).entry(row.name).or_insert_with(|| error.message());
    }

    /// Returns whether an algorithm uses a kernel whose shader does not compile.
    pub(super) fn refuses(&self, algorithm: &Algorithm) -> bool {
        let refused = lock(&self.refused);
        algorithm.calls.iter().any(|call| refused.contains_key(call.kernel.row().name))
    }

    /// A sentence for each kernel whose shader does not compile.
    pub(in crate::exec) fn notes(&self) -> Vec<String> {
        let note = |(kernel, why): (&&str, &String)| {
            format!(
                "the kernel {kernel} is not used on \"{}\", and others compute in its place: {why}",
                self.info.name
            )
        };
        lock(&self.refused).iter().map(note).collect()
    }

    /// Returns the pipeline of a key, compiled at its first use. Two threads may compile the same key; the first
    /// result is kept.
    pub(super) fn pipeline(
        &self,
        row: &'static KernelRow,
        key: &PipelineKey,
    ) -> Result<Arc<CompiledPipeline>> {
        #[cfg(test)]
        if *lock(&self.broken) == Some(row.name) {
            return Err(Error::new("the test broke the shader"));
        }
        if let Some(pipeline) = self.pipelines.get(key) {
            return Ok(pipeline);
        }
        // naga panics at some shaders that it cannot translate; an algorithm with such a shader is then not chosen.
        let compile = || catch_unwind(AssertUnwindSafe(|| self.pipelines.compile(&self.device, row, key)));
        let panics = |_| Error::new(format!("\"{}\" cannot translate the shader", self.info.name)).internal();
        let made = self
            .guarded(|| compile().map_err(panics))
            .map_err(|e| e.context(format!("cannot compile the kernel {}", row.name)))?;
        Ok(self.pipelines.insert(key, made))
    }
}
