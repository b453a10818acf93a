//! The choice of a metric, and of the output that is judged.

use std::sync::Arc;

use super::boxes::{Boxes, MIN_SCORE};
use super::builtin::{
    ClassAgreement, ClassForm, MeanIou, PictureMeasure, PictureQuality, Snr, TopK, extents, needs_reference,
};
use super::output_kind::{
    Evidence, OutputKind, batched_shape, holds_boxes, last_operator, output_kind, undecoded_boxes,
};
use super::{Metric, MetricKind, MetricOptions};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::graph::facts::Facts;
use crate::tensor::show;

/// The output that is judged as a classification.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Judged {
    /// The place among the outputs.
    pub(in super::super) output: usize,
    /// The name of the output.
    pub(in super::super) name: String,
    /// The number of classes; `None` for an output that is the index of a class.
    pub(in super::super) classes: Option<usize>,
    /// True if the output is known to hold class scores, by labels or a Softmax.
    pub(in super::super) is_certain: bool,
}

impl Judged {
    fn form(&self) -> ClassForm {
        if self.classes.is_some() { ClassForm::Scores } else { ClassForm::Index }
    }
}

/// The metric of an evaluation.
#[derive(Debug)]
pub(in super::super) struct Choice {
    /// The metric; `None` if there is nothing to compare with.
    pub(in super::super) metric: Option<Arc<dyn Metric>>,
    /// Other metrics that apply: top-1 and top-5 with labels, agreement and SNR with a reference.
    pub(in super::super) others: Vec<Arc<dyn Metric>>,
    /// The output that is judged as a classification.
    pub(in super::super) classification: Option<Judged>,
    /// The reason for which no output is.
    pub(in super::super) unclassified: Option<String>,
    /// True if labels are classes of the judged output.
    pub(in super::super) has_labels: bool,
    /// True if the metric is a share of the images.
    pub(in super::super) counts_images: bool,
    /// True if the metric compares with the reference, which is infinitely like itself.
    pub(in super::super) is_relative: bool,
    /// The outputs whose errors count.
    pub(in super::super) outputs: Vec<usize>,
}

/// An output with its shape and kind.
struct Output {
    name: String,
    shape: Vec<usize>,
    kind: OutputKind,
    last: Option<String>,
}

impl Output {
    fn show(&self) -> String {
        let one: Vec<usize> = [1].into_iter().chain(self.shape.iter().skip(1).copied()).collect();
        format!("{} ({})", self.name, show(&one))
    }

    /// Returns the number of classes, or 0 for an index.
    fn classes(&self) -> Option<usize> {
        match self.kind {
            OutputKind::Classes { classes, .. } => Some(classes),
            OutputKind::Index => Some(0),
            OutputKind::IndexMap | OutputKind::Other => None,
        }
    }

    fn evidence(&self) -> Option<Evidence> {
        match self.kind {
            OutputKind::Classes { evidence, .. } => Some(evidence),
            OutputKind::Index => Some(Evidence::Softmax),
            OutputKind::IndexMap | OutputKind::Other => None,
        }
    }
}

/// Chooses the metric for a network on a data set.
///
/// `facts` are those of the batch size that is run, which stands beside them; `None` if outputs have data-dependent
/// shapes.
///
/// # Errors
/// Labels that are no classes of the network, and a metric that the outputs or labels do not allow.
pub(in super::super) fn choose(
    graph: &Graph,
    (facts, batch): (Option<&Facts>, usize),
    data: &Dataset,
    options: &MetricOptions,
    has_reference: bool,
) -> Result<Choice> {
    options.check()?;
    let output = |facts: &Facts, &value: &_| Output {
        name: graph.name(value).to_owned(),
        shape: batched_shape(graph, facts, value),
        kind: output_kind(graph, facts, (value, batch)),
        last: last_operator(graph, value).map(str::to_owned),
    };
    let outputs: Vec<Output> =
        facts.map_or_else(Vec::new, |facts| graph.outputs.iter().map(|value| output(facts, value)).collect());
    // Outputs of data-dependent shapes cannot be split into images.
    let is_whole = facts.is_some() || batch == 1;
    let has_boxes = is_whole && !data.is_random() && holds_boxes(graph, facts);
    let chooser = Chooser { graph, outputs: &outputs, data, options, has_reference, has_boxes };
    let (classification, unclassified) = match chooser.classification()? {
        Ok(judged) => (Some(judged), None),
        Err(reason) => (None, Some(reason)),
    };
    if let Some(name) =
        facts.filter(|_| chooser.asks_for_boxes()).and_then(|facts| undecoded_boxes(graph, facts))
        && options.boxes.is_none()
    {
        return Err(Error::new(format!("the boxes of {name} are not decoded: a convolution or linear layer ends them"))
            .file(&graph.path)
            .expected("boxes that are decoded in the file")
            .remedy(
                "export the network with decoded boxes, give a command as `metric`, or set `boxes` to the columns \
                 if they are boxes",
            ));
    }
    let metric = chooser.metric(classification.as_ref())?;
    let fits = |judged: &Judged| judged.classes.is_none_or(|classes| chooser.has_names_for(classes));
    let has_labels = data.labels().is_some() && classification.as_ref().is_some_and(fits);
    // The error of an index says nothing.
    let is_number = |i: &usize| !matches!(outputs[*i].kind, OutputKind::Index | OutputKind::IndexMap);
    let numbers: Vec<usize> = (0..outputs.len()).filter(is_number).collect();
    let outputs = if numbers.is_empty() { (0..outputs.len()).collect() } else { numbers };
    let counts_images = matches!(metric, Some(Chosen::Share(_)));
    let is_relative = matches!(metric, None | Some(Chosen::Snr | Chosen::Ratio(_)));
    let metric = metric.and_then(|metric| match metric {
        Chosen::Is(metric) | Chosen::Share(metric) | Chosen::Ratio(metric) => Some(metric),
        // Data-dependent outputs are compared by the values before them, all at once.
        Chosen::Snr if outputs.is_empty() => None,
        Chosen::Snr => Some(Arc::new(Snr { outputs: outputs.clone() }) as Arc<dyn Metric>),
    });
    let others = others(metric.as_deref(), classification.as_ref(), &outputs, (data, has_reference));
    Ok(Choice {
        metric,
        others,
        classification,
        unclassified,
        has_labels,
        counts_images,
        is_relative,
        outputs,
    })
}

/// Returns the metrics that apply beside the one that judges.
fn others(
    judge: Option<&dyn Metric>,
    classification: Option<&Judged>,
    outputs: &[usize],
    (data, has_reference): (&Dataset, bool),
) -> Vec<Arc<dyn Metric>> {
    let mut others: Vec<Arc<dyn Metric>> = vec![];
    if let Some(judged) = classification {
        let top = |k| TopK { k, output: judged.output, form: judged.form() };
        if data.labels().is_some() {
            others.push(Arc::new(top(1)));
            // Top-5 says nothing about five classes or fewer.
            others.extend(judged.classes.filter(|&classes| classes > 5).map(|_| Arc::new(top(5)) as _));
        }
        if has_reference {
            others.push(Arc::new(ClassAgreement { output: judged.output, form: judged.form() }));
        }
    }
    if has_reference && !outputs.is_empty() {
        others.push(Arc::new(Snr { outputs: outputs.to_vec() }));
    }
    others.retain(|other| judge.is_none_or(|judge| judge.name() != other.name()));
    others
}

/// A chosen metric with its kind of value.
enum Chosen {
    Is(Arc<dyn Metric>),
    /// A share of the images.
    Share(Arc<dyn Metric>),
    /// A ratio to the outputs of the reference.
    Ratio(Arc<dyn Metric>),
    /// The ratio of all outputs that count.
    Snr,
}

struct Chooser<'a> {
    graph: &'a Graph,
    outputs: &'a [Output],
    data: &'a Dataset,
    options: &'a MetricOptions,
    has_reference: bool,
    /// True if the outputs are known to be boxes.
    has_boxes: bool,
}

impl Chooser<'_> {
    /// Returns the least and the largest label.
    fn labels(&self) -> Option<(u32, u32)> {
        let labels = self.data.labels()?;
        Some((*labels.iter().min()?, *labels.iter().max()?))
    }

    /// Returns whether labels are indices, or numbered names of so many classes.
    fn has_names_for(&self, classes: usize) -> bool {
        let offset = self.data.label_offset();
        self.data.class_names().is_none_or(|names| names.len() as i64 + offset == classes as i64)
    }

    /// Returns whether the metric counts labels.
    fn by_labels(&self) -> bool {
        matches!(self.options.metric, None | Some(MetricKind::Top1 | MetricKind::Top5))
            && self.options.labels.is_none()
    }

    /// Chooses the output that is judged as a classification, or returns the reason why none is.
    fn classification(&self) -> Result<std::result::Result<Judged, String>> {
        let outputs = self.outputs;
        if outputs.is_empty() {
            return Ok(Err("outputs have data-dependent shapes, so none holds a score a class".to_owned()));
        }
        let judged = |output: usize, is_certain: bool| {
            let classes = outputs[output].classes().filter(|&classes| classes > 0);
            Ok(Ok(Judged { output, name: outputs[output].name.clone(), classes, is_certain }))
        };
        let by = |least: Evidence, fits: &dyn Fn(usize) -> bool| {
            let mut places = 0..outputs.len();
            places.find(|&i| {
                outputs[i].evidence().is_some_and(|found| found >= least)
                    && outputs[i].classes().is_some_and(|classes| classes == 0 || fits(classes))
            })
        };
        let best = |fits: &dyn Fn(usize) -> bool| {
            let evidence = [Evidence::Softmax, Evidence::Linear, Evidence::Shape];
            evidence.into_iter().find_map(|least| by(least, fits))
        };
        match (self.options.metric.as_ref(), self.labels()) {
            (Some(MetricKind::Top1 | MetricKind::Top5 | MetricKind::Agreement), labels) => {
                // The metric says that an output holds class scores, whatever its axes.
                let one_axis = |i: &usize| {
                    let shape = &outputs[*i].shape;
                    shape.len() > 1 && shape[1..].iter().filter(|&&d| d > 1).count() == 1
                };
                let place = best(&|classes| labels.is_some() && self.has_names_for(classes))
                    .or_else(|| best(&|classes| labels.is_none_or(|(_, most)| classes > most as usize)))
                    .or_else(|| best(&|_| true))
                    .or_else(|| (0..outputs.len()).find(one_axis));
                let Some(place) = place else { return Err(self.no_scores()) };
                let shape = &outputs[place].shape;
                let classes = match outputs[place].classes() {
                    Some(0) => None,
                    _ => Some(shape[1..].iter().product()),
                };
                if let (Some((least, most)), Some(classes)) = (labels, classes) {
                    if self.by_labels() && !self.has_names_for(classes) {
                        return Err(self.other_names(place, classes));
                    }
                    if self.has_names_for(classes) && most as usize >= classes {
                        return Err(self.misfit(place, classes, (least, most)));
                    }
                }
                Ok(Ok(Judged { output: place, name: outputs[place].name.clone(), classes, is_certain: true }))
            }
            (_, Some((least, most))) => {
                match best(&|classes| classes > most as usize && self.has_names_for(classes)) {
                    Some(place) => judged(place, true),
                    None => match best(&|_| true) {
                        // The metric says that the output is no classification.
                        Some(_) if self.options.metric.is_some() || self.options.labels.is_some() => {
                            Ok(Err(self.shapes()))
                        }
                        Some(place) => {
                            let classes = outputs[place].classes().unwrap_or(0);
                            if !self.has_names_for(classes) {
                                return Err(self.other_names(place, classes));
                            }
                            Err(self.misfit(place, classes, (least, most)))
                        }
                        None => Ok(Err(self.shapes())),
                    },
                }
            }
            (_, None) => {
                if let Some(place) = by(Evidence::Softmax, &|_| true) {
                    return judged(place, true);
                }
                let first = outputs[0].classes();
                // Auxiliary heads of a classifier have its classes.
                let alike = outputs.iter().all(|o| {
                    o.classes() == first && o.evidence().is_some_and(|found| found >= Evidence::Linear)
                });
                if alike && first.is_some() {
                    return judged(0, false);
                }
                Ok(Err(self.shapes()))
            }
        }
    }

    /// Returns the reason why no output is judged as a classification.
    fn shapes(&self) -> String {
        const NAMED: usize = 3;
        let outputs: Vec<String> = self.outputs.iter().take(NAMED).map(Output::show).collect();
        let more = if self.outputs.len() > NAMED { ", …" } else { "" };
        let text = format!("{}{more}", outputs.join(", "));
        match self.outputs {
            [one] if one.classes().is_some() => {
                let last = one.last.as_ref().map_or(String::new(), |last| format!(" (it ends in {last})"));
                format!("{text} may hold class scores, but neither labels nor a Softmax say so{last}")
            }
            [_] => format!("{text} does not hold class scores"),
            _ => format!("{text} are not known to hold class scores"),
        }
    }

    fn no_scores(&self) -> Error {
        Error::new("no output holds class scores")
            .file(&self.graph.path)
            .expected("an output of one score for each class, such as N×1000")
            .got(self.outputs.iter().map(Output::show).collect::<Vec<_>>().join(", "))
            .remedy("set `metric` to snr, psnr or miou, or give a command")
    }

    /// Returns the error for numbered class names that are not those of an output.
    fn other_names(&self, output: usize, classes: usize) -> Error {
        const NAMED: usize = 3;
        let names = self.data.class_names().unwrap_or_default();
        let some: Vec<String> = names.iter().take(NAMED).map(|name| format!("\"{name}\"")).collect();
        let more = if names.len() > NAMED { ", …" } else { "" };
        let name = &self.outputs[output].name;
        let background = if names.len() + 1 == classes && self.data.label_offset() == 0 {
            "set `label_offset` to 1 if class 0 is a background, or else "
        } else {
            "set "
        };
        Error::new(format!("{} class names, but the output {name} has {classes} classes", names.len()))
            .file(&self.graph.path)
            .expected("`classes`: a name for each class of the network")
            .got(format!("{}{more}", some.join(", ")))
            .remedy(format!(
                "{background}`classes` to a file of all {classes} names, one a line in the network's order; to do \
                 without labels, set `metric` to agreement or snr"
            ))
    }

    /// Returns the error for labels that are not classes of an output.
    fn misfit(&self, output: usize, classes: usize, (least, most): (u32, u32)) -> Error {
        let name = &self.outputs[output].name;
        let remedy = if least >= 1 && most as usize == classes {
            format!("set `label_offset` to {}", self.data.label_offset() - 1)
        } else {
            "give labels of this network's classes, or set `metric` to snr if the output holds no class scores"
                .to_owned()
        };
        Error::new(format!("label {most}, but the output {name} has {classes} classes"))
            .file(&self.graph.path)
            .expected(format!("labels from 0 to {}", classes.saturating_sub(1)))
            .got(format!("labels from {least} to {most}"))
            .remedy(remedy)
    }

    /// Chooses the metric by options, labels and outputs.
    fn metric(&self, judged: Option<&Judged>) -> Result<Option<Chosen>> {
        let has_labels = self.data.labels().is_some();
        let has_target = self.options.labels.is_some() || self.has_reference;
        match &self.options.metric {
            Some(MetricKind::Custom(metric)) => return Ok(Some(Chosen::Is(Arc::clone(metric)))),
            Some(MetricKind::Top1 | MetricKind::Top5) if !has_labels => {
                return Err(Error::new("top-1 and top-5 need labels").remedy(
                    "give labels.csv, class folders or an array \"labels\", or set `metric` to agreement",
                ));
            }
            Some(MetricKind::Agreement) if !self.has_reference => return Err(needs_reference("agreement")),
            Some(MetricKind::Snr) if !self.has_reference => return Err(needs_reference("snr")),
            _ if self.asks_for_boxes() && !self.has_reference => return Err(needs_reference("boxes")),
            Some(MetricKind::Psnr | MetricKind::Ssim | MetricKind::Miou) if !has_target => {
                return Err(Error::new("the metric needs label images or a reference network")
                    .expected("`labels`: a folder of pictures named like the images, or an array")
                    .remedy("set `labels`, or `against` to another network"));
            }
            _ => {}
        }
        let kind = match (&self.options.metric, judged) {
            (Some(kind), _) => kind.clone(),
            (None, _) if self.asks_for_boxes() => MetricKind::Boxes,
            (None, _) if self.options.labels.is_some() => {
                if self.has_masks()? {
                    MetricKind::Miou
                } else {
                    MetricKind::Psnr
                }
            }
            (None, Some(_)) if has_labels => MetricKind::Top1,
            (None, _) if !self.has_reference => return Ok(None),
            (None, Some(_)) => MetricKind::Agreement,
            (None, None) if self.has_boxes => MetricKind::Boxes,
            (None, None) if self.outputs.iter().any(|o| o.kind == OutputKind::IndexMap) => MetricKind::Miou,
            (None, None) => MetricKind::Snr,
        };
        let judged = || judged.ok_or_else(|| self.no_scores());
        Ok(Some(match kind {
            MetricKind::Top1 => self.top(1, judged()?),
            MetricKind::Top5 => match judged()?.classes {
                Some(classes @ ..=5) => {
                    return Err(Error::new("top-5 says nothing about five classes or fewer")
                        .file(&self.graph.path)
                        .got(format!("{classes} classes"))
                        .remedy("set `metric` to top1"));
                }
                _ => self.top(5, judged()?),
            },
            MetricKind::Agreement => {
                let judged = judged()?;
                Chosen::Share(Arc::new(ClassAgreement { output: judged.output, form: judged.form() }))
            }
            MetricKind::Snr => Chosen::Snr,
            MetricKind::Psnr => self.pictures(PictureMeasure::Psnr),
            MetricKind::Ssim => self.pictures(PictureMeasure::Ssim),
            MetricKind::Miou => Chosen::Is(Arc::new(self.map()?)),
            MetricKind::Boxes => Chosen::Is(Arc::new(Boxes {
                columns: self.options.boxes.clone(),
                min_score: self.options.min_score.unwrap_or(MIN_SCORE),
                is_asked: self.asks_for_boxes(),
            })),
            MetricKind::Custom(metric) => Chosen::Is(metric),
        }))
    }

    fn asks_for_boxes(&self) -> bool {
        let by_option = self.options.boxes.is_some() || self.options.min_score.is_some();
        by_option || matches!(self.options.metric, Some(MetricKind::Boxes))
    }

    fn top(&self, k: usize, judged: &Judged) -> Chosen {
        Chosen::Share(Arc::new(TopK { k, output: judged.output, form: judged.form() }))
    }

    fn pictures(&self, measure: PictureMeasure) -> Chosen {
        let labels = self.options.labels.clone();
        let is_ratio = labels.is_none() && measure == PictureMeasure::Psnr;
        let metric = Arc::new(PictureQuality { measure, labels, peak: self.options.peak });
        if is_ratio { Chosen::Ratio(metric) } else { Chosen::Is(metric) }
    }

    /// Returns whether the label image of the first image is a mask for a map of several classes.
    fn has_masks(&self) -> Result<bool> {
        let Some(labels) = &self.options.labels else { return Ok(false) };
        let one_channel = self.outputs.first().is_some_and(|output| {
            output.kind == OutputKind::Other
                && extents(&output.shape, self.data.preprocessing())
                    .is_some_and(|[channels, ..]| channels == 1)
        });
        // A grey picture may be the target of a grey output.
        Ok(!one_channel && labels.are_masks(&self.data.place(0))?)
    }

    /// Returns the metric of the first output that is a map.
    fn map(&self) -> Result<MeanIou> {
        let recipe = self.data.preprocessing();
        let form = |output: &Output| {
            let [channels, height, width] = extents(&output.shape, recipe)?;
            if output.kind == OutputKind::IndexMap {
                return Some(ClassForm::Index);
            }
            if height * width == 1 {
                return None;
            }
            Some(match (channels, output.last.as_deref()) {
                (1, Some("Sigmoid")) => ClassForm::Above(0.5),
                (1, _) => ClassForm::Above(0.0),
                _ => ClassForm::Scores,
            })
        };
        let found = self.outputs.iter().enumerate().find_map(|(i, output)| Some((i, form(output)?)));
        let (output, form) = found.ok_or_else(|| {
            Error::new("no output is a map of classes")
                .file(&self.graph.path)
                .expected("N×C×H×W or N×H×W")
                .got(self.outputs.iter().map(Output::show).collect::<Vec<_>>().join(", "))
                .remedy("set another `metric`")
        })?;
        Ok(MeanIou { output, form, labels: self.options.labels.clone() })
    }
}
