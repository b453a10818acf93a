//! Tests of decisions by criteria on gradients: what is gathered, kept and continued.

use super::*;
use crate::stats::GateLoss;

fn options(criterion: &str) -> PlanOptions {
    PlanOptions::by(criterion).expect("a criterion")
}

fn ran(seen: &Recorder, stage: Stage) -> bool {
    seen.stages.contains(&stage)
}

#[test]
fn gradients_are_gathered_once_and_continued_after_an_interruption() {
    let calibration = calibration(96);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kept.profile");
    let run = |criterion: &str, stop: Option<(Stage, u64)>| {
        let evidence = Evidence::open(&network(), Some(&file), Some(&calibration), Some(16));
        let mut seen = Recorder { stop, ..Recorder::default() };
        let outcome = decided(evidence.expect("a profile, or none yet"), &options(criterion), &mut seen);
        (outcome, seen)
    };
    let kept = || Profile::load(&file).expect("a profile").header;
    let (outcome, _) = run("taylor", Some((Stage::Gradients, 48)));
    assert!(matches!(outcome, Outcome::Interrupted));
    let gradients = kept().gradients.expect("gradients");
    assert!(kept().complete && !gradients.complete && !kept().is_complete());
    assert_eq!((gradients.images, gradients.position), (32, 32), "whole batches of 32");
    assert_eq!(gradients.loss, GateLoss::Labels);
    let (resumed, seen) = run("taylor", None);
    assert!(!ran(&seen, Stage::Profiling) && ran(&seen, Stage::Gradients));
    assert!(kept().is_complete());
    let mut seen = Recorder::default();
    let at_once = Evidence { batch: Some(16), ..Evidence::images(&calibration) };
    let at_once = decided(at_once, &options("taylor"), &mut seen).done().expect("a decision");
    assert!(ran(&seen, Stage::Profiling) && ran(&seen, Stage::Gradients));
    assert_eq!(resumed.done().expect("a decision").cut, at_once.cut);
    assert!(at_once.confidence.is_some(), "scores have standard errors");
    let (_, seen) = run("0.5*fisher+taylor", None);
    assert!(seen.stages.iter().all(|stage| !matches!(stage, Stage::Gradients | Stage::Profiling)));
    // Other statistics take another pass over the images, and the gradients stay.
    let before = Profile::load(&file).expect("a profile");
    let (_, seen) = run("reconstruction", None);
    assert!(ran(&seen, Stage::Profiling) && !ran(&seen, Stage::Gradients));
    let after = Profile::load(&file).expect("a profile");
    assert_eq!(after.header.gradients, before.header.gradients);
    assert!(after.layers.iter().zip(&before.layers).all(|(a, b)| a.gates == b.gates));
}

#[test]
fn scores_of_coupled_channels_are_summed() {
    let calibration = calibration(64);
    let options = PlanOptions { normalize: Some(ScoreNormalization::None), ..options("fisher") };
    let evidence = Evidence::images(&calibration);
    let decision = decided(evidence, &options, &mut Recorder::default()).done().expect("a decision");
    let score = |(node, channel): &(String, usize)| {
        let layer = decision.profile.layers.iter().find(|layer| layer.node == *node).expect("a layer");
        layer.gates.fisher(64)[*channel].0
    };
    let coupled: Vec<_> = decision.cut.coupled.iter().filter(|set| set.members.len() > 1).collect();
    assert!(!coupled.is_empty());
    for set in coupled {
        let expected: f64 = set.members.iter().map(score).sum();
        let score = set.score.expect("a score");
        assert!((score - expected).abs() <= 1e-12 * expected, "{:?}: {score}", set.members);
    }
}

#[test]
fn gradients_of_another_loss_are_not_continued() {
    let calibration = calibration(64);
    let mut begun = profiled(GramKind::None, 64);
    begun.header.gradients = Some(crate::stats::GradientHeader::new(GateLoss::Outputs, vec![]));
    let evidence = Evidence { profile: Some(begun), ..Evidence::images(&calibration) };
    let error = plan(&network(), &Device::Cpu, evidence, &options("fisher"), &mut Silent);
    let error = error.expect_err("another loss").to_string();
    assert!(error.contains("of another loss") && error.contains("the squared error of outputs"), "{error}");
}

#[test]
fn comparisons_gather_gradients_for_the_criteria_that_need_them() {
    let calibration = calibration(48);
    let criteria = ["taylor", "fisher", "l1"].map(|name| name.parse().expect("a criterion")).to_vec();
    let options = ComparisonOptions { criteria, keep_macs: vec![0.6], ..ComparisonOptions::default() };
    let found = compare_criteria(
        &network(),
        &Device::Cpu,
        (&calibration, None),
        &options,
        &mut |_| Ok(()),
        &mut Silent,
    );
    assert_eq!(found.expect("a comparison").curves.len(), 3);
}
