//! Networks with data-dependent output shapes: the host subgraph selects boxes or elements after the device, and
//! channels that enter it are not pruned. golden_ops.rs compares the outputs of these files with ONNX Runtime.

#![allow(clippy::unwrap_used)] // a panic is a failed test

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use secateur::compare::{Tolerance, compare};
use secateur::exec::check::{check, first_failing};
use secateur::exec::devices::Device;
use secateur::exec::host_subgraph::OutputTensor;
use secateur::exec::session::{Session, SessionOptions};
use secateur::graph::facts::{Facts, takes_batches};
use secateur::graph::{Graph, Sizes};
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::prune::{
    Budget, Channels, Criterion, CutLimits, Scope, Score, ScoreNormalization, Scoring, allocate, prove,
    rewrite, scores,
};
use secateur::stats::{Distances, Header, Profile};
use secateur::tensor::DType;

#[allow(dead_code)] // golden_ops.rs uses more of it
#[path = "common/cases.rs"]
mod cases;

use cases::{Case, devices};

fn golden() -> BTreeMap<String, Case> {
    cases::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ops.safetensors"))
}

/// Returns the golden cases that have a host subgraph after layers.
fn detectors() -> BTreeMap<String, Case> {
    let mut cases = golden();
    cases.retain(|name, _| name.starts_with("detector_") || name.starts_with("late_"));
    assert!(cases.len() >= 7, "the networks are there");
    cases
}

fn model(case: &Case) -> Model {
    Model::from_bytes(case.model.clone(), Path::new("detector.onnx")).unwrap()
}

fn outputs_of(graph: &Graph, device: &Device, case: &Case) -> Vec<OutputTensor> {
    let feed = |i: &secateur::graph::GraphInput| -> Vec<f32> {
        case.inputs[graph.name(i.value)].1.iter().map(|&v| v as f32).collect()
    };
    let inputs: Vec<Vec<f32>> = graph.sample_inputs().map(feed).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let shapes = case.inputs.iter().map(|(name, array)| (name.clone(), array.0.clone())).collect();
    let wanted = SessionOptions { sizes: Sizes::Whole(shapes), ..SessionOptions::default() };
    Session::new(graph, device, &wanted, &|_| vec![]).unwrap().run(&inputs).unwrap()
}

#[test]
fn a_session_returns_every_output_in_its_type_and_in_the_shape_of_this_run() {
    for (name, case) in detectors() {
        let graph = Graph::from_model(&model(&case)).unwrap();
        for (device_name, device) in devices() {
            let outputs = outputs_of(&graph, &device, &case);
            assert_eq!(outputs.len(), graph.outputs.len(), "{name}");
            for (output, &value) in outputs.iter().zip(&graph.outputs) {
                assert_eq!(output.name, graph.name(value), "{name}: in the network's order");
                let (shape, expected) = &case.outputs[&output.name];
                assert!(output.tensor.shape == *shape || output.tensor.shape.is_empty(), "{name}");
                let verdict = compare(&output.tensor.to_f64(), expected, Tolerance::NETWORK);
                assert!(verdict.passed(), "{name} on {device_name}: {}: {verdict}", output.name);
            }
        }
    }
    let outputs = outputs_of(
        &Graph::from_model(&model(&detectors()["detector_yolo_batch1_op13"])).unwrap(),
        &Device::Cpu,
        &detectors()["detector_yolo_batch1_op13"],
    );
    let types: HashMap<&str, DType> = outputs.iter().map(|o| (o.name.as_str(), o.tensor.dtype)).collect();
    assert_eq!(types["y_class"], DType::I64);
    assert_eq!(types["y_small"], DType::I32);
    assert_eq!(types["y_any"], DType::Bool);
    assert_eq!(types["y_boxes"], DType::F32);
}

#[test]
fn networks_pruned_to_half_pass_the_proof_and_select_equal_boxes() {
    // One more network without a host subgraph, whose Compress of channels must be pruned as well.
    let mut networks = detectors();
    // All features of the detector of two stages enter the host subgraph.
    networks.retain(|name, _| !name.starts_with("detector_two_stages"));
    networks.extend(golden().into_iter().filter(|(name, _)| name.starts_with("compress_channels")));
    for (name, case) in networks {
        let model = model(&case);
        let graph = Graph::from_model(&model).unwrap();
        let channels = Channels::of(&graph).unwrap();
        let profile = Profile::of_weights(&graph, Header::default(), Distances::None).unwrap();
        let l1: Criterion = "l1".parse().unwrap();
        let scoring = Scoring { criterion: &l1, normalize: ScoreNormalization::Layer, seed: 0, curves: None };
        let scores = scores(&graph, &channels, &profile, &scoring, &BTreeSet::new()).unwrap();
        let scores = Score::values(&scores);
        let limits = CutLimits { scope: Scope::Global, ..CutLimits::default() };
        let removed = allocate(&channels, &scores, Budget::KeepMacs(0.5), &limits, &BTreeSet::new())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let pruned = rewrite(&model, &graph, &channels, &removed).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (masked, small) =
            (Graph::from_model(&pruned.masked).unwrap(), Graph::from_model(&pruned.model).unwrap());
        let cost = |graph: &Graph| Channels::of(graph).map(|c| c.cost(&c.lengths()).0).unwrap();
        assert!(cost(&small) * 2 <= cost(&graph), "{name}");
        for (device_name, device) in devices() {
            let proof =
                prove(&pruned.masked, &pruned.model, &device, None).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(proof.passed, "{name} on {device_name}");
            let (got, expected) = (outputs_of(&small, &device, &case), outputs_of(&masked, &device, &case));
            for (got, expected) in got.iter().zip(&expected) {
                assert_eq!(got.tensor.shape, expected.tensor.shape, "{name} on {device_name}: {}", got.name);
                let verdict = compare(&got.tensor.to_f64(), &expected.tensor.to_f64(), Tolerance::NETWORK);
                assert!(verdict.passed(), "{name} on {device_name}: {}: {verdict}", got.name);
            }
        }
    }
}

#[test]
fn channels_that_enter_the_host_subgraph_are_blocked_with_a_reason() {
    let graph = Graph::from_model(&model(&detectors()["detector_yolo_batch1_op13"])).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let block = |conv: &str| {
        let of = |k: &&secateur::prune::CoupledChannels| {
            k.members.iter().any(|&(n, _)| graph.nodes[n].name == conv)
        };
        let coupled: Vec<_> = channels.coupled.iter().filter(of).collect();
        assert!(!coupled.is_empty(), "{conv}");
        coupled.iter().map(|k| k.block.clone()).collect::<Vec<_>>()
    };
    for block in block("Conv_6") {
        let block = block.expect("the head feeds NonMaxSuppression");
        assert_eq!(block.reason, "has a shape that is known only at run time");
        assert!(block.node.starts_with("NonMaxSuppression"), "{block:?}");
    }
    assert!(block("Conv_2").iter().all(Option::is_none), "the backbone may be cut");
}

#[test]
fn weights_shared_with_the_host_subgraph_are_kept() {
    let graph = Graph::from_model(&model(&detectors()["late_shares_weights_op13"])).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let tied =
        channels.coupled.iter().filter(|k| k.members.iter().any(|&(n, _)| graph.nodes[n].name == "Conv_4"));
    assert!(tied.clone().count() > 0 && tied.clone().all(|k| k.block.is_some()));
}

#[test]
fn boxes_of_several_images_are_not_split() {
    let cases = detectors();
    let (one, two) = (&cases["detector_yolo_batch1_op13"], &cases["detector_yolo_batch2_op13"]);
    let graph = Graph::from_model(&model(two)).unwrap();
    assert!(!takes_batches(&Graph::from_model(&model(one)).unwrap()) && !takes_batches(&graph));
    // For a wanted batch of one image, the network still runs at the batch of two that its file declares.
    let session = Session::plain(&graph, &Device::Cpu, Some(1)).unwrap();
    assert_eq!((session.batch, session.host_nodes()), (2, 17));
    let error = Session::plain(&graph, &Device::Cpu, Some(8)).unwrap_err();
    assert!(error.message().contains("fixed batch size"), "{error}");
}

#[test]
fn data_dependent_values_have_no_fact_and_can_be_tapped() {
    let case = &detectors()["detector_yolo_batch1_op13"];
    let graph = Graph::from_model(&model(case)).unwrap();
    let facts = Facts::at_own_size(&graph).unwrap();
    let (chosen, scores) = (graph.value("k").unwrap(), graph.value("s").unwrap());
    assert!(
        facts.is_data_dependent(chosen) && facts.get(chosen).is_none() && !facts.is_data_dependent(scores)
    );
    let wanted = SessionOptions { taps: vec![scores, chosen], outputs: false, ..SessionOptions::default() };
    let mut session = Session::new(&graph, &Device::Cpu, &wanted, &|_| vec![]).unwrap();
    let x: Vec<f32> = case.inputs["x"].1.iter().map(|&v| v as f32).collect();
    let outputs = session.run(&[&x]).unwrap();
    assert_eq!(outputs.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["s", "k"]);
    assert_eq!(outputs[1].tensor.shape, [case.outputs["y_scores"].0[0], 3]);
    assert_eq!(session.host_nodes(), 1, "nodes that no output depends on do not run");
}

#[test]
fn a_check_compares_the_steps_and_reports_the_selected_boxes() {
    let case = &detectors()["detector_ssd_op13"];
    let graph = Graph::from_model(&model(case)).unwrap();
    let x: Vec<f32> = case.inputs["x"].1.iter().map(|&v| v as f32).collect();
    for (name, device) in devices() {
        let session = Session::plain(&graph, &device, None).unwrap();
        let checks = check(&session.plan, &device, &[&x], &mut Silent).unwrap();
        assert!(first_failing(&checks.steps).is_none(), "{name}");
        assert_eq!(checks.data_dependent.len(), graph.outputs.len(), "{name}");
        assert!(
            checks.data_dependent.iter().all(|l| l.agrees && l.shape == l.expected),
            "{name}: {:?}",
            checks.data_dependent
        );
    }
}

#[test]
fn a_different_host_subgraph_fails_the_proof() {
    let case = &detectors()["late_has_layers_op13"];
    let right = model(case);
    let mut wrong = model(case);
    let tensor = wrong.graph_mut().initializer.iter_mut().find(|t| t.name() == "bl").unwrap();
    let zeros = secateur::tensor::Tensor::float(&[8], vec![0.0; 8]);
    *tensor = secateur::onnx::tensor::encode("bl", &zeros);
    prove(&right, &right, &Device::Cpu, None).unwrap();
    let error = prove(&right, &wrong, &Device::Cpu, None).unwrap_err();
    assert!(error.message().contains("not those of the original"), "{error}");
    assert!(error.node_name().is_some_and(|n| n.starts_with("Gemm")), "{error}");
}
