//! From launches as data to launches on a device: buffers, constants, textures, pipelines and bind groups, made once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::expand::{Expanded, Piece, Place};
use super::stored::{bytes, padded, stored};
use super::view::{Fill, Texture};
use super::{Gpu, Key, Pipeline};
use crate::error::{Error, Result};
use crate::kernels::Dispatch;
use crate::kernels::binding::InputBinding;
use crate::plan::{BufferId, Plan};
use crate::tensor::Precision;

/// Uploads wait in host memory until they are flushed: so many bytes at a time.
const UPLOAD: u64 = 64 << 20;

/// A launch, ready to be encoded.
pub(super) struct Launch {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) group: wgpu::BindGroup,
    pub(super) workgroups: [u32; 3],
    /// What it reads as texels and has changed since it was last copied.
    pub(super) fills: Vec<Fill>,
}

/// A plan's launches with what they are bound to.
pub(super) struct Loaded {
    pub(super) buffers: Vec<wgpu::Buffer>,
    pub(super) temps: Vec<wgpu::Buffer>,
    pub(super) launches: Vec<Launch>,
}

/// Makes a plan's launches; the pipelines should be there ([`compile`]).
///
/// # Errors
/// As [`Program::new`](super::program::Program::new).
pub(super) fn load(gpu: &Gpu, plan: &Plan, expanded: &Expanded, dispatches: &[Dispatch]) -> Result<Loaded> {
    Loader::new(gpu, plan, expanded)?.load(expanded, dispatches)
}

/// Compiles what a plan needs and the device does not have yet, on all cores.
pub(super) fn compile(gpu: &Gpu, pieces: &[Piece], dispatches: &[Dispatch]) -> Result<()> {
    let mut seen = HashSet::new();
    let wanted: Vec<(&Piece, Key)> = pieces
        .iter()
        .zip(dispatches)
        .map(|(piece, dispatch)| (piece, key(piece, dispatch)))
        .filter(|(_, key)| seen.insert(key.clone()))
        .collect();
    wanted.par_iter().try_for_each(|(piece, key)| {
        gpu.pipeline(piece.kernel.row(), key).map(drop).map_err(|e| e.node(&piece.node))
    })
}

fn key(piece: &Piece, dispatch: &Dispatch) -> Key {
    Key {
        row: piece.kernel.row().name,
        overrides: dispatch.overrides.iter().map(|&(name, value)| (name, value.to_bits())).collect(),
        types: piece.types.clone(),
    }
}

/// Something that a shader can be given as an input.
enum Bound {
    Buffer(wgpu::Buffer, u64),
    Texture(Texture),
}

struct Loader<'a> {
    gpu: &'a Gpu,
    plan: &'a Plan,
    buffers: Vec<wgpu::Buffer>,
    temps: Vec<wgpu::Buffer>,
    /// Elements of the temporaries.
    temp_lens: &'a [usize],
    /// Views of buffers, and of constants that are bound as they are: what shares one shares its texture.
    textures: HashMap<(Place, InputBinding, Precision), Texture>,
    /// How many elements a view has of what its buffer holds, at the launch that is being made.
    fresh: HashMap<(Place, InputBinding), usize>,
    /// Constants that are bound as they are: steps that share one share its buffer.
    constants: HashMap<(Place, Precision), wgpu::Buffer>,
    waiting: u64,
}

impl<'a> Loader<'a> {
    fn new(gpu: &'a Gpu, plan: &'a Plan, expanded: &'a Expanded) -> Result<Self> {
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
            temps: expanded.temps.iter().map(|&len| gpu.buffer(bytes(len, Precision::F32), usage)).collect(),
            temp_lens: &expanded.temps,
            textures: HashMap::new(),
            fresh: HashMap::new(),
            constants: HashMap::new(),
            waiting: 0,
        })
    }

    fn load(mut self, expanded: &Expanded, dispatches: &[Dispatch]) -> Result<Loaded> {
        let (uniforms, offsets) = self.uniforms(dispatches);
        let mut launches = Vec::with_capacity(dispatches.len());
        for ((piece, dispatch), offset) in expanded.pieces.iter().zip(dispatches).zip(offsets) {
            let uniform = binding(&uniforms, offset, uniform_size(dispatch));
            launches.push(self.launch(piece, dispatch, uniform).map_err(|e| e.node(&piece.node))?);
        }
        self.flush()?;
        Ok(Loaded { buffers: self.buffers, temps: self.temps, launches })
    }

    /// The parameters of all steps in one buffer, and where each step's begin.
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
        piece: &Piece,
        dispatch: &Dispatch,
        uniform: wgpu::BindingResource,
    ) -> Result<Launch> {
        let most = self.gpu.info.max_compute_workgroups_per_dimension;
        if dispatch.workgroups.iter().any(|&n| n > most) {
            return Err(Error::new("a launch has too many workgroups")
                .expected(format!("at most {most} in a dimension"))
                .got(format!("{:?}", dispatch.workgroups))
                .remedy("use a smaller --batch or --device cpu"));
        }
        let (mut bound, mut fills) = (Vec::with_capacity(piece.inputs.len()), Vec::new());
        for (index, (&place, len)) in piece.inputs.iter().zip(piece.kernel.input_lens()).enumerate() {
            bound.push(self.input(piece, index, place, len, &mut fills)?);
        }
        let size = bytes(piece.kernel.output_len(), piece.types.output);
        fits("an output", size, self.gpu.info.max_storage_buffer_binding_size)?;
        let output = self.buffer(piece.output)?.clone();
        self.fresh.retain(|(place, _), _| *place != piece.output);
        let mut resources = vec![uniform, binding(&output, 0, size)];
        resources.extend(bound.iter().map(|bound| match bound {
            Bound::Buffer(buffer, size) => binding(buffer, 0, *size),
            Bound::Texture(texture) => wgpu::BindingResource::TextureView(&texture.view),
        }));
        let entries: Vec<wgpu::BindGroupEntry> = (0..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let pipeline = self.gpu.pipeline(piece.kernel.row(), &key(piece, dispatch))?;
        let group = self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        });
        Ok(Launch { pipeline, group, workgroups: dispatch.workgroups, fills })
    }

    /// The buffer of a place that is no constant.
    fn buffer(&self, place: Place) -> Result<&wgpu::Buffer> {
        match place {
            Place::Buffer(id) => Ok(&self.buffers[id]),
            Place::Temp(id) => Ok(&self.temps[id]),
            Place::Constant(_) => Err(Error::new("a step writes to a constant")),
        }
    }

    /// What an input is bound to; where its view is old, the copy goes to `fills`.
    fn input(
        &mut self,
        piece: &Piece,
        index: usize,
        place: Place,
        len: usize,
        fills: &mut Vec<Fill>,
    ) -> Result<Bound> {
        let max = self.gpu.info.max_storage_buffer_binding_size;
        let all = match place {
            Place::Constant(id) => return self.constant(piece, index, place, &self.plan.constants[id]),
            Place::Buffer(id) => self.plan.buffers[id],
            Place::Temp(id) => self.temp_lens[id],
        };
        let (view, precision) = piece.types.inputs[index];
        let buffer = self.buffer(place)?.clone();
        let InputBinding::Texels(per) = view else {
            let size = bytes(len, precision);
            fits("an input", size, max)?;
            return Ok(Bound::Buffer(buffer, size));
        };
        let new = || Texture::new(self.gpu, per, precision, all);
        let texture = self.textures.entry((place, view, precision)).or_insert_with(new).clone();
        let fresh = self.fresh.entry((place, view)).or_insert(0);
        if *fresh < len {
            *fresh = len;
            fills.push(Fill { buffer, texture: texture.clone(), len });
        }
        Ok(Bound::Texture(texture))
    }

    /// A constant in the layout that the piece's shader wants, on the device.
    fn constant(&mut self, piece: &Piece, index: usize, place: Place, data: &[f32]) -> Result<Bound> {
        let packed = piece.kernel.pack(index, data);
        let (view, precision) = piece.types.inputs[index];
        match (view, packed) {
            (InputBinding::Texels(per), Some(packed)) => {
                Ok(Bound::Texture(self.upload_texture(per, &packed, precision)?))
            }
            (InputBinding::Texels(per), None) => {
                if let Some(texture) = self.textures.get(&(place, view, precision)) {
                    return Ok(Bound::Texture(texture.clone()));
                }
                let texture = self.upload_texture(per, data, precision)?;
                self.textures.insert((place, view, precision), texture.clone());
                Ok(Bound::Texture(texture))
            }
            (InputBinding::Buffer, Some(packed)) => {
                let buffer = self.upload(&packed, precision)?;
                let size = buffer.size();
                Ok(Bound::Buffer(buffer, size))
            }
            (InputBinding::Buffer, None) => {
                let buffer = match self.constants.get(&(place, precision)) {
                    Some(buffer) => buffer.clone(),
                    None => self.upload(data, precision)?,
                };
                self.constants.insert((place, precision), buffer.clone());
                let size = buffer.size();
                Ok(Bound::Buffer(buffer, size))
            }
        }
    }

    fn upload(&mut self, data: &[f32], precision: Precision) -> Result<wgpu::Buffer> {
        let size = bytes(data.len(), precision);
        fits("a constant", size, self.gpu.info.max_storage_buffer_binding_size)?;
        let buffer = self.gpu.buffer(size, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST);
        self.gpu.queue.write_buffer(&buffer, 0, &padded(stored(data, precision)));
        self.uploaded(size)?;
        Ok(buffer)
    }

    fn upload_texture(&mut self, per: usize, data: &[f32], precision: Precision) -> Result<Texture> {
        let texture = Texture::new(self.gpu, per, precision, data.len());
        texture.write(self.gpu, &stored(data, precision));
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

/// Refuses what the device cannot hold in one piece.
fn fits(what: &str, size: u64, max: u64) -> Result<()> {
    if size <= max {
        return Ok(());
    }
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    Err(Error::new(format!("{what} is larger than the device allows"))
        .expected(format!("at most {}", mib(max)))
        .got(mib(size))
        .remedy("use a smaller --batch or --device cpu"))
}
