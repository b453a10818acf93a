//! Calls for the tests of convolutions of integers.

use std::sync::Arc;

use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise};
use crate::kernels::conv::integers::shape::IntegerConv;
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::test_cases::plain_convs;
use crate::kernels::kernel::Kernel;
use crate::kernels::window::Windows;

/// Every difficult convolution, with and without signs, and the extremes of both types.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, (label, conv)) in plain_convs().into_iter().enumerate() {
        let signed = index % 2 == 1;
        let zero = [117, -31, 0, 0, 255, 127, 128, -128][index % 8];
        cases.push(random(label, IntegerConv { conv, signed, zero }));
    }
    let (_, plain) = plain_convs().swap_remove(0);
    let deep = ConvKernel { in_channels: 300, out_channels: 67, out_total: 67, ..plain };
    for (signed, zero, x) in [(false, 255, 0.0), (false, 0, 255.0), (true, 127, -128.0), (true, -128, 127.0)]
    {
        let mut case = random("extremes", IntegerConv { conv: deep.clone(), signed, zero });
        case.inputs[0].fill(x);
        case.inputs[1].iter_mut().for_each(|w| *w = if *w < 0.0 { -128.0 } else { 127.0 });
        cases.push(case);
    }
    // Winograd's transforms would round sums beyond these limits.
    let windows = Windows::points([8, 8]);
    let rounded = ConvKernel { activation: Activation::QuantizeU8(1024.0, 3.0), windows, ..deep };
    let mut rounded =
        random("rounded to integers again", IntegerConv { conv: rounded, signed: false, zero: 9 });
    // Results are no ties: sums of integers, and a half.
    rounded.inputs[2].iter_mut().for_each(|b| *b = b.floor() + 0.25);
    rounded.inputs[3].fill(1.0);
    cases.push(rounded);
    cases
}

/// A case with integers of the whole ranges.
fn random(label: &str, kernel: IntegerConv) -> Case {
    let lens = kernel.input_lens();
    let low = if kernel.signed { -128.0 } else { 0.0 };
    let numbers = |input: usize, f: &dyn Fn(f32) -> f32| {
        noise(lens[input], 1 + input as u64).iter().map(|&x| f(x)).collect()
    };
    let inputs = vec![
        numbers(0, &|x| ((x + 1.0) * 128.0).floor() + low),
        numbers(1, &|x| (x * 128.0).floor()),
        numbers(2, &|x| x * 4096.0),
        numbers(3, &|x| x / 128.0),
    ];
    Case {
        label: format!("{label}, {}", if kernel.signed { "int8" } else { "uint8" }),
        kernel: Arc::new(kernel),
        inputs,
    }
}
