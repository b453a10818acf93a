//! Tests of budgets side by side, and of what several decisions and evaluations share.

use super::super::evaluation::evaluate_against;
use super::super::kept_outputs::{KeptOutputs, Reference};
use super::super::repairing::repair_layers;
use super::*;

fn budgets(targets: &[Target]) -> Vec<SweepBudget> {
    targets.iter().map(|&target| SweepBudget { target, output: None, masked: None }).collect()
}

fn macs(share: f64) -> Target {
    Target::Keep(Budget::KeepMacs(share))
}

fn count(seen: &Recorder, wanted: Stage) -> usize {
    seen.stages.iter().filter(|&&stage| stage == wanted).count()
}

#[test]
fn budgets_side_by_side_are_those_of_single_runs_for_the_work_of_one() {
    let calibration = calibration(48);
    let evidence = || Evidence { batch: Some(16), ..Evidence::images(&calibration) };
    let options = PruneOptions {
        report: Some(ReportOptions { seconds: 0.0, ..ReportOptions::default() }),
        ..PruneOptions::default()
    };
    let mut seen = Recorder::default();
    let asked = budgets(&[macs(0.7), macs(0.0001), macs(0.4)]);
    let swept = sweep(&network(), &Device::Cpu, evidence(), &asked, &options, &mut seen);
    let swept = swept.expect("no error").done().expect("a sweep");
    assert_eq!(count(&seen, Stage::Profiling), 1, "statistics are gathered once");
    assert_eq!(count(&seen, Stage::Probing), 1);
    let refused = swept.budgets[1].result.as_ref().expect_err("no network is so small");
    assert!(matches!(&refused.reason, RefusalReason::Infeasible { reason } if reason.contains("0.0001")));
    assert!(swept.is_refused() && swept.networks().count() == 2);
    for (i, pruned) in swept.networks() {
        let plan = PlanOptions { target: asked[i].target, ..PlanOptions::default() };
        let options = PruneOptions { plan, ..PruneOptions::default() };
        let alone = prune(network(), &Device::Cpu, evidence(), &options, &mut Silent);
        let alone = alone.expect("no error").done().expect("a network");
        assert_eq!(pruned.model.to_bytes(), alone.model.to_bytes(), "{}", asked[i].target);
        let [one, other] = [pruned, &alone].map(|p| p.evaluation.as_ref().expect("an evaluation"));
        assert_eq!(
            (one.metrics.clone(), one.agreement.clone()),
            (other.metrics.clone(), other.agreement.clone())
        );
    }
    let (_, last) = swept.networks().last().expect("two");
    let curve = last.page.as_ref().and_then(|page| page.curve.as_ref()).expect("a curve");
    let places: Vec<_> = curve.points.iter().map(|point| (point.name.as_str(), point.chosen)).collect();
    assert_eq!(places, [("keep-macs 0.4", true), ("keep-macs 0.7", false), ("original", false)]);
    assert!(curve.sweep && curve.points[..2].iter().all(|point| point.error.is_some()));
    assert!(curve.points.iter().any(|point| point.best) && !curve.points[2].best);
}

#[test]
fn searches_side_by_side_share_the_networks_that_they_try() {
    let calibration = calibration(40);
    let plan = PlanOptions::by("l1").expect("one");
    let options = PruneOptions { plan, repair: Some(Repair::Bias), ..PruneOptions::default() };
    let run = |drops: &[f64]| {
        let asked: Vec<Target> = drops.iter().map(|&drop| Target::MaxDrop(drop)).collect();
        let mut seen = Recorder::default();
        let evidence = Evidence::images(&calibration);
        let swept = sweep(&network(), &Device::Cpu, evidence, &budgets(&asked), &options, &mut seen);
        (swept.expect("no error").done().expect("a sweep"), seen)
    };
    let (swept, seen) = run(&[20.0, 60.0]);
    let attempts: Vec<_> = swept.networks().flat_map(|(_, pruned)| &pruned.attempts).collect();
    let mut shares: Vec<f64> = attempts.iter().map(|attempt| attempt.keep).collect();
    shares.sort_by(f64::total_cmp);
    shares.dedup();
    assert!(shares.len() < attempts.len(), "both searches begin with the same share");
    // One evaluation a share, one of each result, and the check of the original.
    assert_eq!(count(&seen, Stage::Evaluating), shares.len() + 3);
    let tried = seen.notices.iter().filter(|notice| matches!(notice, Notice::DropTried { .. })).count();
    assert_eq!(tried, shares.len());
    assert!(attempts.iter().all(|attempt| attempt.error.is_some()));
    let (alone, _) = run(&[60.0]);
    let last = |swept: &Sweep| swept.networks().last().expect("one").1.model.to_bytes();
    assert_eq!(last(&swept), last(&alone), "the same result as alone");
}

#[test]
fn outputs_of_a_reference_are_kept_for_the_next_network() {
    let network = network();
    let judge = calibration(24).judge;
    let kept = KeptOutputs::default();
    let options = MetricOptions::default();
    let small = {
        let plan = PlanOptions { target: macs(0.3), ..PlanOptions::by("l1").expect("one") };
        let outcome = plan_and_prune(plan);
        Graph::from_model(&outcome.model).expect("a graph")
    };
    let against = |graph: &Graph| {
        let reference = Some(Reference { graph, kept: Some(&kept) });
        let by = (Some(8), &options);
        evaluate_against(&small, reference, &Device::Cpu, &judge, by, &mut Silent).expect("an evaluation")
    };
    let first = against(&network.graph);
    assert_eq!(kept.len(), 24);
    // The kept outputs answer in the place of any other reference.
    let second = against(&small);
    assert_eq!(first.agreement, second.agreement);
    assert!(first.metric_named("SNR").is_some_and(|snr| snr.after.is_finite() && snr.error.is_some()));
    let names: Vec<_> = first.metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names, ["top-1", "top-5", "agreement", "SNR"]);
    let alone = evaluate(&small, None, &Device::Cpu, &judge, None, &mut Silent).expect("an evaluation");
    let errors =
        |found: &Evaluation| found.metrics.iter().map(|m| (m.name.clone(), m.error)).collect::<Vec<_>>();
    assert_eq!(alone.metrics.len(), 2, "{:?}", errors(&alone));
    assert!(alone.metrics.iter().all(|metric| metric.error.is_some() && metric.difference().is_none()));
}

fn plan_and_prune(plan: PlanOptions) -> Pruned {
    let options = PruneOptions { plan, ..PruneOptions::default() };
    let outcome = prune(network(), &Device::Cpu, Evidence::default(), &options, &mut Silent);
    outcome.expect("no error").done().expect("a network")
}

#[test]
fn sizes_after_a_plan_are_those_of_the_pruned_network() {
    let options = PlanOptions { target: macs(0.6), ..PlanOptions::by("l1").expect("one") };
    let decision = decided(Evidence::default(), &options, &mut Recorder::default()).done().expect("a cut");
    let sizes = network().sizes_without(&decision.removed).expect("sizes");
    let pruned = plan_and_prune(options);
    assert_eq!((sizes.before, sizes.after), (pruned.before, pruned.after));
    assert_eq!(sizes.widths, pruned.widths);
    assert_eq!(
        (sizes.removed_channels, sizes.total_channels),
        (pruned.removed_channels, pruned.total_channels)
    );
    let narrower = sizes.widths.iter().filter(|layer| layer.after < Some(layer.before)).count();
    assert!(narrower > 1 && narrower < sizes.widths.len(), "{:?}", sizes.widths);
}

#[test]
fn whether_samples_mix_is_found_out_once_for_a_network() {
    let network = network();
    let calibration = calibration(8);
    let images = calibration.images(&mut Silent).expect("images");
    assert_eq!(network.channels.mixing.get(), None);
    let removed = network.channels.coupled.iter().filter(|set| set.block.is_none()).map(|set| set.id);
    let of = (&network.graph, &network.channels.clone());
    repair_layers(of, &removed.take(2).collect(), Repair::Full, (&Device::Cpu, images), &mut Silent)
        .expect("a repair");
    assert_eq!(network.channels.mixing.get(), Some(&false), "copies share the answer");
}

#[test]
fn a_difference_below_two_errors_is_not_resolved() {
    let metric = |before, after, error| MetricResult {
        name: "top-1".to_owned(),
        unit: "%".to_owned(),
        higher_is_better: true,
        before,
        after,
        error,
        images: 160,
    };
    let small = metric(Some(92.0), 91.6, Some(1.2));
    assert!(small.is_unresolved() && small.resolution() == Some(2.4));
    assert!(!metric(Some(92.0), 89.0, Some(1.2)).is_unresolved());
    assert!(!metric(None, 91.6, Some(1.2)).is_unresolved(), "nothing to compare with");
    assert!(!metric(Some(92.0), 91.6, None).is_unresolved(), "the error is unknown");
    assert_eq!(metric(Some(f64::INFINITY), 30.0, Some(1.0)).difference(), None);
}
