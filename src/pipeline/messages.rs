//! Sentences for notices and refusals, in the terms of the library like those of errors.
//!
//! They name an option in backticks (`batch`) and a function as a call (`profile()`). The command line and the Python
//! package spell these as their users do.

use std::fmt;

use super::{Collapse, Doubt, Notice, QualityLimit, Refusal, RefusalReason};

/// Implements `Display` by a sentence that names options in backticks (`batch`) and functions as calls (`profile()`).
macro_rules! display {
    ($($kind:ty => $sentence:ident),*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&$sentence(self))
            }
        }
    )*};
}

display!(Notice => notice, Doubt => doubt, Refusal => refusal, Collapse => collapse);

/// Returns the sentence for a notice.
fn notice(notice: &Notice) -> String {
    match notice {
        // Data in memory have no file.
        Notice::SkippedInput { file, reason } if file.as_os_str().is_empty() => format!("skipped: {reason}"),
        Notice::SkippedInput { file, reason } => format!("skipped {}: {reason}", file.display()),
        Notice::SkippedInputs(count) => format!("skipped {count} files in all"),
        Notice::Preprocessing(steps) => format!("preprocessing: {steps}"),
        Notice::Doubtful(doubt) => format!("preprocessing may be wrong: {}", self::doubt(doubt)),
        Notice::TurnedImages(count) => {
            format!("{} turned by the EXIF orientation, as viewers show them", many(*count, "image"))
        }
        Notice::UnrepairedWithoutImages => "not repaired: a repair needs images (`data`)".to_owned(),
        Notice::UnrepairedRandomInputs => {
            "not repaired: random inputs do not show what a layer should compute (`repair` full repairs all the same)"
                .to_owned()
        }
        Notice::UnrepairedLayer { node, reason } => format!("{node} is not repaired: it {reason}"),
        Notice::IllConditioned { layers, of, above } => format!(
            "the images hardly determine {layers} of {of} layers (condition above {above:.0e}): more images help"
        ),
        Notice::CriterionFallback { used, default, profile } => {
            let profile = profile.as_ref().map_or("the profile".to_owned(), |file| file.display().to_string());
            format!(
                "criterion {used}: the best one, {default}, needs moments of patches, and {profile} has none (`data` \
                 gathers them, and so does `profile()` with `gram` both)"
            )
        }
        Notice::Training { rate, found, steps, batch, losses } => {
            let origin = if *found { ", found by a range test" } else { "" };
            format!(
                "training: {} of {}, learning rate {rate:.1e}{origin}, losses: {}",
                many(*steps, "step"),
                many(*batch, "image"),
                losses.join(", ")
            )
        }
        Notice::Epoch { epoch, of, loss } => format!("epoch {epoch} of {of}: loss {loss:.4}"),
        Notice::GradientStops { nodes } => format!(
            "no gradient passes {}: layers in front of it have gradients only through other paths",
            nodes.join(", ")
        ),
        Notice::Diverged { step, rate } => format!(
            "the training diverged at step {step} with the learning rate {rate:.1e}: the parameters of the epoch \
             before are kept (`learning_rate` {:.0e} may help)",
            rate / 3.0
        ),
        Notice::Round { round, of } => format!("round {round} of {of}"),
        Notice::LatencyTried { table_share, measured } => format!(
            "{table_share:.3} of the layers' tabulated times take {measured:.3} of the latency"
        ),
        Notice::Budget { budget, place, of } => format!("budget {place} of {of}: {budget}"),
        Notice::FormatTried { format, keep_params, bytes, snr_db } => format!(
            "{format}: {keep_params:.3} of the parameters in {bytes} bytes, SNR {snr_db:.1} dB on calibration images"
        ),
        Notice::DropTried { keep, counted, drop, error, unit } => {
            let error = error.map_or_else(String::new, |error| format!(" ± {error:.2}"));
            let lost = format!("{drop:.2}{error} {unit}");
            format!("{keep:.3} of the {counted}: {} lost", lost.trim_end())
        }
        Notice::CoarseLimit { images, weight, max_drop } => format!(
            "one of the {images} images that judge weighs {weight:.2} points, more than `max_drop` {max_drop}: more \
             images (`test`, `held_out`) make the search finer"
        ),
        Notice::FlawlessOriginal { images } => format!(
            "the original is right on all {images} images, which may be those of its training: `test` with other \
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

/// Returns the reason for a doubt, and what to do.
fn doubt(doubt: &Doubt) -> String {
    let size = |[height, width]: [usize; 2]| format!("{height}×{width}");
    match doubt {
        Doubt::EnlargedAndCropped { size: own, enlarged } => format!(
            "the images have the network's size, {}, and are enlarged to {} and cropped; `resize` {}x{} keeps them whole",
            size(*own),
            size(*enlarged),
            own[0],
            own[1]
        ),
        Doubt::Enlarged { size: own, enlarged } => format!(
            "images as small as {} are enlarged to {}: they lack the detail of the images that such a network learns from",
            size(*own),
            size(*enlarged)
        ),
        Doubt::Distorted { size: own, to } => format!(
            "the resize from {} to {} distorts the images; `letterbox` 114, or `resize` S with `crop`, keeps proportions",
            size(*own),
            size(*to)
        ),
        Doubt::NormalizedAlready { low, high } => format!(
            "the stored values lie between {low:.3} and {high:.3}, as if normalized already; leave out `preset`, \
             `mean`, `std` and `scale` if they are"
        ),
        Doubt::UnitValues { high, scale } => format!(
            "the stored values reach only {high:.3}, and are divided by {scale}; `scale` 1 leaves them as they are"
        ),
        Doubt::ByteValues { high } => format!(
            "the stored values reach {high:.0}, but the mean and deviation are those of values from 0 to 1; `scale` \
             255 divides them first"
        ),
        Doubt::GreyImages { images } => format!(
            "all {images} images that were looked at are grey, but the network takes three channels, which are then \
             equal"
        ),
        Doubt::ColourImages { images } => format!(
            "all {images} images that were looked at have colours, but `preset` mnist is for grey ones"
        ),
        Doubt::GuessedLayout => {
            "the first and the last axis of the input could both be that of channels, and the first is taken; \
             `layout` nchw or nhwc decides"
                .to_owned()
        }
        Doubt::Statistics { node, divergence } => format!(
            "values before the first BatchNormalization ({node}) are far from its stored statistics (divergence \
             {divergence:.1} nats a channel, below 0.5 as a rule); `eval()` with `try_presets` ranks recipes"
        ),
    }
}

/// Returns the sentence for a refusal.
fn refusal(refusal: &Refusal) -> String {
    match &refusal.reason {
        RefusalReason::Confidence { found, required } => {
            let found = found.map_or("unknown for this criterion".to_owned(), |c| format!("{c:.4}"));
            format!("refused: the confidence is {found}, not {required}; nothing is written")
        }
        RefusalReason::MaxDrop { max_drop, counted, unit } => {
            let best = refusal.attempts.iter();
            let best = best.min_by(|a, b| a.drop.total_cmp(&b.drop).then(a.keep.total_cmp(&b.keep)));
            let best = best.map_or_else(String::new, |best| {
                let error = best.error.map_or_else(String::new, |error| format!(" ± {error:.2}"));
                format!("; {:.3} of the {counted} lose {:.2}{error}", best.keep, best.drop)
            });
            format!(
                "refused: none of {} loses at most {}{best}. Nothing is written: allow a larger `max_drop`, or give \
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
                "refused: the {metric} of none of {} meets `min_quality` {min_quality}{best}. Nothing is written: \
                 allow a worse one, or keep more",
                many(refusal.attempts.len(), "evaluated network")
            )
        }
        RefusalReason::FloatNodes { limit, nodes, tried } => {
            let best = tried.last().map_or_else(String::new, |last| {
                let error = last.error.map_or_else(String::new, |error| format!(" ± {error:.2}"));
                format!(
                    "; with {} of {nodes} nodes in float it loses {:.2}{error}",
                    last.float_nodes, last.drop
                )
            });
            let wanted = match limit {
                QualityLimit::Drop(most) => format!("loses at most `max_drop` {most}"),
                QualityLimit::Quality(least) => format!("meets `min_quality` {least}"),
            };
            format!(
                "refused: none of {} {wanted}{best}. Nothing is written: allow a worse one, or give more images",
                many(tried.len(), "evaluated network"),
            )
        }
        RefusalReason::Infeasible { reason } => format!("refused: {reason}"),
        RefusalReason::Collapsed(found) => format!(
            "refused: {}. Nothing is written: keep more, give more images, or search with `max_drop` 1; `force` writes \
             it all the same",
            collapse(found)
        ),
        RefusalReason::NothingToRemove { least, counted } => format!(
            "refused: hardly anything can be removed ({least:.3} of the {counted} stay in any case). Nothing is written: \
             relax `max_cut`, `min_channels`, `round_to` or `protect`; `inspect()` shows what blocks channels"
        ),
    }
}

/// Describes the collapse of a pruned network.
fn collapse(collapse: &Collapse) -> String {
    match collapse {
        Collapse::Classes { agreement, chance } => format!(
            "the pruned network agrees with the original on {agreement:.1} % of the images, hardly better than \
             chance ({chance:.1} %)"
        ),
        Collapse::Outputs { snr_db } => format!(
            "the outputs of the pruned network are as wrong as zeros would be: SNR {}",
            signal_to_noise(*snr_db)
        ),
    }
}

/// Returns a count with its noun, in the plural unless it is one.
fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Formats a signal-to-noise ratio; it is infinite for equal outputs.
fn signal_to_noise(snr_db: f64) -> String {
    if snr_db == f64::INFINITY { "∞ dB".to_owned() } else { format!("{snr_db:.1} dB") }
}
