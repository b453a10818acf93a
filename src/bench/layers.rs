//! Times of single layers, for several networks in turn.

use std::collections::HashMap;

use super::peak_rates::PeakRates;
use super::{BenchOptions, Quantiles, constant_inputs};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::facts::Facts;
use crate::graph::{Graph, Sizes, ValueId};
use crate::observer::{Observer, Stage, advance, staged};
use crate::tensor::Precision;

/// The time of a node, including the nodes fused into it.
#[derive(Clone, Debug)]
pub struct LayerTime {
    /// Name of the node in the model.
    pub node: String,
    /// Seconds that a batch takes.
    pub seconds: Quantiles,
}

/// A node's time with its arithmetic and memory rates.
#[derive(Clone, Debug)]
pub struct LayerRate {
    /// Name of the node in the model.
    pub node: String,
    /// Seconds that a batch takes.
    pub seconds: Quantiles,
    /// Share of the sum of all nodes' median times.
    pub share: f64,
    /// Multiply-accumulates of a batch.
    pub macs: u64,
    /// Rate of operations at the median time, two per multiply-accumulate, in 10⁹ per second.
    pub gflops: f64,
    /// Rate of bytes at the median time, inputs and outputs once each, in 10⁹ per second.
    pub gbytes_per_s: f64,
    /// Share of the nearer peak rate that the node reaches.
    pub peak_share: f64,
}

/// Uncounted rounds, and the least number of counted rounds.
const WARM_UP: usize = 2;
const LEAST: usize = 5;

/// Times the nodes of networks in turn, for about `seconds` in all; returns each network's nodes in execution order.
///
/// The stage is [`Stage::TimingLayers`].
///
/// # Errors
/// A network that does not run on its device, or an observer that ends the operation.
pub fn layers(
    sessions: &mut [Session],
    seconds: f64,
    observer: &mut dyn Observer,
) -> Result<Vec<Vec<LayerTime>>> {
    staged(observer, Stage::TimingLayers, 0, |observer| time_steps(sessions, seconds, observer))
}

/// Times the nodes of networks as a part of the observer's current stage.
pub(super) fn time_steps(
    sessions: &mut [Session],
    seconds: f64,
    observer: &mut dyn Observer,
) -> Result<Vec<Vec<LayerTime>>> {
    let inputs: Vec<Vec<Vec<f32>>> = sessions.iter().map(constant_inputs).collect();
    let mut names: Vec<Vec<String>> = vec![vec![]; sessions.len()];
    let mut found: Vec<HashMap<String, Vec<f64>>> = vec![HashMap::new(); sessions.len()];
    let (mut spent, mut done) = (0.0, 0);
    while done < WARM_UP + LEAST || spent < seconds {
        for (i, (session, inputs)) in sessions.iter_mut().zip(&inputs).enumerate() {
            let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
            let steps = session.time_steps(&inputs)?;
            spent += steps.iter().map(|(_, s)| s).sum::<f64>();
            if done < WARM_UP {
                continue;
            }
            let mut of_node: HashMap<String, f64> = HashMap::new();
            for (node, seconds) in steps {
                if done == WARM_UP && !of_node.contains_key(&node) {
                    names[i].push(node.clone());
                }
                *of_node.entry(node).or_default() += seconds;
            }
            of_node.into_iter().for_each(|(node, s)| found[i].entry(node).or_default().push(s));
        }
        done += 1;
        advance(observer, 0)?;
    }
    let quantiles = |found: &HashMap<String, Vec<f64>>, node: String| {
        let seconds = Quantiles::of(found.get(&node).map_or(&[], Vec::as_slice));
        LayerTime { node, seconds }
    };
    let all = names.into_iter().zip(&found);
    Ok(all.map(|(names, found)| names.into_iter().map(|node| quantiles(found, node)).collect()).collect())
}

/// Times the nodes of one network and compares them with the device's peak rates, in execution order.
///
/// # Errors
/// A network that does not run on the device, or an observer that ends the operation.
pub fn layer_rates(
    graph: &Graph,
    (device, peak): (&Device, &PeakRates),
    options: BenchOptions,
    observer: &mut dyn Observer,
) -> Result<Vec<LayerRate>> {
    let session = Session::plain(graph, device, Some(options.batch))?;
    let facts = Facts::infer(graph, &graph.input_shapes(Some(session.batch), &Sizes::Own)?)?;
    let timed = layers(&mut [session], options.seconds, observer)?.concat();
    let whole: f64 = timed.iter().map(|t| t.seconds.median).sum();
    let rate = |LayerTime { node, seconds }: LayerTime| {
        let own = graph.nodes.position(|n| n.name == node);
        let macs =
            own.map_or(0, |id| graph.nodes[id].op.macs(&facts.inputs(graph, id), &facts.outputs(graph, id)));
        let values = own.map(|id| graph.nodes[id].inputs.iter().chain(&graph.nodes[id].outputs).flatten());
        let known = values.into_iter().flatten().filter(|&&v| facts.get(v).is_some());
        // Inputs and outputs of the network stay in f32.
        let size = |v: ValueId| {
            let inner = !graph.outputs.contains(&v) && graph.inputs.iter().all(|input| input.value != v);
            if inner { device.precision().size() } else { Precision::F32.size() }
        };
        let bytes: usize = known.map(|&v| facts.shape(v).iter().product::<usize>() * size(v)).sum();
        let (flops, bytes) = (2.0 * macs as f64, bytes as f64);
        LayerRate {
            share: seconds.median / whole,
            gflops: flops / seconds.median / 1e9,
            gbytes_per_s: bytes / seconds.median / 1e9,
            peak_share: peak.share(flops, bytes, seconds.median),
            node,
            seconds,
            macs,
        }
    };
    Ok(timed.into_iter().map(rate).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::observer::Silent;
    use crate::onnx::Model;

    #[test]
    fn rates_follow_from_times_and_sizes() {
        let model = Model::from_bytes(&include_bytes!("../../assets/demo.onnx")[..], Path::new("demo.onnx"));
        let graph = Graph::from_model(&model.expect("the demo network")).expect("a graph");
        let peak = PeakRates { gflops: 1.0, gbytes_per_s: 1e9 };
        let options = BenchOptions { batch: 2, seconds: 0.0, transfers: false };
        let rates = layer_rates(&graph, (&Device::Cpu, &peak), options, &mut Silent).expect("times");
        assert!((rates.iter().map(|r| r.share).sum::<f64>() - 1.0).abs() < 1e-9);
        for rate in &rates {
            let flops = 2.0 * rate.macs as f64;
            assert!((rate.gflops * rate.seconds.median * 1e9 - flops).abs() <= 1e-9 * flops, "{rate:?}");
            assert!(rate.gbytes_per_s > 0.0, "{rate:?}");
            // Memory is no limit here, and the arithmetic peak is 1.
            assert!(
                rate.macs == 0 || (rate.peak_share - rate.gflops).abs() <= 1e-9 * rate.gflops,
                "{rate:?}"
            );
        }
        assert!(rates.iter().any(|r| r.macs > 0));
    }
}
