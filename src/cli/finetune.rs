//! `secateur finetune`: train a network to imitate a teacher, or on labels.

use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::{Global, positive};
use super::data_args::{DataArgs, JudgeArgs};
use super::metric_args::MetricArgs;
use super::notices::interrupted_training;
use super::output::Output;
use super::output_guard::OutputGuard;
use super::progress::{ANALYZING, LOADING, OPENING_DATA, Progress};
use super::report::{WRITE_PAGE, command, write_page};
use super::results::{judged_on, metric_json, metrics_json, print_metrics};
use super::streams::OutputFile;
use super::training_args::{TrainingArgs, print_training, training_json};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{
    Cut, Evaluation, Graph, Network, ReportOptions, TrainingLength, finetune, training_page,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Path of the ONNX file.
    model: PathBuf,
    /// Trained ONNX file to write; - for standard output.
    #[arg(short, long, value_name = "OUT.onnx")]
    pub(super) output: OutputFile,
    /// Network to imitate, such as the original of a pruned network.
    ///
    /// Without a teacher, the network is trained on the labels of the images.
    #[arg(long, value_name = "ORIGINAL.onnx")]
    teacher: Option<PathBuf>,
    /// Cut file by which the network was cut from its teacher.
    ///
    /// With it, features are compared on the channels that the cut kept; without it, only features that kept all
    /// channels are compared. `prune --write-cut` writes the file.
    #[arg(long, value_name = "CUT.json", requires = "teacher")]
    cut: Option<PathBuf>,
    /// Passes over the images.
    #[arg(long, value_name = "N", required_unless_present = "steps", conflicts_with = "steps")]
    epochs: Option<f64>,
    /// Steps, each on one batch, in place of --epochs.
    #[arg(long, value_name = "N", value_parser = positive)]
    steps: Option<usize>,
    #[command(flatten)]
    training: TrainingArgs,
    /// Profile to write, too: statistics of all filters through the epochs.
    ///
    /// Mean, variance and L1 norm of every filter at the end of each epoch, and its drift, for the criteria drift and
    /// stability of `plan`.
    #[arg(long, visible_alias = "profile", value_name = "FILE", conflicts_with = "resume")]
    write_profile: Option<PathBuf>,
    /// Also write an HTML report.
    ///
    /// The report shows the losses over the steps, the quality before and after, and the options.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Seed of the order and the random changes of images.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    metric: MetricArgs,
    /// Train although the preprocessing is certainly wrong.
    #[arg(long)]
    force: bool,
    /// Number of images that are computed at once.
    ///
    /// A training step of more images is computed in several runs, and its gradients are summed.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
}

impl Args {
    fn length(&self) -> TrainingLength {
        match (self.epochs, self.steps) {
            (_, Some(steps)) => TrainingLength::Steps(steps),
            (epochs, None) => TrainingLength::Epochs(epochs.unwrap_or_default()),
        }
    }
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let model = output.busy(LOADING, || args.data.load(&args.model))?;
    args.output.check_single(&model)?;
    let guard = OutputGuard::default().model(&model).read(&args.teacher).read(&args.cut).data(&args.data);
    let guard = guard.write_model(&model, args.output.path())?;
    let guard = guard.write(&args.training.checkpoint, "write the checkpoint")?;
    let guard = guard.write(&args.write_profile, "write the profile")?;
    guard.write(&args.report, WRITE_PAGE)?;
    let mut options = args.training.options(args.length(), args.seed)?;
    options.trajectories = args.write_profile.is_some();
    let original = args.teacher.as_ref().map(|path| args.data.load(path)).transpose()?;
    let cut = args.cut.as_deref().map(Cut::load).transpose()?;
    let kept = cut.as_ref().zip(original.as_ref()).map(|(cut, original)| cut.kept_values(original));
    let kept = kept.transpose()?.unwrap_or_default();
    let teacher = original.as_ref().map(Graph::from_model).transpose()?;
    let network = output.busy(ANALYZING, || Network::from_file(model, false))?;
    let open = || args.judge.open(&args.data, &network.graph, None);
    let calibration = output.busy(OPENING_DATA, open)?.ok_or_else(|| {
        Error::new("a training needs images")
            .expected("`data`")
            .remedy("set `data` to the images to train on")
    })?;
    let metric = args.metric.options(&args.data, args.judge.test(), args.force || args.teacher.is_none())?;
    let device = global.open(output)?;
    let mut progress = match &args.training.checkpoint {
        Some(_) => Progress::interruptible(output)?,
        None => Progress::new(output),
    };
    let by = (&options, &metric);
    let devices = (&device, args.batch);
    let teacher = (teacher.as_ref(), &kept);
    let trained = finetune(&network, teacher, devices, &calibration, by, &mut progress);
    let trained = match trained {
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            output.note(interrupted_training(args.training.checkpoint.as_deref()));
            output.result(&json!({ "out": null }));
            return Ok(Answer::No);
        }
        other => other?,
    };
    trained.model.save(args.output.path())?;
    if let (Some(profile), Some(path)) = (&trained.profile, &args.write_profile) {
        profile.save(path)?;
    }
    if let Some(path) = &args.report {
        let options = ReportOptions {
            command: Some(command()),
            settings: global.settings(),
            ..ReportOptions::default()
        };
        let models = (&network.model, original.as_ref());
        let mut page = training_page(&trained, models, &calibration, &device, &options)?;
        write_page(Some(&mut page), path)?;
    }
    print_training(&trained.training, output);
    output.line("before");
    print_metrics(&trained.before, output);
    output.line("after");
    print_metrics(&trained.after, output);
    output.line(format!("{:<12} {}", "", judged_on(&calibration)));
    output.line(format!("→ {}", args.output));
    args.report.iter().for_each(|path| output.line(format!("→ {}", path.display())));
    let training = &trained.training;
    let (first, last) = (training.curve.first(), training.curve.last());
    let seconds = last.map(|point| point.seconds).filter(|seconds| *seconds > 0.0);
    let both = |of: fn(&Evaluation) -> Option<f64>| {
        let (before, after) = (of(&trained.before)?, of(&trained.after)?);
        Some(json!({ "before": before, "after": after }))
    };
    output.result(&json!({
        "epochs": training.curve.len(), "steps": training.made,
        "images_per_s": seconds.map(|seconds| (training.made * training.batch) as f64 / seconds),
        "loss": { "first": first.map(|point| point.loss), "last": last.map(|point| point.loss) },
        "top1": both(|found| found.accuracy.top1()),
        "agreement": both(|found| found.agreement.as_ref()?.agreement()),
        "out": args.output.path(), "report": args.report, "training": training_json(Some(training)),
        "before": metric_json(trained.before.metric.as_ref()), "metrics_before": metrics_json(Some(&trained.before)),
        "metric": metric_json(trained.after.metric.as_ref()), "metrics": metrics_json(Some(&trained.after)),
    }));
    Ok(if trained.training.diverged.is_some() { Answer::No } else { Answer::Yes })
}
