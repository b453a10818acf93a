//! The proof of a cut: the pruned network has the outputs of the original with masked channels.
//!
//! For an inexact cut, all values that enter the mixing nodes, or a node behind them, must agree. Outputs of these nodes
//! must be finite, and their difference from the masked original is reported.
//!
//! For a network with a host subgraph, the inputs of the subgraph are compared, and the subgraphs must have equal nodes
//! and constants. Outputs of the subgraph are not compared. They are a function of its inputs, so the proof is complete;
//! but a rounding error may reverse a choice (of two boxes with nearly equal scores), and then no output agrees although
//! nothing is wrong.
//!
//! Within a network, too, a rounding error may reverse a choice: the index of a MaxPool's largest value, or a rounded
//! number. An input on which the first difference is such a choice proves nothing, and other inputs take its place.
//!
//! The networks run one after the other, so that only one of them is in memory at a time.

use serde::Serialize;

use super::folded_constants::FoldedConstants;
use super::masked_reference::MaskedReference;
use super::rewrite::Rewritten;
use crate::compare::{Tolerance, Verdict, compare};
use crate::coupling::for_each_index;
use crate::data::Batch;
use crate::error::{Error, ErrorKind, OUR_FAULT, Result};
use crate::exec::devices::Device;
use crate::exec::session::{Session, SessionOptions};
use crate::graph::facts::Facts;
use crate::graph::{Graph, IdVec, NodeId, Sizes, ValueId};
use crate::onnx::Model;
use crate::ops::Kept;
use crate::plan::{HostSubgraph, Port};
use crate::tensor::show;

/// The largest number of further inputs, if rounding reverses a choice on all.
const FURTHER_INPUTS: u64 = 4;

/// The result of a proof.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proof {
    /// The number of inputs on which the networks were compared.
    pub inputs: usize,
    /// The largest absolute difference of values that must agree.
    pub max_abs_err: f64,
    /// The largest difference divided by the largest magnitude of the masked original's value.
    pub max_rel_err: f64,
    /// True if all differences are within the tolerance.
    pub passed: bool,
    /// True if the cut is exact, so that all outputs must agree.
    pub exact: bool,
    /// For an inexact cut, the largest relative difference of the outputs behind a mixing node.
    ///
    /// The difference is the effect of the cut, and is not an error.
    pub difference: Option<f64>,
    /// The removed channels that were constant, and the effect of their removal at padded borders.
    ///
    /// `None` if none was constant.
    pub constants: Option<FoldedConstants>,
}

/// Compares two networks on synthetic inputs and on the images, one after the other.
///
/// # Errors
/// A mismatch ([`ErrorKind::ProofFailed`]), with the first value that differs; a network that does not run, or with NaN
/// outputs.
pub fn prove(masked: &Model, pruned: &Model, device: &Device, images: Option<&Batch>) -> Result<Proof> {
    let reference = MaskedReference::default();
    ReferenceOutputs::of(Graph::from_model(masked)?, &reference, device, images)?.prove(
        pruned,
        device,
        &|| Graph::from_model(masked),
    )
}

impl Proof {
    /// Adds the values of both networks for one input; returns a value that must agree but differs, and then adds
    /// nothing.
    fn add<'p>(
        &mut self,
        (ports, reference): (&'p [ComparedValue], &MaskedReference),
        (expected, got): (&[Vec<f32>], &[Vec<f32>]),
    ) -> Result<Option<(&'p str, Verdict)>> {
        let mut proof = Self { inputs: self.inputs + 1, ..self.clone() };
        for ((port, expected), got) in ports.iter().zip(expected).zip(got) {
            let expected = kept(expected, port, reference)?;
            let verdict = compare(got, &expected, Tolerance::NETWORK);
            if port.exact {
                if !verdict.passed() {
                    return Ok(Some((&port.name, verdict)));
                }
                proof.max_abs_err = proof.max_abs_err.max(verdict.max_abs_err);
                proof.max_rel_err = proof.max_rel_err.max(verdict.max_rel_err);
            } else if verdict.lengths.is_some() || got.iter().any(|v| !v.is_finite()) {
                return Err(Error::new("the pruned network's outputs are not finite")
                    .with_kind(ErrorKind::ProofFailed)
                    .node(&port.name)
                    .expected(format!("{} finite numbers", expected.len()))
                    .got(verdict.to_string())
                    .remedy("remove fewer channels, or set no `inexact`"));
            } else {
                proof.difference = Some(proof.difference.unwrap_or(0.0).max(verdict.max_rel_err));
            }
        }
        *self = proof;
        Ok(None)
    }
}

/// Returns whether a value depends on a choice at its own node: it takes computed integers or booleans, or it is rounded.
fn is_choice(graph: &Graph, value: ValueId) -> bool {
    const STEPS: [&str; 4] = ["Ceil", "Floor", "Round", "Sign"];
    let Some(node) = graph.values[value].producer.map(|n| &graph.nodes[n]) else { return false };
    let Ok(facts) = Facts::at_own_size(graph) else { return false };
    let chosen = |v: &ValueId| {
        graph.values[*v].producer.is_some()
            && facts.get(*v).is_some_and(|f| !f.dtype.is_float() && f.value.is_none())
    };
    STEPS.contains(&node.op_type.as_str()) || node.inputs.iter().flatten().any(chosen)
}

impl Rewritten {
    /// Compares both networks like [`prove`]; an inexact cut is compared up to the mixing nodes.
    ///
    /// # Errors
    /// Those of [`prove`].
    pub fn prove(&self, device: &Device, images: Option<&Batch>) -> Result<Proof> {
        let masked = || Graph::from_model(&self.masked);
        let outputs = ReferenceOutputs::of(masked()?, &self.reference, device, images)?;
        outputs.prove(&self.model, device, &masked)
    }
}

/// The outputs of the masked original, kept so that the network itself can be dropped.
pub struct ReferenceOutputs<'a> {
    reference: &'a MaskedReference,
    ports: Vec<ComparedValue>,
    /// The image size, if the file leaves it free.
    sizes: Sizes,
    /// The inputs of each run; `expected` has the outputs.
    rounds: Vec<Vec<Vec<f32>>>,
    expected: Vec<Vec<Vec<f32>>>,
    /// The part of the network that runs on the host.
    host_subgraph: Option<HostSubgraph>,
}

impl std::fmt::Debug for ReferenceOutputs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReferenceOutputs").field("rounds", &self.rounds.len()).finish_non_exhaustive()
    }
}

/// Returns the inputs of each run: synthetic ones, then the images, as many at once as the network takes.
pub(super) fn rounds(session: &Session, images: Option<&Batch>) -> Vec<Vec<Vec<f32>>> {
    let mut rounds = vec![session.synthetic_inputs(0)];
    if let Some(images) = images {
        let len = session.sample().elements().max(1) * session.batch;
        rounds.extend(images.data.chunks(len).map(|samples| session.inputs(samples)));
    }
    rounds
}

/// A value that is compared, with its shape in the masked original.
pub(super) struct ComparedValue {
    name: String,
    shape: Vec<usize>,
    /// True if the value must agree.
    exact: bool,
    /// True if the value is not an output.
    tapped: bool,
}

/// Results of a network: its outputs and taps, their values in each round, and its host subgraph.
pub(super) type RunResults = (Vec<ComparedValue>, Vec<Vec<Vec<f32>>>, Option<HostSubgraph>);

/// Creates a session with `taps`, for inputs of these sizes.
pub(super) fn session(graph: &Graph, device: &Device, taps: &[ValueId], sizes: &Sizes) -> Result<Session> {
    let wanted = SessionOptions {
        batch: Some(1),
        taps: taps.to_vec(),
        sizes: sizes.clone(),
        ..SessionOptions::default()
    };
    Session::new(graph, device, &wanted, &|_| vec![])
}

/// Runs a network with its taps on the inputs of each round.
pub(super) fn run(
    graph: &Graph,
    mut session: Session,
    taps: &[ValueId],
    reference: &MaskedReference,
    rounds: &[Vec<Vec<f32>>],
) -> Result<RunResults> {
    let behind = behind(graph, reference);
    let port = |p: &Port| ComparedValue {
        name: p.name.clone(),
        shape: p.shape.clone(),
        exact: graph.value(&p.name).is_none_or(|v| !behind[v]),
        tapped: graph.value(&p.name).is_some_and(|v| taps.contains(&v)),
    };
    let ports = session.plan.outputs.iter().map(port).collect();
    let one =
        |inputs: &Vec<Vec<f32>>| session.run_steps(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let values = rounds.iter().map(one).collect::<Result<_>>()?;
    Ok((ports, values, session.plan.host_subgraph))
}

/// Returns the values that an inexact cut must not change: inputs of mixing nodes and of nodes behind them.
fn edge(graph: &Graph, reference: &MaskedReference) -> Result<Vec<ValueId>> {
    if reference.inexact.is_empty() {
        return Ok(vec![]);
    }
    let (facts, behind) = (Facts::at_own_size(graph)?, behind(graph, reference));
    let consumed =
        |v: ValueId| graph.values[v].consumers.iter().any(|&n| mixes(graph, n, reference, &behind));
    let number = |v: ValueId| facts.get(v).is_some_and(|f| f.value.is_none() && f.dtype.is_float());
    let computed = |v: ValueId| graph.values[v].producer.is_some();
    // Outputs are always compared.
    let inner = |v: ValueId| computed(v) && !graph.outputs.contains(&v);
    Ok(graph.values.ids().filter(|&v| !behind[v] && inner(v) && number(v) && consumed(v)).collect())
}

/// Returns for each value whether it is computed behind a mixing node.
fn behind(graph: &Graph, reference: &MaskedReference) -> IdVec<ValueId, bool> {
    let mut behind = graph.values.filled(false);
    for node in graph.nodes.ids() {
        if mixes(graph, node, reference, &behind) {
            graph.nodes[node].outputs.iter().flatten().for_each(|&v| behind[v] = true);
        }
    }
    behind
}

/// Returns true if removed channels mix at the node, or if the node is behind such a node.
fn mixes(graph: &Graph, node: NodeId, reference: &MaskedReference, behind: &IdVec<ValueId, bool>) -> bool {
    let node = &graph.nodes[node];
    reference.inexact.contains(&node.name) || node.inputs.iter().flatten().any(|&v| behind[v])
}

impl<'a> ReferenceOutputs<'a> {
    /// Runs the masked original on synthetic inputs and on `images`, one after the other.
    ///
    /// # Errors
    /// A network that does not run, or with NaN outputs.
    pub fn of(
        masked: Graph,
        reference: &'a MaskedReference,
        device: &Device,
        images: Option<&Batch>,
    ) -> Result<Self> {
        let sample = images.map(|batch| batch.sample.clone());
        let (sizes, taps) = (sample.map_or(Sizes::Own, Sizes::Sample), edge(&masked, reference)?);
        let session = session(&masked, device, &taps, &sizes)?;
        let rounds = rounds(&session, images);
        let (ports, expected, host_subgraph) = run(&masked, session, &taps, reference, &rounds)?;
        for (port, values) in expected.iter().flat_map(|values| ports.iter().zip(values)) {
            if values.iter().any(|v| v.is_nan()) {
                return Err(Error::new("the network's own outputs are NaN: its cut cannot be proved")
                    .file(&masked.path)
                    .node(&port.name)
                    .expected("numbers")
                    .got("NaN, from the original with masked channels")
                    .remedy("see with `check()` where it comes from; give images that the network is trained for as `data`"));
            }
        }
        Ok(Self { reference, ports, sizes, rounds, expected, host_subgraph })
    }

    /// Runs the pruned network and compares its outputs.
    ///
    /// If they differ, `masked` creates the masked original again, to find the first value that differs.
    ///
    /// # Errors
    /// A mismatch ([`ErrorKind::ProofFailed`]), with the first value that differs; a network that does not run.
    pub fn prove(
        &self,
        pruned: &Model,
        device: &Device,
        masked: &dyn Fn() -> Result<Graph>,
    ) -> Result<Proof> {
        let graph = Graph::from_model(pruned)?;
        let tap = |port: &ComparedValue| {
            graph.value(&port.name).ok_or_else(|| {
                Error::new("the pruned network lacks a value")
                    .with_kind(ErrorKind::ProofFailed)
                    .file(&pruned.path)
                    .node(&port.name)
            })
        };
        let taps = self.ports.iter().filter(|p| p.tapped).map(tap).collect::<Result<Vec<_>>>()?;
        let session = session(&graph, device, &taps, &self.sizes)?;
        let (ports, got, host_subgraph) = run(&graph, session, &taps, self.reference, &self.rounds)?;
        self.check_host_subgraph(&ports, host_subgraph.as_ref()).map_err(|e| e.file(&pruned.path))?;
        let mut proof = Proof {
            inputs: 0,
            max_abs_err: 0.0,
            max_rel_err: 0.0,
            passed: true,
            exact: self.reference.inexact.is_empty(),
            difference: None,
            constants: None,
        };
        let mut reversed = None;
        for (inputs, (expected, got)) in self.rounds.iter().zip(self.expected.iter().zip(&got)) {
            let Some((port, verdict)) = proof.add((&self.ports, self.reference), (expected, got))? else {
                continue;
            };
            let masked = masked()?;
            let first = first_difference((&masked, &graph), (device, self.reference, &self.sizes), inputs)?;
            let name = first.map_or(port, |v| masked.name(v));
            let error = unequal(name.to_owned(), &verdict);
            if !first.is_some_and(|v| is_choice(&masked, v)) {
                return Err(error);
            }
            reversed = Some(error);
        }
        match reversed.filter(|_| proof.inputs == 0) {
            Some(error) => self.prove_on_others((&masked()?, &graph), (device, &taps), proof, error),
            None => Ok(proof),
        }
    }

    /// Proves on further synthetic inputs, until rounding reverses no choice; else returns `error`.
    fn prove_on_others(
        &self,
        (masked, pruned): (&Graph, &Graph),
        (device, taps): (&Device, &[ValueId]),
        mut proof: Proof,
        error: Error,
    ) -> Result<Proof> {
        let tapped = |port: &ComparedValue| masked.value(&port.name).filter(|_| port.tapped);
        let of_masked: Vec<ValueId> = self.ports.iter().filter_map(tapped).collect();
        for seed in 1..=FURTHER_INPUTS {
            let session_of = |graph, taps| session(graph, device, taps, &self.sizes);
            let session = session_of(masked, &of_masked)?;
            let inputs = [session.synthetic_inputs(seed)];
            let (_, expected, _) = run(masked, session, &of_masked, self.reference, &inputs)?;
            let (_, got, _) = run(pruned, session_of(pruned, taps)?, taps, self.reference, &inputs)?;
            if proof.add((&self.ports, self.reference), (&expected[0], &got[0]))?.is_none() {
                return Ok(proof);
            }
        }
        Err(error)
    }

    /// Checks that both host subgraphs are equal and take equal inputs.
    fn check_host_subgraph(
        &self,
        ports: &[ComparedValue],
        host_subgraph: Option<&HostSubgraph>,
    ) -> Result<()> {
        let inputs = |ports: &[ComparedValue]| -> Vec<(String, Vec<usize>)> {
            let own = ports.iter().filter(|p| !p.tapped);
            own.map(|port| (port.name.clone(), port.shape.clone())).collect()
        };
        let node = match (&self.host_subgraph, host_subgraph) {
            (Some(a), Some(b)) => a.difference(b).or_else(|| b.difference(a)).map(str::to_owned),
            (None, None) => None,
            (one, other) => one.iter().chain(other).flat_map(|t| &t.nodes).map(|n| n.name.clone()).next(),
        };
        if node.is_none() && inputs(&self.ports) == inputs(ports) {
            return Ok(());
        }
        Err(Error::new("the pruned network's outputs are not those of the original")
            .node(node.unwrap_or_default())
            .expected(format!("{:?}", inputs(&self.ports)))
            .got(format!("{:?}", inputs(ports)))
            .with_kind(ErrorKind::ProofFailed)
            .remedy(OUR_FAULT))
    }
}

fn unequal(node: String, verdict: &Verdict) -> Error {
    Error::new("the pruned network is not equal to the masked original")
        .node(node)
        .expected("the same outputs")
        .got(verdict.to_string())
        .with_kind(ErrorKind::ProofFailed)
        .remedy(OUR_FAULT)
}

/// Returns the elements of a value whose indices stay.
fn kept(values: &[f32], port: &ComparedValue, reference: &MaskedReference) -> Result<Vec<f32>> {
    let Some(kept) = reference.kept.get(&port.name) else { return Ok(values.to_vec()) };
    let fits = |kept: &Kept| {
        let sizes = kept.iter().zip(&port.shape);
        kept.len() == port.shape.len() && sizes.clone().all(|(k, &n)| k.as_ref().is_none_or(|k| k.len() == n))
    };
    if !fits(kept) {
        return Err(Error::new(format!("the shape of \"{}\" is not the one that was cut", port.name))
            .with_kind(ErrorKind::ProofFailed)
            .got(show(&port.shape)));
    }
    let mut left = Vec::new();
    let mut all = values.iter();
    for_each_index(&port.shape, |index| {
        let stays = kept.iter().zip(index).all(|(k, &i)| k.as_ref().is_none_or(|k| k[i]));
        left.extend(all.next().filter(|_| stays));
    });
    Ok(left)
}

/// Returns the first value of unchanged shape that must agree and differs.
fn first_difference(
    (masked, pruned): (&Graph, &Graph),
    (device, reference, sizes): (&Device, &MaskedReference, &Sizes),
    inputs: &[Vec<f32>],
) -> Result<Option<ValueId>> {
    let facts = |graph: &Graph| Facts::infer(graph, &graph.input_shapes(None, sizes)?);
    let (fa, fb) = (facts(masked)?, facts(pruned)?);
    let behind = behind(masked, reference);
    let mut taps = (Vec::new(), Vec::new());
    for a in masked.nodes.iter().flat_map(|n| n.outputs.iter().flatten().copied()) {
        let Some(b) = pruned.value(masked.name(a)).filter(|_| !behind[a]) else { continue };
        let float = fa.get(a).is_some_and(|f| f.dtype.is_float() && f.value.is_none());
        if float && fa.shape(a) == fb.shape(b) {
            taps.0.push(a);
            taps.1.push(b);
        }
    }
    let values = taps.0.clone();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let run = |graph: &Graph, taps: Vec<ValueId>| {
        let wanted = SessionOptions {
            batch: Some(1),
            taps,
            sizes: sizes.clone(),
            outputs: false,
            ..SessionOptions::default()
        };
        Session::new(graph, device, &wanted, &|_| vec![])?.run_steps(&inputs)
    };
    let (a, b) = (run(masked, taps.0)?, run(pruned, taps.1)?);
    let differs = |(a, b): (&Vec<f32>, &Vec<f32>)| !compare(b, a, Tolerance::NETWORK).passed();
    Ok(a.iter().zip(&b).position(differs).map(|i| values[i]))
}
