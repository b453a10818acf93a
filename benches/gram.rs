//! How fast the second moments are, beside a convolution over the same windows: on the CPU, and on every adapter.
//!
//! `cargo bench --bench gram [-- --quick] [SHAPE…]`, the shapes by their place in the list. FLOP are twice the
//! products of the lower triangle, or of the convolution. Medians; the first run is not counted. "A core" is by the
//! seconds that the process's threads ran, where Linux tells them: what a busy machine does not distort.

use std::sync::Arc;

use secateur::exec::devices::{Choice, Device, list, open};
use secateur::kernels::Kernel;
use secateur::kernels::activation::Activation;
use secateur::kernels::conv::Conv;
use secateur::kernels::gram::Gram;
use secateur::kernels::window::Windows;
use secateur::plan::{Operand, Plan, Port, Step};
use secateur::tensor::DType;

/// One step over inputs that hold numbers between -1 and 1; the weights of images are 1.
fn plan(kernel: Arc<dyn Kernel>) -> (Plan, Vec<Vec<f32>>) {
    let mut plan = Plan { batch: 1, ..Plan::default() };
    let (mut operands, mut data) = (Vec::new(), Vec::new());
    for (index, len) in kernel.input_lens().into_iter().enumerate() {
        let values: Vec<f32> = if kernel.accumulates() && index == 1 {
            vec![1.0; len]
        } else {
            (0..len).map(|i| (i * 7919 % 2003) as f32 / 1001.0 - 1.0).collect()
        };
        if kernel.pack(index, &values).is_some() {
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

/// Seconds that all threads of this process ran so far, where Linux tells.
fn processor() -> Option<f64> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let nanoseconds = threads.map(|thread| {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    Some(nanoseconds.sum::<Option<f64>>()? * 1e-9)
}

/// Seconds of one run on the clock, and of the processor.
fn median(device: &Device, kernel: impl Kernel, runs: usize) -> [f64; 2] {
    let (plan, data) = plan(Arc::new(kernel));
    let inputs: Vec<&[f32]> = data.iter().map(Vec::as_slice).collect();
    let mut executor = device.load(&plan).expect("a kernel that fits the device");
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

fn main() {
    let quick = std::env::args().any(|a| a == "--quick");
    let only: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let points = |size| Windows::points([size, size]);
    let three = |size| Windows { kernel: [3, 3], pad: [1, 1], ..points(size) };
    let seven = Windows { out_hw: [112; 2], kernel: [7, 7], stride: [2, 2], pad: [3, 3], ..points(224) };
    // Name, channels, batch, windows.
    let shapes = [
        ("1×1 256 @56", 256, 1, points(56)),
        ("1×1 64 @56", 64, 4, points(56)),
        ("1×1 1024 @14", 1024, 1, points(14)),
        ("3×3 64 @56", 64, 1, three(56)),
        ("3×3 256 @14", 256, 1, three(14)),
        ("3×3 16 @32", 16, 16, three(32)),
        ("7×7/2 3 @224", 3, 1, seven),
    ];
    let mut devices = vec![Device::Cpu];
    devices.extend(
        list()
            .iter()
            .map(|info| open(&Choice::Index(info.index)).expect("an adapter that is listed opens").0),
    );
    for device in &devices {
        let about = device.describe();
        println!("{} ({}, {})", about.name, about.backend, about.driver);
        println!("{:16} {:>28} {:>28}", "", "gram: ms, GFLOP/s, a core", "conv: ms, GFLOP/s, a core");
        for (index, &(name, channels, batch, windows)) in shapes.iter().enumerate() {
            if !only.is_empty() && !only.contains(&index) {
                continue;
            }
            let runs = if quick { 3 } else { 11 };
            let gram = Gram { batch, groups: 1, channels, channels_last: false, windows };
            let side = gram.side();
            let positions = batch * windows.positions();
            let gram_flop = (side * (side + 1) * positions) as f64;
            let gram = median(device, gram, runs);
            let conv = Conv {
                batch,
                groups: 1,
                in_channels: channels,
                out_channels: channels.max(64),
                in_hw: windows.in_hw,
                out_hw: windows.out_hw,
                kernel: windows.kernel,
                stride: windows.stride,
                dilation: windows.dilation,
                pad: windows.pad,
                out_offset: 0,
                out_total: channels.max(64),
                activation: Activation::None,
            };
            let conv_flop = (2 * channels.max(64) * channels * windows.taps() * positions) as f64;
            let conv = median(device, conv, runs);
            let figures = |[clock, processor]: [f64; 2], flop: f64| {
                let rate = |seconds: f64| flop / seconds * 1e-9;
                format!("{:10.3} {:8.1} {:8.1}", clock * 1e3, rate(clock), rate(processor))
            };
            println!("{name:16} {} {}", figures(gram, gram_flop), figures(conv, conv_flop));
        }
    }
}
