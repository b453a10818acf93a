//! How networks are repaired after a cut: the options, the images for it, and those that judge it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::args::{DataArgs, Origin, positive};
use super::output::{BarObserver, Output};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::prune::Channels;
use crate::repair::{Images, Repair, Repaired, repair};

/// How to repair, and which images judge it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RepairArgs {
    /// What is repaired after the cut: full (all weights behind it, by least squares; the default where there are
    /// images), bn (means and spreads), bias (means), or none.
    #[arg(long, value_name = "HOW")]
    repair: Option<Repair>,
    #[command(flatten)]
    pub(super) judge: JudgeArgs,
    /// In how many rounds the cut is made; after each, the network is repaired and looked at anew.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, conflicts_with = "profile")]
    pub(super) rounds: usize,
}

impl RepairArgs {
    /// What is asked for. Without images nothing can be repaired.
    pub(super) fn how(&self, data: Option<&Dataset>, output: &Output) -> Result<Repair> {
        match (self.repair, data) {
            (Some(how), Some(_)) => Ok(how),
            (None, Some(data)) if data.is_random() => {
                output.note("not repaired: random inputs say nothing of what a layer should give (--repair full repairs all the same)");
                Ok(Repair::None)
            }
            (None, Some(_)) => Ok(Repair::Full),
            (Some(Repair::None), None) => Ok(Repair::None),
            (None, None) => {
                output.note("not repaired: that needs images (--data)");
                Ok(Repair::None)
            }
            (Some(_), None) => Err(Error::new("a repair needs images")
                .expected("--data")
                .remedy("add --data FOLDER, or use --repair none")),
        }
    }
}

/// Which images judge.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct JudgeArgs {
    /// The share of the images that is kept apart: it decides and calibrates nothing, and judges the result; 0.2, but 0
    /// (all images judge too) where nothing is repaired and where there are less than five.
    #[arg(long, value_name = "R", requires = "data")]
    held_out: Option<f64>,
    /// Other images that judge, all of them; they are read as those of --data are.
    #[arg(long, value_name = "DATA", requires = "data", conflicts_with = "held_out")]
    test: Option<String>,
}

impl JudgeArgs {
    /// The images that decide and calibrate, and those that judge.
    pub(super) fn parts(
        &self,
        data: Dataset,
        (args, graph): (&DataArgs, &Graph),
        repaired: bool,
    ) -> Result<Parts> {
        if let Some(spec) = &self.test {
            let held = args.open_other(spec, graph)?;
            return Ok(Parts { calibration: data, held, apart: Apart::Others });
        }
        let usual = if !repaired || data.len() < FEWEST { 0.0 } else { USUAL };
        let share = self.held_out.unwrap_or(usual);
        if share == 0.0 {
            return Ok(Parts { calibration: data.clone(), held: data, apart: Apart::None });
        }
        let parts = data.split(share).filter(|_| share > 0.0 && share < 1.0);
        let (calibration, held) = parts.ok_or_else(|| {
            Error::new("the images cannot be parted into those that calibrate and those that judge")
                .expected("--held-out with a share between 0 and 1 that leaves both of them some images")
                .got(format!("{share} of {} images", data.len()))
                .remedy("give more images, or --held-out 0 to judge by the images that calibrate")
        })?;
        Ok(Parts { calibration, held, apart: Apart::Share })
    }
}

/// The share of the images that judges, where nobody says another.
const USUAL: f64 = 0.2;
/// Images of which some are kept apart unasked.
const FEWEST: usize = 5;

/// The images that decide and calibrate, and those that judge.
pub(super) struct Parts {
    pub(super) calibration: Dataset,
    pub(super) held: Dataset,
    apart: Apart,
}

/// How far the images that judge are others than those that calibrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Apart {
    /// They are the same.
    None,
    /// A share of one set.
    Share,
    /// Another set.
    Others,
}

impl Parts {
    /// What a profile of the images that calibrate says of where they come from.
    pub(super) fn origin(&self, args: &DataArgs) -> Origin {
        let mut origin = args.origin();
        if self.apart == Apart::Share {
            origin.data.push_str(&format!(", without {} images kept apart", self.held.len()));
        }
        origin
    }

    /// What an accuracy was measured on.
    pub(super) fn on(&self) -> String {
        let count = self.held.len();
        match self.apart {
            Apart::None => format!("(on the {count} images given)"),
            Apart::Share => format!("(on {count} images kept apart)"),
            Apart::Others => format!("(on {count} other images)"),
        }
    }
}

/// All calibration images, as the network takes them.
pub(super) fn calibration(data: &Dataset, output: &Output) -> Result<Images> {
    let (mut all, mut count) = (Vec::new(), 0);
    let mut shape: Option<Vec<usize>> = None;
    let bar = output.progress("reading images", data.len());
    for batch in data.batches(64) {
        let batch = batch?;
        let first = shape.get_or_insert_with(|| batch.image().to_vec());
        if first[..] != *batch.image() {
            return Err(data.blame(
                Error::new("calibration images of several sizes")
                    .expected(crate::tensor::show(first))
                    .got(crate::tensor::show(batch.image()))
                    .remedy("bring them to one size with --resize and --crop"),
            ));
        }
        all.extend_from_slice(&batch.data);
        count += batch.count;
        bar.inc(batch.count as u64);
    }
    bar.finish_and_clear();
    Ok(Images { data: Arc::new(all), shape: shape.unwrap_or_default(), count })
}

/// Repairs, and tells what could not be.
pub(super) fn mended(
    (graph, channels): (&Graph, &Channels),
    removed: &BTreeSet<usize>,
    how: Repair,
    (device, images): (&Device, &Images),
    output: &Output,
) -> Result<Repaired> {
    const ILL: f64 = 1e12;
    let bar = output.progress("repairing", channels.coupling.producers.len());
    let repaired = repair(
        graph,
        channels,
        removed,
        how,
        (device, images),
        &mut BarObserver { bar: &bar, stop: &|| false },
    );
    bar.finish_and_clear();
    let repaired = repaired?;
    for (node, why) in repaired.skipped.iter().take(5) {
        output.note(format!("{node} is not repaired: it {why}"));
    }
    let ill = repaired.refits.iter().filter(|r| r.condition > ILL).count();
    if ill > 0 {
        output.note(format!(
            "{ill} of {} layers were barely determined by the images (condition above {ILL:.0e}): more images help",
            repaired.refits.len()
        ));
    }
    Ok(repaired)
}
