//! Tests of networks of integers within a limit of quality.

use super::*;

fn within(limit: QualityLimit) -> Outcome<IntegerNetwork> {
    let metric = match limit {
        QualityLimit::Drop(_) => None,
        QualityLimit::Quality(_) => Some(MetricKind::Snr),
    };
    let (calibration, metric) = (calibration(40), MetricOptions { metric, ..MetricOptions::default() });
    let options = IntegerOptions {
        runtime: Runtime::Ort,
        ranges: Some(RangeMethod::MinMax),
        repair: Repair::None,
        float: vec![],
    };
    let on = (&Device::Cpu, Some(16));
    quantize_within(&network(), (&options, limit), on, Some(&calibration), &metric, &mut Silent)
        .expect("no error")
}

#[test]
fn a_limit_that_holds_leaves_all_nodes_in_integers() {
    let found = within(QualityLimit::Drop(99.0)).done().expect("a network");
    assert_eq!(found.tried.len(), 1);
    let layers = found.sensitivity.iter().filter(|found| found.is_layer).count();
    assert_eq!(layers, found.integer.layers.len());
    assert!(found.sensitivity.iter().all(|layer| !layer.is_float && layer.noise > 0.0));
    assert!(found.sensitivity.windows(2).all(|pair| pair[0].noise >= pair[1].noise), "the largest first");
}

#[test]
fn the_nodes_that_lose_most_stay_in_float() {
    let all = within(QualityLimit::Quality(0.0)).done().expect("a network");
    let snr = all.evaluation.metric_named("SNR").expect("a reference").after;
    let least = all.sensitivity.last().expect("layers").snr_db();
    assert!(least > snr + 1.0, "one layer alone loses less than all: {least}, {snr}");
    // Between the SNR with all layers and that with the least sensitive one alone.
    let found = within(QualityLimit::Quality(0.5 * (snr + least))).done().expect("a network");
    let float = found.sensitivity.iter().filter(|layer| layer.is_float).count();
    assert!((1..found.sensitivity.len()).contains(&float), "{float}");
    assert!(found.sensitivity[..float].iter().all(|layer| layer.is_float), "those with the most noise");
    let layers = found.sensitivity[..float].iter().filter(|found| found.is_layer).count();
    assert_eq!(found.integer.kept.len(), layers);
    assert_eq!(found.integer.layers.len() + layers, all.integer.layers.len());
    let best = found.tried.iter().find(|trial| trial.float_nodes == float).expect("it was evaluated");
    assert_eq!(best.value, found.evaluation.metric_named("SNR").expect("a reference").after);
    assert!(best.value >= 0.5 * (snr + least));
}

#[test]
fn a_limit_that_nothing_keeps_is_refused_with_all_that_was_tried() {
    let Outcome::Refused(refusal) = within(QualityLimit::Quality(1e9)) else {
        panic!("no network is so good")
    };
    let RefusalReason::FloatNodes { nodes, tried, .. } = &refusal.reason else { panic!("{refusal}") };
    assert!(
        tried.len() > 1 && tried.last().is_some_and(|last| (1..*nodes).contains(&last.float_nodes)),
        "{tried:?}"
    );
    assert!(tried.windows(2).all(|pair| pair[0].float_nodes < pair[1].float_nodes));
    assert!(refusal.to_string().contains("nodes in float"));
}

fn of_bytes(share: f64, formats: Vec<NumberFormat>) -> crate::error::Result<Pruned> {
    let calibration = calibration(48);
    let evidence = Evidence { batch: Some(16), ..Evidence::images(&calibration) };
    let plan = PlanOptions { target: Target::Bytes(share), formats, ..PlanOptions::default() };
    let options = PruneOptions { plan, ..PruneOptions::default() };
    Ok(prune(network(), &Device::Cpu, evidence, &options, &mut Silent)?.done().expect("no refusal"))
}

#[test]
fn a_budget_of_bytes_takes_the_format_with_the_least_noise() {
    let whole = network().model.bytes;
    let found = of_bytes(0.5, PlanOptions::default().formats).expect("a network");
    assert_eq!(found.formats.len(), 3);
    assert!(found.formats.iter().all(|trial| trial.bytes <= whole / 2 && trial.noise.is_finite()));
    assert!(found.model.to_bytes().len() as u64 <= whole / 2);
    let [float, integers, palette] = &found.formats[..] else { panic!("three formats") };
    assert!(float.keep_params < integers.keep_params && integers.keep_params <= palette.keep_params);
    let best = found.formats.iter().min_by(|a, b| a.noise.total_cmp(&b.noise)).expect("three");
    assert!(found.cut.budget.contains(&best.format), "{} {}", found.cut.budget, best.format);
    assert!(found.quantized_layers > 0, "cutting alone loses more than fewer bits");
}

#[test]
fn a_budget_of_bytes_in_float_only_cuts_channels() {
    let whole = network().model.bytes;
    let found = of_bytes(0.5, vec![NumberFormat::Float]).expect("a network");
    let bytes = found.model.to_bytes().len() as u64;
    assert!(bytes <= whole / 2 && bytes > whole * 2 / 5, "{bytes} of {whole}");
    assert_eq!(found.quantized_layers, 0);
    let error = of_bytes(1e-4, vec![NumberFormat::Float]).expect_err("no network is so small");
    assert_eq!(error.kind(), ErrorKind::BudgetInfeasible);
}
