//! A plan on a device: buffers, constants, pipelines and bind groups made once, launched often.
//!
//! A step is one launch or several ([`super::expand`]). A run is one submission: compute passes with every launch (wgpu
//! puts the barriers between them), a new pass where a buffer is copied into its view first, then the copies that bring
//! the outputs back. The watched run submits step by step.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::expand::{Expanded, Pick, Piece, Place};
use super::stored::{bytes, loaded, padded, stored};
use super::view::{Fill, Texture};
use super::{Gpu, Key, Pipeline};
use crate::error::{Error, Result};
use crate::exec::{Executor, Watch, port_len, sum_buffers, validate, validate_inputs};
use crate::kernels::Dispatch;
use crate::kernels::way::View;
use crate::plan::{BufferId, Operand, Plan, Port, Step};
use crate::tensor::Precision;

/// Uploads wait in host memory until they are flushed: so many bytes at a time.
const UPLOAD: u64 = 64 << 20;
/// Passes of which the stamps fit into one query set, which takes 4,096 everywhere.
const MOST_STAMPED: usize = 2048;
/// How long a callback may take after its work is done.
const CALLBACK: Duration = Duration::from_secs(30);

/// A plan with its buffers on a device.
pub struct Program {
    gpu: Arc<Gpu>,
    plan: Plan,
    buffers: Vec<wgpu::Buffer>,
    temps: Vec<wgpu::Buffer>,
    launches: Vec<Launch>,
    /// The launches of each step.
    steps: Vec<Range<usize>>,
    /// One for each output, in host memory; `None` for a constant output.
    staging: Vec<Option<wgpu::Buffer>>,
    /// The buffers that keep their contents from run to run.
    sums: HashSet<BufferId>,
    poison: bool,
}

struct Launch {
    pipeline: Arc<Pipeline>,
    group: wgpu::BindGroup,
    workgroups: [u32; 3],
    /// What it reads as texels and has changed since it was last copied.
    fills: Vec<Fill>,
}

/// A copy to host memory: from, over, how many elements, and what they are.
type Read<'a> = (&'a wgpu::Buffer, &'a wgpu::Buffer, usize, Precision);

impl Program {
    /// Makes everything that runs need. With `poison`, every buffer but those of sums is filled with NaN
    /// before each run.
    ///
    /// # Errors
    /// A plan that is not consistent; a buffer, a binding or a launch beyond the device's limits; a full memory; a
    /// shader that the driver does not take.
    pub fn new(gpu: &Arc<Gpu>, plan: &Plan, pick: Pick, poison: bool) -> Result<Self> {
        validate(plan)?;
        let expanded = Expanded::new(gpu, plan, pick)?;
        let dispatches: Vec<Dispatch> = expanded.pieces.iter().map(|p| p.kernel.dispatch()).collect();
        compile(gpu, &expanded.pieces, &dispatches)?;
        gpu.guarded(|| Loader::new(gpu, plan, &expanded)?.load(&expanded, &dispatches, poison))
    }

    fn upload(&self, inputs: &[&[f32]]) -> Result<()> {
        validate_inputs(&self.plan, inputs)?;
        if self.poison {
            let buffers = self.buffers.iter().enumerate().filter(|(id, _)| !self.sums.contains(id));
            for buffer in buffers.map(|(_, buffer)| buffer).chain(&self.temps) {
                // NaN in either precision.
                self.gpu.queue.write_buffer(buffer, 0, &vec![0xff; buffer.size() as usize]);
            }
        }
        for (port, data) in self.plan.inputs.iter().zip(inputs) {
            if let Operand::Buffer(id) = port.place {
                let bytes = stored(data, self.plan.precision(id));
                self.gpu.queue.write_buffer(&self.buffers[id], 0, &padded(bytes));
            }
        }
        Ok(())
    }

    /// Encodes launches; with `stamps`, the time of the beginning, copies included, and of the last pass's end, at this
    /// query and the one behind it.
    fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        launches: Range<usize>,
        stamps: Option<(&wgpu::QuerySet, u32)>,
    ) {
        let mut rest = &self.launches[launches];
        let mut first = true;
        if let (Some((query_set, at)), Some([_, ..])) = (stamps, rest.first().map(|l| &l.fills[..])) {
            // What the first launch reads is copied before its pass: the time begins with a pass of nothing.
            let beginning_of_pass_write_index = Some(at);
            encode_pass(
                encoder,
                &[],
                Some(wgpu::ComputePassTimestampWrites {
                    query_set,
                    beginning_of_pass_write_index,
                    end_of_pass_write_index: None,
                }),
            );
            first = false;
        }
        while let Some(launch) = rest.first() {
            launch.fills.iter().for_each(|fill| fill.encode(encoder));
            let more = rest[1..].iter().position(|l| !l.fills.is_empty()).map_or(rest.len(), |at| at + 1);
            let (pass, behind) = rest.split_at(more);
            let timestamp_writes = stamps.map(|(query_set, at)| wgpu::ComputePassTimestampWrites {
                query_set,
                beginning_of_pass_write_index: first.then_some(at),
                end_of_pass_write_index: behind.is_empty().then_some(at + 1),
            });
            // A pass in the middle has nothing to stamp, and says so by having no writes at all.
            let timestamp_writes = timestamp_writes.filter(|_| first || behind.is_empty());
            encode_pass(encoder, pass, timestamp_writes);
            (rest, first) = (behind, false);
        }
    }

    /// Launches, then brings back what is to be read.
    fn execute(&self, launches: Range<usize>, reads: &[Read]) -> Result<Vec<Vec<f32>>> {
        let mut encoder = self.gpu.encoder();
        self.encode(&mut encoder, launches, None);
        self.gpu.finish(encoder, reads)
    }

    fn outputs(&self, launches: Range<usize>) -> Result<Vec<Vec<f32>>> {
        let ports = || self.plan.outputs.iter().zip(&self.staging);
        let reads: Vec<Read> = ports()
            .filter_map(|(port, staging)| match (port.place, staging) {
                (Operand::Buffer(id), Some(staging)) => {
                    Some((&self.buffers[id], staging, port_len(port), self.plan.precision(id)))
                }
                _ => None,
            })
            .collect();
        let mut read = self.execute(launches, &reads)?.into_iter();
        let value = |port: &Port| match port.place {
            Operand::Constant(id) => self.plan.constants[id][..port_len(port)].to_vec(),
            Operand::Buffer(_) => read.next().unwrap_or_default(),
        };
        Ok(self.plan.outputs.iter().map(value).collect())
    }

    /// The seconds of passes of launches, by the device's clock.
    fn time_by_stamps(&self, passes: &[Range<usize>]) -> Result<Vec<f64>> {
        let device = &self.gpu.device;
        let count = 2 * passes.len() as u32;
        let query_set = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let stamps = self.gpu.buffer(8 * u64::from(count), usage);
        let staging = self.gpu.staging(2 * count as usize);
        let mut encoder = self.gpu.encoder();
        for (pass, first) in passes.iter().zip((0..).step_by(2)) {
            self.encode(&mut encoder, pass.clone(), Some((&query_set, first)));
        }
        encoder.resolve_query_set(&query_set, 0..count, &stamps, 0);
        // A u64 travels as two f32: the reader moves bits, it does not compute.
        let read = (&stamps, &staging, 2 * count as usize, Precision::F32);
        let words = self.gpu.finish(encoder, &[read])?.concat();
        let stamp = |pair: &[f32]| u64::from(pair[0].to_bits()) | u64::from(pair[1].to_bits()) << 32;
        let stamps: Vec<u64> = words.chunks_exact(2).map(stamp).collect();
        let tick = f64::from(self.gpu.queue.get_timestamp_period()) * 1e-9;
        Ok(stamps.chunks_exact(2).map(|pair| pair[1].wrapping_sub(pair[0]) as f64 * tick).collect())
    }

    /// The seconds of passes of launches.
    fn time_passes(&mut self, inputs: &[&[f32]], passes: &[Range<usize>]) -> Result<Vec<f64>> {
        self.gpu.guarded(|| {
            self.upload(inputs)?;
            self.gpu.wait(self.gpu.queue.submit([]))?;
            if self.gpu.info.timestamp_query {
                let chunks = passes.chunks(MOST_STAMPED).map(|chunk| self.time_by_stamps(chunk));
                return Ok(chunks.collect::<Result<Vec<_>>>()?.concat());
            }
            let one = |pass: &Range<usize>| {
                let begin = Instant::now();
                self.execute(pass.clone(), &[])?;
                Ok(begin.elapsed().as_secs_f64())
            };
            passes.iter().map(one).collect()
        })
    }
}

impl Executor for Program {
    fn run(&mut self, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        self.gpu.guarded(|| {
            self.upload(inputs)?;
            self.outputs(0..self.launches.len())
        })
    }

    fn run_watched(&mut self, inputs: &[&[f32]], watch: Watch) -> Result<Vec<Vec<f32>>> {
        let len = |step: &Step| step.kernel.output_len();
        let longest = self.plan.steps.iter().map(len).max().unwrap_or(0);
        let staging = self.gpu.guarded(|| {
            self.upload(inputs)?;
            Ok(self.gpu.staging(longest))
        })?;
        for (index, step) in self.plan.steps.iter().enumerate() {
            let precision = self.plan.precision(step.output);
            let read = (&self.buffers[step.output], &staging, len(step), precision);
            let output = self.gpu.guarded(|| self.execute(self.steps[index].clone(), &[read]))?.concat();
            watch(index, &output)?;
        }
        self.gpu.guarded(|| self.outputs(0..0))
    }

    fn time(&mut self, inputs: &[&[f32]]) -> Result<f64> {
        let whole = 0..self.launches.len();
        Ok(self.time_passes(inputs, &[whole])?.iter().sum())
    }

    fn time_steps(&mut self, inputs: &[&[f32]]) -> Result<Vec<(String, f64)>> {
        let seconds = self.time_passes(inputs, &self.steps.clone())?;
        Ok(self.plan.steps.iter().map(|step| step.node.clone()).zip(seconds).collect())
    }

    fn take_sums(&mut self) -> Result<Vec<Vec<f32>>> {
        self.gpu.guarded(|| {
            // One after the other: together they may be as large as the network, and host memory for them is
            // wanted rarely.
            let mut sums = Vec::with_capacity(self.plan.sums.len());
            for port in &self.plan.sums {
                let Operand::Buffer(id) = port.place else { continue };
                let (len, staging) = (port_len(port), self.gpu.staging(port_len(port)));
                let read = (&self.buffers[id], &staging, len, self.plan.precision(id));
                sums.extend(self.gpu.finish(self.gpu.encoder(), &[read])?);
            }
            let mut encoder = self.gpu.encoder();
            self.sums.iter().for_each(|&id| encoder.clear_buffer(&self.buffers[id], 0, None));
            self.gpu.finish(encoder, &[])?;
            Ok(sums)
        })
    }
}

fn encode_pass(
    encoder: &mut wgpu::CommandEncoder,
    launches: &[Launch],
    timestamp_writes: Option<wgpu::ComputePassTimestampWrites>,
) {
    let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
    let mut pass = encoder.begin_compute_pass(&descriptor);
    for launch in launches {
        let [x, y, z] = launch.workgroups;
        pass.set_pipeline(&launch.pipeline.pipeline);
        pass.set_bind_group(0, &launch.group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}

/// Compiles what a plan needs and the device does not have yet, on all cores.
fn compile(gpu: &Gpu, pieces: &[Piece], dispatches: &[Dispatch]) -> Result<()> {
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

/// Makes a program.
struct Loader<'a> {
    gpu: &'a Arc<Gpu>,
    plan: &'a Plan,
    buffers: Vec<wgpu::Buffer>,
    temps: Vec<wgpu::Buffer>,
    /// Elements of the temporaries.
    temp_lens: &'a [usize],
    /// Views of buffers, and of constants that are bound as they are: what shares one shares its texture.
    textures: HashMap<(Place, View, Precision), Texture>,
    /// How many elements a view has of what its buffer holds, at the launch that is being made.
    fresh: HashMap<(Place, View), usize>,
    /// Constants that are bound as they are: steps that share one share its buffer.
    constants: HashMap<(Place, Precision), wgpu::Buffer>,
    waiting: u64,
}

impl<'a> Loader<'a> {
    fn new(gpu: &'a Arc<Gpu>, plan: &'a Plan, expanded: &'a Expanded) -> Result<Self> {
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

    fn load(mut self, expanded: &Expanded, dispatches: &[Dispatch], poison: bool) -> Result<Program> {
        let (uniforms, offsets) = self.uniforms(dispatches);
        let mut launches = Vec::with_capacity(dispatches.len());
        for ((piece, dispatch), offset) in expanded.pieces.iter().zip(dispatches).zip(offsets) {
            let uniform = binding(&uniforms, offset, uniform_size(dispatch));
            launches.push(self.launch(piece, dispatch, uniform).map_err(|e| e.node(&piece.node))?);
        }
        self.flush()?;
        let staging = |port: &Port| match port.place {
            Operand::Buffer(_) => Some(self.gpu.staging(port_len(port))),
            Operand::Constant(_) => None,
        };
        Ok(Program {
            gpu: Arc::clone(self.gpu),
            plan: self.plan.clone(),
            staging: self.plan.outputs.iter().map(staging).collect(),
            buffers: self.buffers,
            temps: self.temps,
            sums: sum_buffers(self.plan),
            launches,
            steps: expanded.steps.clone(),
            poison,
        })
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
        let View::Texels(per) = view else {
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
            (View::Texels(per), Some(packed)) => {
                Ok(Bound::Texture(self.upload_texture(per, &packed, precision)?))
            }
            (View::Texels(per), None) => {
                if let Some(texture) = self.textures.get(&(place, view, precision)) {
                    return Ok(Bound::Texture(texture.clone()));
                }
                let texture = self.upload_texture(per, data, precision)?;
                self.textures.insert((place, view, precision), texture.clone());
                Ok(Bound::Texture(texture))
            }
            (View::Buffer, Some(packed)) => {
                let buffer = self.upload(&packed, precision)?;
                let size = buffer.size();
                Ok(Bound::Buffer(buffer, size))
            }
            (View::Buffer, None) => {
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

impl Gpu {
    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    fn buffer(&self, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        self.device.create_buffer(&descriptor)
    }

    /// Host memory for `len` elements that come back.
    fn staging(&self, len: usize) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        self.buffer(bytes(len, Precision::F32), usage)
    }

    /// Copies, submits, waits, and reads.
    fn finish(&self, mut encoder: wgpu::CommandEncoder, reads: &[Read]) -> Result<Vec<Vec<f32>>> {
        for &(from, over, len, precision) in reads {
            let size = ((len * precision.size()) as u64).next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT);
            encoder.copy_buffer_to_buffer(from, 0, over, 0, size);
        }
        let submission = self.queue.submit([encoder.finish()]);
        let (sender, receiver) = mpsc::channel();
        for (_, over, ..) in reads {
            let sender = sender.clone();
            // The receiver is gone only when nobody waits any more.
            over.map_async(wgpu::MapMode::Read, .., move |result| {
                let _ = sender.send(result.is_ok());
            });
        }
        drop(sender);
        self.wait(submission)?;
        // Another thread that waits on this device may be the one that calls our callbacks, a moment later.
        let arrived = reads.iter().all(|_| receiver.recv_timeout(CALLBACK).is_ok_and(|ok| ok));
        let read = |&(_, over, len, precision): &Read| {
            let view = over.get_mapped_range(..).ok().filter(|_| arrived);
            let data = view.map(|view| loaded(&view[..len * precision.size()], precision));
            over.unmap();
            data.ok_or_else(|| {
                Error::new(format!("\"{}\" gives no results", self.info.name))
                    .remedy("use a smaller --batch or --device cpu")
            })
        };
        // All are unmapped, even when one fails.
        let read: Vec<Result<Vec<f32>>> = reads.iter().map(read).collect();
        read.into_iter().collect()
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
