//! Times the algorithms of convolutions on an adapter: `cargo bench --bench algorithms [-- DEVICE] [NAME…]`.
//!
//! Prints medians in GFLOP/s, without the first run: by processor time (on Linux; other load does not distort it), and
//! in parentheses by the clock. "own" is the kernel's own shader, "rule" the default without autotuning. A NAME selects
//! the shapes whose names contain it.

use std::sync::Arc;

use secateur::exec::devices::{DeviceChoice, open};
use secateur::kernels::Kernel;
use secateur::kernels::activation::Activation;
use secateur::kernels::algorithms::algorithms;
use secateur::kernels::conv::ConvKernel;
use secateur::kernels::depthwise::Depthwise;
use secateur::kernels::window::Windows;

#[path = "common/one_step.rs"]
mod one_step;

use one_step::{median, plan};

/// A square convolution whose padding keeps the size of the plane for stride 1.
fn conv(
    batch: usize,
    [in_channels, out_channels]: [usize; 2],
    side: usize,
    kernel: usize,
    stride: usize,
) -> ConvKernel {
    ConvKernel {
        batch,
        groups: 1,
        in_channels,
        out_channels,
        windows: Windows {
            out_hw: [side.div_ceil(stride); 2],
            kernel: [kernel; 2],
            stride: [stride; 2],
            pad: [kernel / 2; 2],
            ..Windows::points([side; 2])
        },
        out_offset: 0,
        out_total: out_channels,
        residual: false,
        activation: Activation::Relu,
    }
}

fn depthwise(channels: usize, side: usize, stride: usize) -> Depthwise {
    Depthwise {
        batch: 1,
        channels,
        multiplier: 1,
        windows: Windows {
            out_hw: [side.div_ceil(stride); 2],
            kernel: [3, 3],
            stride: [stride; 2],
            pad: [1, 1],
            ..Windows::points([side; 2])
        },
        activation: Activation::Clip(0.0, 6.0),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let device = args.first().filter(|a| a.parse::<usize>().is_ok()).map_or("0", String::as_str);
    let names: Vec<&String> = args.iter().filter(|a| a.parse::<usize>().is_err()).collect();
    let choice: DeviceChoice = device.parse().expect("a device");
    let device = open(&choice).expect("a device that opens").0;
    let about = device.describe();
    println!("{} ({}, {})", about.name, about.backend, about.driver);
    let mut shapes: Vec<(String, f64, Arc<dyn Kernel>)> = Vec::new();
    let mut add = |name: &str, conv: ConvKernel| {
        let flop = 2.0 * (conv.output_len() * conv.input_lens()[1] / conv.out_channels) as f64;
        shapes.push((name.to_owned(), flop, Arc::new(conv)));
    };
    add("3x3 64 @56", conv(1, [64, 64], 56, 3, 1));
    add("3x3 128 @28", conv(1, [128, 128], 28, 3, 1));
    for channels in [250, 251, 253, 256] {
        add(&format!("3x3 {channels} @14"), conv(1, [channels; 2], 14, 3, 1));
    }
    add("3x3 512 @7", conv(1, [512, 512], 7, 3, 1));
    add("3x3/2 128 @56", conv(1, [128, 128], 56, 3, 2));
    add("1x1 256-64 @56", conv(1, [256, 64], 56, 1, 1));
    add("1x1 1024-256 @14", conv(1, [1024, 256], 14, 1, 1));
    add("1x1 512-2048 @7", conv(1, [512, 2048], 7, 1, 1));
    add("1x1 16-96 @112", conv(1, [16, 96], 112, 1, 1));
    add("7x7/2 3-64 @224", conv(1, [3, 64], 224, 7, 2));
    add("row 4096-4096", conv(1, [4096, 4096], 1, 1, 1));
    add("8 rows 4096-4096", conv(8, [4096, 4096], 1, 1, 1));
    for (channels, side, stride) in [(144, 56, 1), (144, 56, 2), (960, 7, 1)] {
        let kernel = depthwise(channels, side, stride);
        let flop = 18.0 * kernel.output_len() as f64;
        shapes.push((format!("depthwise/{stride} {channels} @{side}"), flop, Arc::new(kernel)));
    }
    for (name, flop, kernel) in shapes {
        if !names.is_empty() && !names.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        print!("{name:18}");
        let (plan, data) = plan(Arc::clone(&kernel));
        let names = algorithms(&*kernel).into_iter().map(|algorithm| algorithm.name);
        for algorithm in [None, Some("own")].into_iter().chain(names.map(Some)) {
            // No algorithm has the name "own", so this selects the kernel's own shader.
            let executor =
                algorithm.map_or_else(|| device.load(&plan), |name| device.load_by(&plan, name, false));
            let Ok(executor) = executor else { continue };
            let [clock, processor] = median(executor, &data, 5).map(|seconds| flop / seconds * 1e-9);
            print!("  {} {processor:.1} ({clock:.1})", algorithm.unwrap_or("rule"));
        }
        println!();
    }
}
