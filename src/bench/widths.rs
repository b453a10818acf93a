//! Times of a network's layers at several widths, from networks with every layer cut by one share.
//!
//! So layers are timed as they run, fused, for any operator. In addition, the times of a single convolution show by how
//! many channels a layer has to shrink to become faster: kernels compute channels in groups, and a width between two
//! multiples of a group takes as long as the upper one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::layers::time_steps;
use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::{Graph, NodeId};
use crate::kernels::activation::Activation;
use crate::kernels::conv::ConvKernel;
use crate::kernels::window::Windows;
use crate::observer::{Observer, Stage, staged};
use crate::onnx::Model;
use crate::plan::Plan;
use crate::prune::{Budget, Channels, CutLimits, Scope, Times, allocate, smaller};

/// The shares of channels removed from every layer.
const CUTS: [f64; 6] = [0.0, 0.15, 0.3, 0.45, 0.6, 0.75];
/// The least seconds spent on timing all cuts.
const SECONDS: f64 = 2.0;

/// Measures the times of a network's layers per image at batch 1, and the device's channel group.
///
/// The stage is [`Stage::TimingLayers`].
///
/// # Errors
/// A network that does not run on the device, or an observer that ends the operation.
pub fn times(
    model: &Model,
    graph: &Graph,
    channels: &Channels,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Times> {
    staged(observer, Stage::TimingLayers, 0, |observer| measure(model, graph, channels, device, observer))
}

fn measure(
    model: &Model,
    graph: &Graph,
    channels: &Channels,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Times> {
    let step = step(device)?;
    let mut cuts = Vec::new();
    let mut sessions = Vec::new();
    for cut in CUTS {
        let limits = CutLimits { scope: Scope::Layer, prefer: step, ..CutLimits::default() };
        let scores = vec![0.0; channels.coupled.len()];
        let removed =
            allocate(channels, &scores, Budget::RemoveBelow(cut + 1e-9), &limits, &BTreeSet::new())?;
        if cuts.contains(&removed) {
            continue;
        }
        let small = smaller(model, graph, channels, &removed)?;
        sessions.push(Session::plain(&Graph::from_model_owned(small)?, device, Some(1))?);
        cuts.push(removed);
    }
    let timed = time_steps(&mut sessions, SECONDS, observer)?;
    let mut times = Times { curves: vec![vec![]; channels.weights.len()], step, fixed: 0 };
    for (i, (removed, timed)) in cuts.iter().zip(&timed).enumerate() {
        let lengths = channels.lengths_without(removed);
        let mut left: f64 = timed.iter().map(|t| t.seconds.median).sum();
        for (weight, curve) in channels.weights.iter().zip(&mut times.curves) {
            let macs = weight.macs_at(&lengths);
            let name = |node: NodeId| graph.nodes[node].name.as_str();
            let own = timed.iter().filter(|t| weight.nodes.iter().any(|&n| name(n) == t.node));
            let seconds: f64 = own.map(|t| t.seconds.median).sum();
            if macs > 0 && seconds > 0.0 && curve.iter().all(|&(at, _)| at != macs) {
                curve.push((macs, (seconds * 1e12) as u64));
            }
            left -= seconds;
        }
        if i == 0 {
            times.fixed = (left.max(0.0) * 1e12) as u64;
        }
    }
    times.curves.iter_mut().for_each(|curve| curve.sort_unstable());
    Ok(times)
}

/// The widths tried, and the channel groups that can show in them.
const WIDTHS: std::ops::RangeInclusive<usize> = 33..=96;
const STEPS: [usize; 5] = [2, 4, 8, 16, 32];
/// Rounds over all widths.
const ROUNDS: usize = 15;

/// Measures the largest channel group whose partial use takes about as long as the whole.
fn step(device: &Device) -> Result<usize> {
    let mut programs = WIDTHS.map(|width| device.load(&one_layer(width))).collect::<Result<Vec<_>>>()?;
    let input = vec![0.5; one_layer(1).buffers[0]];
    let mut least = vec![f64::INFINITY; programs.len()];
    for _ in 0..ROUNDS {
        for (program, least) in programs.iter_mut().zip(&mut least) {
            *least = least.min(program.time(&[&input])?);
        }
    }
    Ok(largest_step(&least))
}

/// Returns the largest step within which `times` (of `WIDTHS`) grow by less than half of a linear growth.
fn largest_step(times: &[f64]) -> usize {
    let whole = times[times.len() - 1] - times[0];
    let flat = |&&step: &&usize| {
        let within: f64 = times.chunks(step).map(|part| part[part.len() - 1] - part[0]).sum();
        let line = whole * (times.len() / step * (step - 1)) as f64 / (times.len() - 1) as f64;
        whole > 0.0 && within < 0.5 * line
    };
    STEPS.iter().rev().find(flat).copied().unwrap_or(1)
}

/// Returns a plan of one 3×3 convolution with `width` filters.
fn one_layer(width: usize) -> Plan {
    const SIDE: usize = 28;
    const CHANNELS: usize = 64;
    let conv = ConvKernel {
        batch: 1,
        groups: 1,
        in_channels: CHANNELS,
        out_channels: width,
        windows: Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([SIDE; 2]) },
        out_offset: 0,
        out_total: width,
        residual: false,
        activation: Activation::None,
    };
    Plan::of_call(Arc::new(conv), vec![vec![0.01; width * CHANNELS * 9], vec![0.0; width]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_distinguished_from_lines() {
        let times =
            |step: usize| WIDTHS.map(move |w| w.div_ceil(step) as f64 * step as f64).collect::<Vec<_>>();
        for step in STEPS {
            assert_eq!(largest_step(&times(step)), step);
        }
        assert_eq!(largest_step(&times(1)), 1);
        assert_eq!(largest_step(&vec![1.0; 64]), 1);
    }

    #[test]
    fn the_layer_runs() {
        let found = step(&Device::Cpu).expect("a time");
        assert!(found == 1 || STEPS.contains(&found), "{found}");
    }
}
