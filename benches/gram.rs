//! Times second moments and a convolution over the same windows, on the CPU and on every adapter.
//!
//! `cargo bench --bench gram [-- --quick] [SHAPE…]`, with shapes by their index in the list. FLOP are twice the products
//! of the lower triangle, or of the convolution. Prints medians without the first run. "A core" is by processor time
//! (on Linux), which other load does not distort.

use std::sync::Arc;

use secateur::exec::devices::{Device, DeviceChoice, list, open};
use secateur::kernels::Kernel;
use secateur::kernels::activation::Activation;
use secateur::kernels::conv::ConvKernel;
use secateur::kernels::moments::GramKernel;
use secateur::kernels::window::Windows;

#[path = "common/one_step.rs"]
mod one_step;

use one_step::{median, plan};

/// Median clock and processor time of a run in seconds.
fn timed(device: &Device, kernel: impl Kernel, runs: usize) -> [f64; 2] {
    let (plan, data) = plan(Arc::new(kernel));
    median(device.load(&plan).expect("a kernel that fits the device"), &data, runs)
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
            .map(|info| open(&DeviceChoice::Index(info.index)).expect("an adapter that is listed opens").0),
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
            let gram = GramKernel {
                batch,
                samples: batch,
                slices: 1,
                groups: 1,
                channels,
                channels_last: false,
                windows,
            };
            let side = gram.side();
            let positions = batch * windows.positions();
            let gram_flop = (side * (side + 1) * positions) as f64;
            let gram = timed(device, gram, runs);
            let conv = ConvKernel {
                batch,
                groups: 1,
                in_channels: channels,
                out_channels: channels.max(64),
                windows,
                out_offset: 0,
                out_total: channels.max(64),
                residual: false,
                activation: Activation::None,
            };
            let conv_flop = (2 * channels.max(64) * channels * windows.taps() * positions) as f64;
            let conv = timed(device, conv, runs);
            let figures = |[clock, processor]: [f64; 2], flop: f64| {
                let rate = |seconds: f64| flop / seconds * 1e-9;
                format!("{:10.3} {:8.1} {:8.1}", clock * 1e3, rate(clock), rate(processor))
            };
            println!("{name:16} {} {}", figures(gram, gram_flop), figures(conv, conv_flop));
        }
    }
}
