//! The search for the fewest nodes in float with which a quantized network is within a limit of quality.
//!
//! Nodes return to float in the order of their sensitivity: the noise of the outputs if a node alone has integers. Their
//! number is bisected. Quality is no monotone function of it, so the result is the network with the fewest such nodes
//! that was *evaluated* and is within the limit. One layer at least keeps its integers.

use super::calibration::Calibration;
use super::data_notices::check_calibration;
use super::decision::{Outcome, Refusal, RefusalReason};
use super::evaluation::{Evaluation, evaluate_against};
use super::integer_network::{FloatTrial, IntegerNetwork, Sensitivity};
use super::kept_outputs::{KeptOutputs, Reference};
use super::metric::MetricOptions;
use super::network::Network;
use super::probe_images::{ProbeImages, no_images};
use super::quality_limit::QualityLimit;
use super::quality_loss::{limited_metric, loss, notice_coarse};
use super::quantizing::Quantizing;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::{Observer, Stage, advance, staged};
use crate::quantize::coding::coded_size;
use crate::quantize::integer::{Integer, IntegerOptions, Quantizable};
use crate::quantize::range::RangeMethod;
use crate::stats::value_histograms;

/// Quantizes to 8-bit integers within a limit of quality: the nodes that lose most stay in float.
///
/// # Errors
/// As [`quantize`](super::quantize), and a metric of which a loss is no number.
pub fn quantize_within(
    network: &Network,
    (options, limit): (&IntegerOptions, QualityLimit),
    (device, batch): (&Device, Option<usize>),
    calibration: Option<&Calibration>,
    metric: &MetricOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome<IntegerNetwork>> {
    limit.check()?;
    let calibration = calibration.ok_or_else(no_images)?;
    check_calibration(&network.graph, Some(calibration), metric.force, observer)?;
    let choice = limited_metric(limit, network, device, calibration, (batch, metric))?;
    notice_coarse(limit, &choice, calibration, observer);
    let higher_is_better = choice.metric.as_ref().is_none_or(|metric| metric.higher_is_better());
    let quantizing = Quantizing { model: &network.model, options, device, batch, calibration };
    let mut search =
        Search { network, quantizing, limit, metric, kept: KeptOutputs::default(), tried: vec![] };
    let allows = |search: &Search| {
        search.tried.last().is_some_and(|trial| limit.allows((trial.drop, trial.value), higher_is_better))
    };
    let all = search.attempt(&[], observer)?;
    let mut best = allows(&search).then_some((all.0.clone(), all.1));
    let mut sensitivity = sensitivity(&quantizing, all.0.ranges, observer)?;
    let nodes: Vec<String> = sensitivity.iter().map(|found| found.node.clone()).collect();
    let last_layer = sensitivity.iter().rposition(|found| found.is_layer).unwrap_or(0);
    let (mut least, mut most) = (0, if best.is_some() { 0 } else { last_layer + 1 });
    staged(observer, Stage::Searching, most.max(1).ilog2() as usize + 1, |observer| {
        while most > least + 1 {
            let float = (least + most) / 2;
            let found = search.attempt(&nodes[..float], observer)?;
            if allows(&search) {
                (most, best) = (float, Some(found));
            } else {
                least = float;
            }
            advance(observer, search.tried.len() - 1)?;
        }
        Ok(())
    })?;
    search.tried.sort_by_key(|trial| trial.float_nodes);
    let Some((mut integer, evaluation)) = best else {
        let reason = RefusalReason::FloatNodes { limit, nodes: nodes.len(), tried: search.tried };
        return Ok(Outcome::Refused(Box::new(Refusal { reason, attempts: vec![], decision: None })));
    };
    for found in &mut sensitivity[..most] {
        found.is_float = true;
    }
    let chosen = |name: &String| nodes[..most].contains(name);
    for (_, reason) in integer.kept.iter_mut().filter(|(name, _)| chosen(name)) {
        *reason = "stays in float for the limit of quality";
    }
    let coded = [coded_size(&network.model)?, coded_size(&integer.model)?];
    Ok(Outcome::Done(IntegerNetwork { integer, coded, evaluation, sensitivity, tried: search.tried }))
}

/// Measures the noise by each node alone, without any refit; the largest first.
fn sensitivity(
    quantizing: &Quantizing,
    ranges: RangeMethod,
    observer: &mut dyn Observer,
) -> Result<Vec<Sensitivity>> {
    let Quantizing { model, options, device, batch, calibration } = *quantizing;
    let network = Quantizable::new(model, options)?;
    let probes = ProbeImages::of(network.graph(), calibration, (device, batch))?;
    let values = network.counted();
    let counts = value_histograms(network.graph(), &values, device, &calibration.fit, batch, observer)?;
    let layers = network.layers().map(|name| (name, true));
    let nodes: Vec<(&str, bool)> = layers.chain(network.others().map(|name| (name, false))).collect();
    let mut found = staged(observer, Stage::ProbingIntegers, nodes.len(), |observer| {
        let mut found = vec![];
        for &(node, is_layer) in &nodes {
            let integer = network.only(node)?.quantize(&counts, ranges)?;
            let noise = probes.noise(&integer.model)?;
            found.push(Sensitivity { node: node.to_owned(), is_layer, noise, is_float: false });
            advance(observer, found.len())?;
        }
        Ok(found)
    })?;
    found.sort_by(|a, b| b.noise.total_cmp(&a.noise));
    Ok(found)
}

/// The parts of a search that all attempts share.
struct Search<'a> {
    network: &'a Network,
    quantizing: Quantizing<'a>,
    limit: QualityLimit,
    metric: &'a MetricOptions,
    /// The outputs of the original for the images that judge.
    kept: KeptOutputs,
    tried: Vec<FloatTrial>,
}

impl Search<'_> {
    /// Quantizes and evaluates a network in which more nodes stay in float.
    fn attempt(&mut self, float: &[String], observer: &mut dyn Observer) -> Result<(Integer, Evaluation)> {
        let Quantizing { options, device, batch, calibration, .. } = self.quantizing;
        let all = options.float.iter().chain(float).cloned().collect();
        let options = IntegerOptions { float: all, ..options.clone() };
        let integer = Quantizing { options: &options, ..self.quantizing }.integers(observer)?;
        let graph = Graph::from_model(&integer.model)?;
        let reference = Reference { graph: &self.network.graph, kept: Some(&self.kept) };
        let by = (batch, self.metric);
        let found = evaluate_against(&graph, Some(reference), device, &calibration.judge, by, observer)?;
        let (drop, error) = loss(self.limit, &found, &self.network.model.path, self.metric.force)?;
        let metric = found.metric.as_ref().ok_or_else(|| Error::new("nothing was measured").internal())?;
        self.tried.push(FloatTrial { float_nodes: float.len(), value: metric.after, drop, error });
        Ok((integer, found))
    }
}
