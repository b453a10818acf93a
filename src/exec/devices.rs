//! What can compute here: the adapters that wgpu finds, and the CPU.
//!
//! Vulkan, Metal and DX12 only. The list's order is stable: real GPUs before software, so number 0 is what `auto`
//! takes. A software adapter (lavapipe, WARP) is slower than the CPU interpreter and is used only when asked for.

//!
//! Without the feature `gpu` there is the CPU alone, and what asks for an adapter is told so.

use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use super::gpu::{self, Adapter, Gpu};
pub use super::info::DeviceInfo;
use super::{Executor, cpu};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::tensor::Precision;

/// The adapters here, in a stable order. Empty where there is no driver.
pub fn list() -> Vec<DeviceInfo> {
    gpu::adapters().into_iter().map(|(_, info)| info).collect()
}

/// What `--device` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best real GPU, else the CPU.
    #[default]
    Auto,
    /// The CPU interpreter.
    Cpu,
    /// An adapter by its number in [`list`].
    Index(usize),
    /// An adapter by a part of its name, in any case.
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
                    .remedy("see `secateur devices`"));
            }
            lower => text.parse().map_or_else(|_| Self::Name(lower.to_owned()), Self::Index),
        })
    }
}

/// What a plan must keep to on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLimits {
    /// The largest buffer or constant that a step can read or write, in bytes.
    pub max_binding: u64,
    /// The largest buffer, in bytes.
    pub max_buffer: u64,
    /// Workgroups in one dimension.
    pub max_workgroups: u32,
}

/// Who computed, for reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceIdentity {
    /// The adapter's name.
    pub name: String,
    /// `vulkan`, `metal`, `dx12` or `cpu`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// `f32` or `f16`: what it keeps numbers as between steps.
    pub precision: &'static str,
}

/// A device that is open.
#[derive(Debug, Clone)]
pub enum Device {
    /// The CPU interpreter.
    Cpu,
    /// An adapter, and what it keeps numbers as between steps.
    Gpu(Arc<Gpu>, Precision),
}

impl Device {
    /// The same device with numbers kept as this between steps, where the network allows it.
    ///
    /// # Errors
    /// A device that knows single precision only.
    pub fn at(self, precision: Precision) -> Result<Self> {
        let refuse = |name: &str| {
            Err(Error::new(format!("\"{name}\" computes with f32 only"))
                .expected("a device that knows f16: `secateur devices --json` says so of each (shader_f16)")
                .got("--precision f16")
                .remedy("leave --precision out, or choose another --device"))
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

    /// Whether it is a GPU, not a processor, also under a GPU's driver.
    pub fn is_real(&self) -> bool {
        matches!(self, Self::Gpu(gpu, _) if is_real(gpu.info().kind))
    }

    /// What it keeps numbers as between steps.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Cpu => Precision::F32,
            Self::Gpu(_, precision) => *precision,
        }
    }

    /// What a plan must keep to.
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

    /// Who computes.
    pub fn describe(&self) -> DeviceIdentity {
        match self {
            Self::Cpu => DeviceIdentity {
                name: "CPU".into(),
                backend: "cpu".into(),
                driver: format!("{} threads", rayon::current_num_threads()),
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

    /// Makes a plan's buffers and pipelines.
    ///
    /// # Errors
    /// A plan that is not consistent; a buffer, a binding or a launch that the device cannot hold; a full memory.
    pub fn load(&self, plan: &Plan) -> Result<Box<dyn Executor>> {
        self.load_with(plan, None, false)
    }

    /// As [`load_poisoned`](Self::load_poisoned), with every step that has a way of this name computed by it, whatever
    /// the rules say. For tests and timings.
    ///
    /// # Errors
    /// As [`load`](Self::load); a way that the device cannot go.
    pub fn load_by(&self, plan: &Plan, way: &str, poison: bool) -> Result<Box<dyn Executor>> {
        self.load_with(plan, Some(way), poison)
    }

    /// As [`load`](Self::load), with every buffer but those of sums full of NaN before each run: an element that is read and that
    /// nobody wrote is found out. For tests.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_poisoned(&self, plan: &Plan) -> Result<Box<dyn Executor>> {
        self.load_with(plan, None, true)
    }

    fn load_with(&self, plan: &Plan, way: Option<&str>, poison: bool) -> Result<Box<dyn Executor>> {
        match self {
            Self::Cpu if plan.f16_storage.is_some() => Err(Error::new("a plan over halves, for the CPU")),
            Self::Cpu => Ok(Box::new(cpu::Program::new(plan, poison)?)),
            Self::Gpu(gpu, _) => gpu.load(plan, way, poison),
        }
    }

    /// Takes in what was timed on this device before, from the user's folder for caches. The note says why that was
    /// not possible, if it was not.
    pub fn recall(&self) -> Option<String> {
        match self {
            Self::Cpu => None,
            Self::Gpu(gpu, _) => gpu.recall(),
        }
    }

    /// Times the ways of computing the plans' steps for about so many seconds, takes the fastest from now on, and writes
    /// them down. `progress` is told how many shapes of how many are done. Returns how many were; `None` on the CPU,
    /// which has one way of everything.
    ///
    /// # Errors
    /// A device that fails; a file that cannot be written.
    pub fn tune(
        &self,
        plans: &[&Plan],
        seconds: f64,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Option<usize>> {
        match self {
            Self::Cpu => Ok(None),
            Self::Gpu(gpu, _) => gpu.tune(plans, seconds, progress).map(Some),
        }
    }
}

/// Opens what was chosen. The note, where there is one, is for the person: why it is not a GPU.
///
/// # Errors
/// A number or name that nothing here has; an adapter that was named and does not open.
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

/// What `auto` may take.
fn is_real(kind: &str) -> bool {
    matches!(kind, "discrete" | "integrated" | "virtual")
}

/// The adapter that a number or a name means.
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
            "use --device cpu, or auto, which takes a GPU where there is one"
        } else {
            "choose one of these, or --device auto or cpu"
        };
        let words = infos.iter().flat_map(|i| i.name.split_whitespace()).map(str::to_lowercase);
        let words: Vec<String> = words.collect();
        let error = Error::new(format!("no device has the {asked}")).got(if have.is_empty() {
            gpu::WHY.unwrap_or("no adapter at all").to_owned()
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
    fn choices_are_read_in_any_case() {
        assert_eq!("AUTO".parse::<DeviceChoice>().unwrap(), DeviceChoice::Auto);
        assert_eq!(" cpu ".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cpu);
        assert_eq!("2".parse::<DeviceChoice>().unwrap(), DeviceChoice::Index(2));
        assert_eq!("RTX 3090".parse::<DeviceChoice>().unwrap(), DeviceChoice::Name("rtx 3090".into()));
        assert!("".parse::<DeviceChoice>().is_err());
    }

    #[test]
    fn a_name_or_number_finds_its_adapter_or_says_what_there_is() {
        let infos = [info(0, "NVIDIA RTX", "discrete"), info(1, "llvmpipe (LLVM)", "cpu")];
        assert_eq!(select(&DeviceChoice::Name("LLVM".into()), &infos).unwrap(), 1);
        assert_eq!(select(&DeviceChoice::Index(0), &infos).unwrap(), 0);
        let error = select(&DeviceChoice::Name("radeon".into()), &infos).unwrap_err().to_string();
        assert!(error.contains("radeon") && error.contains("NVIDIA RTX"), "{error}");
        assert!(select(&DeviceChoice::Index(2), &infos).is_err());
    }

    #[test]
    fn auto_never_takes_software() {
        let (device, note) = open_auto(&[], &[info(0, "llvmpipe", "cpu")]);
        assert!(matches!(device, Device::Cpu));
        assert!(note.is_some_and(|n| n.contains("llvmpipe")));
    }
}
