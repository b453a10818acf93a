//! Compares the gradients of all kernels with central differences of their definitions, in `f64`.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::BTreeSet;

use secateur::compare::{Tolerance, compare};
use secateur::kernels::gradient::{Gradient, GradientCalls, GradientOperand};
use secateur::kernels::{Case, KERNELS, Kernel, cases_of};

/// Kernels without a gradient, and the reason.
const WITHOUT: &[(&str, &str)] = &[
    ("accumulate", "sums gradients"),
    ("activation_gradient", "is a gradient"),
    ("adamw", "updates parameters"),
    ("arg", "returns indices"),
    ("average_pool_gradient", "is a gradient"),
    ("channel_stats", "gathers statistics"),
    ("channel_sums", "is a gradient"),
    ("conv_integers", "computes with integers, which training does not"),
    ("conv_lanes", "an algorithm of conv"),
    ("conv_lanes_quads", "an algorithm of conv"),
    ("conv_pooled", "fuses a pool, which training does not"),
    ("conv_tiled", "an algorithm of conv"),
    ("conv_weight_gradient", "is a gradient"),
    ("copy_gradient", "is a gradient"),
    ("cross_moment", "gathers statistics"),
    ("deform_unfold", "training stops there and names the node"),
    ("depthwise_texels", "an algorithm of depthwise"),
    ("fill", "has no inputs"),
    ("filter_squares", "computes norms of filters"),
    ("filter_sums", "gathers statistics"),
    ("gather_gradient", "is a gradient"),
    ("gemv", "an algorithm of conv"),
    ("gram", "gathers statistics"),
    ("grid_sample", "training stops there and names the node"),
    ("max_pool_gradient", "is a gradient"),
    ("moving_average", "gathers statistics"),
    ("pool_indices", "returns indices"),
    ("recurrent", "training stops there and names the node"),
    ("relayout", "packs weights"),
    ("resample_gradient", "is a gradient"),
    ("roi_align", "training stops there and names the node"),
    ("roofline", "measures the device"),
    ("scale_filters", "updates parameters"),
    ("scatter_gradient", "is a gradient"),
    ("sgd", "updates parameters"),
    ("shrink_factors", "updates parameters"),
    ("sum_squares", "computes the norm of gradients"),
    ("unfold", "an algorithm of conv"),
    ("value_counts", "gathers statistics"),
    ("winograd_gemm", "an algorithm of conv"),
    ("winograd_in", "an algorithm of conv"),
    ("winograd_in_quads", "an algorithm of conv"),
    ("winograd_out", "an algorithm of conv"),
];

/// Numbers in [-1, 1), determined by the seed.
fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// The output of the definition; elements that it does not write are NaN.
fn output(kernel: &dyn Kernel, inputs: &[Vec<f64>]) -> Vec<f64> {
    let mut output = vec![f64::NAN; kernel.output_len()];
    kernel.reference(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut output);
    output
}

/// The gradient of an input by the calls, which may not use unwritten elements of the output's gradient.
fn by_calls(calls: &GradientCalls, inputs: &[Vec<f64>], output: &[f64], gradient: &[f64]) -> Vec<f64> {
    let mut temps: Vec<Vec<f64>> = calls.temps.iter().map(|&len| vec![f64::NAN; len]).collect();
    let read = |operand: &GradientOperand, temps: &[Vec<f64>]| match operand {
        GradientOperand::Input(i) => inputs[*i].clone(),
        GradientOperand::Output => output.to_vec(),
        GradientOperand::OutputGradient => gradient.to_vec(),
        GradientOperand::Temp(t) => temps[*t].clone(),
        GradientOperand::Constant(data) => data.iter().map(|&x| x.into()).collect(),
    };
    for call in &calls.calls {
        let operands: Vec<Vec<f64>> = call.inputs.iter().map(|operand| read(operand, &temps)).collect();
        let lens: Vec<usize> = operands.iter().map(Vec::len).collect();
        assert_eq!(call.kernel.input_lens(), lens, "inputs of {:?}", call.kernel);
        assert_eq!(call.kernel.output_len(), temps[call.output].len(), "output of {:?}", call.kernel);
        let operands: Vec<&[f64]> = operands.iter().map(Vec::as_slice).collect();
        call.kernel.reference(&operands, &mut temps[call.output]);
    }
    read(&calls.result, &temps)
}

/// Most elements of an input: central differences of more take too long.
const LONGEST: usize = 1 << 17;

/// Inputs for which the definition and its neighbourhood are finite: those of the case where they are indices, else noise.
fn inputs(case: &Case) -> Vec<Vec<f64>> {
    let spread = [(1.0, 0.0), (0.45, 1.05), (0.45, 0.0), (0.45, 1.5)];
    for (scale, shift) in spread {
        let kernel = &*case.kernel;
        let inputs: Vec<Vec<f64>> = (0..case.inputs.len())
            .map(|i| match kernel.gradient(i) {
                Gradient::Calls(_) => {
                    noise(case.inputs[i].len(), 7 + i as u64).iter().map(|x| scale * x + shift).collect()
                }
                _ => case.inputs[i].iter().map(|&x| x.into()).collect(),
            })
            .collect();
        let before = vec![0.0; kernel.output_len()];
        let mut output = before.clone();
        kernel.reference(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut output);
        if output.iter().all(|y| y.is_finite()) {
            return inputs;
        }
    }
    panic!("{}, {}: no inputs with finite outputs", case.kernel.row().name, case.label);
}

/// The elements of an input whose derivatives are compared: all of a short input, else some, fewer if the output is long.
fn sampled(len: usize, outputs: usize) -> BTreeSet<usize> {
    let count = ((1 << 15) / outputs.max(1)).clamp(3, 24);
    let step = (len / count).max(1);
    (0..len).step_by(step).chain(len.checked_sub(1)).collect()
}

/// Compares the gradient of input `i` of a case with central differences; returns whether there is one, or describes the
/// deviation.
///
/// Leaves out elements near a kink or a jump, for which differences over a long and a short step disagree.
fn check(case: &Case, i: usize) -> Result<bool, String> {
    const STEP: f64 = 1e-6;
    let kernel = &*case.kernel;
    let Gradient::Calls(calls) = kernel.gradient(i) else { return Ok(false) };
    let name = format!("{}, {}, input {i}", kernel.row().name, case.label);
    let inputs = inputs(case);
    let y = output(kernel, &inputs);
    let weights: Vec<f64> =
        noise(y.len(), 3).iter().zip(&y).map(|(&w, y)| if y.is_nan() { f64::NAN } else { w }).collect();
    let gradient = by_calls(&calls, &inputs, &y, &weights);
    assert_eq!(gradient.len(), inputs[i].len(), "{name}: length of the gradient");
    let slope = |step: f64, moved: &dyn Fn(f64) -> Vec<f64>| -> f64 {
        let at = |step: f64| {
            let mut inputs = inputs.clone();
            inputs[i] = moved(step);
            output(kernel, &inputs)
        };
        let (above, below) = (at(step), at(-step));
        let written = (0..y.len()).filter(|&at| !y[at].is_nan());
        written.map(|at| weights[at] * (above[at] - below[at])).sum::<f64>() / (2.0 * step)
    };
    let difference = |moved: &dyn Fn(f64) -> Vec<f64>| {
        let [wide, narrow] = [4.0 * STEP, STEP].map(|step| slope(step, moved));
        let smooth = compare(&[wide], &[narrow], Tolerance::DIFFERENCES).passed();
        smooth.then_some(narrow)
    };
    let direction = noise(inputs[i].len(), 11);
    let along = |step: f64| inputs[i].iter().zip(&direction).map(|(x, d)| x + step * d).collect();
    let all = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum::<f64>();
    let mut pairs = vec![(all, difference(&along))];
    let elements = sampled(inputs[i].len(), y.len());
    pairs.extend(elements.iter().map(|&element| {
        let moved = |step: f64| {
            let mut x = inputs[i].clone();
            x[element] += step;
            x
        };
        (gradient[element], difference(&moved))
    }));
    let smooth = pairs.iter().filter_map(|&(got, expected)| Some((got, expected?)));
    let (got, expected): (Vec<f64>, Vec<f64>) = smooth.unzip();
    if 4 * got.len() < 3 * elements.len() {
        return Err(format!(
            "{name}: {} of {} elements are at kinks",
            elements.len() - got.len(),
            elements.len()
        ));
    }
    let verdict = compare(&got, &expected, Tolerance::DIFFERENCES);
    if verdict.passed() { Ok(true) } else { Err(format!("{name}: {verdict}")) }
}

#[test]
fn gradients_are_the_derivatives_of_the_definitions() {
    let mut wrong = vec![];
    for row in KERNELS {
        let mut checked = 0;
        for case in cases_of(row).iter().filter(|case| case.inputs.iter().all(|x| x.len() <= LONGEST)) {
            for i in 0..case.inputs.len() {
                match check(case, i) {
                    Ok(compared) => checked += usize::from(compared),
                    Err(deviation) => {
                        checked += 1;
                        wrong.push(deviation);
                    }
                }
            }
        }
        if (checked == 0) != WITHOUT.iter().any(|(name, _)| *name == row.name) {
            wrong.push(format!(
                "{}: {checked} gradients; neither compared nor without one for a reason",
                row.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
