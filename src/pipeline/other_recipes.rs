//! Likely recipes that fit a network's stored statistics better than the one in use.

use super::norm_fit::FirstNorm;
use super::preset_candidates::{candidates, size_of};
use crate::data::{Batch, DataOptions, Dataset, Layout, Preprocessing, SampleKind};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::graph::Graph;

/// A likely recipe with its divergence from stored statistics.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OtherRecipe {
    /// The options in words: `preset cifar10, channels bgr`.
    pub(super) options: String,
    /// The divergence in nats a channel.
    pub(super) divergence: f64,
}

/// Returns the likely recipe that fits the statistics of `norm` best on images of the set; `None` if they are no images.
///
/// Recipes differ in scale, mean, deviation and order of channels. The geometry stays as it is.
pub(super) fn best(
    graph: &Graph,
    norm: &FirstNorm,
    data: &Dataset,
    images: &Batch,
) -> Result<Option<OtherRecipe>> {
    let (survey, own) = (data.survey()?, data.preprocessing());
    let (SampleKind::Images(kind), Some(size)) = (&survey.kind, size_of(data, &images.sample)) else {
        return Ok(None);
    };
    let mut session = norm.session(graph, &Device::Cpu, &images.sample, (None, images.count))?;
    let mut best: Option<OtherRecipe> = None;
    for candidate in candidates(&DataOptions::default(), own.channels, kind, size)? {
        let Some(recipe) = data.recipe_by(&candidate.options)? else { return Ok(None) };
        let mut fit = norm.fit();
        fit.add(&mut session, &converted(&images.data, images.count, own, &recipe))?;
        let divergence = fit.divergence().value;
        if best.as_ref().is_none_or(|best| divergence < best.divergence) {
            let named = candidate.named.iter().map(|(name, value)| format!("{name} {value}"));
            let options = named.collect::<Vec<_>>().join(", ");
            let options = if options.is_empty() { "values as they are".to_owned() } else { options };
            best = Some(OtherRecipe { options, divergence });
        }
    }
    Ok(best)
}

/// Converts `count` prepared images to the arithmetic of another recipe.
fn converted(data: &[f32], count: usize, own: &Preprocessing, other: &Preprocessing) -> Vec<f32> {
    let channels = own.channels;
    let is_swapped = own.order != other.order;
    let plane = data.len() / (count * channels).max(1);
    let place = |image: usize, pixel: usize, channel: usize| match own.layout {
        Layout::Nchw => (image * channels + channel) * plane + pixel,
        Layout::Nhwc => (image * plane + pixel) * channels + channel,
    };
    let mut all = vec![0.0; data.len()];
    for image in 0..count {
        for channel in 0..channels {
            let from = if is_swapped { channels - 1 - channel } else { channel };
            for pixel in 0..plane {
                let stored = (data[place(image, pixel, from)] * own.std[from] + own.mean[from]) * own.scale;
                all[place(image, pixel, channel)] =
                    (stored / other.scale - other.mean[channel]) / other.std[channel];
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ChannelOrder;

    #[test]
    fn recipes_are_converted_by_their_arithmetic() {
        let plain = Preprocessing {
            resize: None,
            crop: None,
            letterbox: None,
            channels: 3,
            order: ChannelOrder::Rgb,
            scale: 1.0,
            mean: vec![0.0; 3],
            std: vec![1.0; 3],
            layout: Layout::Nchw,
            rate: None,
            length: None,
        };
        let own = Preprocessing {
            scale: 255.0,
            mean: vec![0.5, 0.25, 0.0],
            std: vec![0.5, 1.0, 2.0],
            ..plain.clone()
        };
        let bgr = Preprocessing { order: ChannelOrder::Bgr, mean: vec![1.0, 2.0, 3.0], ..plain };
        // Two pixels of the stored values 51, 102 in red, 153, 204 in green, 255, 0 in blue.
        let prepared = [-0.6, -0.2, 0.35, 0.55, 0.5, 0.0];
        let planes = [254.0, -1.0, 151.0, 202.0, 48.0, 99.0];
        let near = |found: Vec<f32>, wanted: &[f32]| {
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?}");
        };
        near(converted(&prepared.repeat(2), 2, &own, &bgr), &planes.repeat(2));
        let last = |planes: &[f32; 6]| [0, 2, 4, 1, 3, 5].map(|at| planes[at]);
        let [own, bgr] = [own, bgr].map(|recipe| Preprocessing { layout: Layout::Nhwc, ..recipe });
        near(converted(&last(&prepared), 1, &own, &bgr), &last(&planes));
    }
}
