//! The proof: the smaller network gives the answers of the original whose readers ignore what was
//! removed.
//!
//! Of a network with a tail, what the tail reads is compared, and that the tail is the same: same nodes, same
//! constants. Its outputs are not compared. They are a function of what it reads, so that nothing is missing from
//! the proof; but a choice (which of two boxes with nearly the same score stays) may fall the other way by the
//! rounding of the last digit, and then nothing of it agrees though nothing is wrong.

use serde::Serialize;

use crate::compare::{Tolerance, compare};
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::{Session, Wanted};
use crate::graph::Graph;
use crate::graph::facts::Facts;
use crate::onnx::Model;

/// What the proof found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proof {
    /// On how many inputs.
    pub inputs: usize,
    /// The largest absolute difference.
    pub max_abs_err: f64,
    /// The same over the largest magnitude of the masked original's outputs.
    pub max_rel_err: f64,
    /// Whether everything was within the tolerance.
    pub passed: bool,
}

/// Runs both networks on the images (as many as there are in `images`, one after the other; inputs made up when empty).
///
/// # Errors
/// A mismatch, naming the first value that differs; a network that does not run, or whose own answers are NaN.
pub fn prove(masked: &Model, pruned: &Model, device: &Device, images: &[f32]) -> Result<Proof> {
    let (masked, pruned) = (Graph::of(masked)?, Graph::of(pruned)?);
    let facts = Facts::at_own_size(&masked)?;
    let inputs: Vec<Vec<f32>> = facts.input_shapes.iter().map(|s| made_up(s.iter().product())).collect();
    let one = inputs.first().map_or(1, Vec::len).max(1);
    let single = masked.inputs.len() == 1;
    let mut rounds: Vec<Vec<&[f32]>> = vec![inputs.iter().map(Vec::as_slice).collect()];
    if single && images.len().is_multiple_of(one) {
        rounds.extend(images.chunks(one).map(|image| vec![image]));
    }
    let mut proof = Proof { inputs: rounds.len(), max_abs_err: 0.0, max_rel_err: 0.0, passed: true };
    let mut run = (Session::plain(&masked, device, Some(1))?, Session::plain(&pruned, device, Some(1))?);
    same_tail(&run.0, &run.1, &masked)?;
    for inputs in &rounds {
        let (expected, got) = (run.0.run_steps(inputs)?, run.1.run_steps(inputs)?);
        for ((port, expected), got) in run.0.plan.outputs.iter().zip(&expected).zip(&got) {
            if expected.iter().any(|v| v.is_nan()) {
                return Err(Error::new("the network's own answers are not numbers: nothing can be proved of it")
                    .file(&masked.path)
                    .node(&port.name)
                    .expected("numbers")
                    .got("NaN, from the original without the channels")
                    .remedy("see with `secateur check` where it comes from; give the images that it is made for by --data"));
            }
            let verdict = compare(got, expected, Tolerance::NETWORK);
            proof.max_abs_err = proof.max_abs_err.max(verdict.max_abs_err);
            proof.max_rel_err = proof.max_rel_err.max(verdict.max_rel_err);
            if !verdict.passed() {
                let first = first_difference(&masked, &pruned, device, inputs)?;
                return Err(Error::new(
                    "the smaller network is not equal to the masked original: nothing is written",
                )
                .node(first.unwrap_or_else(|| port.name.clone()))
                .expected("the same outputs")
                .got(verdict.to_string())
                .remedy("this is a fault of this program: please report it with the model"));
            }
        }
    }
    Ok(proof)
}

/// Both networks compute the same on the host, from the same values.
fn same_tail(masked: &Session, pruned: &Session, graph: &Graph) -> Result<()> {
    let reads = |session: &Session| -> Vec<(String, Vec<usize>)> {
        session.plan.outputs.iter().map(|port| (port.name.clone(), port.shape.clone())).collect()
    };
    let node = match (&masked.plan.tail, &pruned.plan.tail) {
        (Some(a), Some(b)) => a.difference(b).or_else(|| b.difference(a)).map(str::to_owned),
        (None, None) => None,
        (one, other) => one.iter().chain(other).flat_map(|t| &t.nodes).map(|n| n.name.clone()).next(),
    };
    if node.is_none() && reads(masked) == reads(pruned) {
        return Ok(());
    }
    Err(Error::new("the smaller network's outputs are not those of the original: nothing is written")
        .file(&graph.path)
        .node(node.unwrap_or_default())
        .expected(format!("{:?}", reads(masked)))
        .got(format!("{:?}", reads(pruned)))
        .remedy("this is a fault of this program: please report it with the model"))
}

/// The first value of unchanged shape in which the two networks differ.
fn first_difference(
    masked: &Graph,
    pruned: &Graph,
    device: &Device,
    inputs: &[&[f32]],
) -> Result<Option<String>> {
    let (fa, fb) = (Facts::at_own_size(masked)?, Facts::at_own_size(pruned)?);
    let mut taps = (Vec::new(), Vec::new());
    for a in masked.nodes.iter().flat_map(|n| n.outputs.iter().flatten().copied()) {
        let Some(b) = pruned.value(masked.name(a)) else { continue };
        let float = fa.get(a).is_some_and(|f| f.dtype.is_float() && f.value.is_none());
        if float && fa.shape(a) == fb.shape(b) {
            taps.0.push(a);
            taps.1.push(b);
        }
    }
    let names: Vec<String> = taps.0.iter().map(|&v| masked.name(v).to_owned()).collect();
    let run = |graph: &Graph, taps: Vec<usize>| {
        let wanted = Wanted { batch: Some(1), taps, outputs: false, ..Wanted::default() };
        Session::new(graph, device, &wanted, &|_| vec![])?.run_steps(inputs)
    };
    let (a, b) = (run(masked, taps.0)?, run(pruned, taps.1)?);
    let differs = |(a, b): (&Vec<f32>, &Vec<f32>)| !compare(b, a, Tolerance::NETWORK).passed();
    Ok(a.iter().zip(&b).position(differs).map(|i| names[i].clone()))
}

/// Deterministic inputs between −2 and 2.
fn made_up(len: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 4.0
        })
        .collect()
}
