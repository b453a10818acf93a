//! The statistics pass: runs images through a network and accumulates a profile.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::layers::{LayerTaps, layers, place, positions};
use super::samples::{Samples, mixed_value, pass_batch};
use super::second_moments::{GramPart, GramTarget, gram_targets, header};
use super::value_histogram::ValueSums;
use super::value_pass::{count_probes, countable};
use super::{Activity, Distances, GramKind, GramMatrix, Header, Moments, Profile, ValueHistogram};
use crate::data::{Batch, Dataset, SHARD_UNIT};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::devices::Device;
use crate::exec::session::{Session, SessionOptions};
use crate::graph::facts::Facts;
use crate::graph::{Graph, Sizes, ValueId};
use crate::kernels::moments::ChannelStats;
use crate::plan::Probe;
use crate::tensor::SampleShape;

/// The most bytes of sums by class.
const MOST_CLASS_BYTES: usize = 1 << 30;

/// Options of the statistics pass.
#[derive(Clone, Debug)]
pub struct GatherOptions {
    /// Images per run; `None` derives the number from the device's limits.
    pub batch: Option<usize>,
    /// Number of images in the data set.
    pub images: usize,
    /// Shape of the first preprocessed sample.
    pub sample: SampleShape,
    /// Number of classes for sums by class; 0 for none.
    pub classes: usize,
    /// Second moments to gather.
    pub gram: GramKind,
    /// Tensors whose values are counted, as [`value_targets`](super::value_targets) selects them.
    pub histograms: Vec<ValueId>,
}

impl GatherOptions {
    /// Derives options from a data set, with an automatic batch size, channel moments and no histograms.
    ///
    /// # Errors
    /// Data that cannot be read.
    pub fn of(data: &Dataset) -> Result<Self> {
        let classes = data.labels().and_then(|l| l.iter().max()).map_or(0, |&most| most as usize + 1);
        let (images, sample, gram) = (data.len(), data.sample()?, GramKind::Channel);
        Ok(Self { batch: None, images, sample, classes, gram, histograms: vec![] })
    }
}

/// Runs a whole data set through a network and gathers its profile.
///
/// # Errors
/// Errors of [`Gatherer::new`] and [`Gatherer::feed`], and data that cannot be read.
pub fn gather(graph: &Graph, device: &Device, data: &Dataset, wants: &GatherOptions) -> Result<Profile> {
    let fresh = Profile::of_weights(graph, Header::default(), Distances::Cheap)?;
    let mut gatherer = Gatherer::new(graph, device, wants, fresh)?;
    for batch in data.batches(gatherer.batch()) {
        gatherer.feed(&batch?)?;
    }
    gatherer.finish()
}

/// A network loaded with kernels that reduce its layers' outputs, and the profile gathered so far.
#[derive(Debug)]
pub struct Gatherer<'a> {
    network: ProbedNetwork<'a>,
    session: Session,
    kernels: Vec<ChannelStats>,
    /// The matrix of each of the session's sums.
    matrices: Vec<usize>,
    /// Counts of the tensors in [`Profile::values`] that the profile lacks yet.
    counts: Vec<ValueSums>,
    profile: Profile,
}

/// A network and its probed values, for images of any size.
#[derive(Debug)]
struct ProbedNetwork<'a> {
    /// The network, with joined inputs of layers that share their weights.
    graph: Graph,
    joined: BTreeMap<Vec<ValueId>, ValueId>,
    device: &'a Device,
    taps: Vec<LayerTaps>,
    gram: GramKind,
    /// Tensors whose values are counted, in the order of [`Profile::values`].
    counted: Vec<ValueId>,
    /// Images per run, from [`GatherOptions`].
    batch: Option<usize>,
    images: usize,
    /// True if tensors mix the samples of a pass.
    mixed: bool,
}

impl ProbedNetwork<'_> {
    /// Loads the network with its probes, for samples of one shape.
    fn load(&self, sample: &SampleShape) -> Result<(Session, Vec<ChannelStats>, Vec<usize>)> {
        let sizes = Sizes::Sample(sample.clone());
        let (batch, images) = (self.batch, self.images);
        let wanted = SessionOptions { batch, images, sizes, outputs: false, ..SessionOptions::default() };
        let session = Session::new(&self.graph, self.device, &wanted, &|facts| self.probes(facts))?;
        let facts = Facts::infer(&self.graph, &self.graph.input_shapes(Some(session.batch), &wanted.sizes)?)?;
        let samples = self.samples(&facts);
        let kernels = self.taps.iter().map(|taps| reduction(&facts, samples, taps)).collect();
        Ok((session, kernels, self.parts(&facts).into_iter().map(|(matrix, _)| matrix).collect()))
    }

    /// Returns the parts of all Gram matrices, each with the index of its matrix.
    fn parts(&self, facts: &Facts) -> Vec<(usize, GramPart)> {
        let targets = gram_targets(&self.graph, facts, &self.taps, self.gram).into_iter().enumerate();
        targets
            .flat_map(|(matrix, target)| target.parts.into_iter().map(move |part| (matrix, part)))
            .collect()
    }

    /// Adds the joined inputs of layers that share their weights to the graph.
    fn join(&mut self, targets: &[GramTarget]) -> Result<()> {
        for part in targets.iter().flat_map(|target| &target.parts).filter(|part| part.values.len() > 1) {
            if !self.joined.contains_key(&part.values) {
                let name = format!("{}, joined", self.graph.name(part.values[0]));
                let all = self.graph.add_operator(("Concat", &[("axis", 1)]), &part.values, name)?;
                self.joined.insert(part.values.clone(), all);
            }
        }
        Ok(())
    }

    fn samples(&self, facts: &Facts) -> Samples {
        Samples::of(facts, self.mixed)
    }

    fn probes(&self, facts: &Facts) -> Vec<Probe> {
        let name = |value| self.graph.name(value).to_owned();
        let reductions = self.taps.iter().map(|taps| {
            let kernel = reduction(facts, self.samples(facts), taps);
            let fields = kernel.sides() * ChannelStats::FIELDS;
            let shape = vec![kernel.batch, kernel.channels, kernel.tiles(), fields];
            Probe { values: vec![taps.pre], name: name(taps.pre), shape, kernel: Arc::new(kernel) }
        });
        let grams = self.parts(facts).into_iter().map(|(_, part)| {
            let kernel = part.kernel(facts, self.samples(facts));
            let value = self.joined.get(&part.values).copied().unwrap_or(part.values[0]);
            Probe {
                values: vec![value],
                name: name(value),
                shape: kernel.shape().to_vec(),
                kernel: Arc::new(kernel),
            }
        });
        let counts = count_probes(&self.graph, facts, self.samples(facts), &self.counted);
        reductions.chain(grams).chain(counts).collect()
    }
}

/// Returns the kernel that reduces a layer's output to partial sums.
fn reduction(facts: &Facts, samples: Samples, taps: &LayerTaps) -> ChannelStats {
    let shape = facts.shape(taps.pre);
    let [outer, channels, inner] = positions(shape, place(taps.layer.channels, shape.len()));
    let of_part = [outer / samples.parts, channels, inner];
    ChannelStats::new(samples.parts, of_part, taps.post.map(|(activation, _)| activation))
}

/// The images whose second moments are summed on the device, in `f32`, before the host adds them in `f64`.
///
/// No run of separate samples crosses a multiple of this number, so that the sums do not depend on the batch.
const CHUNK: usize = SHARD_UNIT;

impl<'a> Gatherer<'a> {
    /// Loads a network with its probes, to start or resume a profile.
    ///
    /// `profile` is of the network's weights alone, or of an earlier pass to resume.
    ///
    /// # Errors
    /// A network that cannot run on the device, more classes than fit in 1 GiB of sums, and a profile to resume that
    /// has other Gram matrices.
    pub fn new(
        graph: &'a Graph,
        device: &'a Device,
        wants: &GatherOptions,
        mut profile: Profile,
    ) -> Result<Self> {
        let own = Facts::at_own_size(graph)?;
        let taps = layers(graph, &own);
        let gram_targets = gram_targets(graph, &own, &taps, wants.gram);
        // Networks that do not keep samples apart run one sample at a time.
        let counted = countable(graph, &own, &wants.histograms)?;
        let watched = taps.iter().map(|t| t.pre).chain(gram_targets.iter().flat_map(GramTarget::values));
        let mixed = mixed_value(graph, watched.chain(counted.iter().copied()))?;
        let batch = pass_batch(graph, mixed, wants.batch)?;
        // Before the network is loaded: some matrices are too large.
        let samples = Samples::of(&own, mixed.is_some());
        let grams = gram_targets.iter().map(|target| target.empty(graph, &own, samples));
        let grams = grams.collect::<Result<Vec<_>>>()?;
        let (gram, images, mixed) = (wants.gram, wants.images, mixed.is_some());
        let (graph, joined) = (graph.clone(), BTreeMap::new());
        let names: Vec<String> = counted.iter().map(|&value| graph.name(value).to_owned()).collect();
        let mut network = ProbedNetwork { graph, joined, device, taps, gram, counted, batch, images, mixed };
        network.join(&gram_targets)?;
        let (session, kernels, matrices) = network.load(&wants.sample)?;
        let channels: usize = kernels.iter().map(|k| k.channels).sum();
        if wants.classes.saturating_mul(channels) > MOST_CLASS_BYTES / size_of::<f64>() {
            return Err(Error::new("statistics of so many classes need too much memory")
                .expected(format!(
                    "at most {} classes",
                    MOST_CLASS_BYTES / size_of::<f64>() / channels.max(1)
                ))
                .got(wants.classes.to_string())
                .with_kind(ErrorKind::OutOfMemory)
                .remedy("leave out the sums by class with `no_classes`"));
        }
        let classes = wants.classes.max(profile.classes.len());
        profile.classes.resize(classes, 0);
        for (layer, kernel) in profile.layers.iter_mut().zip(&kernels) {
            layer.pre.resize(kernel.channels, Activity::default());
            layer.post.resize(kernel.channels, Activity::default());
            layer.make_room(classes);
        }
        if profile.header.images == 0 {
            profile.header.grams = grams.iter().map(header).collect();
            profile.grams = grams;
            profile.values = vec![ValueHistogram::default(); names.len()];
            profile.header.values = names;
        } else if grams.len() != profile.grams.len()
            || !grams.iter().zip(&profile.grams).all(|(a, b)| a.fits(b))
        {
            let text = |grams: &[GramMatrix]| {
                let rows: Vec<String> = grams.iter().map(|gram| (gram.rows + 1).to_string()).collect();
                let rows =
                    if rows.is_empty() { String::new() } else { format!(" of {} rows", rows.join(", ")) };
                format!("{} matrices{rows}", grams.len())
            };
            return Err(Error::new("the profile to resume has other Gram matrices")
                .expected(text(&profile.grams))
                .got(text(&grams))
                .remedy("give the `gram` of the earlier pass"));
        } else if names != profile.header.values {
            let text = |names: &[String]| format!("histograms of {} tensors", names.len());
            return Err(Error::new("the profile to resume has histograms of other tensors")
                .expected(text(&profile.header.values))
                .got(text(&names))
                .remedy("give the `histograms` of the earlier pass"));
        }
        let counts = vec![ValueSums::default(); profile.values.len()];
        Ok(Self { network, session, kernels, matrices, counts, profile })
    }

    /// Returns the images per run, for images of the first one's size.
    pub fn batch(&self) -> usize {
        self.session.batch
    }

    /// Runs a batch of images and adds its statistics.
    ///
    /// # Errors
    /// A device that fails, and a label that is not below [`GatherOptions::classes`].
    pub fn feed(&mut self, batch: &Batch) -> Result<()> {
        let classes = self.profile.classes.len();
        let labels = batch.labels.as_deref().filter(|_| classes > 0);
        if let Some(label) = labels.into_iter().flatten().find(|&&label| label as usize >= classes) {
            return Err(Error::new("a label beyond the classes that statistics are gathered for")
                .expected(format!("below {classes}"))
                .got(label.to_string()));
        }
        let Self { network, session, kernels, matrices, counts, profile } = self;
        session.adapt(&batch.sample, |old| {
            add_sums(old, matrices, counts, profile)?;
            let (new, of_new, parts) = network.load(&batch.sample)?;
            (*kernels, *matrices) = (of_new, parts);
            Ok(new)
        })?;
        let len = batch.data.len() / batch.count.max(1);
        let mut done = 0;
        while done < batch.count {
            let before = self.profile.header.images as usize;
            // A pass that mixes its samples is one unit.
            let left = if self.network.mixed { self.session.batch } else { CHUNK - before % CHUNK };
            let count = left.min(batch.count - done);
            let part = done..done + count;
            self.run(&batch.data[part.start * len..part.end * len], labels.map(|l| &l[part]))?;
            self.profile.header.images += count as u64;
            if (before + count) / CHUNK > before / CHUNK {
                self.take_sums()?;
            }
            done += count;
        }
        self.profile.header.position = batch.next;
        Ok(())
    }

    fn run(&mut self, images: &[f32], labels: Option<&[u32]>) -> Result<()> {
        let Self { session, kernels, profile, network, .. } = self;
        let mut labels = labels.unwrap_or_default();
        session.run_samples(images, &mut |outputs, count| {
            let (now, later) = labels.split_at(count.min(labels.len()));
            labels = later;
            for ((kernel, partials), layer) in kernels.iter().zip(outputs).zip(&mut profile.layers) {
                let parts = if network.mixed { 1 } else { count };
                let means = merge(kernel, partials, parts, &mut layer.pre, &mut layer.post);
                let width = kernel.channels;
                for (row, &label) in now.iter().enumerate() {
                    let sums = &mut layer.class_sums[label as usize * width..][..width];
                    sums.iter_mut().zip(&means).for_each(|(sum, means)| *sum += means[row.min(parts - 1)]);
                }
            }
            now.iter().for_each(|&label| profile.classes[label as usize] += 1);
            Ok(())
        })
    }

    fn take_sums(&mut self) -> Result<()> {
        add_sums(&mut self.session, &self.matrices, &mut self.counts, &mut self.profile)
    }

    /// Returns the number of images gathered so far.
    pub fn images(&self) -> u64 {
        self.profile.header.images
    }

    /// Returns the profile gathered so far, and resets the statistics of the images.
    ///
    /// # Errors
    /// A device that fails.
    pub fn restart(&mut self) -> Result<Profile> {
        let whole = self.profile()?.clone();
        for layer in &mut self.profile.layers {
            layer.pre.fill(Activity::default());
            layer.post.fill(Activity::default());
            layer.class_sums.fill(0.0);
        }
        self.profile.classes.fill(0);
        self.profile.grams.iter_mut().for_each(|g| g.packed.fill(0.0));
        self.profile.values.fill(ValueHistogram::default());
        (self.profile.header.images, self.profile.header.position) = (0, 0);
        Ok(whole)
    }

    /// Returns the gathered profile and releases the device.
    ///
    /// # Errors
    /// A device that fails.
    pub fn finish(mut self) -> Result<Profile> {
        self.profile()?;
        Ok(self.profile)
    }

    /// Returns the profile gathered so far.
    ///
    /// # Errors
    /// A device that fails.
    pub fn profile(&mut self) -> Result<&Profile> {
        self.take_sums()?;
        for (histogram, counts) in self.profile.values.iter_mut().zip(&mut self.counts) {
            histogram.add_sums(&std::mem::take(counts));
        }
        // Without an activation, statistics before and after are equal.
        for (layer, _) in
            self.profile.layers.iter_mut().zip(&self.network.taps).filter(|(_, t)| t.post.is_none())
        {
            layer.post.clone_from(&layer.pre);
        }
        Ok(&self.profile)
    }
}

/// Adds the sums on the device to the Gram matrices, whose indices are `matrices`, and to the counts of values.
fn add_sums(
    session: &mut Session,
    matrices: &[usize],
    counts: &mut [ValueSums],
    profile: &mut Profile,
) -> Result<()> {
    let sums = session.take_sums()?;
    profile.grams.par_iter_mut().enumerate().for_each(|(matrix, gram)| {
        let own = matrices.iter().zip(&sums).filter(|(of, _)| **of == matrix);
        own.for_each(|(_, sums)| gram.add(sums));
    });
    counts.par_iter_mut().zip(&sums[matrices.len()..]).for_each(|(counts, sums)| counts.add(sums));
    Ok(())
}

/// Merges the tiles of the first `images`, channel by channel, image by image, tile by tile.
///
/// An image is a sample, or all samples of a pass that mixes them. Returns the images' means after the activation, by channel.
fn merge(
    kernel: &ChannelStats,
    partials: &[f32],
    images: usize,
    pre: &mut [Activity],
    post: &mut [Activity],
) -> Vec<Vec<f64>> {
    let (tiles, sides) = (kernel.tiles(), kernel.sides());
    let (rows, _) = partials.as_chunks::<{ ChannelStats::FIELDS }>();
    let of_image = |image: usize, channel: usize, side: usize| {
        let mut moments = Moments::default();
        for tile in 0..tiles {
            let at = ((image * kernel.channels + channel) * tiles + tile) * sides + side;
            let count = kernel.tile.min(kernel.positions() - tile * kernel.tile);
            moments.merge(&Moments::from_tile(&rows[at], count));
        }
        moments
    };
    let both = pre.par_iter_mut().zip(post).enumerate().with_min_len(1 + 64 / tiles);
    both.map(|(channel, (pre, post))| {
        let mut means = Vec::with_capacity(images);
        for image in 0..images {
            let mut moments = of_image(image, channel, 0);
            pre.add_image(&moments);
            if sides == 2 {
                moments = of_image(image, channel, 1);
                post.add_image(&moments);
            }
            means.push(moments.mean);
        }
        means
    })
    .collect()
}
