//! Tests of the operations on the built-in network, without a process.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::*;
use crate::data::Preset;
use crate::error::ErrorKind;
use crate::prune::Score;
use crate::stats::Header;

mod gradients;
mod integers;
mod sweeps;

/// An observer that records notices and stages, and breaks after so many units of a stage.
#[derive(Default)]
struct Recorder {
    notices: Vec<Notice>,
    stages: Vec<Stage>,
    stop: Option<(Stage, u64)>,
}

impl Observer for Recorder {
    fn stage(&mut self, stage: Stage, _total: u64) {
        self.stages.push(stage);
    }

    fn advance(&mut self, done: u64) -> ControlFlow<()> {
        match self.stop {
            Some((stage, at)) if self.stages.last() == Some(&stage) && done >= at => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn notice(&mut self, notice: Notice) {
        // The preprocessing has tests of its own.
        if !matches!(notice, Notice::Preprocessing(_)) {
            self.notices.push(notice);
        }
    }
}

impl Recorder {
    fn stopping(stage: Stage, at: u64) -> Self {
        Self { stop: Some((stage, at)), ..Self::default() }
    }
}

fn calibration(count: usize) -> Calibration {
    Calibration::new(demo::images(count, 3).expect("images"), origin())
}

fn origin() -> Origin {
    Origin { data: "generated".to_owned(), shard: None }
}

fn network() -> Network {
    demo::network().expect("the built-in network")
}

fn profiled(gram: GramKind, count: usize) -> Profile {
    let options = ProfileOptions { gram, ..ProfileOptions::default() };
    let data = demo::images(count, 3).expect("images");
    let found = profile(&network(), &Device::Cpu, (&data, &origin()), &options, None, &mut Silent);
    found.expect("a profile").profile
}

fn decided(evidence: Evidence, options: &PlanOptions, observer: &mut Recorder) -> Outcome<Decision> {
    plan(&network(), &Device::Cpu, evidence, options, observer).expect("no error")
}

#[test]
fn rounds_add_up_to_the_budget() {
    let calibration = calibration(96);
    let options = PlanOptions { rounds: 2, repair: Repair::Full, ..PlanOptions::default() };
    let mut seen = Recorder::default();
    let outcome = decided(Evidence::images(&calibration), &options, &mut seen);
    let both = outcome.done().expect("a decision");
    assert_eq!(seen.notices[0], Notice::Round { round: 1, of: 2 });
    let repairs = seen.stages.iter().filter(|&&stage| stage == Stage::Repairing).count();
    assert_eq!(repairs, 1, "the network is repaired between the rounds");
    let reads = seen.stages.iter().filter(|&&stage| stage == Stage::ReadingImages).count();
    assert_eq!(reads, 1, "images are decoded once");
    let target = Target::Keep(Budget::KeepMacs(0.75));
    let half = PlanOptions { target, ..PlanOptions::default() };
    let first = decided(Evidence::images(&calibration), &half, &mut Recorder::default()).done();
    let first = first.expect("a decision");
    assert!(first.removed.is_subset(&both.removed) && first.removed.len() < both.removed.len());
    assert_eq!(first.profile, both.profile, "the statistics are those of the original");
    let at_once = PlanOptions { rounds: 1, ..options };
    let at_once = decided(Evidence::images(&calibration), &at_once, &mut Recorder::default()).done();
    assert_ne!(at_once.expect("a decision").removed, both.removed, "the second round looks anew");
}

#[test]
fn a_drop_that_no_network_meets_is_refused_with_all_attempts() {
    let calibration = Calibration::new(demo::images(240, 5).expect("images"), origin());
    // Every cut removes 32 random channels of some layers at least.
    let options = PlanOptions {
        target: Target::MaxDrop(0.0),
        scope: Scope::Layer,
        round_to: 32,
        seed: 1,
        ..PlanOptions::by("random").expect("one")
    };
    let mut seen = Recorder::default();
    let Outcome::Refused(refusal) = decided(Evidence::images(&calibration), &options, &mut seen) else {
        panic!("random channels are worth something");
    };
    assert!(matches!(refusal.reason, RefusalReason::MaxDrop { .. }) && refusal.attempts.len() > 3);
    let tried = seen.notices.iter().filter(|notice| matches!(notice, Notice::DropTried { .. })).count();
    assert_eq!(tried, refusal.attempts.len());
    assert!(refusal.attempts.iter().all(|attempt| attempt.drop > 0.0));
}

#[test]
fn the_smallest_network_within_a_drop_keeps_its_repair() {
    let calibration = calibration(40);
    let target = Target::MaxDrop(60.0);
    let options = PlanOptions { target, repair: Repair::Bias, ..PlanOptions::by("l1").expect("one") };
    let found = decided(Evidence::images(&calibration), &options, &mut Recorder::default()).done();
    let found = found.expect("a decision");
    let kept = found.attempts.iter().filter(|attempt| attempt.drop <= 60.0).map(|attempt| attempt.keep);
    let smallest = kept.min_by(f64::total_cmp).expect("one is good enough");
    assert!(found.cut.budget.contains(&format!("{smallest:.3} of the MACs")), "{}", found.cut.budget);
    assert!(found.repaired.is_some_and(|repaired| !repaired.refits.is_empty()));
}

#[test]
fn an_interrupted_profile_is_resumed_to_the_same_bits() {
    // Second moments are summed over 64 images at a time: a pass that ends there is continued to the same bits.
    let data = demo::images(96, 3).expect("images");
    let options = ProfileOptions { batch: Some(8), ..ProfileOptions::default() };
    let from = (&data, &origin());
    let mut stop = Recorder::stopping(Stage::Profiling, 64);
    let part = profile(&network(), &Device::Cpu, from, &options, None, &mut stop).expect("a part");
    assert!(!part.profile.header.complete && part.images == 64);
    let rest = Resume::new(part.profile.clone(), None);
    let whole = profile(&network(), &Device::Cpu, from, &options, Some(rest), &mut Silent).expect("the rest");
    assert_eq!(whole.images, 32);
    assert_eq!(whole.profile, profiled(GramKind::Channel, 96));
    let other = Origin { data: "other".to_owned(), shard: None };
    let resume = Some(Resume::new(part.profile, Some("a.profile".into())));
    let error = profile(&network(), &Device::Cpu, (&data, &other), &options, resume, &mut Silent);
    let error = error.expect_err("a profile of other data");
    assert!(error.to_string().contains("other data") && error.to_string().contains("a.profile"), "{error}");
}

#[test]
fn the_criterion_falls_back_to_what_the_profile_serves() {
    for (gram, criterion) in [
        (GramKind::None, "act-variance"),
        (GramKind::Channel, "obd"),
        (GramKind::Patch, DEFAULT_CRITERION),
        (GramKind::Both, DEFAULT_CRITERION),
    ] {
        let evidence = Evidence { profile: Some(profiled(gram, 32)), ..Evidence::default() };
        let mut seen = Recorder::default();
        let decision = decided(evidence, &PlanOptions::default(), &mut seen).done().expect("a decision");
        assert_eq!(decision.cut.criterion, criterion);
        let fallbacks = seen.notices.iter().filter(|n| matches!(n, Notice::CriterionFallback { .. })).count();
        assert_eq!(fallbacks, usize::from(criterion != DEFAULT_CRITERION), "{gram:?}");
    }
    // A criterion that is asked for by name is never replaced.
    let evidence = Evidence { profile: Some(profiled(GramKind::None, 32)), ..Evidence::default() };
    let options = PlanOptions::by("obd").expect("a criterion");
    let error = plan(&network(), &Device::Cpu, evidence, &options, &mut Silent).expect_err("no moments");
    assert!(error.to_string().contains("obd"), "{error}");
}

#[test]
fn what_was_measured_before_an_interruption_is_kept() {
    let calibration = calibration(96);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kept.profile");
    let evidence = || {
        Evidence::open(&network(), Some(&file), Some(&calibration), Some(16)).expect("a profile, or none yet")
    };
    let options = PlanOptions::default();
    let run = |stop: Option<(Stage, u64)>| {
        decided(evidence(), &options, &mut Recorder { stop, ..Recorder::default() })
    };
    assert!(matches!(run(Some((Stage::Profiling, 64))), Outcome::Interrupted));
    let part = Profile::load(&file).expect("the profile so far");
    assert!(!part.header.complete && part.header.images == 64);
    assert!(matches!(run(Some((Stage::Probing, 2))), Outcome::Interrupted));
    let whole = Profile::load(&file).expect("a profile");
    assert!(whole.header.complete && whole.header.sensitivity.len() == 2);
    let resumed = run(None).done().expect("a decision");
    let at_once = Evidence { batch: Some(16), ..Evidence::images(&calibration) };
    let at_once = decided(at_once, &options, &mut Recorder::default()).done().expect("a decision");
    assert_eq!(resumed.cut, at_once.cut, "the same decision as without interruptions");
}

#[test]
fn the_proved_model_is_the_written_file() {
    let calibration = calibration(48);
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("small.onnx");
    let masked = folder.path().join("masked.onnx");
    let options = PruneOptions {
        output: Some(output.clone()),
        masked: Some(masked.clone()),
        ..PruneOptions::default()
    };
    let outcome = prune(network(), &Device::Cpu, Evidence::images(&calibration), &options, &mut Silent);
    let pruned = outcome.expect("no error").done().expect("a pruned network");
    assert!(pruned.proof.passed && pruned.proof.inputs == 5 && pruned.repair == Repair::Full);
    assert_eq!(pruned.model.path, output);
    assert_eq!(std::fs::read(&output).expect("the file"), pruned.model.to_bytes());
    assert!(2 * pruned.after.macs <= pruned.before.macs + 1 && masked.exists());
    let found = pruned.evaluation.expect("an evaluation");
    assert!(found.accuracy.top1().is_some() && found.reference_accuracy.top1() > Some(0.9));
    // Applying the cut again produces equal bytes. Applying it to another network fails.
    let again = PruneOptions { output: Some(folder.path().join("again.onnx")), ..PruneOptions::default() };
    let from = Evidence::images(&calibration);
    let again = apply(network(), &Device::Cpu, pruned.cut.clone(), from, &again, &mut Silent)
        .expect("the cut")
        .done()
        .expect("no collapse");
    assert_eq!(again.model.to_bytes(), pruned.model.to_bytes());
    let other = Network::open(&output).expect("the small network");
    let error = apply(other, &Device::Cpu, pruned.cut, Evidence::default(), &options, &mut Silent);
    assert!(error.expect_err("another model").to_string().contains("another model"));
}

#[test]
fn an_interruption_is_an_outcome_at_every_stage() {
    for (stage, at) in
        [(Stage::ReadingImages, 1), (Stage::Repairing, 1), (Stage::Proving, 1), (Stage::Evaluating, 1)]
    {
        let calibration = calibration(32);
        let mut stop = Recorder::stopping(stage, at);
        let options = PruneOptions { plan: PlanOptions::by("l1").expect("one"), ..PruneOptions::default() };
        let outcome = prune(network(), &Device::Cpu, Evidence::images(&calibration), &options, &mut stop);
        assert!(matches!(outcome.expect("no error"), Outcome::Interrupted), "{stage:?}");
        assert_eq!(stop.stages.last(), Some(&stage), "nothing follows");
    }
    let calibration = calibration(32);
    let mut stop = Recorder::stopping(Stage::Evaluating, 1);
    let found = evaluate(&network().graph, None, &Device::Cpu, &calibration.judge, None, &mut stop);
    assert_eq!(found.expect_err("interrupted").kind(), ErrorKind::Interrupted);
}

#[test]
fn decoded_images_come_in_the_batches_of_their_set() {
    let calibration = calibration(21);
    calibration.images(&mut Silent).expect("images");
    for (start, size) in [(0, 8), (5, 7), (0, 64), (20, 3)] {
        let decoded = calibration.batches_from(start, size).collect::<crate::Result<Vec<_>>>();
        let set = calibration.fit.batches_from(start, size).collect::<crate::Result<Vec<_>>>();
        assert_eq!(decoded.expect("batches"), set.expect("batches"), "{start} {size}");
    }
}

#[test]
fn protected_layers_and_required_confidence_are_honored() {
    let network = network();
    let first =
        network.graph.nodes.iter().find(|node| node.op.layer().is_some()).expect("a layer").name.clone();
    let protected = network.protect(|name| name == first);
    assert!(!protected.is_empty());
    let options = PlanOptions { protected: protected.clone(), ..PlanOptions::by("l1").expect("one") };
    let decision = decided(Evidence::default(), &options, &mut Recorder::default()).done().expect("a cut");
    assert!(decision.removed.is_disjoint(&protected));
    assert_eq!(decision.removed, removed_by_file(&decision.cut, &network));
    let evidence = Evidence { profile: Some(profiled(GramKind::None, 8)), ..Evidence::default() };
    let options = PlanOptions { require_confidence: Some(1.0), ..PlanOptions::by("apoz").expect("one") };
    let Outcome::Refused(refusal) = decided(evidence, &options, &mut Recorder::default()) else {
        panic!("eight images are not enough");
    };
    assert!(matches!(refusal.reason, RefusalReason::Confidence { found: Some(_), required: 1.0 }));
    assert!(refusal.decision.is_some());
}

fn removed_by_file(cut: &Cut, network: &Network) -> BTreeSet<usize> {
    cut.removed(&network.graph, &network.model.sha256, &network.channels).expect("its own cut")
}

#[test]
fn targets_and_confidences_out_of_range_are_refused() {
    for target in [
        Target::Keep(Budget::KeepMacs(0.0)),
        Target::Keep(Budget::KeepParams(1.5)),
        Target::Keep(Budget::RemoveBelow(f64::NAN)),
        Target::Latency(f64::NAN),
        Target::MaxDrop(-1.0),
    ] {
        let options = PlanOptions { target, ..PlanOptions::by("l1").expect("one") };
        let error = plan(&network(), &Device::Cpu, Evidence::default(), &options, &mut Silent);
        assert!(error.expect_err("out of range").to_string().contains("does not fit"), "{target}");
    }
    for (confidence, criterion) in [(0.4, "apoz"), (0.9, "l1"), (0.9, "reconstruction")] {
        let cut = PlanOptions::by(criterion).expect("a criterion");
        assert!(StopWhenConfident { confidence, cut }.check().is_err(), "{confidence} {criterion}");
    }
}

#[test]
fn criteria_are_compared_by_curves() {
    let calibration = calibration(32);
    let options = ComparisonOptions {
        criteria: ["l1", "apoz"].iter().map(|name| name.parse().expect("a criterion")).collect(),
        keep_macs: vec![0.9, 0.5],
        ..ComparisonOptions::default()
    };
    let mut saved = Vec::new();
    let found = compare_criteria(
        &network(),
        &Device::Cpu,
        (&calibration, None),
        &options,
        &mut |curves| {
            saved.push(curves.len());
            Ok(())
        },
        &mut Silent,
    );
    let found = found.expect("a comparison");
    assert_eq!(saved, [1, 2], "each curve is saved when it is measured");
    assert!(found.original_top1 > Some(0.9) && found.curves.iter().all(|curve| curve.points.len() == 2));
    // Top-1 is compared, as a share, so its error is one, too.
    let errors = found.curves.iter().flat_map(|curve| &curve.points).map(|point| point.error);
    assert!(
        errors.clone().all(|error| error.is_some_and(|error| (0.005..0.2).contains(&error))),
        "{found:?}"
    );
}

/// Returns images of the built-in network by options, with labels or without them.
fn opened(options: &DataOptions, labelled: bool) -> crate::Result<Dataset> {
    let (bytes, labels) = demo::raw_images(48, 3);
    let spec = sample_spec(&network().graph);
    Dataset::from_bytes(bytes, &[48, 3, 32, 32], labelled.then_some(labels.as_slice()), options, spec)
}

#[derive(Default)]
struct Told(Vec<Notice>);

impl Observer for Told {
    fn notice(&mut self, notice: Notice) {
        self.0.push(notice);
    }
}

#[test]
fn the_preprocessing_is_reported_once_by_each_operation() {
    let told = |seen: &Told| {
        let is_line =
            |notice: &&Notice| matches!(notice, Notice::Preprocessing(line) if line.contains("÷0.25"));
        seen.0.iter().filter(is_line).count()
    };
    let calibration = Calibration::hold_out(demo::images(40, 3).expect("images"), origin(), None, None);
    let calibration = calibration.expect("images");
    let options = PruneOptions { plan: PlanOptions::by("apoz").expect("one"), ..PruneOptions::default() };
    let mut seen = Told::default();
    let pruned = prune(network(), &Device::Cpu, Evidence::images(&calibration), &options, &mut seen);
    let pruned = pruned.expect("no error").done().expect("a network");
    assert_eq!(told(&seen), 1, "prune");
    let doubts = seen.0.iter().filter(|notice| matches!(notice, Notice::Doubtful(_))).count();
    assert_eq!(doubts, 0, "the right recipe");
    let mut seen = Told::default();
    let evidence = Evidence::images(&calibration);
    plan(&network(), &Device::Cpu, evidence, &options.plan, &mut seen).expect("no error");
    assert_eq!(told(&seen), 1, "plan");
    let mut seen = Told::default();
    let data = demo::images(8, 3).expect("images");
    let against = Graph::from_model(&pruned.model).expect("a graph");
    evaluate(&network().graph, Some(&against), &Device::Cpu, &data, None, &mut seen).expect("no error");
    assert_eq!(told(&seen), 1, "eval");
    let mut seen = Told::default();
    check(&network().model, &Device::Cpu, Some(&data), &mut seen).expect("no error");
    assert_eq!(told(&seen), 1, "check");
    let mut seen = Told::default();
    let source = (&data, &origin());
    profile(&network(), &Device::Cpu, source, &ProfileOptions::default(), None, &mut seen).expect("no error");
    assert_eq!(told(&seen), 1, "profile");
}

#[test]
fn a_recipe_that_was_not_trained_with_is_doubted() {
    let raw = DataOptions { scale: Some(1.0), ..DataOptions::default() };
    let mut seen = Told::default();
    let data = opened(&raw, false).expect("images");
    evaluate(&network().graph, None, &Device::Cpu, &data, None, &mut seen).expect("no error");
    let far = |notice: &Notice| match notice {
        Notice::Doubtful(Doubt::Statistics { divergence, .. }) => *divergence > 5.0,
        _ => false,
    };
    assert!(seen.0.iter().any(far), "{:?}", seen.0);
}

#[test]
fn recipes_are_ranked_by_labels_or_by_stored_statistics() {
    let network = network();
    for (labelled, measure) in [(true, Some(TrialMeasure::Top1)), (false, None)] {
        let open = |options: &DataOptions| opened(options, labelled);
        let options = DataOptions { preset: Some(Preset::Raw), ..DataOptions::default() };
        let trial = try_presets(&network.graph, &Device::Cpu, (&open, &options), None, &mut Silent);
        let trial = trial.expect("no error");
        assert!(measure.is_none_or(|measure| trial.measure == measure), "{:?}", trial.measure);
        assert!(labelled || matches!(trial.measure, TrialMeasure::Statistics(_)), "{:?}", trial.measure);
        assert_eq!(
            (trial.images, trial.recipes.len()),
            (48, 12),
            "images have the network's size: nothing is cropped"
        );
        let values: Vec<f64> = trial.recipes.iter().map(|recipe| recipe.value).collect();
        let is_sorted = if labelled { values.is_sorted_by(|a, b| a >= b) } else { values.is_sorted() };
        assert!(is_sorted && trial.recipes[0].is_tied, "{values:?}");
        let place = |wanted: &str| {
            let text = |recipe: &TriedRecipe| {
                recipe
                    .options
                    .iter()
                    .map(|(name, value)| format!("{name} {value}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            trial.recipes.iter().position(|recipe| text(recipe) == wanted).expect("a recipe")
        };
        assert!(place("mean 0.5 std 0.5") < place("preset raw"), "nearer to mean 0.5, std 0.25");
        assert!(!trial.recipes[place("preset raw")].is_tied);
    }
}

#[test]
fn labels_that_do_not_fit_rank_nothing() {
    let network = network();
    let open = |options: &DataOptions| {
        let (bytes, labels) = demo::raw_images(48, 3);
        let wrong: Vec<u32> = labels.iter().map(|label| (label + 5) % 10).collect();
        let spec = sample_spec(&network.graph);
        Dataset::from_bytes(bytes, &[48, 3, 32, 32], Some(wrong.as_slice()), options, spec)
    };
    let options = DataOptions::default();
    let trial =
        try_presets(&network.graph, &Device::Cpu, (&open, &options), None, &mut Silent).expect("no error");
    assert!(matches!(trial.measure, TrialMeasure::Statistics(_)), "{:?}", trial.measure);
    assert!(
        trial.at_chance.is_some_and(|[_, chance]| (10.0..11.0).contains(&chance)),
        "{:?}",
        trial.at_chance
    );
    let open = |options: &DataOptions| Dataset::open("random:4", options, sample_spec(&network.graph));
    let error =
        try_presets(&network.graph, &Device::Cpu, (&open, &options), None, &mut Silent).expect_err("noise");
    assert!(error.message().contains("for images only"), "{error}");
}

#[test]
fn a_function_scores_as_the_criterion_that_it_repeats() {
    let network = demo::network().expect("a network");
    let profile = Profile::of_weights(&network.graph, Header::default(), Distances::None).expect("weights");
    let scored = |criterion: Criterion| {
        let options = PlanOptions { criterion: Some(criterion), ..PlanOptions::default() };
        options.score(&network, &network.channels, (&profile, None)).map(|scored| Score::values(&scored.0))
    };
    let by_l1 = |layer: &CustomLayer| {
        let (shape, weight) = layer.weight.expect("constant weights");
        assert_eq!((weight.len(), layer.channels), (shape.iter().product(), layer.profile.weight.l1.len()));
        Ok(layer.profile.weight.l1.clone())
    };
    let custom = Criterion::custom("mine", CustomCriterion::new(Needs::WEIGHTS, by_l1));
    assert_eq!(custom.to_string(), "mine");
    assert_eq!(scored(custom).expect("scores"), scored("l1".parse().expect("a name")).expect("scores"));
    let short = CustomCriterion::new(Needs::WEIGHTS, |_: &CustomLayer| Ok(vec![1.0]));
    let error = scored(Criterion::custom("short", short)).expect_err("too few");
    assert!(error.message().contains("got 1") && error.node_name().is_some(), "{error}");
}
