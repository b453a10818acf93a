//! Times one call of a kernel as a plan of its own.

use std::sync::Arc;

use secateur::exec::Executor;
use secateur::kernels::Kernel;
use secateur::kernels::algorithm::CallInput;
use secateur::kernels::algorithms::algorithms;
use secateur::plan::{Operand, Plan, Port, Step};
use secateur::tensor::DType;

/// Returns whether the kernel's shader or an algorithm packs an input, which must then be a constant.
fn packs(kernel: &dyn Kernel, input: usize, data: &[f32]) -> bool {
    let calls = algorithms(kernel).into_iter().flat_map(|algorithm| algorithm.calls);
    let by_algorithm = calls.into_iter().any(|call| {
        let mut places =
            call.inputs.iter().enumerate().filter(|(_, source)| **source == CallInput::Input(input));
        places.any(|(place, _)| call.kernel.pack(place, data).is_some())
    });
    by_algorithm || kernel.pack(input, data).is_some()
}

/// A plan of one step, with inputs between -1 and 1 and image weights of 1.
pub(crate) fn plan(kernel: Arc<dyn Kernel>) -> (Plan, Vec<Vec<f32>>) {
    let mut plan = Plan { batch: 1, ..Plan::default() };
    let (mut operands, mut data) = (Vec::new(), Vec::new());
    for (index, len) in kernel.input_lens().into_iter().enumerate() {
        let values: Vec<f32> = if kernel.accumulates() && index == 1 {
            vec![1.0; len]
        } else {
            (0..len).map(|i| (i * 7919 % 2003) as f32 / 1001.0 - 1.0).collect()
        };
        if packs(&*kernel, index, &values) {
            operands.push(Operand::Constant(plan.constants.len()));
            plan.constants.push(Arc::new(values));
            continue;
        }
        let place = Operand::Buffer(plan.buffers.len());
        plan.buffers.push(len);
        plan.inputs.push(Port { name: format!("input {index}"), place, shape: vec![len], dtype: DType::F32 });
        operands.push(place);
        data.push(values);
    }
    let output = plan.buffers.len();
    plan.buffers.push(kernel.output_len());
    let shape = vec![kernel.output_len()];
    let port = Port { name: "output".into(), place: Operand::Buffer(output), shape, dtype: DType::F32 };
    if kernel.accumulates() {
        plan.sums.push(port);
    } else {
        plan.outputs.push(port);
    }
    plan.steps.push(Step { kernel, inputs: operands, output, node: "bench".into(), value: None });
    (plan, data)
}

/// Processor time of all threads of this process in seconds, on Linux.
fn processor() -> Option<f64> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let nanoseconds = threads.map(|thread| {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    Some(nanoseconds.sum::<Option<f64>>()? * 1e-9)
}

/// Median clock and processor time of `runs` runs in seconds, after one that is not counted.
pub(crate) fn median(mut executor: Box<dyn Executor>, data: &[Vec<f32>], runs: usize) -> [f64; 2] {
    let inputs: Vec<&[f32]> = data.iter().map(Vec::as_slice).collect();
    let mut time = || {
        let before = processor();
        let clock = executor.time(&inputs).expect("a run");
        [clock, processor().zip(before).map_or(f64::NAN, |(after, before)| after - before)]
    };
    time();
    let seconds: Vec<[f64; 2]> = (0..runs).map(|_| time()).collect();
    [0, 1].map(|which| {
        let mut sorted: Vec<f64> = seconds.iter().map(|s| s[which]).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[runs / 2]
    })
}
