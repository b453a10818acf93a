//! The search for a network within a budget of bytes: fewer channels and another number format together.
//!
//! Each format leaves room for a share of the parameters. The network with that share is cut, repaired and stored in the
//! format, and the one whose outputs stay nearest to the original's is chosen. The images that tell which one are
//! calibration images, not those that judge.

use std::collections::BTreeSet;

use super::calibration::Calibration;
use super::decision::{Decision, FormatTrial, Outcome};
use super::plan_context::PlanContext;
use super::probe_images::{ProbeImages, no_images};
use super::reformat::reformatted;
use super::repairing::repair_layers;
use super::scored_channels::ScoredChannels;
use crate::error::{Error, ErrorKind, Result};
use crate::observer::{Notice, Observer, Stage, advance, staged};
use crate::onnx::Model;
use crate::prune::{Budget, smaller, written};
use crate::quantize::NumberFormat;
use crate::repair::{Images, Repair, Repaired};

/// Shares nearer to each other than this are not distinguished.
const NEAR: f64 = 0.004;
/// Cuts of a format at most: a repair can add biases, which need room.
const TRIES: usize = 4;

/// Decides for a share of the original's bytes.
pub(super) fn for_bytes(
    context: &PlanContext,
    images: Option<(&Calibration, Option<usize>)>,
    (scores, share): (&ScoredChannels, f64),
    observer: &mut dyn Observer,
) -> Result<Outcome<Decision>> {
    let (calibration, batch) = images.ok_or_else(no_images)?;
    let PlanContext { network, device, options } = context;
    let most = (share * network.model.bytes as f64) as u64;
    let search = Search { context, scores, calibration, batch, most };
    let probes = ProbeImages::of(&network.graph, calibration, (device, batch))?;
    let (mut trials, mut best) = (vec![], None::<(f64, Tried)>);
    staged(observer, Stage::Searching, options.formats.len(), |observer| {
        for (i, format) in options.formats.iter().enumerate() {
            if let Some(tried) = search.largest(format, observer)? {
                let noise = probes.noise(&tried.model)?;
                let (format, keep_params, bytes) = (format.to_string(), tried.keep, tried.model.bytes);
                let trial = FormatTrial { format, keep_params, bytes, noise };
                observer.notice(Notice::FormatTried {
                    format: trial.format.clone(),
                    keep_params,
                    bytes,
                    snr_db: -10.0 * noise.log10(),
                });
                trials.push(trial);
                // NaN is no smaller than anything.
                if best.as_ref().is_none_or(|(least, _)| noise < *least) {
                    best = Some((noise, tried));
                }
            }
            advance(observer, i + 1)?;
        }
        Ok(())
    })?;
    let Some((_, Tried { keep, format, repaired, .. })) = best else {
        let formats: Vec<String> = options.formats.iter().map(NumberFormat::to_string).collect();
        return Err(Error::new("no number format meets the budget of bytes")
            .with_kind(ErrorKind::BudgetInfeasible)
            .file(&network.model.path)
            .expected(format!("at most {most} bytes"))
            .got(format!("more with as few channels as allowed ({})", formats.join(", ")))
            .remedy("set `keep_bytes` to a larger share, or `max_cut` to one nearer to 1"));
    };
    let text = format!("{} ({format}, {keep:.3} of the parameters)", options.target);
    let decision = options.decide((Budget::KeepParams(keep), text), network, scores)?;
    let (format, repaired) = (Some(format), Some(repaired));
    Ok(Outcome::Done(Decision { format, formats: trials, repaired, ..decision }))
}

/// The parts of a search that all formats share.
struct Search<'a> {
    context: &'a PlanContext<'a>,
    scores: &'a ScoredChannels,
    calibration: &'a Calibration,
    batch: Option<usize>,
    /// The largest file that is allowed.
    most: u64,
}

/// A network that was cut, repaired and stored.
struct Tried {
    keep: f64,
    format: NumberFormat,
    repaired: Repaired,
    model: Model,
}

impl Search<'_> {
    /// Returns the largest network in a format that is within the budget; `None` if there is none.
    fn largest(&self, format: &NumberFormat, observer: &mut dyn Observer) -> Result<Option<Tried>> {
        let PlanContext { network, device, options } = self.context;
        let none = Images::default();
        let images = match options.repair {
            Repair::None => &none,
            _ => self.calibration.images(observer)?,
        };
        let mut most = self.most;
        for _ in 0..TRIES {
            let Some(keep) = self.share(format, most)? else { return Ok(None) };
            let Some(removed) = self.removed(keep)? else { return Ok(None) };
            let of = (&network.graph, &network.channels);
            let repaired = repair_layers(of, &removed, options.repair, (device, images), observer)?;
            let (model, path) = (repaired.apply(&network.model)?, &network.model.path);
            let small = written(model, network.is_inexact(), &removed, path)?;
            let with = ((*device, self.batch), self.calibration);
            let mut model = reformatted(format, &small, with, observer)?.into_model();
            model.bytes = model.to_bytes().len() as u64;
            if model.bytes <= self.most {
                return Ok(Some(Tried { keep, format: format.clone(), repaired, model }));
            }
            most = most.saturating_sub(model.bytes - self.most);
        }
        Ok(None)
    }

    /// Bisects the share of parameters for the largest whose file has at most `most` bytes.
    fn share(&self, format: &NumberFormat, most: u64) -> Result<Option<f64>> {
        let fits = |keep: f64| -> Result<bool> {
            let PlanContext { network, .. } = self.context;
            let Some(removed) = self.removed(keep)? else { return Ok(false) };
            let small = smaller(&network.model, &network.graph, &network.channels, &removed)?;
            Ok(format.bytes(&small)? <= most)
        };
        if fits(1.0)? {
            return Ok(Some(1.0));
        }
        let (mut low, mut high) = (0.0, 1.0);
        while high - low > NEAR {
            let keep = 0.5 * (low + high);
            if fits(keep)? { low = keep } else { high = keep }
        }
        Ok((low > 0.0).then_some(low))
    }

    /// Returns the channels that a share of the parameters leaves no room for; `None` if the limits forbid it.
    fn removed(&self, keep: f64) -> Result<Option<BTreeSet<usize>>> {
        let PlanContext { network, options, .. } = self.context;
        let budget = Budget::KeepParams(keep);
        match options.choose(budget, network, &network.channels, &self.scores.scored) {
            Ok(choice) => Ok(Some(choice.removed)),
            Err(error) if error.kind() == ErrorKind::BudgetInfeasible => Ok(None),
            Err(error) => Err(error),
        }
    }
}
