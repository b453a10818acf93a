//! Statistics of filters' gradients, and penalties that make whole channels zero.

use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::Graph;
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::pipeline::{
    Budget, Evidence, Network, Optimizer, Outcome, PenaltyRule, PlanOptions, Profile, PruneOptions, Pruned,
    Repair, Target, TrainingOptions, prune,
};
use secateur::tensor::SampleShape;

use super::adapters::gpus;
use super::files::numbers;
use super::setup::{Course, classifier, labelled, steps};

/// Returns the weights of each layer of a model as filters, by the layer's name.
fn filters(model: &Model) -> Vec<(String, Vec<Vec<f64>>)> {
    let graph = Graph::from_model(model).unwrap();
    let layers = graph.nodes.ids().filter(|&id| graph.nodes[id].op.layer().is_some());
    layers
        .map(|id| {
            let node = &graph.nodes[id];
            let weight = graph.values[node.inputs[1].unwrap()].constant.as_ref().unwrap();
            let size = weight.len() / weight.shape[0];
            (node.name.clone(), weight.to_f64().chunks(size).map(<[f64]>::to_vec).collect())
        })
        .collect()
}

#[test]
fn gradients_of_filters_are_those_of_the_updates() {
    let course = Course::of(labelled(classifier(41)));
    let momentum = 0.9;
    for device in std::iter::once(Device::Cpu).chain(gpus("filter statistics")) {
        let options = TrainingOptions {
            optimizer: Optimizer::Sgd { momentum },
            decay: 0.0,
            rate: Some(1e-2),
            schedule: secateur::pipeline::Schedule::Constant,
            trajectories: true,
            ..steps(1)
        };
        let trained = course.train(None, &device, &options);
        let profile = trained.profile.unwrap();
        let (before, after) = (filters(&course.network.model), filters(&trained.model));
        for ((node, before), (_, after)) in before.iter().zip(&after) {
            let layer = profile.layers.iter().find(|layer| layer.node == *node).unwrap();
            let found = &layer.trajectory.gradients;
            assert_eq!((found.mean.len(), found.movement.len()), (1, before.len()));
            for (filter, (w, now)) in before.iter().zip(after).enumerate() {
                // The first step of Nesterov's momentum moves by rate·(1 + momentum)·g.
                let g: Vec<f64> =
                    w.iter().zip(now).map(|(w, now)| (w - now) / (1e-2 * (1.0 + momentum))).collect();
                let size = w.len() as f64;
                let sum = |f: &dyn Fn(f64, f64) -> f64| g.iter().zip(w).map(|(&g, &w)| f(g, w)).sum::<f64>();
                let mean = sum(&|g, _| g) / size;
                let scale = sum(&|g, _| g.abs());
                let close = |got: f64, wanted: f64, what: &str| {
                    let least = 2e-3 * scale + 1e-5;
                    assert!((got - wanted).abs() < least, "{node} {filter} {what}: {got}, not {wanted}");
                };
                close(found.mean[0][filter] * size, mean * size, "mean");
                close(found.l1[0][filter], scale, "l1");
                close(found.movement[filter], sum(&|g, w| -w * g), "movement");
                close(found.saliency[0][filter], sum(&|g, w| (w * g).abs()), "saliency");
                let variance = sum(&|g, _| g * g) / size - mean * mean;
                close(found.variance[0][filter].sqrt() * size, variance.max(0.0).sqrt() * size, "variance");
            }
        }
    }
}

#[test]
fn a_profile_of_a_training_decides_by_movement() {
    let course = Course::of(labelled(classifier(42)));
    let trained = course.train(None, &Device::Cpu, &TrainingOptions { trajectories: true, ..steps(12) });
    let profile = trained.profile.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training.profile");
    profile.save(&path).unwrap();
    assert_eq!(Profile::load(&path).unwrap(), profile);
    let gradients = &profile.layers[0].trajectory.gradients;
    assert_eq!(gradients.mean.len(), 3, "epochs");
    assert_eq!(profile.layers[0].trajectory.sign_changes.len(), 4, "checkpoints");

    let network = Network::from_model(trained.model.clone()).unwrap();
    let plan =
        PlanOptions { target: Target::Keep(Budget::KeepMacs(0.6)), ..PlanOptions::by("movement").unwrap() };
    let evidence = Evidence { profile: Some(profile.clone()), ..Evidence::default() };
    let decided = secateur::pipeline::plan(&network, &Device::Cpu, evidence, &plan, &mut Silent).unwrap();
    let decision = decided.done().unwrap();
    assert!(!decision.removed.is_empty());

    // A profile without gradients says so.
    let mut without = profile;
    without.layers.iter_mut().for_each(|layer| layer.trajectory.gradients = Default::default());
    let evidence = Evidence { profile: Some(without), ..Evidence::default() };
    let error = secateur::pipeline::plan(&network, &Device::Cpu, evidence, &plan, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("no gradients"), "{error}");
}

/// Removes the channels whose score is zero.
fn without_zeros(model: Model, criterion: &str) -> Pruned {
    let network = Network::from_model(model).unwrap();
    let plan = PlanOptions {
        target: Target::Keep(Budget::RemoveBelow(1e-12)),
        ..PlanOptions::by(criterion).unwrap()
    };
    let options = PruneOptions { plan, repair: Some(Repair::None), ..PruneOptions::default() };
    match prune(network, &Device::Cpu, Evidence::default(), &options, &mut Silent).unwrap() {
        Outcome::Done(pruned) => pruned,
        other => panic!("{other:?}"),
    }
}

fn outputs(model: &Model) -> Vec<f64> {
    let graph = Graph::from_model(model).unwrap();
    let sample = SampleShape::of_one(&[3, 8, 8]);
    let mut session = Session::for_samples(&graph, &Device::Cpu, &sample, (Some(4), 4)).unwrap();
    session.predict(&numbers(4 * 192, 5)).unwrap().iter().map(|&x| x.into()).collect()
}

#[test]
fn penalties_make_channels_zero_whose_cut_loses_nothing() {
    let course = Course::of(labelled(classifier(43)));
    for device in std::iter::once(Device::Cpu).chain(gpus("penalties")) {
        for (rule, criterion) in [(PenaltyRule::GroupLasso(0.4), "l1"), (PenaltyRule::BnL1(2.0), "bn-scale")]
        {
            let options = TrainingOptions { penalty: Some(rule), rate: Some(0.02), ..steps(60) };
            let trained = course.train(None, &device, &options);
            let [zero, all] = trained.training.zero_groups.unwrap();
            assert!(zero > 0 && zero < all, "{rule}: {zero} of {all} on {device:?}");
            if criterion == "l1" {
                let pruned = without_zeros(trained.model.clone(), criterion);
                assert!(pruned.removed_channels >= zero.min(1), "{rule}");
                assert_eq!(pruned.coupled_cut, zero, "{rule}");
                let verdict = secateur::compare::compare(
                    &outputs(&pruned.model),
                    &outputs(&trained.model),
                    secateur::compare::Tolerance::NETWORK,
                );
                // Constant channels are exact but at padded borders, and these have no padding effect: zero filters
                // without a bias are zero everywhere.
                assert!(verdict.passed() || pruned.proof.constants.is_some(), "{rule}: {verdict}");
            }
        }
        let free = course.train(None, &device, &TrainingOptions { rate: Some(0.02), ..steps(60) });
        assert_eq!(free.training.zero_groups, None);
    }
}

#[test]
fn a_penalty_without_weights_is_an_error() {
    use super::builder::Builder;
    let mut b = Builder::new(3, 8);
    let x = b.input();
    let y = b.conv(&x, 4, 3, 1, 1);
    let course = Course::of(labelled(b.finish(&[y], true).0));
    let options = TrainingOptions { penalty: Some(PenaltyRule::BnL1(0.1)), ..steps(2) };
    let error = course.observed((None, &Device::Cpu), &options, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("BatchNormalization"), "{error}");
}
