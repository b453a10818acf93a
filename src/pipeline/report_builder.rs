//! The builder of a report page: it fills the page in the order in which facts become known.

use std::collections::{BTreeSet, HashMap};

use super::calibration::Calibration;
use super::decision::Attempt;
use super::evaluation::Evaluation;
use super::evidence::weights_profile;
use super::image_source::ImageSource;
use super::metric::MetricResult;
use super::network::{Network, cost};
use super::plan_options::Target;
use super::profiling::{ProfileOptions, pass};
use super::quality_curve::{self, measured, on_page};
use super::quality_limit::QualityLimit;
use super::quantized::Form;
use super::report_options::ReportOptions;
use super::report_quality::judge;
use super::report_quantization::{section, settings};
use super::report_rows;
use crate::bench::layers::layers;
use crate::bench::verified::verified;
use crate::bench::{BenchOptions, BenchResult};
use crate::data::{Batch, Preprocessing};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::observer::Observer;
use crate::onnx::Model;
use crate::prune::{Channels, Counted, Cut, Needs, Proof, Stamp};
use crate::quantize::coding::coded_size;
use crate::repair::Repair;
use crate::report::pictures::DrawnMaps;
use crate::report::{Num, Page, SearchCurve, SearchPoint, Speed, drawing, inputs, network, pictures};
use crate::stats::{Distances, GramKind, Profile};

/// Returns the statistics for a page: those of the decision if they are of images or if there are none; else those of
/// one pass over the images, or of the weights.
pub(super) fn statistics(
    seen: Option<Profile>,
    of: &Network,
    (device, batch): (&Device, Option<usize>),
    calibration: Option<&Calibration>,
    observer: &mut dyn Observer,
) -> Result<Profile> {
    let has_activity = |p: &Profile| p.layers.iter().any(|l| !l.post.is_empty());
    match (seen, calibration) {
        (Some(seen), calibration) if calibration.is_none() || has_activity(&seen) => Ok(seen),
        (_, Some(calibration)) => {
            let options = ProfileOptions {
                batch,
                gram: GramKind::None,
                classes: false,
                distances: Distances::None,
                ..ProfileOptions::default()
            };
            let source = (ImageSource::Calibration(calibration), &calibration.origin);
            Ok(pass(of, device, source, &options, None, observer)?.profile)
        }
        (_, None) => weights_profile(of, Needs::WEIGHTS),
    }
}

/// A page that is being filled.
#[derive(Debug)]
pub(super) struct ReportBuilder {
    page: Page,
    seconds: f64,
    batch: usize,
    class_names: Vec<String>,
    maps: DrawnMaps,
    /// The images of the feature maps.
    images: Option<Batch>,
}

impl ReportBuilder {
    /// Fills in what is known of a cut before it is made.
    pub(super) fn new(
        of: &Network,
        cut: &Cut,
        removed: &BTreeSet<usize>,
        seen: &Profile,
        options: &ReportOptions,
    ) -> Self {
        let Network { model, graph, channels, .. } = of;
        let mut page = Page { model: report_rows::title(model), ..Page::default() };
        page.columns = network::columns();
        page.layers = network::described(graph, channels, cut, removed, seen);
        page.drawing = Some(drawing::drawn(graph, &channels.facts, &page.layers));
        page.dependency_groups = network::group_rows(graph, channels, &page.layers, removed);
        let summary = &mut page.summary;
        summary.before = of.cost();
        summary.channels = [of.total_channels(), of.count_channels(removed)];
        summary.coupled = [channels.coupled.len(), removed.len()];
        summary.criterion.clone_from(&cut.criterion);
        summary.budget.clone_from(&cut.budget);
        summary.inexact = channels.inexact(graph, removed);
        summary.calibration = seen.header.images;
        let (seconds, batch, class_names) = (options.seconds, options.batch, options.class_names.clone());
        let maps = DrawnMaps::default();
        let mut builder = Self { page, seconds, batch, class_names, maps, images: None };
        builder.page.repeat = report_rows::program(options);
        builder.page.repeat.push(report_rows::file("Model", model));
        builder.repeat("Criterion", &cut.criterion);
        builder.repeat("Budget", &cut.budget);
        if seen.header.images > 0 {
            let header = &seen.header;
            builder.repeat(
                "Statistics",
                format!("{} images ({}), on {}", header.images, header.data, header.device),
            );
            if let Some(recipe) = header.preprocessing.as_ref().and_then(|r| serde_json::to_string(r).ok()) {
                builder.repeat("Preprocessing", recipe);
            }
        }
        builder
    }

    /// Fills in the preprocessing in words: with what the images are, if they are at hand.
    pub(super) fn preprocessed(
        &mut self,
        calibration: Option<&Calibration>,
        recipe: Option<&Preprocessing>,
    ) -> Result<()> {
        self.page.preprocessing = match calibration {
            Some(calibration) => Some(calibration.fit.describe()?),
            None => recipe.map(|recipe| recipe.describe(None)),
        };
        Ok(())
    }

    /// Draws the filters of the first layer, and feature maps of some images.
    pub(super) fn draw(
        &mut self,
        of: &Network,
        device: &Device,
        images: Option<&Batch>,
        recipe: Option<&Preprocessing>,
    ) -> Result<()> {
        self.page.inputs = match images.zip(recipe) {
            Some((images, recipe)) => inputs(images, recipe)?,
            None => None,
        };
        self.page.filters = pictures::filters(&of.graph, &of.channels.facts, recipe)?;
        self.maps = pictures::maps(&of.graph, device, images, recipe)?;
        self.images = images.cloned();
        Ok(())
    }

    /// Fills in the pruned network; returns the name of a layer whose width is not that of the cut.
    pub(super) fn shrunk(&mut self, small: &Model) -> Result<Option<String>> {
        let graph = Graph::shapes_only(small)?;
        let channels = Channels::of(&graph)?;
        self.page.summary.after = cost(&channels, small.bytes);
        self.page.repeat.push(report_rows::file("Smaller model", small));
        if let Some(drawing) = &mut self.page.drawing {
            drawing.shrunk(&graph, &channels.facts);
        }
        Ok(network::shrunk(&mut self.page.layers, &graph, &channels.facts))
    }

    /// Draws the feature maps of the pruned network beside those of the original.
    pub(super) fn draw_pruned(&mut self, small: &Graph, device: &Device) -> Result<()> {
        match &self.images {
            Some(images) => self.maps.add_pruned(small, device, images, &self.page.layers),
            None => Ok(()),
        }
    }

    /// Fills in the proof.
    pub(super) fn proved(&mut self, proof: &Proof) {
        self.page.summary.proof = Some(proof.clone());
    }

    /// Fills in the reason for which there is no proof.
    pub(super) fn unproved(&mut self, reason: String) {
        self.page.summary.unproved = Some(reason);
    }

    /// Fills in the stamp of the pruned network.
    pub(super) fn stamped(&mut self, stamp: Stamp) {
        let Stamp { version, original, cut, criterion, budget, repair } = &stamp;
        let text = format!(
            "Secateur {version}, {criterion}, {budget}, repair {repair}, original {original}, cut {cut}"
        );
        self.repeat("Stamp", text);
        self.page.summary.stamp = Some(stamp);
    }

    /// Fills in the quality of both networks' outputs, and the predictions that changed.
    pub(super) fn judged(&mut self, calibration: &Calibration, found: &Evaluation) -> Result<()> {
        judge(&mut self.page, calibration, &self.class_names, found)
    }

    /// Fills in the networks that were evaluated in a search by a metric.
    pub(super) fn tried(
        &mut self,
        attempts: &[Attempt],
        counted: Counted,
        (metric, target): (&MetricResult, Target),
    ) {
        let Some(limit) = target.limit() else { return };
        let value = |value| on_page(&metric.unit, value);
        // Attempts are sorted by what they keep: the first within the limit is the result.
        let chosen = attempts.iter().position(|a| limit.allows((a.drop, a.value), metric.higher_is_better));
        let points = attempts.iter().enumerate();
        let mut points: Vec<SearchPoint> = points
            .map(|(i, a)| SearchPoint {
                keep: a.keep,
                value: value(a.value),
                error: a.error.and_then(value),
                chosen: chosen == Some(i),
                ..SearchPoint::default()
            })
            .collect();
        let whole = metric.before.and_then(value);
        points.push(SearchPoint { keep: 1.0, value: whole, ..SearchPoint::default() });
        let floor = match limit {
            QualityLimit::Drop(most) => whole
                .zip(value(-quality_curve::quality(most, metric.higher_is_better)))
                .map(|(whole, loss)| whole + loss),
            QualityLimit::Quality(least) => value(least),
        };
        self.page.curve = Some(SearchCurve {
            counted: counted.to_string(),
            measured: measured(&metric.name),
            unit: metric.unit.clone(),
            points,
            floor,
            sweep: false,
        });
    }

    /// Fills in the quantization of the pruned network.
    pub(super) fn quantized(&mut self, form: Form<'_>, before: &Model) -> Result<()> {
        let section = section(form, &[coded_size(before)?, coded_size(form.model())?])?;
        self.page.repeat.extend(settings(&section));
        self.page.quantization = Some(section);
        Ok(())
    }

    /// Fills in the repair, the seed of the scores, and the confidence of the cut.
    pub(super) fn decided(&mut self, repair: Repair, seed: Option<u64>, confidence: Option<f64>) {
        self.page.summary.repair = Some(repair.to_string());
        self.page.summary.confidence = confidence;
        self.repeat("Repair", repair.to_string());
        if let Some(seed) = seed {
            self.repeat("Seed", seed.to_string());
        }
    }

    /// Times both networks in turn. A network that cannot be timed is no error: the page states the reason.
    pub(super) fn time(&mut self, graphs: &[Graph; 2], device: &Device, observer: &mut dyn Observer) {
        if !(self.seconds > 0.0) {
            self.page.summary.untimed = Some("no time was given to it".to_owned());
            return;
        }
        match self.timed(graphs, device, observer) {
            Ok(speed) => self.page.summary.speed = Some(speed),
            Err(error) => self.page.summary.untimed = Some(error.message()),
        }
    }

    fn timed(&mut self, graphs: &[Graph; 2], device: &Device, observer: &mut dyn Observer) -> Result<Speed> {
        /// The share of the time for layers by themselves.
        const OF_LAYERS: f64 = 0.3;
        let batch = self.batch;
        let options = BenchOptions { batch, seconds: (1.0 - OF_LAYERS) * self.seconds, transfers: false };
        let BenchResult { seconds, speedups, rounds, .. } =
            verified(&[&graphs[0], &graphs[1]], device, options, observer)?.times;
        self.time_layers(graphs, device, OF_LAYERS * self.seconds, observer)?;
        Ok(Speed {
            batch,
            before_ms: seconds[0].times(1e3),
            after_ms: seconds[1].times(1e3),
            speedup: speedups[1],
            rounds,
            device: device.describe(),
        })
    }

    fn time_layers(
        &mut self,
        graphs: &[Graph; 2],
        device: &Device,
        seconds: f64,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let batch = self.batch;
        let open = |graph| Session::plain(graph, device, Some(batch));
        let mut sessions = graphs.iter().map(open).collect::<Result<Vec<_>>>()?;
        for (which, times) in layers(&mut sessions, seconds, observer)?.into_iter().enumerate() {
            let ms = 1e3 / batch as f64;
            let times: HashMap<String, f64> =
                times.into_iter().map(|t| (t.node, t.seconds.median * ms)).collect();
            self.page.summary.layers_ms[which] = Some(times.values().sum());
            for layer in &mut self.page.layers {
                layer.ms[which] = times.get(&layer.name).copied().map(Num);
            }
        }
        Ok(())
    }

    /// Adds the device, and returns the page.
    pub(super) fn finish(mut self, device: &Device) -> Page {
        self.page.repeat.push(report_rows::device(device));
        (self.page.images, self.page.maps) = (self.maps.images, self.maps.maps);
        self.page
    }

    /// Adds a line to what is needed to repeat the work.
    fn repeat(&mut self, what: impl Into<String>, value: impl Into<String>) {
        self.page.repeat.push(report_rows::repeat(what, value));
    }
}
