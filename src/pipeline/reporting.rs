//! The report page of a cut that was made before, from its files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::calibration::Calibration;
use super::data_notices::notice_calibration;
use super::evaluation::evaluate_against;
use super::metric::MetricOptions;
use super::network::Network;
use super::report_builder::{ReportBuilder, statistics};
use super::report_options::ReportOptions;
use super::schedule::Schedule;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::{Observer, Stage, staged};
use crate::onnx::Model;
use crate::prune::{Cut, MaskedReference, Proof, ReferenceOutputs, Stamp, border_effect};
use crate::report::Page;
use crate::stats::Profile;

/// The files of a cut that was made before.
#[derive(Clone, Debug)]
pub struct CutFiles {
    /// The model of the pruned network.
    pub pruned: Model,
    /// The decision as a cut file.
    pub cut: Cut,
    /// Statistics of the original; without them they are gathered from the images, or of the weights alone.
    pub profile: Option<Profile>,
    /// The masked reference that [`super::prune`] wrote: what a repaired network is compared with.
    pub masked: Option<PathBuf>,
    /// The proof that [`super::prune`] made; without it the networks are compared again.
    pub proof: Option<Proof>,
}

/// Builds the report page of a cut, proves it again, and times both networks.
///
/// # Errors
/// A pruned network that is not that of the cut, a masked reference that differs from it, a network that does not run.
pub fn report(
    network: Network,
    device: &Device,
    (files, calibration, batch): (CutFiles, Option<&Calibration>, Option<usize>),
    options: &ReportOptions,
    observer: &mut dyn Observer,
) -> Result<Page> {
    let CutFiles { pruned, cut, profile, masked, proof } = files;
    notice_calibration(&network.graph, calibration, observer)?;
    let removed = cut.removed(&network.graph, &network.model.sha256, &network.channels)?;
    let stamp = Stamp::of(&pruned.proto);
    if let Some(stamp) = &stamp {
        check_stamp(stamp, &network, &pruned, &cut)?;
    }
    let mut schedule = Schedule::of(&network);
    schedule.page((profile.is_none(), calibration), options);
    schedule.announce(observer);
    let seen = statistics(profile, &network, (device, batch), calibration, observer)?;
    let mut page = ReportBuilder::new(&network, &cut, &removed, &seen, options);
    if let Some(layer) = page.shrunk(&pruned)? {
        return Err(Error::new("the smaller network is not that of the cut")
            .file(&pruned.path)
            .node(layer)
            .expected(match &cut.path {
                Some(file) => format!("the widths that {} leaves", file.display()),
                None => "the widths that the cut leaves".to_owned(),
            })
            .remedy(
                "give the network that `prune()` made from this cut, or the cut that made this network",
            ));
    }
    let images = calibration.map(Calibration::proof_images).transpose()?.flatten();
    staged(observer, Stage::Drawing, 0, |_| {
        let recipe = seen.header.preprocessing.as_ref();
        page.preprocessed(calibration, recipe)?;
        page.draw(&network, device, images.as_ref(), recipe)
    })?;
    let proved = match proof {
        Some(proof) => Ok(proof),
        None => staged(observer, Stage::Proving, 0, |_| {
            proved(&network, &pruned, (&removed, masked.as_deref()), device, images.as_ref())
        })?,
    };
    match proved {
        Ok(proof) => page.proved(&proof),
        Err(reason) => page.unproved(reason),
    }
    if let Some(stamp) = stamp {
        page.stamped(stamp);
    }
    let Network { graph, channels, .. } = network;
    drop(channels);
    let small = Graph::from_model_owned(pruned)?;
    page.draw_pruned(&small, device)?;
    if let Some(calibration) = calibration {
        let by = (batch, &MetricOptions::default());
        let found =
            evaluate_against(&small, Some((&graph).into()), device, &calibration.judge, by, observer)?;
        page.judged(calibration, &found)?;
    }
    page.time(&[graph, small], device, observer);
    Ok(page.finish(device))
}

/// Checks that a stamped network was made from this original by this cut.
fn check_stamp(stamp: &Stamp, network: &Network, pruned: &Model, cut: &Cut) -> Result<()> {
    if stamp.original != network.model.sha256 {
        return Err(Error::new("the smaller network was made from another original")
            .file(&pruned.path)
            .expected(format!("a stamp with the hash {}", network.model.sha256))
            .got(stamp.original.clone())
            .remedy("give the model that `prune()` made it from"));
    }
    if stamp.cut != cut.digest() {
        return Err(Error::new("the smaller network was made by another cut")
            .file(&pruned.path)
            .expected(match &cut.path {
                Some(file) => format!("the decision of {}", file.display()),
                None => "the decision of the cut".to_owned(),
            })
            .got(format!("one of {} and {}", stamp.criterion, stamp.budget))
            .remedy("give the cut that `prune()` wrote with `write_cut`, or the network that it made"));
    }
    Ok(())
}

/// Compares the pruned network with the masked reference in `masked`, which must agree, or else with the original
/// without the removed channels, from which a repaired network differs: then the text states what could not be checked.
fn proved(
    network: &Network,
    small: &Model,
    (removed, masked): (&BTreeSet<usize>, Option<&Path>),
    device: &Device,
    images: Option<&Batch>,
) -> Result<Result<Proof, String>> {
    const OTHER_WEIGHTS: &str = "the weights are not those of the original, as after a repair. The masked reference, \
        which `prune()` writes too, shows what a repaired network is compared with: set `masked`";
    let Network { model, graph, channels, .. } = network;
    let reference = MaskedReference::new(model, graph, channels, removed)?;
    let whole = || match masked {
        Some(path) => {
            let masked = Model::load(path)?.with_bindings(model.bindings.clone());
            same_inputs(Graph::from_model_owned(masked)?, graph)
        }
        None => Graph::from_model_owned(reference.masked(model)?),
    };
    let outputs = match ReferenceOutputs::of(whole()?, &reference, device, images) {
        Ok(outputs) => outputs,
        Err(error) => return Ok(Err(error.message())),
    };
    match (outputs.prove(small, device, &whole), masked) {
        (Ok(proof), Some(_)) => Ok(Ok(proof)),
        (Ok(proof), None) => {
            let constants = border_effect(&reference, (model, network.is_inexact()), device, images)?;
            Ok(Ok(Proof { constants, ..proof }))
        }
        (Err(error), Some(path)) => Err(error.file(path)),
        (Err(_), None) => Ok(Err(OTHER_WEIGHTS.to_owned())),
    }
}

/// Returns the masked network, if it takes the inputs of the original.
fn same_inputs(masked: Graph, original: &Graph) -> Result<Graph> {
    let inputs = |graph: &Graph| -> String {
        let inputs = graph.inputs.iter().map(|i| format!("{} {}", graph.name(i.value), i.show()));
        inputs.collect::<Vec<_>>().join(", ")
    };
    let (got, expected) = (inputs(&masked), inputs(original));
    if got == expected {
        return Ok(masked);
    }
    Err(Error::new("the masked network takes other inputs than the original")
        .file(&masked.path)
        .expected(expected)
        .got(got)
        .remedy("give the file that `prune()` wrote as `masked` when it made the smaller network"))
}
