//! Loads a lowered plan onto a device: buffers, constants, textures, pipelines and bind groups.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::device::{Gpu, SMALLER};
use super::encoding::{bytes, encode, padded};
use super::lowering::{LaunchOperand, LoweredCall, LoweredPlan};
use super::pipeline::{CompiledPipeline, PipelineKey};
use super::texture::{InputTexture, TextureCopy};
use crate::error::{Error, Result};
use crate::kernels::Dispatch;
use crate::kernels::binding::InputBinding;
use crate::plan::{BufferId, Plan};
use crate::tensor::Precision;

/// Bytes of uploads that wait in host memory before they are flushed.
const UPLOAD: u64 = 64 << 20;

/// A launch, ready to be encoded.
pub(super) struct Launch {
    pub(super) pipeline: Arc<CompiledPipeline>,
    pub(super) group: wgpu::BindGroup,
    pub(super) workgroups: [u32; 3],
    /// The copies of input buffers that have changed since they were last copied.
    pub(super) copies: Vec<TextureCopy>,
}

/// A plan's launches, with the buffers that they are bound to.
pub(super) struct LoadedPlan {
    pub(super) buffers: Vec<wgpu::Buffer>,
    pub(super) temps: Vec<wgpu::Buffer>,
    pub(super) launches: Vec<Launch>,
}

/// Creates a plan's launches. [`compile`] should have compiled the pipelines.
///
/// # Errors
/// Fails if a buffer, binding or launch exceeds the device's limits, or if a shader does not compile.
pub(super) fn load(
    gpu: &Gpu,
    plan: &Plan,
    lowered: &LoweredPlan,
    dispatches: &[Dispatch],
) -> Result<LoadedPlan> {
    Loader::new(gpu, plan, lowered)?.load(lowered, dispatches)
}

/// Compiles the pipelines that a plan needs and the device does not have yet, on all cores.
///
/// # Errors
/// Fails with the first call whose shader the driver refuses.
pub(super) fn compile<'a>(
    gpu: &Gpu,
    calls: &'a [LoweredCall],
    dispatches: &[Dispatch],
) -> Result<(), (&'a LoweredCall, Error)> {
    let mut seen = HashSet::new();
    let wanted: Vec<(&'a LoweredCall, PipelineKey)> = calls
        .iter()
        .zip(dispatches)
        .map(|(call, dispatch)| (call, key(call, dispatch)))
        .filter(|(_, key)| seen.insert(key.clone()))
        .collect();
    wanted.par_iter().try_for_each(|(call, key)| {
        gpu.pipeline(call.kernel.row(), key).map(drop).map_err(|e| (*call, e.node(&call.node)))
    })
}

fn key(call: &LoweredCall, dispatch: &Dispatch) -> PipelineKey {
    PipelineKey {
        row: call.kernel.row().name,
        overrides: dispatch.overrides.iter().map(|&(name, value)| (name, value.to_bits())).collect(),
        types: call.types.clone(),
    }
}

/// The resource that is bound to an input.
enum BoundInput {
    Buffer(wgpu::Buffer, u64),
    Texture(InputTexture),
}

struct Loader<'a> {
    gpu: &'a Gpu,
    plan: &'a Plan,
    buffers: Vec<wgpu::Buffer>,
    temps: Vec<wgpu::Buffer>,
    /// The tables by which computed weights are packed.
    tables: &'a [Vec<f32>],
    /// Elements of the temporaries.
    temp_lens: &'a [usize],
    /// Textures of buffers, and of constants that are bound unpacked; launches share them.
    textures: HashMap<(LaunchOperand, InputBinding, Precision), InputTexture>,
    /// Elements of each texture that equal its buffer's at the current launch.
    fresh: HashMap<(LaunchOperand, InputBinding), usize>,
    /// Buffers of constants that are bound unpacked; launches share them.
    constants: HashMap<(LaunchOperand, Precision), wgpu::Buffer>,
    waiting: u64,
}

impl<'a> Loader<'a> {
    fn new(gpu: &'a Gpu, plan: &'a Plan, lowered: &'a LoweredPlan) -> Result<Self> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let max = gpu.info.max_buffer_size;
        let make = |(id, &len): (BufferId, &usize)| {
            let node = plan.steps.iter().find(|s| s.output == id).map_or("input", |s| &s.node);
            let size = bytes(len, plan.precision(id));
            fits("a buffer", size, max).map_err(|e| e.node(node))?;
            Ok(gpu.buffer(size, usage))
        };
        Ok(Self {
            gpu,
            plan,
            buffers: plan.buffers.iter().enumerate().map(make).collect::<Result<_>>()?,
            temps: lowered.temps.iter().map(|&len| gpu.buffer(bytes(len, Precision::F32), usage)).collect(),
            tables: &lowered.tables,
            temp_lens: &lowered.temps,
            textures: HashMap::new(),
            fresh: HashMap::new(),
            constants: HashMap::new(),
            waiting: 0,
        })
    }

    fn load(mut self, lowered: &LoweredPlan, dispatches: &[Dispatch]) -> Result<LoadedPlan> {
        let (uniforms, offsets) = self.uniforms(dispatches);
        let mut launches = Vec::with_capacity(dispatches.len());
        for ((call, dispatch), offset) in lowered.calls.iter().zip(dispatches).zip(offsets) {
            let uniform = binding(&uniforms, offset, uniform_size(dispatch));
            launches.push(self.launch(call, dispatch, uniform).map_err(|e| e.node(&call.node))?);
        }
        self.flush()?;
        Ok(LoadedPlan { buffers: self.buffers, temps: self.temps, launches })
    }

    /// Writes the parameters of all launches to one buffer. Returns it with the offset of each launch.
    fn uniforms(&self, dispatches: &[Dispatch]) -> (wgpu::Buffer, Vec<u64>) {
        let align = self.gpu.device.limits().min_uniform_buffer_offset_alignment.max(16) as usize;
        let (mut data, mut offsets) = (Vec::new(), Vec::new());
        for dispatch in dispatches {
            offsets.push(data.len() as u64);
            data.extend_from_slice(&dispatch.params);
            data.resize((data.len().max(1)).next_multiple_of(align), 0);
        }
        data.resize(data.len().max(16), 0);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let buffer = self.gpu.buffer(data.len() as u64, usage);
        self.gpu.queue.write_buffer(&buffer, 0, &data);
        (buffer, offsets)
    }

    fn launch(
        &mut self,
        call: &LoweredCall,
        dispatch: &Dispatch,
        uniform: wgpu::BindingResource,
    ) -> Result<Launch> {
        let most = self.gpu.info.max_compute_workgroups_per_dimension;
        if dispatch.workgroups.iter().any(|&n| n > most) {
            return Err(Error::new("a launch has too many workgroups")
                .expected(format!("at most {most} in a dimension"))
                .got(format!("{:?}", dispatch.workgroups))
                .remedy(SMALLER));
        }
        let (mut bound, mut copies) = (Vec::with_capacity(call.inputs.len()), Vec::new());
        for (index, (&operand, &len)) in call.inputs.iter().zip(&call.lens).enumerate() {
            bound.push(self.input(call, index, operand, len, &mut copies)?);
        }
        let size = bytes(call.kernel.output_len(), call.types.output);
        fits("an output", size, self.gpu.info.max_storage_buffer_binding_size)?;
        let output = self.buffer(call.output)?.clone();
        self.fresh.retain(|(operand, _), _| *operand != call.output);
        let mut resources = vec![uniform, binding(&output, 0, size)];
        resources.extend(bound.iter().map(|bound| match bound {
            BoundInput::Buffer(buffer, size) => binding(buffer, 0, *size),
            BoundInput::Texture(texture) => wgpu::BindingResource::TextureView(&texture.view),
        }));
        let entries: Vec<wgpu::BindGroupEntry> = (0..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let pipeline = self.gpu.pipeline(call.kernel.row(), &key(call, dispatch))?;
        let group = self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        });
        Ok(Launch { pipeline, group, workgroups: dispatch.workgroups, copies })
    }

    /// The buffer of an operand.
    ///
    /// # Errors
    /// Fails for a constant.
    fn buffer(&self, operand: LaunchOperand) -> Result<&wgpu::Buffer> {
        match operand {
            LaunchOperand::Buffer(id) => Ok(&self.buffers[id]),
            LaunchOperand::Temp(id) => Ok(&self.temps[id]),
            LaunchOperand::Constant(_) | LaunchOperand::Table(_) => {
                Err(Error::new("a step writes to a constant"))
            }
        }
    }

    /// Binds an input of a launch. If its texture is out of date, adds the copy to `copies`.
    fn input(
        &mut self,
        call: &LoweredCall,
        index: usize,
        operand: LaunchOperand,
        len: usize,
        copies: &mut Vec<TextureCopy>,
    ) -> Result<BoundInput> {
        let max = self.gpu.info.max_storage_buffer_binding_size;
        let all = match operand {
            LaunchOperand::Constant(id) => {
                return self.constant(call, index, operand, &self.plan.constants[id]);
            }
            LaunchOperand::Table(id) => {
                return self.constant(call, index, operand, &self.tables[id]);
            }
            LaunchOperand::Buffer(id) => self.plan.buffers[id],
            LaunchOperand::Temp(id) => self.temp_lens[id],
        };
        let (form, precision) = call.types.inputs[index];
        let buffer = self.buffer(operand)?.clone();
        let InputBinding::Texels(per) = form else {
            let size = bytes(len, precision);
            fits("an input", size, max)?;
            return Ok(BoundInput::Buffer(buffer, size));
        };
        let new = || InputTexture::new(self.gpu, per, precision, all);
        let texture = self.textures.entry((operand, form, precision)).or_insert_with(new).clone();
        let fresh = self.fresh.entry((operand, form)).or_insert(0);
        if *fresh < len {
            *fresh = len;
            copies.push(TextureCopy { buffer, texture: texture.clone(), len });
        }
        Ok(BoundInput::Texture(texture))
    }

    /// Uploads a constant in the layout of the shader.
    fn constant(
        &mut self,
        call: &LoweredCall,
        index: usize,
        operand: LaunchOperand,
        data: &[f32],
    ) -> Result<BoundInput> {
        let packed = call.kernel.pack(index, data);
        let (form, precision) = call.types.inputs[index];
        match (form, packed) {
            (InputBinding::Texels(per), Some(packed)) => {
                Ok(BoundInput::Texture(self.upload_texture(per, &packed, precision)?))
            }
            (InputBinding::Texels(per), None) => {
                if let Some(texture) = self.textures.get(&(operand, form, precision)) {
                    return Ok(BoundInput::Texture(texture.clone()));
                }
                let texture = self.upload_texture(per, data, precision)?;
                self.textures.insert((operand, form, precision), texture.clone());
                Ok(BoundInput::Texture(texture))
            }
            (InputBinding::Buffer, Some(packed)) => {
                let buffer = self.upload(&packed, precision)?;
                let size = buffer.size();
                Ok(BoundInput::Buffer(buffer, size))
            }
            (InputBinding::Buffer, None) => {
                let buffer = match self.constants.get(&(operand, precision)) {
                    Some(buffer) => buffer.clone(),
                    None => self.upload(data, precision)?,
                };
                self.constants.insert((operand, precision), buffer.clone());
                let size = buffer.size();
                Ok(BoundInput::Buffer(buffer, size))
            }
        }
    }

    fn upload(&mut self, data: &[f32], precision: Precision) -> Result<wgpu::Buffer> {
        let size = bytes(data.len(), precision);
        fits("a constant", size, self.gpu.info.max_storage_buffer_binding_size)?;
        let buffer = self.gpu.buffer(size, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST);
        self.gpu.queue.write_buffer(&buffer, 0, &padded(encode(data, precision)));
        self.uploaded(size)?;
        Ok(buffer)
    }

    fn upload_texture(&mut self, per: usize, data: &[f32], precision: Precision) -> Result<InputTexture> {
        let texture = InputTexture::new(self.gpu, per, precision, data.len());
        texture.write(self.gpu, &encode(data, precision));
        self.uploaded(bytes(data.len(), precision))?;
        Ok(texture)
    }

    fn uploaded(&mut self, size: u64) -> Result<()> {
        self.waiting += size;
        if self.waiting > UPLOAD { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.waiting = 0;
        self.gpu.wait(self.gpu.queue.submit([]))
    }
}

fn uniform_size(dispatch: &Dispatch) -> u64 {
    (dispatch.params.len().max(1) as u64).next_multiple_of(16)
}

fn binding(buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) })
}

/// Fails if a size exceeds a limit of the device.
fn fits(what: &str, size: u64, max: u64) -> Result<()> {
    if size <= max {
        return Ok(());
    }
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    Err(Error::new(format!("{what} is larger than the device allows"))
        .expected(format!("at most {}", mib(max)))
        .got(mib(size))
        .remedy(SMALLER))
}
