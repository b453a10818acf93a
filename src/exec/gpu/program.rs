//! Runs a plan on a device.
//!
//! A step is one or more launches ([`super::lowering`]). A run is one submission: compute passes with all launches, with
//! wgpu's barriers between them, and the copies of the outputs. A pass ends where a buffer is copied into a texture. The
//! watched run submits step by step.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::device::Gpu;
use super::encoding::{encode, padded};
use super::loader::{Launch, LoadedPlan, compile, load};
use super::lowering::{AlgorithmChoice, LoweredPlan};
use super::transfer::Readback;
use crate::error::Result;
use crate::exec::{
    Executor, Watch, kept_buffers, port_len, sum_buffers, validate, validate_inputs, validate_states,
};
use crate::kernels::Dispatch;
use crate::plan::{BufferId, Operand, Plan, Port, Step};
use crate::tensor::Precision;

/// Passes whose time stamps fit one query set: every device allows 4,096 queries.
const MOST_STAMPED: usize = 2048;

/// A plan with its buffers on a device.
pub(super) struct GpuProgram {
    gpu: Arc<Gpu>,
    plan: Plan,
    buffers: Vec<wgpu::Buffer>,
    temps: Vec<wgpu::Buffer>,
    launches: Vec<Launch>,
    /// The launches of each step.
    steps: Vec<Range<usize>>,
    /// A staging buffer for each output; `None` for a constant output.
    staging: Vec<Option<wgpu::Buffer>>,
    /// The buffers that keep their contents from run to run.
    kept: HashSet<BufferId>,
    poison: bool,
}

/// Lowers a plan and compiles its shaders. Algorithms whose shaders do not compile are replaced by the next ones.
fn compiled(gpu: &Gpu, plan: &Plan, choice: AlgorithmChoice) -> Result<(LoweredPlan, Vec<Dispatch>)> {
    loop {
        let lowered = LoweredPlan::new(gpu, plan, choice)?;
        let dispatches: Vec<Dispatch> = lowered.calls.iter().map(|call| call.kernel.dispatch()).collect();
        match compile(gpu, &lowered.calls, &dispatches) {
            Ok(()) => return Ok((lowered, dispatches)),
            // Each round refuses another kernel, so there are finitely many.
            Err((call, error)) if call.is_replacement && matches!(choice, AlgorithmChoice::Best) => {
                gpu.refuse(call.kernel.row(), &error);
            }
            Err((_, error)) => return Err(error),
        }
    }
}

impl GpuProgram {
    /// Loads a plan onto the device. With `poison`, every buffer that is neither a sum nor a state
    /// is filled with NaN before each run.
    ///
    /// # Errors
    /// Fails if the plan is inconsistent, if a buffer, binding or launch exceeds the device's limits, if its memory is
    /// full, or if the driver refuses a shader.
    pub(super) fn new(gpu: &Arc<Gpu>, plan: &Plan, choice: AlgorithmChoice, poison: bool) -> Result<Self> {
        validate(plan)?;
        let (lowered, dispatches) = compiled(gpu, plan, choice)?;
        let staging = |port: &Port| match port.place {
            Operand::Buffer(_) => Some(gpu.staging(port_len(port))),
            Operand::Constant(_) => None,
        };
        gpu.guarded(|| {
            let LoadedPlan { buffers, temps, launches } = load(gpu, plan, &lowered, &dispatches)?;
            for state in &plan.states {
                let bytes = padded(encode(&state.initial, Precision::F32));
                gpu.queue.write_buffer(&buffers[state.buffer], 0, &bytes);
            }
            Ok(Self {
                gpu: Arc::clone(gpu),
                plan: plan.clone(),
                staging: plan.outputs.iter().map(staging).collect(),
                buffers,
                temps,
                kept: kept_buffers(plan),
                launches,
                steps: lowered.steps,
                poison,
            })
        })
    }

    fn upload(&self, inputs: &[&[f32]]) -> Result<()> {
        validate_inputs(&self.plan, inputs)?;
        if self.poison {
            let buffers = self.buffers.iter().enumerate().filter(|(id, _)| !self.kept.contains(id));
            for buffer in buffers.map(|(_, buffer)| buffer).chain(&self.temps) {
                // All ones is NaN in f32 and f16.
                self.gpu.queue.write_buffer(buffer, 0, &vec![0xff; buffer.size() as usize]);
            }
        }
        for (port, data) in self.plan.inputs.iter().zip(inputs) {
            if let Operand::Buffer(id) = port.place {
                let bytes = encode(data, self.plan.precision(id));
                self.gpu.queue.write_buffer(&self.buffers[id], 0, &padded(bytes));
            }
        }
        Ok(())
    }

    /// Encodes launches into a command buffer. With `stamps`, writes the start time, before all copies, to the query of that index, and the
    /// end of the last pass to the next one.
    fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        launches: Range<usize>,
        stamps: Option<(&wgpu::QuerySet, u32)>,
    ) {
        let mut rest = &self.launches[launches];
        let mut first = true;
        if let (Some((query_set, at)), Some([_, ..])) = (stamps, rest.first().map(|l| &l.copies[..])) {
            // The copies for the first launch come before its pass, so an empty pass stamps the start.
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
            launch.copies.iter().for_each(|copy| copy.encode(encoder));
            let more = rest[1..].iter().position(|l| !l.copies.is_empty()).map_or(rest.len(), |at| at + 1);
            let (pass, behind) = rest.split_at(more);
            let timestamp_writes = stamps.map(|(query_set, at)| wgpu::ComputePassTimestampWrites {
                query_set,
                beginning_of_pass_write_index: first.then_some(at),
                end_of_pass_write_index: behind.is_empty().then_some(at + 1),
            });
            // A pass in the middle has no time stamps, and so no writes at all.
            let timestamp_writes = timestamp_writes.filter(|_| first || behind.is_empty());
            encode_pass(encoder, pass, timestamp_writes);
            (rest, first) = (behind, false);
        }
    }

    /// Runs launches and reads results back.
    fn execute(&self, launches: Range<usize>, reads: &[Readback]) -> Result<Vec<Vec<f32>>> {
        let mut encoder = self.gpu.encoder();
        self.encode(&mut encoder, launches, None);
        self.gpu.finish(encoder, reads)
    }

    fn outputs(&self, launches: Range<usize>) -> Result<Vec<Vec<f32>>> {
        let ports = || self.plan.outputs.iter().zip(&self.staging);
        let reads: Vec<Readback> = ports()
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

    /// Measures groups of launches by the device's clock, in seconds.
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
        // A u64 is read back as the bits of two f32.
        let read = (&stamps, &staging, 2 * count as usize, Precision::F32);
        let words = self.gpu.finish(encoder, &[read])?.concat();
        let stamp = |pair: &[f32]| u64::from(pair[0].to_bits()) | u64::from(pair[1].to_bits()) << 32;
        let stamps: Vec<u64> = words.chunks_exact(2).map(stamp).collect();
        let tick = f64::from(self.gpu.queue.get_timestamp_period()) * 1e-9;
        Ok(stamps.chunks_exact(2).map(|pair| pair[1].wrapping_sub(pair[0]) as f64 * tick).collect())
    }

    /// Measures groups of launches, in seconds.
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

impl Gpu {
    /// Loads a plan onto the device. Every step that has an algorithm of the given name uses it.
    pub(in crate::exec) fn load(
        self: &Arc<Self>,
        plan: &Plan,
        algorithm: Option<&str>,
        poison: bool,
    ) -> Result<Box<dyn Executor>> {
        let choice = algorithm.map_or(AlgorithmChoice::Best, AlgorithmChoice::Named);
        Ok(Box::new(GpuProgram::new(self, plan, choice, poison)?))
    }
}

impl Executor for GpuProgram {
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
            // One after the other: staging buffers for all sums could be as large as the network, and are rarely used.
            let mut sums = Vec::with_capacity(self.plan.sums.len());
            for port in &self.plan.sums {
                let Operand::Buffer(id) = port.place else { continue };
                let (len, staging) = (port_len(port), self.gpu.staging(port_len(port)));
                let read = (&self.buffers[id], &staging, len, self.plan.precision(id));
                sums.extend(self.gpu.finish(self.gpu.encoder(), &[read])?);
            }
            let mut encoder = self.gpu.encoder();
            sum_buffers(&self.plan).for_each(|id| encoder.clear_buffer(&self.buffers[id], 0, None));
            self.gpu.finish(encoder, &[])?;
            Ok(sums)
        })
    }

    fn states(&mut self) -> Result<Vec<Vec<f32>>> {
        self.gpu.guarded(|| {
            let mut contents = Vec::with_capacity(self.plan.states.len());
            for state in &self.plan.states {
                let (len, staging) = (state.initial.len(), self.gpu.staging(state.initial.len()));
                let read = (&self.buffers[state.buffer], &staging, len, Precision::F32);
                contents.extend(self.gpu.finish(self.gpu.encoder(), &[read])?);
            }
            Ok(contents)
        })
    }

    fn set_states(&mut self, contents: &[&[f32]]) -> Result<()> {
        validate_states(&self.plan, contents)?;
        self.gpu.guarded(|| {
            for (state, data) in self.plan.states.iter().zip(contents) {
                let bytes = padded(encode(data, Precision::F32));
                self.gpu.queue.write_buffer(&self.buffers[state.buffer], 0, &bytes);
            }
            self.gpu.wait(self.gpu.queue.submit([]))
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
