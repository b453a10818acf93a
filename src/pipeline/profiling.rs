//! The statistics pass: a data set in, a profile out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::bindings::describe;
use super::calibration::Origin;
use super::data_notices::notice_data;
use super::gradients::gather_gradients;
use super::image_source::ImageSource;
use super::network::Network;
use super::plan_options::PlanOptions;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::facts::Facts;
use crate::observer::{Notice, Observer, Stage, staged};
use crate::onnx::Model;
use crate::prune::Needs;
use crate::stats::{Distances, GatherOptions, Gatherer, GramKind, Header, Profile, value_targets};
use crate::tensor::SampleShape;

/// How statistics are gathered.
#[derive(Clone, Debug)]
pub struct ProfileOptions {
    /// Images at once; `None` lets the device's limits decide.
    pub batch: Option<usize>,
    /// The second moments that are gathered.
    pub gram: GramKind,
    /// True to gather statistics by class, if labels are known.
    pub classes: bool,
    /// The layers for which distances between filters are computed.
    pub distances: Distances,
    /// True to run the plain network, too, and measure the overhead of the statistics.
    pub measure_overhead: bool,
    /// The seed of the order in which the data set visits its images, if it is shuffled.
    pub order: Option<u64>,
    /// True to gather gradients too, in a pass of their own after the statistics.
    pub gradients: bool,
    /// True to count the values of the tensors that integers may represent, for the ranges of a quantization.
    pub histograms: bool,
    /// The confidence of a cut at which the pass ends early.
    pub stop: Option<StopWhenConfident>,
}

impl Default for ProfileOptions {
    fn default() -> Self {
        Self {
            batch: None,
            gram: GramKind::Channel,
            classes: true,
            distances: Distances::Cheap,
            measure_overhead: false,
            order: None,
            gradients: false,
            histograms: false,
            stop: None,
        }
    }
}

/// An early stop: the pass ends when the images suffice for a cut.
#[derive(Clone, Debug)]
pub struct StopWhenConfident {
    /// The confidence that suffices, above 0.5 and below 1.
    pub confidence: f64,
    /// The cut whose confidence counts.
    pub cut: PlanOptions,
}

impl StopWhenConfident {
    /// Checks the confidence, and that the criterion's errors can be estimated from images.
    ///
    /// # Errors
    /// A confidence out of range; a criterion without standard errors, or on weights alone.
    pub fn check(&self) -> Result<()> {
        let wanted = self.confidence;
        if !(wanted > 0.5 && wanted < 1.0) {
            return Err(Error::new("`confidence` does not fit")
                .expected("above 0.5 and below 1")
                .got(wanted.to_string())
                .remedy("for example 0.95"));
        }
        let criterion = self.cut.criterion()?;
        if criterion.needs().patches {
            return Err(Error::new(format!("the scores of {criterion} have no standard errors"))
                .expected("a criterion on activations with standard errors")
                .remedy("set `criterion` to apoz, for example, or leave out `confidence`"));
        }
        if criterion.needs().gradients {
            return Err(Error::new(format!("the scores of {criterion} are known only after a second pass"))
                .expected("a criterion on activations with standard errors")
                .remedy("set `criterion` to apoz, for example, or leave out `confidence`"));
        }
        if !criterion.needs().data {
            return Err(Error::new(format!(
                "the criterion {criterion} uses weights alone: no image makes it more certain"
            ))
            .expected("a criterion on activations")
            .remedy("set `criterion` to apoz, for example, or leave out `confidence`"));
        }
        Ok(())
    }
}

/// The profile of an interrupted pass, which is to be continued.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The profile to continue.
    pub profile: Profile,
    /// The profile's file, for messages.
    pub file: Option<PathBuf>,
    /// True if the profile only has to be of the same pass, which begins anew.
    restart: bool,
}

impl Resume {
    /// Loads a profile to continue with.
    ///
    /// # Errors
    /// A file that cannot be read or is no profile.
    pub fn load(path: &Path) -> Result<Self> {
        Ok(Self::new(Profile::load(path)?, Some(path.to_path_buf())))
    }

    /// Continues a profile; the file is named in messages.
    pub fn new(profile: Profile, file: Option<PathBuf>) -> Self {
        Self { profile, file, restart: false }
    }

    /// Continues an incomplete profile. A complete one lacks other statistics: the pass over its images begins anew.
    pub(super) fn or_restart(profile: Profile, file: Option<PathBuf>) -> Self {
        Self { restart: profile.header.complete, ..Self::new(profile, file) }
    }

    /// Refuses to continue the profile of another pass.
    fn check(&self, ours: &Header, images: usize) -> Result<()> {
        let differ = |what: &str, expected: String, got: String| {
            let error = Error::new(format!("the profile to resume is of {what}"))
                .expected(expected)
                .got(got)
                .remedy("repeat the command of the interrupted run, or begin anew with another file");
            Err(self.file.iter().fold(error, Error::file))
        };
        let theirs = &self.profile.header;
        if ours.model_sha256 != theirs.model_sha256 {
            return differ("another model", ours.model.clone(), theirs.model.clone());
        }
        if ours.preprocessing != theirs.preprocessing {
            let text = |p| serde_json::to_string(p).unwrap_or_default();
            return differ("other preprocessing", text(&ours.preprocessing), text(&theirs.preprocessing));
        }
        if ours.inputs != theirs.inputs {
            return differ("other input values", ours.input_values(), theirs.input_values());
        }
        if ours.data != theirs.data {
            return differ("other data", ours.data.clone(), theirs.data.clone());
        }
        if ours.shard != theirs.shard {
            return differ("another shard", ours.part(), theirs.part());
        }
        if theirs.position > images {
            let count = |n: usize| format!("{n} image{}", if n == 1 { "" } else { "s" });
            return differ("more images than are asked for", count(images), count(theirs.position));
        }
        if ours.order != theirs.order {
            let text = |order: Option<u64>| match order {
                Some(seed) => format!("a random order of seed {seed}"),
                None => "the order of the set".to_owned(),
            };
            return differ("another order", text(ours.order), text(theirs.order));
        }
        Ok(())
    }
}

/// The result of a statistics pass.
#[derive(Clone, Debug)]
pub struct Profiled {
    /// The profile; incomplete ([`Header::is_complete`]) if the observer ended the pass.
    pub profile: Profile,
    /// Images of this pass.
    pub images: u64,
    /// Images that could not be read.
    pub skipped: usize,
    /// Seconds of this pass.
    pub seconds: f64,
    /// Seconds that the same images took with and without statistics, if that was measured.
    pub overhead: Option<(f64, f64)>,
    /// True if the images sufficed for the confidence asked for, so that the pass ended early.
    pub settled: bool,
    /// The confidence of the cut when it was last computed.
    pub confidence: Option<f64>,
}

/// Runs a data set through a network and gathers the statistics of every layer.
///
/// An observer that breaks ends the pass after the current batch: the profile is good for the images seen so far, and
/// `resume` continues it.
///
/// # Errors
/// A network that cannot run on the device, data that cannot be read, a profile to resume that is of another pass.
pub fn profile(
    network: &Network,
    device: &Device,
    (data, origin): (&Dataset, &Origin),
    options: &ProfileOptions,
    resume: Option<Resume>,
    observer: &mut dyn Observer,
) -> Result<Profiled> {
    if let Some(stop) = &options.stop {
        stop.check()?;
    }
    notice_data(&network.graph, data, observer)?;
    let source = ImageSource::Dataset(data);
    let mut profiled = pass(network, device, (source, origin), options, resume, observer)?;
    if options.gradients && profiled.profile.header.complete {
        gather_gradients(network, device, source, options.batch, &mut profiled.profile, observer)?;
    }
    Ok(profiled)
}

/// Returns a profile's header before any image.
pub(super) fn header(model: &Model) -> Header {
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let inputs = describe(&model.bindings);
    Header { model_sha256: model.sha256.clone(), model: name(&model.path), inputs, ..Header::default() }
}

/// Returns the options of the pass that a criterion needs.
pub(super) fn options_for(needs: Needs, batch: Option<usize>) -> ProfileOptions {
    let gram = match needs {
        Needs { patches: true, gram: true, .. } => GramKind::Both,
        Needs { patches: true, .. } => GramKind::Patch,
        Needs { gram: true, .. } => GramKind::Channel,
        _ => GramKind::None,
    };
    let (classes, distances) = (needs.labels, Distances::asked(needs.distances));
    ProfileOptions { batch, gram, classes, distances, ..ProfileOptions::default() }
}

/// Gathers the statistics of a pass.
pub(super) fn pass(
    network: &Network,
    device: &Device,
    (source, origin): (ImageSource, &Origin),
    options: &ProfileOptions,
    resume: Option<Resume>,
    observer: &mut dyn Observer,
) -> Result<Profiled> {
    let data = source.dataset();
    let mut header = header(&network.model);
    header.preprocessing = (!data.is_random()).then(|| data.preprocessing().clone());
    (header.data, header.shard) = (origin.data.clone(), origin.shard.clone());
    header.device = device.describe().name;
    header.order = options.order;
    if let Some(resume) = &resume {
        resume.check(&header, data.len())?;
    }
    let resume = resume.filter(|resume| !resume.restart);
    let start = resume.as_ref().map_or(0, |resume| resume.profile.header.position);
    let found = staged(observer, Stage::Profiling, data.len().saturating_sub(start), |observer| {
        gathered(network, (device, source), options, (header, resume), observer)
    })?;
    notice_skipped(data, observer);
    if found.profile.header.images == 0 {
        return Err(Error::new("no image could be read")
            .file(&network.model.path)
            .remedy("see the list of skipped files"));
    }
    Ok(found)
}

/// Runs the network on all images, from the place where a resumed profile ends.
fn gathered(
    network: &Network,
    (device, source): (&Device, ImageSource),
    options: &ProfileOptions,
    (header, resume): (Header, Option<Resume>),
    observer: &mut dyn Observer,
) -> Result<Profiled> {
    let (graph, data) = (&network.graph, source.dataset());
    let fresh = match resume {
        Some(resume) => resume.profile,
        None => Profile::of_weights(graph, header, options.distances)?,
    };
    let labels = data.labels().filter(|_| options.classes).and_then(|labels| labels.iter().max());
    let histograms = match options.histograms {
        true => value_targets(graph, &Facts::at_own_size(graph)?),
        false => vec![],
    };
    let wants = GatherOptions {
        batch: options.batch,
        images: data.len(),
        sample: source.sample()?,
        classes: labels.map_or(0, |&largest| largest as usize + 1),
        gram: options.gram,
        histograms,
    };
    let (start, before) = (fresh.header.position, fresh.header.images);
    let mut gatherer = Gatherer::new(graph, device, &wants, fresh)?;
    let batch = gatherer.batch();
    let open = |sample: &SampleShape| Session::for_samples(graph, device, sample, (Some(batch), data.len()));
    let mut plain = options.measure_overhead.then(|| open(&wants.sample)).transpose()?;
    let (mut with, mut without) = (0.0, 0.0);
    let (mut settled, mut whole, mut confidence) = (false, true, None);
    // The confidence is computed after 32 images, then after half as many again each time: it takes time, too.
    let mut due = 32;
    let begin = Instant::now();
    let mut done = 0;
    for images in source.batches_from(start, batch) {
        let images = images?;
        if let Some(plain) = &mut plain {
            plain.adapt(&images.sample, |_| open(&images.sample))?;
            let now = Instant::now();
            plain.run_samples(&images.data, &mut |_, _| Ok(()))?;
            without += now.elapsed().as_secs_f64();
        }
        let now = Instant::now();
        gatherer.feed(&images)?;
        with += now.elapsed().as_secs_f64();
        done += images.count as u64;
        if observer.advance(done).is_break() {
            whole = images.next >= data.len();
            break;
        }
        if let Some(stop) = options.stop.as_ref().filter(|_| gatherer.images() >= due) {
            due = gatherer.images() + gatherer.images() / 2;
            confidence = stop.cut.confidence(network, gatherer.profile()?)?;
            let found = confidence.ok_or_else(|| unknown_error(&stop.cut))?;
            if found >= stop.confidence {
                settled = true;
                break;
            }
        }
    }
    let mut profile = gatherer.finish()?;
    profile.header.complete = whole;
    Ok(Profiled {
        images: profile.header.images - before,
        skipped: data.skipped().len(),
        profile,
        seconds: begin.elapsed().as_secs_f64(),
        overhead: options.measure_overhead.then_some((with, without)),
        settled,
        confidence,
    })
}

fn unknown_error(cut: &PlanOptions) -> Error {
    let name = cut.criterion().map_or_else(|_| String::new(), |criterion| criterion.to_string());
    Error::new(format!("the standard error of the criterion {name} is not known"))
        .remedy("leave out `confidence`, or choose apoz, act-mean, act-variance, act-l1 or entropy")
}

/// Reports the files that were skipped, the first ones by name, and the number of turned images.
pub(super) fn notice_skipped(data: &Dataset, observer: &mut dyn Observer) {
    const NAMED: usize = 5;
    let skipped = data.skipped();
    for (file, reason) in skipped.iter().take(NAMED).cloned() {
        observer.notice(Notice::SkippedInput { file, reason });
    }
    if skipped.len() > NAMED {
        observer.notice(Notice::SkippedInputs(skipped.len()));
    }
    if data.turned() > 0 {
        observer.notice(Notice::TurnedImages(data.turned()));
    }
}
