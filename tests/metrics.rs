//! Metrics: which outputs count as classifications, and how networks are judged by other measures.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

#[path = "errors/notation.rs"]
mod notation;

use std::path::Path;
use std::sync::Arc;

use assert_cmd::Command;
use secateur::data::write_npy_f32;
use secateur::pipeline::{
    Calibration, DataOptions, Dataset, Device, Evaluation, Evidence, FunctionMetric, Graph, LabelImages,
    MetricKind, MetricOptions, Model, Notice, Observer, Origin, PlanOptions, PruneOptions, Repair, Silent,
    Target, demo, evaluate_by, plan, prune, sample_spec,
};
use serde_json::Value;

fn graph(text: &str) -> Graph {
    Graph::from_model(&Model::from_bytes(notation::model(text), Path::new("net.onnx")).unwrap()).unwrap()
}

/// Returns 8×8 images of three channels that differ, or are all alike.
fn images(graph: &Graph, count: usize, labels: Option<&[u32]>, differ: bool) -> Dataset {
    let pixel = |i: usize| if differ { (i * i * 31 % 251) as u8 } else { (i % 192) as u8 };
    let bytes = (0..count * 192).map(pixel).collect();
    let options = DataOptions::default();
    Dataset::from_bytes(bytes, &[count, 3, 8, 8], labels, &options, sample_spec(graph)).unwrap()
}

fn judged(graph: &Graph, data: &Dataset, options: &MetricOptions) -> secateur::Result<Evaluation> {
    evaluate_by(graph, Some(graph), &Device::Cpu, data, (None, options), &mut Silent)
}

fn by(metric: MetricKind) -> MetricOptions {
    MetricOptions { metric: Some(metric), ..MetricOptions::default() }
}

const BODY: &str = "Conv [N,3,8,8] =[8,3,3,3]; Relu ^; Conv ^ =[8,8,3,3]; Relu ^";

fn pooled(head: &str) -> String {
    format!("{BODY}; GlobalAveragePool ^; Flatten ^; {head}")
}

#[test]
fn only_class_scores_are_judged_as_classifications() {
    let scores = [
        pooled("Gemm ^ =[5,8] transB=1"),
        pooled("Gemm ^ =[5,8] transB=1; Softmax ^ axis=1"),
        pooled("Sigmoid ^; Gemm ^ =[5,8] transB=1; LogSoftmax ^ axis=-1; Identity ^"),
        pooled("Gemm ^ =[5,8] transB=1; ArgMax ^ axis=1 keepdims=0"),
        format!("{BODY}; Conv ^ =[5,8,1,1]; Relu ^; GlobalAveragePool ^; Flatten ^"),
        format!("{BODY}; Conv ^ =[5,8,1,1]; GlobalAveragePool ^"),
        pooled("MatMul ^ =[8,5]; Add ^ =[5]"),
    ];
    for text in scores {
        let graph = graph(&text);
        let found = judged(&graph, &images(&graph, 8, None, true), &MetricOptions::default()).unwrap();
        assert_eq!(found.classified.as_deref(), Some("y"), "{text}: {:?}", found.unclassified);
        let metric = found.metric.unwrap();
        assert_eq!((metric.name.as_str(), metric.before, metric.after), ("agreement", Some(100.0), 100.0));
    }
    let others = [
        pooled("Gemm ^ =[5,8] transB=1; Reshape ^ (0,5,1)"),
        pooled("Gemm ^ =[5,8] transB=1; Sigmoid ^"),
        pooled("Gemm ^ =[10,8] transB=1; Reshape ^ (0,5,2); Softmax ^ axis=2; Reshape ^ (0,10)"),
        format!("{BODY}; Add ^ &v3; GlobalAveragePool ^; Flatten ^"),
        BODY.to_owned(),
    ];
    for text in others {
        let graph = graph(&text);
        let found = judged(&graph, &images(&graph, 8, None, true), &MetricOptions::default()).unwrap();
        assert!(found.classified.is_none() && found.unclassified.is_some(), "{text}");
        let agreement = found.agreement.unwrap();
        assert!(agreement.agreement().is_none() && agreement.kl().is_none(), "{text}");
        assert_eq!(found.metric.unwrap().name, "SNR", "{text}");
    }
}

#[test]
fn labels_and_metrics_decide_where_the_network_does_not() {
    let text = pooled("Gemm ^ =[5,8] transB=1; Sigmoid ^");
    let sigmoid = graph(&text);
    let data = images(&sigmoid, 8, Some(&[0, 1, 2, 3, 4, 0, 1, 2]), true);
    let found = judged(&sigmoid, &data, &MetricOptions::default()).unwrap();
    assert!(found.accuracy.top1().is_some() && found.metric.unwrap().name == "top-1");
    let rows = graph(&pooled("Gemm ^ =[5,8] transB=1; Reshape ^ (0,5,1)"));
    let data = images(&rows, 8, Some(&[0, 1, 2, 3, 4, 0, 1, 2]), true);
    assert!(judged(&rows, &data, &MetricOptions::default()).unwrap().accuracy.top1().is_none());
    assert!(judged(&rows, &data, &by(MetricKind::Top1)).unwrap().accuracy.top1().is_some());
    // Labels beyond the classes are an error, unless the output is said to be no classification.
    let data = images(&sigmoid, 8, Some(&[1, 2, 3, 4, 5, 1, 2, 3]), true);
    let error = judged(&sigmoid, &data, &MetricOptions::default()).unwrap_err();
    assert!(error.to_string().contains("label 5, but the output y has 5 classes"), "{error}");
    assert_eq!(error.remedy_text(), Some("set `label_offset` to -1"));
    assert!(judged(&sigmoid, &data, &by(MetricKind::Snr)).unwrap().accuracy.top1().is_none());
}

#[test]
fn a_largest_value_in_one_place_is_no_class() {
    let graph = graph(&pooled("Gemm ^ =[5,8] transB=1"));
    let found = judged(&graph, &images(&graph, 24, None, false), &MetricOptions::default()).unwrap();
    assert!(found.unclassified.unwrap().contains("for all 24 images"));
    assert!(found.agreement.unwrap().agreement().is_none() && found.metric.unwrap().name == "SNR");
    let few = judged(&graph, &images(&graph, 8, None, false), &MetricOptions::default()).unwrap();
    assert_eq!(few.metric.unwrap().name, "agreement", "few images may be of one class");
}

#[test]
fn auxiliary_heads_are_classified_and_mixed_outputs_are_not() {
    // The second output of Split has the same classes; the other network has boxes beside scores.
    let both = |axis: &str| graph(&pooled(&format!("Gemm ^ =[10,8] transB=1; {axis}")));
    let heads = both("Split ^ num_outputs=2 axis=1 →2");
    let found = judged(&heads, &images(&heads, 8, None, true), &MetricOptions::default()).unwrap();
    // A split of one layer is no head of its own.
    assert!(found.classified.is_none());
}

#[test]
fn a_function_is_a_metric() {
    let graph = graph(&pooled("Gemm ^ =[5,8] transB=1"));
    let data = images(&graph, 8, Some(&[0, 1, 2, 3, 4, 0, 1, 2]), true);
    let labels = FunctionMetric::new("label", "u", |image| {
        assert_eq!(image.outputs[0].1.shape, [1, 5]);
        Ok(f64::from(image.label.unwrap()))
    });
    let found = judged(&graph, &data, &by(MetricKind::Custom(Arc::new(labels.lower_is_better())))).unwrap();
    let metric = found.metric.unwrap();
    assert_eq!((metric.before, metric.after, metric.error), (Some(13.0 / 8.0), 13.0 / 8.0, Some(0.0)));
    assert!(!metric.higher_is_better && metric.drop() == Some(0.0) && metric.drop_unit() == "u");
}

#[test]
fn pictures_and_maps_are_measured_against_label_images() {
    let folder = tempfile::tempdir().unwrap();
    let relu = graph("Relu [N,3,8,8]");
    let data = images(&relu, 4, None, true);
    // The network returns its inputs, the pixels divided by 255: targets are off by 0.1.
    let inputs = data.batches(4).next().unwrap().unwrap().data;
    let targets: Vec<f32> = inputs.iter().map(|v| v + 0.1).collect();
    let file = folder.path().join("targets.npy");
    write_npy_f32(&file, &[4, 3, 8, 8], &targets).unwrap();
    let labels = Some(Arc::new(LabelImages::open(&file).unwrap()));
    let options = MetricOptions { labels: labels.clone(), peak: Some(1.0), ..MetricOptions::default() };
    let metric = judged(&relu, &data, &options).unwrap().metric.unwrap();
    assert!(metric.name == "PSNR" && (metric.after - 20.0).abs() < 1e-3, "{metric:?}");
    let options = MetricOptions { metric: Some(MetricKind::Ssim), ..options };
    let metric = judged(&relu, &data, &options).unwrap().metric.unwrap();
    assert!(metric.after > 0.5 && metric.after < 1.0, "{metric:?}");

    // Masks that are the network's own classes, but for one pixel in 64.
    let map = graph("Conv [N,3,8,8] =[4,3,3,3] pads=[1,1,1,1]");
    let data = images(&map, 2, None, true);
    let mut session =
        secateur::exec::session::Session::for_samples(&map, &Device::Cpu, &data.sample().unwrap(), (None, 2))
            .unwrap();
    let scores = session.predict(&data.batches(2).next().unwrap().unwrap().data).unwrap();
    let class = |image: usize, at: usize| {
        let score = |c: usize| scores[(image * 4 + c) * 64 + at];
        (0..4).fold(0, |best, c| if score(c) > score(best) { c } else { best })
    };
    let mut masks: Vec<f64> = (0..128).map(|i| class(i / 64, i % 64) as f64).collect();
    let save = |masks: &[f64]| {
        let file = folder.path().join("masks.npy");
        let tensor = secateur::tensor::Tensor::from_f64(secateur::tensor::DType::U8, &[2, 8, 8], masks);
        secateur::data::write_npy(&file, &tensor).unwrap();
        MetricOptions {
            labels: Some(Arc::new(LabelImages::open(&file).unwrap())),
            ..MetricOptions::default()
        }
    };
    let metric = judged(&map, &data, &save(&masks)).unwrap().metric.unwrap();
    assert_eq!((metric.name.as_str(), metric.after), ("mIoU", 100.0));
    masks[0] = (masks[0] + 1.0) % 4.0;
    let metric = judged(&map, &data, &save(&masks)).unwrap().metric.unwrap();
    assert!(metric.after > 80.0 && metric.after < 100.0, "{metric:?}");
    masks[0] = 255.0;
    assert_eq!(
        judged(&map, &data, &save(&masks)).unwrap().metric.unwrap().after,
        100.0,
        "255 does not count"
    );
}

/// Returns a detector of two outputs N×2×4 and N×2×2 with these names.
fn detector(decoded: bool, names: [&str; 2]) -> Graph {
    let head = if decoded { "Sigmoid ^; " } else { "" };
    let text = format!("Conv [N,3,8,8] =[12,3,8,8]; Reshape ^ (0,2,6); {head}Split ^ (4,2) axis=2 →2");
    let mut model = notation::message(&text);
    let graph = model.graph.as_mut().unwrap();
    for (place, name) in names.iter().enumerate() {
        graph.node.last_mut().unwrap().output[place] = (*name).to_owned();
        graph.output[place].name = Some((*name).to_owned());
    }
    let bytes = prost::Message::encode_to_vec(&model);
    Graph::from_model(&Model::from_bytes(bytes, Path::new("net.onnx")).unwrap()).unwrap()
}

#[test]
fn decoded_boxes_beside_scores_are_compared_as_boxes() {
    let network = detector(true, ["boxes", "scores"]);
    let data = images(&network, 8, None, true);
    let metric = judged(&network, &data, &MetricOptions::default()).unwrap().metric.unwrap();
    assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("box F1", "%"));
    assert_eq!((metric.before, metric.after, metric.error), (Some(100.0), 100.0, Some(0.0)));
    // Other names, and what a convolution ends, say nothing.
    for other in [detector(true, ["a", "b"]), detector(false, ["boxes", "scores"])] {
        let found = judged(&other, &data, &MetricOptions::default()).unwrap();
        assert_eq!(found.metric.unwrap().name, "SNR");
    }
    let unnamed = detector(true, ["a", "b"]);
    let metric = judged(&unnamed, &data, &by(MetricKind::Boxes)).unwrap().metric.unwrap();
    assert_eq!(metric.after, 100.0);
    let raw = detector(false, ["a", "b"]);
    let error = judged(&raw, &data, &by(MetricKind::Boxes)).unwrap_err();
    assert!(error.what().contains("the boxes of a are not decoded"), "{error}");
    // No box is sure enough: an error only if boxes were asked for.
    let sure = MetricOptions { min_score: Some(1.5), ..MetricOptions::default() };
    let error = judged(&network, &data, &sure).unwrap_err();
    assert!(error.what().contains("no box with a score of 1.5"), "{error}");
}

fn origin() -> Origin {
    Origin { data: "generated".to_owned(), shard: None }
}

/// Returns images of the built-in network with changed labels.
fn relabelled(count: usize, label: fn(u32) -> u32) -> Calibration {
    let (images, labels) = demo::raw_images(count, 3);
    let labels: Vec<u32> = labels.into_iter().map(label).collect();
    let options = DataOptions { mean: Some(vec![0.5]), std: Some(vec![0.25]), ..DataOptions::default() };
    let spec = sample_spec(&demo::network().unwrap().graph);
    let data = Dataset::from_bytes(images, &[count, 3, 32, 32], Some(&labels), &options, spec);
    Calibration::new(data.unwrap(), origin())
}

#[test]
fn an_original_that_does_not_fit_its_labels_is_not_pruned() {
    let run = |label: fn(u32) -> u32, force: bool| {
        let calibration = relabelled(40, label);
        let metric = MetricOptions { force, ..MetricOptions::default() };
        let plan = PlanOptions { metric, ..PlanOptions::by("l1").unwrap() };
        let options = PruneOptions { plan, repair: Some(Repair::None), ..PruneOptions::default() };
        let evidence = Evidence::images(&calibration);
        prune(demo::network().unwrap(), &Device::Cpu, evidence, &options, &mut Silent)
    };
    assert!(run(|label| label, false).unwrap().done().is_some());
    let error = run(|label| (label + 5) % 10, false).unwrap_err();
    assert!(error.what().contains("top-1 of the original is 0.0 % (chance 10.0 %)"), "{error}");
    assert!(error.remedy_text().unwrap().contains("`force`"), "{error}");
    let shifted = run(|label| (label + 9) % 10, false).unwrap_err();
    assert!(shifted.remedy_text().unwrap().contains("set `label_offset` to 1"), "{shifted}");
    assert!(run(|label| (label + 5) % 10, true).unwrap().done().is_some(), "forced");
}

/// An observer that records notices.
#[derive(Default)]
struct Notices(Vec<Notice>);

impl Observer for Notices {
    fn notice(&mut self, notice: Notice) {
        self.0.push(notice);
    }
}

#[test]
fn a_search_looks_for_the_least_quality_of_any_metric() {
    let calibration = relabelled(40, |label| label);
    let network = demo::network().unwrap();
    let search = |target: Target, metric: MetricOptions, seen: &mut Notices| {
        let options = PlanOptions { target, metric, ..PlanOptions::by("l1").unwrap() };
        plan(&network, &Device::Cpu, Evidence::images(&calibration), &options, seen)
    };
    let mut seen = Notices::default();
    let found = search(Target::MinQuality(15.0), by(MetricKind::Snr), &mut seen).unwrap().done().unwrap();
    let best = found.attempts.iter().find(|attempt| attempt.value >= 15.0).unwrap();
    assert!(found.cut.budget.contains(&format!("min-quality 15 ({:.3} of the MACs)", best.keep)));
    assert!(found.attempts.iter().filter(|a| a.keep < best.keep).all(|a| a.value < 15.0));
    let error = search(Target::MaxDrop(1.0), by(MetricKind::Snr), &mut seen).unwrap_err();
    assert!(error.what().contains("`max_drop` needs a metric"), "{error}");
    let mut seen = Notices::default();
    search(Target::MaxDrop(1.0), MetricOptions::default(), &mut seen).unwrap();
    let coarse = Notice::CoarseLimit { images: 40, weight: 2.5, max_drop: 1.0 };
    assert!(seen.0.contains(&coarse), "{:?}", seen.0);
}

#[test]
fn a_forced_search_is_bounded_by_agreement() {
    let calibration = relabelled(40, |label| (label + 5) % 10);
    let network = demo::network().unwrap();
    let metric = MetricOptions { force: true, ..MetricOptions::default() };
    let options = PlanOptions { target: Target::MaxDrop(10.0), metric, ..PlanOptions::by("l1").unwrap() };
    let evidence = Evidence::images(&calibration);
    let found = plan(&network, &Device::Cpu, evidence, &options, &mut Silent).unwrap().done().unwrap();
    let best = found.attempts.iter().find(|attempt| attempt.drop <= 10.0).unwrap();
    assert!(best.agreement.unwrap() >= 0.9, "top-1 of 0 bounds nothing: {best:?}");
}

fn json(command: &mut Command) -> (i32, Value) {
    let output = command.arg("--json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
}

fn secateur() -> Command {
    let mut command = Command::cargo_bin("secateur").unwrap();
    command.env("SECATEUR_DEVICE", "cpu");
    command
}

#[test]
fn the_command_line_reports_the_metric() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    secateur().args(["demo", "--count", "60", "--write-images"]).arg(at("i.npz")).assert().success();
    let demo = format!("{}/assets/demo.onnx", env!("CARGO_MANIFEST_DIR"));
    let eval = |more: &[&str]| {
        let mut eval = secateur();
        eval.args(["eval", &demo, "--against", &demo, "--mean", "0.5", "--std", "0.25", "--data"]);
        json(eval.arg(at("i.npz")).args(more))
    };
    let (code, answer) = eval(&[]);
    let metric = &answer["metric"];
    assert_eq!((code, &metric["name"], &metric["unit"]), (0, &"top-1".into(), &"%".into()), "{answer}");
    assert_eq!(metric["after"].as_f64().unwrap(), 100.0 * answer["top1"].as_f64().unwrap());
    assert!(metric["before"] == metric["after"] && metric["error"].as_f64().unwrap() > 0.0);
    let (code, answer) = eval(&["--metric", "snr"]);
    assert!(code == 0 && answer["metric"]["name"] == "SNR" && answer["metric"]["unit"] == "dB", "{answer}");
    let (code, answer) = eval(&["--label-offset", "1"]);
    assert_eq!(code, 2);
    assert!(answer["error"]["remedy"].as_str().unwrap().contains("--label-offset to 0"), "{answer}");
}

#[cfg(unix)]
#[test]
fn a_command_is_a_metric() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    secateur().args(["demo", "--count", "12", "--write-images"]).arg(at("i.npz")).assert().success();
    let demo = format!("{}/assets/demo.onnx", env!("CARGO_MANIFEST_DIR"));
    let eval = |metric: &str| {
        let mut eval = secateur();
        eval.args(["eval", &demo, "--against", &demo, "--mean", "0.5", "--std", "0.25", "--data"]);
        json(eval.arg(at("i.npz")).args(["--metric", metric]))
    };
    // Counts the arrays of both folders, and the rows of a table.
    std::fs::write(at("count.sh"), "echo counting; ls \"$1\"/*/*.npy \"$2\"/*/*.npy | wc -l").unwrap();
    let (code, answer) = eval(&format!("command sh {}", at("count.sh").display()));
    assert_eq!((code, answer["metric"]["after"].as_f64()), (0, Some(24.0)), "{answer}");
    assert_eq!(answer["metric"]["name"], "command");
    std::fs::write(at("rows.sh"), "wc -l < \"$1/images.csv\"").unwrap();
    let (_, answer) = eval(&format!("command sh {}", at("rows.sh").display()));
    assert_eq!(answer["metric"]["before"].as_f64(), Some(13.0), "{answer}");
    let (code, answer) = eval("command echo none");
    assert!(code == 2 && answer["error"]["message"].as_str().unwrap().contains("printed no number"));
    let (code, answer) = eval("command sh -c 'echo why >&2; exit 3'");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(code == 2 && message.contains("failed") && message.contains("why"), "{answer}");
}
