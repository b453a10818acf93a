//! Devices: the adapters that wgpu finds (Vulkan, Metal, DX12) and the CPU.
//!
//! The list has a stable order, with real GPUs before software, so that number 0 is the automatic choice. A software
//! adapter (lavapipe, WARP) is slower than the CPU interpreter and is used only if it is asked for.
//!
//! Without the feature `gpu` the CPU is the only device, and choosing an adapter is an error.

use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use super::gpu::{self, Adapter, Gpu};
pub use super::info::DeviceInfo;
use super::{Executor, cpu};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::instructions;
use crate::observer::{Observer, Stage, advance};
use crate::plan::Plan;
use crate::tensor::Precision;

/// Returns the available adapters in a stable order; empty without a driver.
pub fn list() -> Vec<DeviceInfo> {
    gpu::adapters().into_iter().map(|(_, info)| info).collect()
}

/// A choice of device: automatic, the CPU, or an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best real GPU, else the CPU.
    #[default]
    Auto,
    /// The interpreter on the CPU.
    Cpu,
    /// An adapter by its number in [`list`].
    Index(usize),
    /// An adapter by a part of its name, ignoring case.
    Name(String),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        Ok(match text.to_lowercase().as_str() {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "" => {
                return Err(Error::new("no device is named")
                    .expected("auto, cpu, a number or a name")
                    .remedy("run `devices()` for the list"));
            }
            lower => text.parse().map_or_else(|_| Self::Name(lower.to_owned()), Self::Index),
        })
    }
}

/// Limits of a device that plans must respect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLimits {
    /// The largest buffer or constant that a step can bind, in bytes.
    pub max_binding: u64,
    /// The largest buffer that can be allocated, in bytes.
    pub max_buffer: u64,
    /// The most workgroups in one dimension of a launch.
    pub max_workgroups: u32,
}

/// The identity of a device, for reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceIdentity {
    /// The name of the adapter.
    pub name: String,
    /// The API: `vulkan`, `metal`, `dx12` or `cpu`.
    pub backend: String,
    /// The driver with its version; for the CPU, the number of threads and the instruction set.
    pub driver: String,
    /// The storage precision between steps: `f32` or `f16`.
    pub precision: &'static str,
}

/// An open device, on which plans can be loaded.
#[derive(Debug, Clone)]
pub enum Device {
    /// The interpreter on the CPU.
    Cpu,
    /// An adapter with its storage precision between steps.
    Gpu(Arc<Gpu>, Precision),
}

impl Device {
    /// Sets the storage precision between steps, which plans use as far as the network allows.
    ///
    /// # Errors
    /// [`Precision::F16`] on a device without f16 support.
    pub fn at(self, precision: Precision) -> Result<Self> {
        let refuse = |name: &str| {
            Err(Error::new(format!("\"{name}\" computes with f32 only"))
                .with_kind(ErrorKind::Device)
                .expected("a device with f16 support (field shader_f16 of its description)")
                .got("the precision f16")
                .remedy("omit `precision`, or choose another `device`"))
        };
        match self {
            Self::Cpu if precision == Precision::F32 => Ok(Self::Cpu),
            Self::Gpu(gpu, _) if precision == Precision::F32 || gpu.info().shader_f16 => {
                Ok(Self::Gpu(gpu, precision))
            }
            Self::Gpu(gpu, _) => refuse(&gpu.info().name),
            Self::Cpu => refuse("CPU"),
        }
    }

    /// Returns whether the device is a GPU, not a processor (also not one behind a graphics driver).
    pub fn is_real(&self) -> bool {
        matches!(self, Self::Gpu(gpu, _) if is_real(gpu.info().kind))
    }

    /// Returns the storage precision between steps.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Cpu => Precision::F32,
            Self::Gpu(_, precision) => *precision,
        }
    }

    /// Returns the limits that plans must respect.
    pub fn limits(&self) -> DeviceLimits {
        match self {
            Self::Cpu => {
                DeviceLimits { max_binding: u64::MAX, max_buffer: u64::MAX, max_workgroups: u32::MAX }
            }
            Self::Gpu(gpu, _) => {
                let info = gpu.info();
                DeviceLimits {
                    max_binding: info.max_storage_buffer_binding_size,
                    max_buffer: info.max_buffer_size,
                    max_workgroups: info.max_compute_workgroups_per_dimension,
                }
            }
        }
    }

    /// Returns the identity of the device, for reports.
    pub fn describe(&self) -> DeviceIdentity {
        match self {
            Self::Cpu => DeviceIdentity {
                name: "CPU".into(),
                backend: "cpu".into(),
                driver: format!(
                    "{} threads, {}",
                    rayon::current_num_threads(),
                    instructions::name().unwrap_or("no instructions")
                ),
                precision: self.precision().name(),
            },
            Self::Gpu(gpu, _) => {
                let info = gpu.info();
                DeviceIdentity {
                    name: info.name.clone(),
                    backend: info.backend.clone(),
                    driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
                    precision: self.precision().name(),
                }
            }
        }
    }

    /// Allocates the buffers of a plan and compiles its pipelines.
    ///
    /// # Errors
    /// An inconsistent plan, a buffer, binding or launch beyond the device's limits, or too little memory.
    pub fn load(&self, plan: &Plan) -> Result<Box<dyn Executor>> {
        self.load_with(plan, None, false)
    }

    /// Loads a plan with a named algorithm for all steps that have it, for tests and timings.
    ///
    /// `poison` fills buffers with NaN, see [`load_poisoned`](Self::load_poisoned).
    ///
    /// # Errors
    /// The conditions of [`load`](Self::load), and an algorithm that the device does not support.
    pub fn load_by(&self, plan: &Plan, algorithm: &str, poison: bool) -> Result<Box<dyn Executor>> {
        self.load_with(plan, Some(algorithm), poison)
    }

    /// Loads a plan whose buffers, except sums and states, are filled with NaN before each run.
    ///
    /// Tests thereby detect steps that read elements that no step has written.
    ///
    /// # Errors
    /// The conditions of [`load`](Self::load).
    pub fn load_poisoned(&self, plan: &Plan) -> Result<Box<dyn Executor>> {
        self.load_with(plan, None, true)
    }

    fn load_with(&self, plan: &Plan, algorithm: Option<&str>, poison: bool) -> Result<Box<dyn Executor>> {
        match self {
            Self::Cpu if plan.f16_storage.is_some() => {
                Err(Error::new("the CPU cannot run a plan with f16 storage").with_kind(ErrorKind::Device))
            }
            Self::Cpu => {
                instructions::name()?;
                Ok(Box::new(cpu::CpuProgram::new(plan, poison)?))
            }
            Self::Gpu(gpu, _) => gpu.load(plan, algorithm, poison),
        }
    }

    /// Reads the autotune cache of this device from the user's cache folder.
    ///
    /// Returns a note if a cache exists but cannot be used.
    pub fn recall(&self) -> Option<String> {
        match self {
            Self::Cpu => None,
            Self::Gpu(gpu, _) => gpu.recall(),
        }
    }

    /// Returns a sentence for each kernel that the device's compiler refused and that others replace.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Self::Cpu => vec![],
            Self::Gpu(gpu, _) => gpu.notes(),
        }
    }

    /// Times the algorithms of the plans' steps for about `seconds`, and selects and caches the fastest.
    ///
    /// Returns the number of timed shapes; `None` on the CPU, which has one algorithm for every kernel. The observer
    /// receives [`Stage::Autotuning`]; if it ends the operation, what has been timed until `seconds` are over is still
    /// cached.
    ///
    /// # Errors
    /// A device that fails, a cache that cannot be written, or an observer that ends the operation.
    pub fn tune(&self, plans: &[&Plan], seconds: f64, observer: &mut dyn Observer) -> Result<Option<usize>> {
        match self {
            Self::Cpu => Ok(None),
            Self::Gpu(gpu, _) => autotune(gpu, plans, seconds, observer).map(Some),
        }
    }
}

fn autotune(gpu: &Arc<Gpu>, plans: &[&Plan], seconds: f64, observer: &mut dyn Observer) -> Result<usize> {
    let (mut begun, mut reported) = (false, Ok(()));
    let timed = gpu.tune(plans, seconds, &mut |done, total| {
        if !std::mem::replace(&mut begun, true) {
            observer.stage(Stage::Autotuning, total as u64);
        }
        if reported.is_ok() {
            reported = advance(observer, done);
        }
    });
    if begun {
        observer.finish();
    }
    let timed = timed?;
    reported.map(|()| timed)
}

/// Opens the chosen device. The note, if any, explains why the automatic choice is not a GPU.
///
/// # Errors
/// A number or name that no adapter has, or a chosen adapter that cannot be opened.
pub fn open(choice: &DeviceChoice) -> Result<(Device, Option<String>)> {
    if *choice == DeviceChoice::Cpu {
        return Ok((Device::Cpu, None));
    }
    let (adapters, infos): (Vec<_>, Vec<_>) = gpu::adapters().into_iter().unzip();
    if *choice == DeviceChoice::Auto {
        return Ok(open_auto(&adapters, &infos));
    }
    let index = select(choice, &infos)?;
    let gpu = Gpu::open(&adapters[index], infos[index].clone())?;
    Ok((Device::Gpu(Arc::new(gpu), Precision::F32), None))
}

fn open_auto(adapters: &[Adapter], infos: &[DeviceInfo]) -> (Device, Option<String>) {
    let mut reasons = Vec::new();
    for (adapter, info) in adapters.iter().zip(infos) {
        if !is_real(info.kind) {
            continue;
        }
        match Gpu::open(adapter, info.clone()) {
            Ok(gpu) => return (Device::Gpu(Arc::new(gpu), Precision::F32), None),
            Err(error) => reasons.push(error.message()),
        }
    }
    let why = match (reasons.is_empty(), infos.first()) {
        (false, _) => reasons.join("; "),
        (true, Some(info)) => format!("no GPU found, only \"{}\", which is software", info.name),
        (true, None) => gpu::WHY.unwrap_or("no GPU found").to_owned(),
    };
    (Device::Cpu, Some(format!("{why}: computing on the CPU")))
}

/// Returns whether an adapter of this kind may be chosen automatically.
fn is_real(kind: &str) -> bool {
    matches!(kind, "discrete" | "integrated" | "virtual")
}

/// Returns the index of the adapter with a given number or name.
fn select(choice: &DeviceChoice, infos: &[DeviceInfo]) -> Result<usize> {
    let found = match choice {
        DeviceChoice::Index(index) => infos.get(*index).map(|i| i.index),
        DeviceChoice::Name(part) => {
            let part = part.to_lowercase();
            infos.iter().find(|i| i.name.to_lowercase().contains(&part)).map(|i| i.index)
        }
        DeviceChoice::Auto | DeviceChoice::Cpu => None,
    };
    found.ok_or_else(|| {
        let asked = match choice {
            DeviceChoice::Index(index) => format!("number {index}"),
            DeviceChoice::Name(part) => format!("name \"{part}\""),
            DeviceChoice::Auto | DeviceChoice::Cpu => "GPU".to_owned(),
        };
        let have: Vec<String> =
            infos.iter().map(|i| format!("{} \"{}\" ({})", i.index, i.name, i.backend)).collect();
        let otherwise = if have.is_empty() {
            "set `device` to cpu, or to auto, which uses a GPU if there is one"
        } else {
            "choose one of these, or set `device` to auto or cpu"
        };
        let words = infos.iter().flat_map(|i| i.name.split_whitespace()).map(str::to_lowercase);
        let words: Vec<String> = words.collect();
        let error = Error::new(format!("no device has the {asked}"));
        let error = error.with_kind(ErrorKind::Device).got(if have.is_empty() {
            gpu::WHY.unwrap_or("no adapter").to_owned()
        } else {
            have.join(", ")
        });
        match choice {
            DeviceChoice::Name(part) => error.meant(part, words.iter().map(String::as_str), otherwise),
            DeviceChoice::Index(_) | DeviceChoice::Auto | DeviceChoice::Cpu => error.remedy(otherwise),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(index: usize, name: &str, kind: &'static str) -> DeviceInfo {
        DeviceInfo {
            index,
            name: name.into(),
            backend: "vulkan".into(),
            driver: String::new(),
            driver_info: String::new(),
            kind,
            max_storage_buffer_binding_size: 0,
            max_buffer_size: 0,
            max_compute_workgroups_per_dimension: 0,
            max_compute_invocations_per_workgroup: 0,
            max_compute_workgroup_storage_size: 0,
            timestamp_query: false,
            subgroup: false,
            shader_f16: false,
            subgroup_size: None,
            max_texture_dimension: 0,
        }
    }

    #[test]
    fn choices_are_parsed_ignoring_case() {
        assert_eq!("AUTO".parse::<DeviceChoice>().unwrap(), DeviceChoice::Auto);
        assert_eq!(" cpu ".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cpu);
        assert_eq!("2".parse::<DeviceChoice>().unwrap(), DeviceChoice::Index(2));
        assert_eq!("RTX 3090".parse::<DeviceChoice>().unwrap(), DeviceChoice::Name("rtx 3090".into()));
        assert!("".parse::<DeviceChoice>().is_err());
    }

    #[test]
    fn a_name_or_number_selects_its_adapter_or_the_error_lists_all() {
        let infos = [info(0, "NVIDIA RTX", "discrete"), info(1, "llvmpipe (LLVM)", "cpu")];
        assert_eq!(select(&DeviceChoice::Name("LLVM".into()), &infos).unwrap(), 1);
        assert_eq!(select(&DeviceChoice::Index(0), &infos).unwrap(), 0);
        let error = select(&DeviceChoice::Name("radeon".into()), &infos).unwrap_err().to_string();
        assert!(error.contains("radeon") && error.contains("NVIDIA RTX"), "{error}");
        assert!(select(&DeviceChoice::Index(2), &infos).is_err());
    }

    #[test]
    fn the_automatic_choice_is_never_a_software_adapter() {
        let (device, note) = open_auto(&[], &[info(0, "llvmpipe", "cpu")]);
        assert!(matches!(device, Device::Cpu));
        assert!(note.is_some_and(|n| n.contains("llvmpipe")));
    }
}
