//! Quality of a network on a data set, by itself and against a reference network.

use super::data_notices::notice_data;
use super::kept_outputs::{Reference, ReferenceRun};
use super::label_fit::LabelFit;
use super::metric::{
    Choice, Judged, JudgedImage, Measured, Meter, Metric, MetricOptions, MetricResult, NamedTensor, choose,
    floats,
};
use super::prediction_changes::Predictions;
use super::predictions::predict;
use super::profiling::notice_skipped;
use crate::data::metrics::{Accuracy, Agreement, argmax};
use crate::data::{Batch, Dataset};
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::facts::{Facts, takes_batches};
use crate::graph::{Graph, Sizes};
use crate::observer::{Observer, Stage, advance, staged};
use crate::tensor::{Precision, Tensor};

/// The least number of images for which a single class of the original means that its outputs are no class scores.
pub(super) const LEAST_TO_VARY: u64 = 20;

/// The result of an evaluation.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Images that were evaluated.
    pub images: usize,
    /// Top-1 and top-5, if there are labels and classes.
    pub accuracy: Accuracy,
    /// The accuracy of the reference network.
    pub reference_accuracy: Accuracy,
    /// The agreement with the reference network, if there is one. Errors are those of the output with the lowest ratio.
    pub agreement: Option<Agreement>,
    /// The value of the metric that judges; `None` without labels, label images and reference.
    pub metric: Option<MetricResult>,
    /// The values of all metrics that apply, with their errors: the one that judges, then top-1, top-5, agreement, SNR.
    pub metrics: Vec<MetricResult>,
    /// The name of the output that was judged as a classification.
    pub classified: Option<String>,
    /// The reason why no output was judged as a classification.
    pub unclassified: Option<String>,
    /// The predictions of both networks by class and image, if an output was judged as a classification.
    pub predictions: Option<Predictions>,
    /// The fit of the labels to the reference network, else to the network, if there are labels and classes.
    pub label_fit: Option<LabelFit>,
    /// The fit of the network's classes to those of the reference network, if there are both.
    pub class_fit: Option<LabelFit>,
    /// True if outputs have data-dependent shapes, so that their sources were compared in their place.
    pub host_outputs: bool,
}

impl Evaluation {
    /// Returns the metric of a name, such as `top-1`.
    pub fn metric_named(&self, name: &str) -> Option<&MetricResult> {
        self.metrics.iter().find(|metric| metric.name == name)
    }
}

/// Evaluates a network, and a reference if there is one, on a data set. The reference is computed in `f32`.
///
/// # Errors
/// As [`evaluate_by`] with a metric that outputs and labels decide.
pub fn evaluate(
    graph: &Graph,
    against: Option<&Graph>,
    device: &Device,
    data: &Dataset,
    batch: Option<usize>,
    observer: &mut dyn Observer,
) -> Result<Evaluation> {
    evaluate_by(graph, against, device, data, (batch, &MetricOptions::default()), observer)
}

/// Evaluates a network, and a reference if there is one, by a metric. The reference is computed in `f32`.
///
/// # Errors
/// A network that does not run on the device, data that cannot be read, labels that are no classes of the network, a
/// metric that the outputs or labels do not allow, an observer that breaks.
pub fn evaluate_by(
    graph: &Graph,
    against: Option<&Graph>,
    device: &Device,
    data: &Dataset,
    by: (Option<usize>, &MetricOptions),
    observer: &mut dyn Observer,
) -> Result<Evaluation> {
    notice_data(graph, data, observer)?;
    evaluate_against(graph, against.map(Reference::from), device, data, by, observer)
}

/// Evaluates as [`evaluate_by`], without notices about the data set.
///
/// The outputs of the reference may be kept for further networks.
pub(super) fn evaluate_against(
    graph: &Graph,
    against: Option<Reference>,
    device: &Device,
    data: &Dataset,
    (batch, options): (Option<usize>, &MetricOptions),
    observer: &mut dyn Observer,
) -> Result<Evaluation> {
    let exact = device.clone().at(Precision::F32)?;
    let open = |sample: &_| Session::for_samples(graph, device, sample, (batch, data.len()));
    let found = staged(observer, Stage::Evaluating, data.len(), |observer| {
        let mut session = open(&data.sample()?)?;
        let mut reference =
            against.map(|reference| ReferenceRun::new(reference, &exact, (batch, data.len())));
        let choice = chosen(graph, &session, data, options, against.is_some())?;
        let mut judging = Judging::new(&choice, &session, data, options, against.is_some())?;
        for images in data.batches(session.batch) {
            let images = images?;
            session.adapt(&images.sample, |_| open(&images.sample))?;
            judging.add(&images, (&mut session, reference.as_mut()))?;
            advance(observer, judging.images)?;
        }
        judging.finish()
    })?;
    notice_skipped(data, observer);
    Ok(found)
}

/// Chooses the metric and the judged output for a network that is loaded.
pub(super) fn chosen(
    graph: &Graph,
    session: &Session,
    data: &Dataset,
    options: &MetricOptions,
    has_reference: bool,
) -> Result<Choice> {
    let facts = if session.host_nodes() > 0 {
        None
    } else {
        let batch = takes_batches(graph).then_some(session.batch);
        let shapes = graph.input_shapes(batch, &Sizes::Sample(session.sample().clone()))?;
        Some(Facts::infer(graph, &shapes)?)
    };
    choose(graph, (facts.as_ref(), session.batch), data, options, has_reference)
}

/// The meters of a metric for both networks.
struct Meters<'a> {
    metric: &'a dyn Metric,
    after: Box<dyn Meter>,
    before: Option<Box<dyn Meter>>,
}

impl<'a> Meters<'a> {
    fn new(metric: &'a dyn Metric, has_reference: bool) -> Result<Self> {
        let before = has_reference.then(|| metric.meter()).transpose()?;
        Ok(Self { metric, after: metric.meter()?, before })
    }

    fn add(&mut self, image: &JudgedImage) -> Result<()> {
        self.after.add(image)?;
        match (&mut self.before, image.reference) {
            (Some(before), Some(outputs)) => before.add(&JudgedImage { outputs, ..*image }),
            _ => Ok(()),
        }
    }

    fn finish(self, images: usize) -> Result<MetricResult> {
        let after = self.after.finish()?;
        let before = self.before.map(Meter::finish).transpose()?;
        let difference =
            |before: &Measured| before.difference_error(&after).filter(|_| before.value.is_finite());
        let error = match &before {
            Some(before) if before.value.is_finite() => difference(before),
            _ => after.error(),
        };
        Ok(MetricResult {
            name: self.metric.name(),
            unit: self.metric.unit().to_owned(),
            higher_is_better: self.metric.higher_is_better(),
            before: before.map(|before| before.value),
            after: after.value,
            error,
            images,
        })
    }
}

/// An evaluation under way.
struct Judging<'a> {
    choice: &'a Choice,
    data: &'a Dataset,
    is_chosen: bool,
    /// The meters of the metric that judges, if there is one, and of the others.
    meters: Vec<Meters<'a>>,
    host_outputs: bool,
    images: usize,
    accuracy: Accuracy,
    reference_accuracy: Accuracy,
    /// The agreement of the judged output, if there is a reference.
    agreement: Option<Agreement>,
    /// The errors of the other outputs that count.
    errors: Vec<Agreement>,
    predictions: Predictions,
    label_fit: Option<LabelFit>,
    class_fit: Option<LabelFit>,
}

impl<'a> Judging<'a> {
    fn new(
        choice: &'a Choice,
        session: &Session,
        data: &'a Dataset,
        options: &MetricOptions,
        has_reference: bool,
    ) -> Result<Self> {
        let metrics = choice.metric.iter().chain(&choice.others).map(AsRef::as_ref);
        let meters = metrics.map(|metric| Meters::new(metric, has_reference));
        let judged = choice.classification.as_ref();
        let classes = judged.and_then(|judged| judged.classes);
        Ok(Self {
            choice,
            data,
            is_chosen: options.metric.is_some() || options.boxes.is_some() || options.min_score.is_some(),
            meters: meters.collect::<Result<_>>()?,
            host_outputs: session.host_nodes() > 0,
            images: 0,
            accuracy: Accuracy::default(),
            reference_accuracy: Accuracy::default(),
            agreement: has_reference.then(Agreement::default),
            errors: vec![Agreement::default(); choice.outputs.len()],
            predictions: Predictions::default(),
            label_fit: classes.filter(|_| choice.has_labels).map(LabelFit::new),
            class_fit: classes.filter(|_| has_reference).map(LabelFit::new),
        })
    }

    fn add(
        &mut self,
        images: &Batch,
        (session, reference): (&mut Session, Option<&mut ReferenceRun>),
    ) -> Result<()> {
        if self.host_outputs {
            // The values that data-dependent outputs are computed from are compared in their place.
            let got = session.predict(&images.data)?;
            if let Some(reference) = reference {
                let reference = reference.session(&images.sample)?;
                let expected = reference.predict(&images.data)?;
                same_size("the values before the outputs", expected.len(), got.len())?;
                self.agreement.get_or_insert_default().add(&expected, &got, None);
                self.measure_one_by_one(images, session, Some(reference))?;
            } else {
                self.measure_one_by_one(images, session, None)?;
            }
            self.images += images.count;
            return Ok(());
        }
        let got = predict(session, &images.data)?;
        let expected = reference.map(|reference| reference.outputs(images)).transpose()?;
        if let (Some(got), Some(expected)) = (got.first(), expected.as_ref().and_then(|all| all.first())) {
            same_size("the number of outputs", expected.len(), got.len())?;
        }
        for (i, outputs) in got.iter().enumerate() {
            self.add_image(images, i, outputs, expected.as_ref().map(|expected| expected[i].as_slice()))?;
        }
        Ok(())
    }

    /// Adds image `i` of a batch with its outputs.
    fn add_image(
        &mut self,
        images: &Batch,
        i: usize,
        outputs: &[NamedTensor],
        expected: Option<&[NamedTensor]>,
    ) -> Result<()> {
        let label = images.labels.as_ref().map(|labels| labels[i]);
        self.images += 1;
        let fitting = label.filter(|_| self.choice.has_labels);
        if let (Some(judged), Some(label)) = (&self.choice.classification, fitting) {
            let got = &outputs[judged.output].1;
            add_label(&mut self.accuracy, judged, got, label);
            if let Some(fit) = &mut self.label_fit {
                // Labels fit the original, if there is one.
                fit.add(&floats(expected.map_or(got, |expected| &expected[judged.output].1)), label);
            }
            if let Some(expected) = expected {
                add_label(&mut self.reference_accuracy, judged, &expected[judged.output].1, label);
            }
        }
        if let (Some(judged), Some(expected)) = (&self.choice.classification, expected) {
            let prediction = |outputs: &[NamedTensor]| prediction(judged, &outputs[judged.output].1);
            self.predictions.add(images.places[i], label, [prediction(expected), prediction(outputs)]);
        }
        if let (Some(expected), Some(agreement)) = (expected, &mut self.agreement) {
            let judged = self.choice.classification.as_ref();
            for (&output, errors) in self.choice.outputs.iter().zip(&mut self.errors) {
                let ((name, got), (_, expected)) = (&outputs[output], &expected[output]);
                let (got, expected) = (floats(got), floats(expected));
                same_size(&format!("the elements of the output \"{name}\""), expected.len(), got.len())?;
                match judged.filter(|judged| judged.output == output) {
                    Some(judged) => {
                        agreement.add(&expected, &got, judged.classes);
                        if let (Some(fit), Some(class)) = (&mut self.class_fit, argmax(&expected)) {
                            fit.add(&got, class as u32);
                        }
                    }
                    None => errors.add(&expected, &got, None),
                }
            }
            if let Some(judged) = judged.filter(|judged| judged.classes.is_none()) {
                let class = |outputs: &[NamedTensor]| index(&outputs[judged.output].1);
                agreement.add_classes(class(expected), class(outputs));
            }
        }
        self.measure(images, i, outputs, expected)
    }

    fn measure(
        &mut self,
        images: &Batch,
        i: usize,
        outputs: &[NamedTensor],
        reference: Option<&[NamedTensor]>,
    ) -> Result<()> {
        let place = self.data.place(images.places[i]);
        let label = images.labels.as_ref().map(|labels| labels[i]);
        let recipe = self.data.preprocessing();
        let image = JudgedImage { place: &place, label, recipe, outputs, reference };
        self.meters.iter_mut().try_for_each(|meters| meters.add(&image))
    }

    /// Measures images of networks with data-dependent outputs, for metrics that need these outputs.
    fn measure_one_by_one(
        &mut self,
        images: &Batch,
        session: &mut Session,
        mut reference: Option<&mut Session>,
    ) -> Result<()> {
        if self.meters.is_empty() {
            return Ok(());
        }
        let one = images.sample.elements().max(1);
        for (i, image) in images.data.chunks_exact(one).enumerate() {
            let got = whole(session, image)?;
            let expected = reference.as_deref_mut().map(|reference| whole(reference, image)).transpose()?;
            self.measure(images, i, &got, expected.as_deref())?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Evaluation> {
        let (choice, images) = (self.choice, self.images);
        let mut agreement = self.agreement.take();
        if let Some(agreement) = &mut agreement {
            self.errors.iter().for_each(|errors| agreement.join_errors(errors));
        }
        let metrics = std::mem::take(&mut self.meters).into_iter().map(|meters| meters.finish(images));
        let mut metrics = metrics.collect::<Result<Vec<_>>>()?;
        let mut metric = choice.metric.is_some().then(|| metrics[0].clone());
        let mut classified = choice.classification.as_ref().map(|judged| judged.name.clone());
        let mut unclassified = choice.unclassified.clone();
        let only = agreement.as_ref().and_then(|agreement| agreement.only_class(LEAST_TO_VARY));
        if let (Some(judged), Some(class)) = (&choice.classification, only)
            && !judged.is_certain
        {
            unclassified = Some(format!(
                "{} has its largest value at place {class} for all {images} images: these are hardly class scores",
                judged.name
            ));
            (classified, self.class_fit) = (None, None);
            if let Some(agreement) = &mut agreement {
                agreement.forget_classes();
            }
            if !self.is_chosen {
                metric = None;
                metrics.retain(|one| one.name != "agreement");
            }
        }
        // The metric was chosen for outputs that turned out to hold no boxes.
        if !self.is_chosen && metric.as_ref().is_some_and(|metric| metric.before.is_some_and(f64::is_nan)) {
            unclassified = Some(
                "the original has no box with a score of 0.25 or more, or its coordinates are no boxes"
                    .to_owned(),
            );
            if let Some(metric) = metric.take() {
                metrics.retain(|one| one.name != metric.name);
            }
        }
        // Data-dependent outputs have no meters for the ratio, and it then has no standard error.
        let ratio = |agreement: &Agreement| MetricResult {
            name: "SNR".to_owned(),
            unit: "dB".to_owned(),
            higher_is_better: true,
            before: Some(f64::INFINITY),
            after: agreement.snr_db(),
            error: None,
            images,
        };
        let predictions = (classified.is_some() && agreement.is_some()).then_some(self.predictions);
        let metric = metric
            .or_else(|| metrics.iter().find(|metric| metric.name == "SNR").cloned())
            .or_else(|| agreement.as_ref().map(ratio));
        if let Some(metric) = &metric {
            metrics.retain(|other| other.name != metric.name);
            metrics.insert(0, metric.clone());
        }
        Ok(Evaluation {
            predictions,
            images,
            accuracy: self.accuracy,
            reference_accuracy: self.reference_accuracy,
            metric,
            metrics,
            agreement,
            classified,
            unclassified,
            label_fit: self.label_fit,
            class_fit: self.class_fit,
            host_outputs: self.host_outputs,
        })
    }
}

fn add_label(accuracy: &mut Accuracy, judged: &Judged, output: &Tensor, label: u32) {
    match judged.classes {
        Some(classes) => accuracy.add(&floats(output), classes, &[label]),
        None => accuracy.add_class(index(output), label),
    }
}

/// Returns the class that an output stands for; `None` for NaN.
fn prediction(judged: &Judged, output: &Tensor) -> Option<usize> {
    if judged.classes.is_some() { argmax(&floats(output)) } else { index(output) }
}

/// Returns the only element as a class index; `None` for NaN and negative values.
fn index(tensor: &Tensor) -> Option<usize> {
    floats(tensor).first().filter(|value| **value >= 0.0).map(|&value| value as usize)
}

fn same_size(what: &str, expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::new(format!("the networks differ in {what}"))
        .expected(format!("{expected}, as the reference has"))
        .got(got.to_string())
        .remedy("compare networks of the same outputs"))
}

/// Returns the outputs of one run, whose shapes depend on the data.
fn whole(session: &mut Session, image: &[f32]) -> Result<Vec<NamedTensor>> {
    if session.batch != 1 {
        return Err(Error::new("outputs with data-dependent shapes cannot be split into images")
            .expected("a network that takes one image at once")
            .got(format!("{} images", session.batch))
            .remedy("export the network for a batch of 1, or set `metric` to snr"));
    }
    let inputs = session.inputs(image);
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let outputs = session.run(&inputs)?;
    Ok(outputs.into_iter().map(|output| (output.name, output.tensor)).collect())
}
