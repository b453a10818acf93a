//! The statistics pass with everything around it: progress, interruption, resumption, early stop, overhead.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use super::args::{Origin, recipe, tell_skipped};
use super::output::{Output, many};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::Needs;
use crate::stats::{Distances, GatherOptions, Gatherer, GramKind, Header, Profile};

/// A look at the profile so far, now and then: whether to go on.
pub(super) type Look<'a> = &'a mut dyn FnMut(&mut Gatherer) -> Result<ControlFlow<()>>;

/// A pass to make.
pub(super) struct Pass<'a> {
    pub(super) model: &'a Model,
    pub(super) graph: &'a Graph,
    pub(super) device: &'a Device,
    pub(super) data: &'a Dataset,
    pub(super) header: Header,
    pub(super) batch: Option<usize>,
    pub(super) gram: GramKind,
    pub(super) needs: Needs,
    pub(super) distances: Distances,
    /// A profile to go on with.
    pub(super) resumed: Option<Profile>,
    /// Whether the plain network runs too, to see what gathering costs.
    pub(super) overhead: bool,
}

/// What a pass gave.
pub(super) struct Passed {
    pub(super) profile: Profile,
    /// Images of this pass, and its seconds.
    pub(super) images: u64,
    /// Images that cannot be read.
    pub(super) skipped: usize,
    pub(super) seconds: f64,
    /// Seconds that the same images took the network with its statistics, and without, where that was measured.
    pub(super) overhead: Option<(f64, f64)>,
    /// Whether the look ended it.
    pub(super) settled: bool,
}

/// What a profile says of itself before any image.
pub(super) fn header(model: &Model) -> Header {
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Header { model_sha256: model.sha256.clone(), model: name(&model.path), ..Header::default() }
}

impl<'a> Pass<'a> {
    /// A pass for what a criterion needs.
    pub(super) fn for_criterion(
        (model, graph): (&'a Model, &'a Graph),
        device: &'a Device,
        (data, origin): (&'a Dataset, Origin),
        needs: Needs,
    ) -> Self {
        let gram = match needs {
            Needs { patches: true, gram: true, .. } => GramKind::Both,
            Needs { patches: true, .. } => GramKind::Patch,
            Needs { gram: true, .. } => GramKind::Channel,
            _ => GramKind::None,
        };
        Self::new((model, graph), device, data, origin, gram, needs)
    }

    /// A pass over a data set.
    pub(super) fn new(
        (model, graph): (&'a Model, &'a Graph),
        device: &'a Device,
        data: &'a Dataset,
        origin: Origin,
        gram: GramKind,
        needs: Needs,
    ) -> Self {
        let mut header = header(model);
        (header.data, header.shard) = (origin.data, origin.shard);
        header.preprocessing = recipe(data);
        header.device = device.describe().name;
        let distances = Distances::asked(needs.distances);
        let (batch, resumed, overhead) = (None, None, false);
        Self { model, graph, device, data, header, batch, gram, needs, distances, resumed, overhead }
    }

    /// With so many images at once.
    pub(super) fn with_batch(mut self, batch: Option<usize>) -> Self {
        self.batch = batch;
        self
    }

    /// Goes on with the profile of an interrupted run, which must be of this very pass.
    pub(super) fn resume(&mut self, profile: Profile, path: &Path) -> Result<()> {
        let differ = |what: &str, expected: String, got: String| {
            Err(Error::new(format!("the profile to resume is of {what}"))
                .file(path)
                .expected(expected)
                .got(got)
                .remedy("repeat the command of the interrupted run, or begin anew with another file"))
        };
        let (ours, theirs) = (&self.header, &profile.header);
        if ours.model_sha256 != theirs.model_sha256 {
            return differ("another model", ours.model.clone(), theirs.model.clone());
        }
        if ours.preprocessing != theirs.preprocessing {
            let text = |p| serde_json::to_string(p).unwrap_or_default();
            return differ("other preprocessing", text(&ours.preprocessing), text(&theirs.preprocessing));
        }
        if ours.data != theirs.data {
            return differ("other data", ours.data.clone(), theirs.data.clone());
        }
        if ours.shard != theirs.shard {
            return differ("another shard", ours.part(), theirs.part());
        }
        if theirs.position > self.data.len() {
            let images = |count: usize| many(count, "image");
            return differ(
                "more images than are asked for",
                images(self.data.len()),
                images(theirs.position),
            );
        }
        if ours.order != theirs.order {
            let seed = |s: u64| format!("a random order of seed {s}");
            let text = |order: Option<u64>| order.map_or_else(|| "the order of the set".to_owned(), seed);
            return differ("another order", text(ours.order), text(theirs.order));
        }
        self.resumed = Some(profile);
        Ok(())
    }

    /// Makes it.
    pub(super) fn run(self, output: &Output) -> Result<Passed> {
        self.run_watched(output, &mut |_| Ok(ControlFlow::Continue(())), &|| false)
    }

    /// Makes it with looks in between; ends early, but in good order, when `interrupted`.
    pub(super) fn run_watched(
        self,
        output: &Output,
        look: Look,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Passed> {
        let Self { graph, device, data, header, .. } = self;
        let fresh = match self.resumed {
            Some(profile) => profile,
            None => Profile::of_weights(graph, header, self.distances)?,
        };
        let all = GatherOptions::of(data)?;
        let classes = if self.needs.labels { all.classes } else { 0 };
        let wants = GatherOptions { batch: self.batch, classes, gram: self.gram, ..all };
        let (start, before) = (fresh.header.position, fresh.header.images);
        let mut gatherer = Gatherer::new(graph, device, &wants, fresh)?;
        let batch = gatherer.batch();
        let open = |image: &[usize]| Session::for_images(graph, device, image, (Some(batch), data.len()));
        let mut plain = self.overhead.then(|| open(&wants.image)).transpose()?;
        let (mut with, mut without) = (0.0, 0.0);
        let (mut settled, mut whole) = (false, true);
        let bar = output.progress("profiling", data.len().saturating_sub(start));
        let begin = Instant::now();
        for images in data.batches_from(start, batch) {
            let images = images?;
            if let Some(plain) = &mut plain {
                if plain.image() != images.image() {
                    *plain = open(images.image())?;
                }
                let now = Instant::now();
                plain.run_images(&images.data, &mut |_, _| Ok(()))?;
                without += now.elapsed().as_secs_f64();
            }
            let now = Instant::now();
            gatherer.feed(&images)?;
            with += now.elapsed().as_secs_f64();
            bar.inc(images.count as u64);
            if interrupted() {
                whole = images.next >= data.len();
                break;
            }
            if look(&mut gatherer)?.is_break() {
                settled = true;
                break;
            }
        }
        bar.finish_and_clear();
        tell_skipped(data, output);
        let mut profile = gatherer.finish()?;
        profile.header.complete = whole;
        if profile.header.images == 0 {
            return Err(Error::new("no image could be read")
                .file(&self.model.path)
                .remedy("see the list of skipped files"));
        }
        Ok(Passed {
            images: profile.header.images - before,
            skipped: data.skipped().len(),
            profile,
            seconds: begin.elapsed().as_secs_f64(),
            overhead: self.overhead.then_some((with, without)),
            settled,
        })
    }
}
