//! What the verbs put on a report page, in the order in which they come to know it.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::args::Origin;
use super::bench::timed;
use super::eval::Evaluation;
use super::known::of_weights;
use super::outcome::Tried;
use super::output::Output;
use super::pass::Pass;
use crate::bench::layers::layers;
use crate::bench::{BenchOptions, BenchResult};
use crate::data::metrics::{Accuracy, Agreement};
use crate::data::{Batch, Dataset, Preprocessing};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::file::write_whole;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{Channels, Counted, Cut, Needs};
use crate::repair::Repair;
use crate::report::{
    Cost, Num, Page, Quality, Repeat, SearchCurve, SearchPoint, Speed, network, pictures, render,
};
use crate::stats::{GramKind, Profile};

/// A network with what is known of its channels.
#[derive(Clone, Copy)]
pub(super) struct Whole<'a> {
    pub(super) model: &'a Model,
    pub(super) graph: &'a Graph,
    pub(super) channels: &'a Channels,
}

/// The statistics of a page: those that were gathered on the way to the decision if they are of images, or if there are
/// none; else such as one pass over the images gives, or the weights.
pub(super) fn statistics(
    seen: Option<Profile>,
    of: Whole,
    (device, batch): (&Device, Option<usize>),
    data: Option<(&Dataset, Origin)>,
    output: &Output,
) -> Result<Profile> {
    let has_activity = |p: &Profile| p.layers.iter().any(|l| !l.post.is_empty());
    match (seen, data) {
        (Some(seen), data) if data.is_none() || has_activity(&seen) => Ok(seen),
        (_, Some((data, origin))) => {
            let of = (of.model, of.graph);
            let pass = Pass::new(of, device, data, origin, GramKind::None, Needs::DATA).with_batch(batch);
            Ok(pass.run(output)?.profile)
        }
        (_, None) => of_weights(of.model, of.graph, &of.channels.facts, Needs::WEIGHTS),
    }
}

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    page: Page,
}

impl Draft {
    /// What is known of a cut before it is made.
    pub(super) fn new(of: Whole, cut: &Cut, removed: &BTreeSet<usize>, seen: &Profile) -> Self {
        let Whole { model, graph, channels } = of;
        let name = model.path.file_name().unwrap_or(model.path.as_os_str());
        let mut page = Page { model: name.to_string_lossy().into_owned(), ..Page::default() };
        page.columns = network::columns();
        page.layers = network::described(graph, channels, cut, removed, seen);
        page.dependency_groups = network::group_rows(graph, channels, &page.layers, removed);
        let members = |coupled: &mut dyn Iterator<Item = usize>| -> usize {
            coupled.map(|k| channels.coupled[k].members.len()).sum()
        };
        let summary = &mut page.summary;
        summary.before = cost(channels, model.bytes);
        summary.channels = [members(&mut (0..channels.coupled.len())), members(&mut removed.iter().copied())];
        summary.coupled = [channels.coupled.len(), removed.len()];
        summary.criterion.clone_from(&cut.criterion);
        summary.budget.clone_from(&cut.budget);
        summary.inexact = channels.inexact(graph, removed);
        summary.calibration = seen.header.images;
        let mut draft = Self { page };
        draft.repeat("Secateur", env!("CARGO_PKG_VERSION"));
        draft.repeat("Command", command());
        draft.repeat("Model", format!("{}, SHA-256 {}", model.path.display(), model.sha256));
        draft.repeat("Criterion", &cut.criterion);
        draft.repeat("Budget", &cut.budget);
        if seen.header.images > 0 {
            let header = &seen.header;
            draft.repeat(
                "Statistics",
                format!("{} images ({}), on {}", header.images, header.data, header.device),
            );
            if let Some(recipe) = header.preprocessing.as_ref().and_then(|r| serde_json::to_string(r).ok()) {
                draft.repeat("Preprocessing", recipe);
            }
        }
        draft
    }

    /// The filters of the first layer, and what some layers make of some images.
    pub(super) fn draw(
        &mut self,
        of: Whole,
        device: &Device,
        images: Option<&Batch>,
        recipe: Option<&Preprocessing>,
    ) -> Result<()> {
        let Whole { graph, channels, .. } = of;
        self.page.filters = pictures::filters(graph, &channels.facts, recipe)?;
        (self.page.images, self.page.maps) = pictures::maps(graph, device, images, recipe)?;
        Ok(())
    }

    /// The smaller network; the name of a layer comes back that is not as wide as the cut says.
    pub(super) fn shrunk(&mut self, small: &Model) -> Result<Option<String>> {
        let graph = Graph::shapes_only(small)?;
        let channels = Channels::of(&graph)?;
        self.page.summary.after = cost(&channels, small.bytes);
        self.repeat("Smaller model", format!("{}, SHA-256 {}", small.path.display(), small.sha256));
        Ok(network::shrunk(&mut self.page.layers, &graph, &channels.facts))
    }

    /// What the answers of both networks are worth, on images described by `on`.
    pub(super) fn judged(&mut self, on: &str, before: &Accuracy, found: &Evaluation) {
        let both = |get: fn(&Accuracy) -> Option<f64>| Some([get(before)?, get(&found.accuracy)?]);
        let against = found.agreement.as_ref();
        let finite = |v: f64| Some(v).filter(|v| v.is_finite());
        self.page.summary.quality = Some(Quality {
            on: on.trim_matches(['(', ')']).to_owned(),
            images: found.images,
            top1: both(Accuracy::top1),
            top5: both(Accuracy::top5),
            agreement: against.and_then(Agreement::agreement),
            kl: against.and_then(Agreement::kl).and_then(finite),
            snr_db: against.map(Agreement::snr_db).and_then(finite),
            max_abs_err: against.map(Agreement::max_abs_err).and_then(finite),
        });
    }

    /// The networks that were tried on the way to the one that loses at most `max_drop` points.
    pub(super) fn tried(&mut self, tried: &[Tried], counted: Counted, max_drop: f64) {
        let Some(first) = tried.first() else { return };
        let labelled = first.top1.is_some();
        let value = |t: &Tried| if labelled { t.top1 } else { t.agreement };
        let whole = value(first).map(|v| v + first.drop / 100.0);
        // They go up in what they keep: the first that loses no more than was allowed is the one.
        let chosen = tried.iter().position(|t| t.drop <= max_drop);
        let points = tried.iter().enumerate();
        let mut points: Vec<SearchPoint> = points
            .map(|(i, t)| SearchPoint { keep: t.keep, value: value(t), chosen: chosen == Some(i) })
            .collect();
        points.push(SearchPoint { keep: 1.0, value: whole, chosen: false });
        self.page.curve = Some(SearchCurve {
            counted: counted.to_string(),
            measured: if labelled { "top-1" } else { "agreement with the original" }.to_owned(),
            points,
            floor: whole.map(|v| v - max_drop / 100.0),
        });
    }

    /// A line of what is needed to do it again.
    pub(super) fn repeat(&mut self, what: impl Into<String>, value: impl Into<String>) {
        self.page.repeat.push(Repeat { what: what.into(), value: value.into() });
    }

    /// How the network was repaired and by which seed scores were drawn, and how sure the data are of the cut.
    pub(super) fn decided(&mut self, repair: Repair, seed: Option<u64>, support: Option<f64>) {
        self.page.summary.repair = Some(repair.to_string());
        self.page.summary.confidence = support;
        self.repeat("Repair", repair.to_string());
        if let Some(seed) = seed {
            self.repeat("Seed", seed.to_string());
        }
    }

    /// What the verbs say of the whole.
    pub(super) fn page(&mut self) -> &mut Page {
        &mut self.page
    }

    /// Times both networks, in turn, for about so long. One that cannot be timed is no error: the page says why.
    pub(super) fn time(&mut self, graphs: &[Graph; 2], device: &Device, seconds: f64, output: &Output) {
        const BATCH: usize = 1;
        /// The share of the time that goes to layers by themselves.
        const OF_LAYERS: f64 = 0.3;
        let summary = &mut self.page.summary;
        if !(seconds > 0.0) {
            summary.untimed = Some("no time was given to it".to_owned());
            return;
        }
        let timing = BenchOptions { batch: BATCH, seconds: (1.0 - OF_LAYERS) * seconds, transfers: false };
        let times = timed(graphs, device, timing, output).and_then(|verified| {
            self.time_layers(graphs, device, BATCH, OF_LAYERS * seconds)?;
            Ok(verified.times)
        });
        let summary = &mut self.page.summary;
        match times {
            Ok(times) => self.timed(&times, BATCH, device),
            Err(error) => summary.untimed = Some(error.message()),
        }
    }

    /// Times the layers of both networks by themselves.
    pub(super) fn time_layers(
        &mut self,
        graphs: &[Graph; 2],
        device: &Device,
        batch: usize,
        seconds: f64,
    ) -> Result<()> {
        let open = |graph| Session::plain(graph, device, Some(batch));
        let mut sessions = graphs.iter().map(open).collect::<Result<Vec<_>>>()?;
        for (which, times) in
            layers(&mut sessions, seconds, &mut crate::observer::Silent)?.into_iter().enumerate()
        {
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

    /// What a timing of the original and the smaller network found.
    pub(super) fn timed(&mut self, times: &BenchResult, batch: usize, device: &Device) {
        self.page.summary.speed = Some(Speed {
            batch,
            before_ms: times.seconds[0].times(1e3),
            after_ms: times.seconds[1].times(1e3),
            speedup: times.speedups[1],
            rounds: times.rounds,
            device: device.describe(),
        });
    }

    /// Writes the page, whole or not at all.
    pub(super) fn write(&mut self, path: &Path, device: &Device, output: &Output) -> Result<()> {
        let who = device.describe();
        self.repeat("Device", format!("{} ({}, {})", who.name, who.backend, who.driver));
        write_whole(path, WRITE_PAGE, render(&self.page).as_bytes())?;
        output.line(format!("→ {}", path.display()));
        Ok(())
    }
}

/// What is done with a page, for messages.
pub(super) const WRITE_PAGE: &str = "write the report";

/// What a network costs whose file has so many bytes.
pub(super) fn cost(channels: &Channels, bytes: u64) -> Cost {
    let (macs, params) = channels.cost(&channels.lengths());
    Cost { params, macs, bytes }
}

/// The command line as a shell takes it.
fn command() -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./,:+@%".contains(c);
    let quoted = |word: String| match !word.is_empty() && word.chars().all(plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    let words = std::env::args_os().skip(1).map(|word| quoted(word.to_string_lossy().into_owned()));
    std::iter::once("secateur".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
