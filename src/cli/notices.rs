//! The sentences for the pipeline's notices and refusals.

use std::path::Path;

use super::output::{decibels, many};
use crate::pipeline::{Collapse, Notice, Refusal, RefusalReason};

/// Returns the note for a notice.
pub fn text(notice: &Notice) -> String {
    match notice {
        Notice::SkippedInput { file, reason } => format!("skipped {}: {reason}", file.display()),
        Notice::SkippedInputs(count) => format!("skipped {count} files in all"),
        Notice::TurnedImages(count) => {
            format!("{} turned by the EXIF orientation, as viewers show them", many(*count, "image"))
        }
        Notice::UnrepairedWithoutImages => "not repaired: a repair needs images (--data)".to_owned(),
        Notice::UnrepairedRandomInputs => {
            "not repaired: random inputs do not show what a layer should compute (--repair full repairs all the same)"
                .to_owned()
        }
        Notice::UnrepairedLayer { node, reason } => format!("{node} is not repaired: it {reason}"),
        Notice::IllConditioned { layers, of, above } => format!(
            "the images hardly determine {layers} of {of} layers (condition above {above:.0e}): more images help"
        ),
        Notice::CriterionFallback { used, default, profile } => {
            let profile = profile.as_ref().map_or("the profile".to_owned(), |file| file.display().to_string());
            format!(
                "criterion {used}: the best one, {default}, needs moments of patches, and {profile} has none (--data \
                 gathers them, and so does `secateur profile --gram both`)"
            )
        }
        Notice::Round { round, of } => format!("round {round} of {of}"),
        Notice::LatencyTried { table_share, measured } => format!(
            "{table_share:.3} of the layers' tabulated times take {measured:.3} of the latency"
        ),
        Notice::DropTried { keep, counted, drop, unit } => {
            let space = if unit.is_empty() { "" } else { " " };
            format!("{keep:.3} of the {counted}: {drop:.2}{space}{unit} lost")
        }
        Notice::CoarseLimit { images, weight, max_drop } => format!(
            "one of the {images} images that judge weighs {weight:.2} points, more than --max-drop {max_drop}: more \
             images (--test, --held-out) make the search finer"
        ),
        Notice::FlawlessOriginal { images } => format!(
            "the original is right on all {images} images, which may be those of its training: --test with other \
             images shows what is lost"
        ),
        Notice::UncertainCut { uncertain, removed, threshold, confidence } => format!(
            "{uncertain} of the {removed} removed sets of coupled channels have a confidence below {:.0} %; {:.1} % of \
             the cut is expected to be right. More images make it more certain",
            100.0 * threshold,
            100.0 * confidence
        ),
    }
}

/// Returns the note for a refusal.
pub fn refusal(refusal: &Refusal) -> String {
    match &refusal.reason {
        RefusalReason::Confidence { found, required } => {
            let found = found.map_or("unknown for this criterion".to_owned(), |c| format!("{c:.4}"));
            format!("refused: the confidence is {found}, not {required}; nothing is written")
        }
        RefusalReason::MaxDrop { max_drop, counted, unit } => {
            let best = refusal.attempts.iter();
            let best = best.min_by(|a, b| a.drop.total_cmp(&b.drop).then(a.keep.total_cmp(&b.keep)));
            let best = best.map_or_else(String::new, |best| {
                format!("; {:.3} of the {counted} lose {:.2}", best.keep, best.drop)
            });
            format!(
                "refused: none of {} loses at most {}{best}. Nothing is written: allow a larger --max-drop, or give \
                 more images",
                many(refusal.attempts.len(), "evaluated network"),
                format!("{max_drop} {unit}").trim_end()
            )
        }
        RefusalReason::MinQuality { min_quality, metric, counted } => {
            let best = refusal.attempts.last();
            let best = best.map_or_else(String::new, |best| {
                format!("; at {:.3} of the {counted} it is {:.2}", best.keep, best.value)
            });
            format!(
                "refused: the {metric} of none of {} meets --min-quality {min_quality}{best}. Nothing is written: \
                 allow a worse one, or keep more",
                many(refusal.attempts.len(), "evaluated network")
            )
        }
        RefusalReason::Collapsed(found) => format!(
            "refused: {}. Nothing is written: keep more, give more images, or search with --max-drop 1; --force writes \
             it all the same",
            collapse(found)
        ),
        RefusalReason::NothingToRemove { least, counted } => format!(
            "refused: hardly anything can be removed ({least:.3} of the {counted} stay in any case). Nothing is written: \
             relax --max-cut, --min-channels, --round-to or --protect; `secateur inspect` shows what blocks channels"
        ),
    }
}

/// Describes the collapse of a pruned network.
pub(super) fn collapse(collapse: &Collapse) -> String {
    match collapse {
        Collapse::Classes { agreement, chance } => format!(
            "the pruned network agrees with the original on {agreement:.1} % of the images, no better than chance \
             ({chance:.1} %)"
        ),
        Collapse::Outputs { snr_db } => format!(
            "the outputs of the pruned network are as wrong as zeros would be: SNR {}",
            decibels(*snr_db)
        ),
    }
}

/// Returns the note after Ctrl-C.
pub(super) fn interrupted(profile: Option<&Path>) -> String {
    match profile {
        Some(file) if file.exists() => {
            format!("interrupted: {} keeps what was measured; the same command continues", file.display())
        }
        _ => "interrupted".to_owned(),
    }
}
