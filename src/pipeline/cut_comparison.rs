//! Several cuts of one network side by side: cost, quality, latency, and widths.

use super::calibration::Calibration;
use super::data_notices::notice_calibration;
use super::evaluation::evaluate_against;
use super::kept_outputs::{KeptOutputs, Reference};
use super::metric::MetricOptions;
use super::network::{Network, cost};
use super::quality_curve::{self, against_macs, front, on_page};
use super::report_options::ReportOptions;
use super::report_quality::quality;
use super::report_rows;
use crate::bench::verified::verified;
use crate::bench::{BenchOptions, BenchResult};
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::Observer;
use crate::onnx::Model;
use crate::prune::Channels;
use crate::report::{
    CutColumn, Cuts, LayerSection, Page, Repeat, SearchCurve, SearchPoint, drawing, network,
};

/// Builds the page of several pruned networks beside their original.
///
/// With images, every network is evaluated against the original. All networks are timed in turn.
///
/// # Errors
/// A network that was not pruned from the original, by the names and widths of its layers; one that does not run.
pub fn compare_cuts(
    original: &Network,
    pruned: &[Model],
    device: &Device,
    (calibration, batch): (Option<&Calibration>, Option<usize>),
    options: &ReportOptions,
    observer: &mut dyn Observer,
) -> Result<Page> {
    let mut page = Page { model: report_rows::title(&original.model), ..Page::default() };
    page.layers = network::sections(&original.graph, &original.channels.facts);
    page.drawing = Some(drawing::drawn(&original.graph, &original.channels.facts, &page.layers));
    page.summary.before = original.cost();
    let first = CutColumn {
        name: page.model.clone(),
        cost: original.cost(),
        widths: page.layers.iter().map(|layer| Some(layer.width[0])).collect(),
        ..CutColumn::default()
    };
    notice_calibration(&original.graph, calibration, observer)?;
    let (kept, metric) = (KeptOutputs::default(), MetricOptions::default());
    let reference = Reference { graph: &original.graph, kept: Some(&kept) };
    let mut networks = vec![first];
    let mut graphs = Vec::new();
    for model in pruned {
        let graph = Graph::from_model(model)?;
        let channels = Channels::of(&graph)?;
        let widths = network::widths(&page.layers, &graph, &channels.facts);
        check_layers(original, (model, &graph, &channels), &page.layers, &widths)?;
        let found = calibration
            .map(|of| {
                evaluate_against(&graph, Some(reference), device, &of.judge, (batch, &metric), observer)
            })
            .transpose()?;
        networks.push(CutColumn {
            name: report_rows::title(model),
            cost: cost(&channels, model.bytes),
            quality: calibration.zip(found).map(|(of, found)| quality(of, &found)),
            widths,
            ..CutColumn::default()
        });
        graphs.push(graph);
    }
    page.curve = curve(&networks);
    let mut cuts = Cuts { networks, batch: options.batch, ..Cuts::default() };
    let all: Vec<&Graph> = std::iter::once(&original.graph).chain(&graphs).collect();
    time(&mut cuts, &all, device, options, observer);
    page.repeat = repeat(original, pruned, device, (calibration, options));
    page.cuts = Some(cuts);
    Ok(page)
}

/// Checks that most layers of a network and of the original have common names, and that none of these is wider.
fn check_layers(
    original: &Network,
    (model, graph, channels): (&Model, &Graph, &Channels),
    layers: &[LayerSection],
    widths: &[Option<usize>],
) -> Result<()> {
    let (all, known) = (network::sections(graph, &channels.facts).len(), widths.iter().flatten().count());
    let wider = layers.iter().zip(widths).find(|(layer, width)| width.is_some_and(|w| w > layer.width[0]));
    if wider.is_none() && known > 0 && 2 * known >= all.max(layers.len()) {
        return Ok(());
    }
    let error = Error::new("the network was not pruned from the original")
        .file(&model.path)
        .expected(format!("layers of {}, none of them wider", original.model.path.display()))
        .remedy("give networks that `prune()` made from this original");
    Err(match wider {
        Some((layer, _)) => error.node(&layer.name).got("a wider layer"),
        None => error.got(format!("{known} of its {} layers", layers.len())),
    })
}

/// Returns the metric of all networks against their MACs, if there are images.
fn curve(networks: &[CutColumn]) -> Option<SearchCurve> {
    let metric = |network: &CutColumn| network.quality.as_ref()?.metric.clone();
    let of_first = networks.iter().find_map(metric)?;
    let shown = |value| on_page(&of_first.unit, value);
    let all = networks[0].cost.macs.max(1) as f64;
    let value = |network: &CutColumn| match &network.quality {
        Some(_) => metric(network)?.after,
        None => of_first.before,
    };
    let quality = |value| quality_curve::quality(value, of_first.higher_is_better);
    let known: Vec<(usize, u64, f64)> = networks
        .iter()
        .enumerate()
        .filter_map(|(i, network)| Some((i, network.cost.macs, quality(value(network)?))))
        .collect();
    let best = front(&known);
    let point = |(i, network): (usize, &CutColumn)| SearchPoint {
        keep: network.cost.macs as f64 / all,
        value: value(network).and_then(shown),
        error: metric(network).and_then(|m| m.error).and_then(shown),
        name: network.name.clone(),
        best: best.contains(&i),
        chosen: false,
    };
    let mut points: Vec<SearchPoint> = networks.iter().enumerate().map(point).collect();
    points.sort_by(|a, b| a.keep.total_cmp(&b.keep));
    Some(against_macs(&of_first.name, &of_first.unit, points))
}

/// Times the networks in turn; the page states the reason if that is not possible.
fn time(
    cuts: &mut Cuts,
    graphs: &[&Graph],
    device: &Device,
    options: &ReportOptions,
    observer: &mut dyn Observer,
) {
    if !(options.seconds > 0.0) {
        cuts.untimed = Some("no time was given to it".to_owned());
        return;
    }
    let bench = BenchOptions { batch: options.batch, seconds: options.seconds, transfers: false };
    match verified(graphs, device, bench, observer) {
        Ok(found) => {
            let BenchResult { batches, seconds, speedups, rounds, .. } = found.times;
            cuts.rounds = Some(rounds);
            let times = seconds.into_iter().zip(batches).zip(speedups);
            for (column, ((seconds, batch), speedup)) in cuts.networks.iter_mut().zip(times) {
                column.ms = Some(seconds.times(1e3 / batch as f64));
                column.speedup = Some(speedup);
            }
        }
        Err(error) => cuts.untimed = Some(error.message()),
    }
}

/// Returns the data to reproduce the page.
fn repeat(
    original: &Network,
    pruned: &[Model],
    device: &Device,
    (calibration, options): (Option<&Calibration>, &ReportOptions),
) -> Vec<Repeat> {
    let mut lines = report_rows::program(options);
    lines.push(report_rows::file("Model", &original.model));
    lines.extend(pruned.iter().map(|small| report_rows::file("Smaller model", small)));
    lines.extend(calibration.map(|of| report_rows::repeat("Images", &of.origin.data)));
    lines.push(report_rows::device(device));
    lines
}
