//! `secateur show` and `secateur merge`: profiles as tables, shards united.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Answer;
use super::output::{Output, write_csv};
use super::targets::Targets;
use crate::error::{Error, Result};
use crate::stats::{Activity, DERIVED, DerivedStatistic, LayerProfile, Moments, Profile, WeightStats};

#[derive(Debug, clap::Args)]
pub(super) struct MergeArgs {
    /// The profiles, in the order of their images.
    #[arg(required = true, num_args = 2..)]
    profiles: Vec<PathBuf>,
    /// The profile to write.
    #[arg(short, long, value_name = "FILE.profile")]
    output: PathBuf,
}

pub(super) fn merge(args: &MergeArgs, output: &Output) -> Result<Answer> {
    Targets::default().read(&args.profiles).write([&args.output], "write the profile")?;
    let mut all = args.profiles.iter();
    let first = all.next().ok_or_else(|| Error::new("no profiles were given"))?;
    let mut whole = Profile::load(first)?;
    for path in all {
        whole.merge(&Profile::load(path)?).map_err(|e| e.file(path))?;
    }
    whole.save(&args.output)?;
    let (count, images) = (args.profiles.len(), whole.header.images);
    output.line(format!("{count} profiles, {images} images → {}", args.output.display()));
    output.result(&json!({ "profiles": count, "images": images, "out": args.output }));
    Ok(Answer::Yes)
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The profile.
    profile: PathBuf,
    /// Writes every channel as a row of a CSV file.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

type Of<T> = (&'static str, fn(&T, usize) -> Option<f64>);

/// What is said of a filter.
const WEIGHTS: [Of<WeightStats>; 6] = [
    ("weight_mean", |w, c| w.mean.get(c).copied()),
    ("weight_variance", |w, c| w.variance.get(c).copied()),
    ("weight_l1", |w, c| w.l1.get(c).copied()),
    ("weight_l2", |w, c| w.l2.get(c).copied()),
    ("weight_distance", |w, c| w.distance.get(c).copied()),
    ("weight_bn_scale", |w, c| w.bn_scale.get(c).copied()),
];

/// What is said of a filter through a training.
const TRAINING: [Of<LayerProfile>; 2] = [
    ("training_drift", |l, c| l.trajectory.drift.get(c).copied()),
    ("training_wander", |l, c| l.trajectory.wander.get(c).copied()),
];

/// What is said of either side of the activation, before what follows from it.
const MEASURED: [DerivedStatistic; 3] =
    [("mean", |a| a.moments.mean), ("min", |a| a.moments.min), ("max", |a| a.moments.max)];

/// Every channel as a row; what is not known is left empty.
fn write_channels(profile: &Profile, path: &Path) -> Result<()> {
    let sides = || MEASURED.iter().chain(&DERIVED);
    let mut head = vec!["node".to_owned(), "channel".to_owned()];
    head.extend(WEIGHTS.iter().map(|c| c.0.to_owned()));
    for side in ["pre", "post"] {
        head.extend(sides().map(|c| format!("{side}_{}", c.0)));
    }
    head.extend(TRAINING.iter().map(|c| c.0.to_owned()));
    let row = |layer: &LayerProfile, c: usize| -> Vec<String> {
        let side = |side: &[Activity]| -> Vec<Option<f64>> {
            sides().map(|(_, get)| side.get(c).map(get)).collect()
        };
        let numbers = WEIGHTS.iter().map(|(_, get)| get(&layer.weight, c));
        let numbers = numbers.chain(side(&layer.pre)).chain(side(&layer.post));
        let numbers = numbers.chain(TRAINING.iter().map(|(_, get)| get(layer, c)));
        let cells = numbers.map(|n| n.map_or_else(String::new, |n| n.to_string()));
        [layer.node.clone(), c.to_string()].into_iter().chain(cells).collect()
    };
    let rows = profile.layers.iter().flat_map(|l| (0..l.weight.l1.len()).map(move |c| row(l, c)));
    write_csv(path, &head, rows)
}

pub(super) fn show(args: &ShowArgs, output: &Output) -> Result<Answer> {
    let profile = Profile::load(&args.profile)?;
    if let Some(path) = &args.csv {
        Targets::default().read([&args.profile]).write([path], "write the table")?;
        write_channels(&profile, path)?;
    }
    output.line(format!(
        "{} images of {} through {}",
        profile.header.images, profile.header.data, profile.header.model
    ));
    output.line(format!("{:<34} {:>8} {:>10} {:>10} {:>10}", "layer", "channels", "L1", "mean |x|", "x > 0"));
    for layer in &profile.layers {
        let n = layer.weight.l1.len().max(1) as f64;
        let mean = |get: fn(&Moments) -> f64| layer.post.iter().map(|a| get(&a.moments)).sum::<f64>() / n;
        output.line(format!(
            "{:<34} {:>8} {:>10.4} {:>10.4} {:>9.1}%",
            layer.node,
            layer.weight.l1.len(),
            layer.weight.l1.iter().sum::<f64>() / n,
            mean(Moments::mean_abs),
            100.0 * mean(Moments::frequency)
        ));
    }
    output.result(&json!({ "header": profile.header, "columns": profile.columns() }));
    Ok(Answer::Yes)
}
