//! Repairs with notices about layers that were not or hardly repaired.

use std::collections::BTreeSet;

use super::calibration::{Calibration, will_repair};
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::{Notice, Observer};
use crate::prune::Channels;
use crate::repair::{Images, Repair, Repaired, repair};

/// Chooses the repair: everything if there are images and nothing else is asked for.
///
/// # Errors
/// A repair without images.
pub(super) fn chosen(
    asked: Option<Repair>,
    calibration: Option<&Calibration>,
    observer: &mut dyn Observer,
) -> Result<Repair> {
    match (asked, calibration) {
        (Some(how), Some(_)) => Ok(how),
        (None, Some(calibration)) if !will_repair(None, &calibration.fit) => {
            observer.notice(Notice::UnrepairedRandomInputs);
            Ok(Repair::None)
        }
        (None, Some(_)) => Ok(Repair::Full),
        (Some(Repair::None), None) => Ok(Repair::None),
        (None, None) => {
            observer.notice(Notice::UnrepairedWithoutImages);
            Ok(Repair::None)
        }
        (Some(_), None) => Err(Error::new("a repair needs images")
            .expected("`data`")
            .remedy("set `data`, or set `repair` to none")),
    }
}

/// Repairs the layers behind removed channels.
pub(super) fn repair_layers(
    (graph, channels): (&Graph, &Channels),
    removed: &BTreeSet<usize>,
    how: Repair,
    (device, images): (&Device, &Images),
    observer: &mut dyn Observer,
) -> Result<Repaired> {
    const ILL_CONDITIONED: f64 = 1e12;
    const NAMED: usize = 5;
    let repaired = repair(graph, channels, removed, how, (device, images), observer)?;
    for (node, reason) in repaired.skipped.iter().take(NAMED).cloned() {
        observer.notice(Notice::UnrepairedLayer { node, reason });
    }
    let layers = repaired.refits.iter().filter(|refit| refit.condition > ILL_CONDITIONED).count();
    if layers > 0 {
        let of = repaired.refits.len();
        observer.notice(Notice::IllConditioned { layers, of, above: ILL_CONDITIONED });
    }
    Ok(repaired)
}
