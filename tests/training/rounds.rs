//! Pruning in rounds with a training after each.

use std::collections::BTreeSet;

use secateur::exec::devices::Device;
use secateur::observer::Silent;
use secateur::pipeline::{
    Budget, Calibration, Cut, Evaluation, Evidence, MetricOptions, Outcome, PlanOptions, PruneOptions,
    Pruned, Repair, ReportOptions, Target, TrainingOptions, apply, prune,
};
use secateur::report::MetricRow;

use super::files::Setup;
use super::setup::{classifier, labelled, steps};

fn rounds(setup: &Setup, rounds: usize, protect: &[(&str, usize)]) -> Pruned {
    let network = setup.network().unwrap();
    let data = setup.dataset(&network).unwrap();
    let calibration = Calibration::new(data, setup.origin());
    let protected: BTreeSet<usize> = network
        .channels
        .coupled
        .iter()
        .filter(|set| {
            let mut members =
                set.members.iter().map(|&(node, c)| (network.graph.nodes[node].name.as_str(), c));
            members.any(|member| protect.contains(&member))
        })
        .map(|set| set.id)
        .collect();
    assert_eq!(protected.len(), protect.len());
    let plan = PlanOptions {
        target: Target::Keep(Budget::KeepMacs(0.4)),
        criterion: Some("l1".parse().unwrap()),
        metric: MetricOptions { force: true, ..MetricOptions::default() },
        rounds,
        protected,
        ..PlanOptions::default()
    };
    let finetune = Some(TrainingOptions { rate: Some(0.01), ..steps(8) });
    let output = Some(setup.path(&format!("rounds{rounds}.onnx")));
    let report = Some(ReportOptions { seconds: 0.0, ..ReportOptions::default() });
    let options = PruneOptions { plan, output, finetune, report, stamp: true, ..PruneOptions::default() };
    match prune(network, &Device::Cpu, Evidence::images(&calibration), &options, &mut Silent).unwrap() {
        Outcome::Done(pruned) => pruned,
        other => panic!("{other:?}"),
    }
}

fn shapes(pruned: &Pruned) -> Vec<(String, Vec<i64>)> {
    pruned.model.graph().initializer.iter().map(|t| (t.name().to_owned(), t.dims.clone())).collect()
}

/// Returns the removed channels of a cut.
fn gone(cut: &Cut) -> BTreeSet<(String, usize)> {
    cut.coupled.iter().filter(|set| !set.keep).flat_map(|set| set.members.iter().cloned()).collect()
}

#[test]
fn rounds_with_training_are_one_cut_of_the_original() {
    let setup = labelled(classifier(31));
    let pruned = rounds(&setup, 3, &[]);
    assert_eq!(pruned.rounds.len(), 2);
    let budgets = pruned.rounds.iter().map(|round| round.budget.as_str());
    for (budget, wanted) in budgets.zip(["keep-macs 0.8", "keep-macs 0.6"]) {
        assert!(budget.starts_with(wanted), "{budget}");
    }
    assert!(pruned.rounds.iter().all(|round| round.training.as_ref().unwrap().made == 8));
    let original = setup.network().unwrap();
    assert_eq!(pruned.before, original.cost());
    assert!(pruned.after.macs as f64 <= 0.4 * original.cost().macs as f64, "{:?}", pruned.after);
    assert!(pruned.removed_channels > 0 && pruned.removed_channels == gone(&pruned.cut).len());
    assert_eq!(pruned.coupled_cut, pruned.cut.coupled.iter().filter(|set| !set.keep).count());
    assert_eq!(pruned.cut.model_sha256, original.model.sha256);

    // The cut of all rounds, made at once, leaves the same shapes, but not the trained weights.
    let options = PruneOptions {
        repair: Some(Repair::None),
        output: Some(setup.path("once.onnx")),
        ..Default::default()
    };
    let evidence = Evidence::default();
    let once = apply(original, &Device::Cpu, pruned.cut.clone(), evidence, &options, &mut Silent).unwrap();
    let once = once.done().unwrap();
    assert_eq!(shapes(&once), shapes(&pruned));
    assert_ne!(once.model.graph().initializer, pruned.model.graph().initializer);
}

#[test]
fn a_report_shows_the_trainings_of_all_rounds() {
    let pruned = rounds(&labelled(classifier(31)), 2, &[]);
    let page = pruned.page.unwrap();
    let [first, last] = &page.trainings[..] else { panic!("{:?}", page.trainings) };
    assert_eq!(
        [&first.budget, &last.budget],
        [&Some("keep-macs 0.7".to_owned()), &Some("keep-macs 0.4".to_owned())]
    );
    let value = |row: &Option<MetricRow>| row.as_ref().unwrap().after.unwrap();
    let judged = |found: &Option<Evaluation>| found.as_ref().unwrap().metric.as_ref().unwrap().after;
    assert_eq!(value(&first.before), judged(&pruned.rounds[0].untrained));
    assert_eq!(value(&first.after), judged(&pruned.rounds[0].evaluation));
    assert_eq!(value(&last.before), judged(&pruned.untrained));
    assert_eq!(value(&last.after), judged(&pruned.evaluation));
    for (section, record) in [(first, &pruned.rounds[0].training), (last, &pruned.training)] {
        let record = record.as_ref().unwrap();
        assert_eq!((section.steps, section.points.len()), (8, 8));
        assert_eq!(section.losses.iter().map(|loss| loss.name).collect::<Vec<_>>(), record.losses);
        let weights = section.losses.iter().map(|loss| loss.weight);
        for (point, own) in section.points.iter().zip(&record.course) {
            let sum: f64 = weights.clone().zip(&own.losses).map(|(weight, loss)| weight * loss).sum();
            assert!((sum - own.loss).abs() < 1e-9 * sum && point.loss.0 == own.loss, "{own:?}");
        }
    }
    let repeated = |what: &str| {
        page.repeat.iter().filter(|row| row.what == what).map(|row| row.value.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(repeated("Training"), ["8, 8 steps of 8 images"]);
    assert_eq!(repeated("Learning rate"), ["0.01, 0.01 (as given), schedule cosine"]);
    assert_eq!(repeated("Losses"), ["1 × soft at temperature 4 + 1 × features (layers: last)"]);
    assert_eq!(repeated("Random changes"), ["none"]);
}

#[test]
fn protected_channels_survive_all_rounds() {
    let setup = labelled(classifier(31));
    let free = gone(&rounds(&setup, 3, &[]).cut);
    // Channels that would go: the first and the last of those.
    let victims: Vec<(&str, usize)> =
        [free.first(), free.last()].into_iter().flatten().map(|(node, c)| (node.as_str(), *c)).collect();
    let kept = gone(&rounds(&setup, 3, &victims).cut);
    for (node, channel) in victims {
        assert!(!kept.contains(&(node.to_owned(), channel)), "{node} {channel}");
    }
    assert!(!kept.is_empty());
}
