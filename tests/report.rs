//! The report's drawing of networks, and pages of cuts: predictions, feature maps, several cuts side by side.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::path::Path;

use secateur::data::{DataOptions, Dataset};
use secateur::exec::devices::Device;
use secateur::graph::Graph;
use secateur::graph::facts::Facts;
use secateur::onnx::Model;
use secateur::pipeline::{
    Budget, Calibration, Evidence, IntegerOptions, MetricOptions, Network, Origin, Outcome, PaletteBits,
    PlanOptions, PruneOptions, Pruned, Quantized, RangeMethod, Repair, ReportOptions, Runtime, Silent,
    Target, compare_cuts, demo, prune, quantization_page, quantize, share,
};
use secateur::report::drawing::{BoxKind, Drawing, drawn};
use secateur::report::network::sections;
use secateur::report::{Num, Page};

#[path = "common/builder.rs"]
#[allow(dead_code)] // blocks that other tests use
mod builder;

use builder::{Builder, Value, int};

/// Draws a built network.
fn draw(net: Builder, outputs: &[Value]) -> Drawing {
    let (bytes, _) = net.finish(outputs, false);
    let graph = Graph::from_model(&Model::from_bytes(bytes, Path::new("net.onnx")).unwrap()).unwrap();
    let facts = Facts::at_own_size(&graph).unwrap();
    drawn(&graph, &facts, &sections(&graph, &facts))
}

/// Returns the kinds and texts of the boxes, and the lines between them.
fn summary(drawing: &Drawing) -> (Vec<(BoxKind, &str)>, Vec<[usize; 2]>) {
    let boxes = drawing.boxes.iter().map(|b| (b.kind, b.text.as_str())).collect();
    (boxes, drawing.lines.iter().map(|line| [line.from, line.to]).collect())
}

#[test]
fn chains_are_collapsed_and_branches_drawn() {
    let mut net = Builder::new(3, 16);
    let first = net.conv(&net.input(), 8, 3, 1, 1);
    let normal = net.batch_norm(&first);
    let x = net.unary("Relu", &normal);
    // SiLU joins nothing: both factors come from one layer.
    let second = net.conv(&x, 8, 3, 1, 1);
    let gate = net.unary("Sigmoid", &second);
    let silu = net.node("Mul", &[&second.name, &gate.name], vec![], &second.shape);
    let sum = net.node("Add", &[&x.name, &silu.name], vec![], &x.shape);
    let drawing = draw(net, &[sum]);
    let (boxes, lines) = summary(&drawing);
    let kinds: Vec<BoxKind> = boxes.iter().map(|(kind, _)| *kind).collect();
    use BoxKind::{Input, Join, Layer, Output, Pool};
    assert_eq!(kinds, [Input, Layer, Layer, Join, Pool, Layer, Output], "{boxes:?}");
    assert_eq!(boxes[3].1, "Add");
    assert_eq!(lines, [[0, 1], [1, 2], [1, 3], [2, 3], [3, 4], [4, 5], [5, 6]]);
    assert_eq!(drawing.boxes[3].width, [Some(8), Some(8)]);
    assert_eq!(drawing.boxes[3].planes, [16, 16]);
    assert!(drawing.boxes.iter().all(|b| b.at[0] >= 0 && b.at[0] + b.at[2] <= drawing.size[0]));
}

#[test]
fn a_concatenation_continues_an_earlier_one() {
    let mut net = Builder::new(5, 16);
    let mut all = vec![net.conv(&net.input(), 4, 3, 1, 1)];
    let mut x = all[0].clone();
    for _ in 0..3 {
        all.push(net.conv(&x, 2, 3, 1, 1));
        let names: Vec<&str> = all.iter().map(|value| value.name.as_str()).collect();
        let channels = all.iter().map(|value| value.shape[0]).sum();
        x = net.node("Concat", &names, vec![int("axis", 1)], &[channels, 16, 16]);
    }
    let drawing = draw(net, &[x]);
    let (boxes, lines) = summary(&drawing);
    let joins: Vec<usize> = (0..boxes.len()).filter(|&i| boxes[i].0 == BoxKind::Join).collect();
    assert_eq!(joins.len(), 3);
    for pair in joins.windows(2) {
        let into: Vec<usize> = lines.iter().filter(|line| line[1] == pair[1]).map(|line| line[0]).collect();
        assert_eq!(into, [pair[0], pair[1] - 1], "the earlier concatenation and the new layer");
    }
}

fn pruned(keep: f64, report: bool) -> Pruned {
    let names = (0..10).map(|class| format!("name {class}")).collect();
    pruned_with(keep, report, &demo::calibration().unwrap(), names)
}

fn pruned_with(keep: f64, report: bool, calibration: &Calibration, names: Vec<String>) -> Pruned {
    let network = demo::network().unwrap();
    let plan = PlanOptions { target: Target::Keep(Budget::KeepMacs(keep)), ..PlanOptions::default() };
    let page = ReportOptions { seconds: 0.0, class_names: names, ..ReportOptions::default() };
    let options = PruneOptions {
        plan,
        repair: Some(Repair::None),
        report: report.then_some(page),
        ..PruneOptions::default()
    };
    let evidence = Evidence::open(&network, None, Some(calibration), None).unwrap();
    match prune(network, &Device::Cpu, evidence, &options, &mut Silent).unwrap() {
        Outcome::Done(pruned) => pruned,
        other => panic!("{other:?}"),
    }
}

#[test]
fn predictions_and_maps_of_both_networks_are_on_the_page() {
    let pruned = pruned(0.4, true);
    let (page, found) = (pruned.page.unwrap(), pruned.evaluation.unwrap());
    let predictions = found.predictions.unwrap();
    let right = |after: bool| -> usize {
        predictions.classes.values().map(|of| if after { of.after } else { of.before }).sum()
    };
    let images = found.images as f64;
    assert_eq!(right(false) as f64 / images, found.reference_accuracy.top1().unwrap());
    assert_eq!(right(true) as f64 / images, found.accuracy.top1().unwrap());
    let same = 1.0 - predictions.changed.len() as f64 / images;
    assert!((same - found.agreement.unwrap().agreement().unwrap()).abs() < 1e-9);

    let shown = page.predictions.unwrap();
    assert_eq!(shown.counts.all, predictions.changed.len());
    assert_eq!(right(false) - shown.counts.lost + shown.counts.won, right(true));
    assert!(
        !shown.pairs.is_empty() && shown.pairs.iter().all(|p| p.after > p.before && p.label != p.prediction)
    );
    assert!(shown.changed.len() > 3 && shown.changed.iter().all(|c| c.tile.is_some() && c.before != c.after));
    assert_eq!(shown.names[3].as_deref(), Some("name 3"));
    assert_eq!(shown.images.unwrap().count, shown.changed.len());

    let cut = page.maps.iter().filter(|map| page.layers[map.layer].state.contains('c'));
    let mut checked = 0;
    for map in cut {
        let state = page.layers[map.layer].state.as_bytes();
        let kept = map.channels.iter().filter(|&&channel| state[channel] != b'c').count();
        assert_eq!(map.after.len(), map.sheets.len());
        assert!(map.after.iter().all(|sheet| sheet.count == kept && sheet.tile == map.sheets[0].tile));
        checked += 1;
    }
    assert!(checked > 0);
    // The first layer computes as before, if its kernels were kept and nothing was repaired.
    let first = &page.maps[0];
    if first.layer == 0 && !page.layers[0].state.contains('c') {
        assert_eq!(first.after, first.sheets);
    }
    let drawing = page.drawing.unwrap();
    let layers = drawing.boxes.iter().filter_map(|b| Some((b.layer?, b.width)));
    for (layer, width) in layers {
        assert_eq!(width, page.layers[layer].width.map(Some), "{}", page.layers[layer].name);
    }
}

#[test]
fn names_of_the_data_name_classes_unless_a_list_does() {
    let folder = tempfile::tempdir().unwrap();
    let (pixels, labels) = demo::raw_images(80, 7);
    let mut table = "file;label\n".to_owned();
    for (i, (image, label)) in pixels.chunks_exact(3 * 32 * 32).zip(&labels).enumerate() {
        let plane = 32 * 32;
        let bytes = (0..3 * plane).map(|at| image[at % 3 * plane + at / 3]);
        let picture = [b"P6 32 32 255\n".to_vec(), bytes.collect()].concat();
        std::fs::write(folder.path().join(format!("{i:02}.ppm")), picture).unwrap();
        table += &format!("{i:02};class {label}\n");
    }
    std::fs::write(folder.path().join("labels.csv"), table).unwrap();
    let options = DataOptions { mean: Some(vec![0.5]), std: Some(vec![0.25]), ..DataOptions::default() };
    let data = Dataset::open(folder.path().to_str().unwrap(), &options, &[None, Some(3), Some(32), Some(32)])
        .unwrap();
    let origin = Origin { data: "pictures".to_owned(), shard: None };
    let calibration = Calibration::new(data, origin);
    for (listed, wanted) in
        [(vec![], "class 3"), ((0..10).map(|i| format!("listed {i}")).collect(), "listed 3")]
    {
        let page = pruned_with(0.4, true, &calibration, listed).page.unwrap();
        let names = page.predictions.unwrap().names;
        assert_eq!((names.len(), names[3].as_deref()), (10, Some(wanted)));
    }
}

#[test]
fn cuts_stand_side_by_side() {
    let cuts = [pruned(0.7, false), pruned(0.4, false)];
    let models: Vec<Model> = cuts.iter().map(|cut| cut.model.clone()).collect();
    let network = demo::network().unwrap();
    let calibration = demo::calibration().unwrap();
    let options = ReportOptions { seconds: 0.05, ..ReportOptions::default() };
    let images = (Some(&calibration), None);
    let page = compare_cuts(&network, &models, &Device::Cpu, images, &options, &mut Silent).unwrap();
    let found = page.cuts.unwrap();
    assert_eq!(found.networks.len(), 3);
    assert!(found.rounds.unwrap() > 0 && found.networks.iter().all(|n| n.ms.is_some()));
    for (column, cut) in found.networks[1..].iter().zip(&cuts) {
        assert_eq!(column.cost, cut.after);
        let evaluation = cut.evaluation.as_ref().unwrap();
        let quality = column.quality.as_ref().unwrap();
        assert_eq!(
            quality.top1,
            Some([evaluation.reference_accuracy.top1().unwrap(), evaluation.accuracy.top1().unwrap()])
        );
        assert!(column.widths.iter().zip(&page.layers).all(|(w, layer)| w.unwrap() <= layer.width[0]));
        assert!(column.widths.iter().zip(&page.layers).any(|(w, layer)| w.unwrap() < layer.width[0]));
    }
    let curve = page.curve.unwrap();
    assert_eq!(curve.points.len(), 3);
    assert!(curve.points.windows(2).all(|pair| pair[0].keep < pair[1].keep));
    assert_eq!(curve.points[2].keep, 1.0);
    assert!(curve.points[..2].iter().all(|point| point.error.is_some()));

    let (bytes, _) = {
        let mut net = Builder::new(1, 32);
        let x = net.conv(&net.input(), 4, 3, 1, 1);
        net.finish(&[x], false)
    };
    let other = Model::from_bytes(bytes, Path::new("other.onnx")).unwrap();
    let none = (None, None);
    let error = compare_cuts(&network, &[other], &Device::Cpu, none, &options, &mut Silent).unwrap_err();
    assert!(error.message().contains("not pruned from the original"), "{error}");
    let untimed = ReportOptions { seconds: 0.0, ..ReportOptions::default() };
    let page = compare_cuts(&network, &models, &Device::Cpu, none, &untimed, &mut Silent).unwrap();
    let found = page.cuts.unwrap();
    assert!(found.rounds.is_none() && found.untimed.is_some() && page.curve.is_none());
    let network = Network::from_model(network.model).unwrap();
    assert_eq!(found.networks[0].cost, network.cost());
}

fn integers(float: Vec<String>) -> IntegerOptions {
    let ranges = Some(RangeMethod::Percentile(99.0));
    IntegerOptions { runtime: Runtime::Ort, ranges, repair: Repair::None, float }
}

fn page_of(found: &Quantized, calibration: Option<&Calibration>) -> Page {
    let (network, options) = (demo::network().unwrap(), ReportOptions::default());
    quantization_page(found, &network.model, calibration, &Device::Cpu, &options).unwrap()
}

#[test]
fn a_page_of_integers_has_sizes_quality_ranges_and_layers() {
    let (network, calibration) = (demo::network().unwrap(), demo::calibration().unwrap());
    let whole = secateur::quantize::integer::Quantizable::new(&network.model, &integers(vec![])).unwrap();
    let first = whole.layers().next().unwrap().to_owned();
    let options = integers(vec![first.clone()]);
    let on = (&Device::Cpu, None);
    let images = Some(&calibration);
    let found = quantize(&network, &options, on, images, &MetricOptions::default(), &mut Silent).unwrap();
    let found = Quantized::from(found);
    let page = page_of(&found, images);
    let quality = page.summary.quality.unwrap();
    assert_eq!(quality.agreement, found.evaluation().unwrap().agreement.as_ref().unwrap().agreement());
    assert!(page.predictions.is_some() && page.layers.is_empty());

    let shown = page.quantization.unwrap();
    let coded = found.coded();
    assert_eq!(shown.sizes[0].bytes, [network.model.bytes, found.model().bytes]);
    assert_eq!(shown.sizes[2].bytes, [coded[0].bytes(), coded[1].bytes()]);
    let tensors = &found.integers().unwrap().integer.tensors;
    assert_eq!(shown.tensors.len(), tensors.len());
    assert!(shown.tensors[0].op.is_some(), "only the layer in float reads the input");
    for (shown, tensor) in shown.tensors.iter().zip(tensors) {
        let total: f64 = shown.counts.iter().map(|count| count.0).sum();
        let all = tensor.values.total() as f64;
        assert!((total / all - 1.0).abs() < 1e-9, "{}: {total} of {all} values", shown.name);
        assert!(shown.ends[0].0 <= shown.range[0].0 && shown.ends[1].0 >= shown.range[1].0);
        let [low, high] = shown.range.map(|end| end.0);
        assert!((shown.scale.0 * 255.0 / (high - low) - 1.0).abs() < 1e-6);
        // 1 % is left out, of which values at the edge of a bin are a part.
        assert!(shown.outside.0 < 0.02, "{}: {}", shown.name, shown.outside.0);
    }
    assert!(shown.tensors.iter().any(|tensor| tensor.outside.0 > 0.005));

    let of = |name: &str| shown.layers.iter().find(|layer| layer.name == name).unwrap();
    assert_eq!((of(&first).bits, of(&first).reason.as_deref()), (None, Some("stays in float, as asked")));
    for name in found.layers() {
        let (layer, tensor) = (of(name), found.model().graph());
        let node = tensor.node.iter().find(|node| node.name() == name).unwrap();
        let stored = format!("{}.scale", node.input[1]);
        let stored = tensor.initializer.iter().find(|tensor| tensor.name() == stored).unwrap();
        let scales = secateur::onnx::tensor::decode(stored).unwrap().to_f64();
        // Channels of zeros have the scale 1, which says nothing.
        let scales: Vec<f64> = scales.into_iter().filter(|&scale| scale != 1.0).collect();
        let ends =
            [scales.iter().copied().fold(f64::MAX, f64::min), scales.iter().copied().fold(0.0, f64::max)];
        assert_eq!((layer.bits, layer.reason.as_deref()), (Some(8), None), "{name}");
        assert_eq!(layer.scales, Some((scales.len(), ends.map(Num))), "{name}");
    }
}

#[test]
fn a_page_of_shared_weights_has_codebooks() {
    let network = demo::network().unwrap();
    let (on, metric) = ((&Device::Cpu, None), MetricOptions::default());
    let found = share(&network, PaletteBits::Four, on, (None, Repair::None), &metric, &mut Silent).unwrap();
    let found = Quantized::from(found);
    let page = page_of(&found, None);
    assert!(page.summary.quality.is_none());
    let shown = page.quantization.unwrap();
    assert!(shown.tensors.is_empty() && shown.runtime.is_none());
    let shared: Vec<_> = shown.layers.iter().filter(|layer| layer.bits == Some(4)).collect();
    assert_eq!(shared.len(), found.layers().len());
    for layer in shared {
        let sum: f64 = layer.codebook.iter().map(|[_, share]| share.0).sum();
        assert!((1..=16).contains(&layer.codebook.len()) && (sum - 1.0).abs() < 1e-9, "{}", layer.name);
        assert!(layer.codebook.is_sorted_by(|a, b| a[0].0 < b[0].0));
    }
}

#[test]
fn the_page_of_a_cut_has_its_quantization() {
    let network = demo::network().unwrap();
    let calibration = demo::calibration().unwrap();
    let options = PruneOptions {
        plan: PlanOptions { target: Target::Keep(Budget::KeepMacs(0.7)), ..PlanOptions::default() },
        repair: Some(Repair::None),
        report: Some(ReportOptions { seconds: 0.0, ..ReportOptions::default() }),
        quantize: Some(integers(vec![])),
        ..PruneOptions::default()
    };
    let evidence = Evidence::open(&network, None, Some(&calibration), None).unwrap();
    let Outcome::Done(pruned) = prune(network, &Device::Cpu, evidence, &options, &mut Silent).unwrap() else {
        panic!("no network")
    };
    let page = pruned.page.unwrap();
    let shown = page.quantization.unwrap();
    assert_eq!(shown.layers.iter().filter(|layer| layer.bits == Some(8)).count(), pruned.quantized_layers);
    assert_eq!(shown.sizes[0].bytes[1], pruned.after.bytes);
    assert!(shown.sizes[0].bytes[0] < pruned.before.bytes && !page.layers.is_empty());
    assert!(page.repeat.iter().any(|row| row.what == "Ranges" && row.value == "percentile:99"));
}
