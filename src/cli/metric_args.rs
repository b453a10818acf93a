//! The options that choose the metric.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::data_args::DataArgs;
use super::metric_command::CommandMetric;
use crate::error::{Error, Result};
use crate::pipeline::{DataSources, LabelImages, MetricKind, MetricOptions};

/// How the outputs of networks are judged.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct MetricArgs {
    /// Metric of the outputs: top1, top5, agreement, snr, psnr, ssim, miou, boxes.
    ///
    /// Or your own metric as 'command CMD': CMD receives two folders of .npy files, the outputs of the network and
    /// those of the original, and prints a number (docs/guide.md).
    ///
    /// Default: top1 with class labels; miou or psnr with --labels; without labels, agreement for class scores, boxes
    /// for detectors whose boxes are recognized, else snr.
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// Smaller values of --metric 'command CMD' are better.
    #[arg(long, requires = "metric")]
    lower_is_better: bool,
    /// Target images: folder of masks or pictures, or array.
    ///
    /// A target file has the name of its image. An array is a .npy file, or `labels` in a .npz file. Masks hold class
    /// indices; pixels of 255 are ignored.
    #[arg(long, value_name = "LABELS", requires = "data")]
    labels: Option<PathBuf>,
    /// Largest possible pixel value of the outputs, for psnr and ssim.
    ///
    /// Default: 255 divided by --scale if there are --labels, else the range of the original's outputs.
    #[arg(long, value_name = "V")]
    peak: Option<f64>,
    /// Meaning of the columns of a detector's output, such as cxcywh,objectness,scores.
    ///
    /// Columns: xyxy, cxcywh or xywh; objectness; score and class, or scores; image. Default: found from the values
    /// that the original computes.
    #[arg(long, value_name = "COLUMNS")]
    boxes: Option<String>,
    /// Ignore boxes with a lower score (default: 0.25).
    #[arg(long, value_name = "S")]
    min_score: Option<f64>,
}

impl MetricArgs {
    /// Returns the options for data, or for other images that judge.
    pub(super) fn options(
        &self,
        data: &DataArgs,
        test: Option<DataSources>,
        force: bool,
    ) -> Result<MetricOptions> {
        let labels = self.labels.as_deref().map(LabelImages::open).transpose()?.map(Arc::new);
        let boxes = self.boxes.as_deref().map(str::parse).transpose()?;
        let options = MetricOptions {
            metric: self.kind()?,
            labels,
            peak: self.peak,
            boxes,
            min_score: self.min_score,
            force,
        };
        options.check()?;
        match test.or_else(|| data.sources()) {
            Some(sources) => options.with_labels_within(&sources),
            None => Ok(options),
        }
    }

    /// Returns whether a metric was chosen.
    pub(super) fn is_given(&self) -> bool {
        let boxes = self.boxes.is_some() || self.min_score.is_some();
        self.metric.is_some() || self.labels.is_some() || self.peak.is_some() || boxes
    }

    fn kind(&self) -> Result<Option<MetricKind>> {
        let Some(text) = self.metric.as_deref() else { return Ok(None) };
        let command = text.strip_prefix("command ").map(str::trim);
        let is_command = |text: &&str| text.contains(char::is_whitespace) || Path::new(text).is_file();
        if let Some(command) = command.or_else(|| Some(text).filter(is_command)) {
            let metric = CommandMetric::new(command, !self.lower_is_better);
            return Ok(Some(MetricKind::Custom(Arc::new(metric))));
        }
        let kind = text.parse()?;
        if self.lower_is_better {
            return Err(Error::new("--lower-is-better is for commands")
                .got(format!("the metric {text}"))
                .remedy("leave it out"));
        }
        Ok(Some(kind))
    }
}
