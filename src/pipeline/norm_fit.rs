//! The fit of a network's inputs to its training: values before the first BatchNormalization against the stored ones.

use crate::data::metrics::estimate::{Measured, pseudo_values};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::{Session, SessionOptions};
use crate::graph::facts::Facts;
use crate::graph::{Graph, Sizes, ValueId};
use crate::tensor::{SampleShape, Tensor};

/// The largest divergence of a channel that counts, so that a channel of constants does not decide alone.
const MOST: f64 = 10.0;
/// The usual ε of a BatchNormalization, which keeps divergences of constant channels finite.
const EPSILON: f64 = 1e-5;

/// The first BatchNormalization of a network that is not folded into its layer.
#[derive(Clone, Debug)]
pub(super) struct FirstNorm {
    /// The name of the node.
    pub(super) node: String,
    input: ValueId,
    /// The stored mean of each channel.
    mean: Vec<f64>,
    /// The stored variance of each channel.
    variance: Vec<f64>,
}

impl FirstNorm {
    /// Finds the first node for samples of a shape; `None` if there is none, its channels cannot be told apart, or its
    /// statistics are those before any training: means of 0 and variances of 1.
    pub(super) fn of(graph: &Graph, sample: &SampleShape) -> Result<Option<Self>> {
        let facts = Facts::infer(graph, &graph.input_shapes(None, &Sizes::Sample(sample.clone()))?)?;
        let found = graph.nodes.ids().find(|&id| graph.nodes[id].op_type == "BatchNormalization");
        Ok(found.and_then(|id| {
            let node = &graph.nodes[id];
            let input = node.inputs.first().copied().flatten()?;
            let facts_of = facts.inputs(graph, id);
            let stored = |place: usize| facts_of.optional(place)?.value.as_ref().map(Tensor::to_f64);
            let (mean, variance) = (stored(3)?, stored(4)?);
            let is_computed = !facts.is_constant(input) && !facts.is_data_dependent(input);
            let fits = facts.shape(input).get(1) == Some(&mean.len()) && mean.len() == variance.len();
            let is_trained = mean.iter().any(|&m| m != 0.0) || variance.iter().any(|&v| v != 1.0);
            (is_computed && fits && is_trained).then(|| Self {
                node: node.name.clone(),
                input,
                mean,
                variance,
            })
        }))
    }

    /// Opens a session that computes the values before the node, and nothing behind it.
    pub(super) fn session(
        &self,
        graph: &Graph,
        device: &Device,
        sample: &SampleShape,
        (batch, images): (Option<usize>, usize),
    ) -> Result<Session> {
        let options = SessionOptions {
            batch,
            images,
            sizes: Sizes::Sample(sample.clone()),
            taps: vec![self.input],
            outputs: false,
        };
        Session::new(graph, device, &options, &|_| vec![])
    }

    /// Starts a comparison with images.
    pub(super) fn fit(&self) -> NormFit<'_> {
        NormFit { norm: self, images: vec![] }
    }
}

/// Sums of a channel's values: their number, their sum, and that of their squares.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn of(values: &[f32]) -> Self {
        let values = || values.iter().map(|&v| f64::from(v));
        Self { count: values().count() as f64, sum: values().sum(), squares: values().map(|v| v * v).sum() }
    }

    fn plus(self, other: Self, sign: f64) -> Self {
        Self {
            count: self.count + sign * other.count,
            sum: self.sum + sign * other.sum,
            squares: self.squares + sign * other.squares,
        }
    }

    /// Returns the Kullback-Leibler divergence in nats of the normal distribution of these values from a stored one.
    fn divergence(self, mean: f64, variance: f64) -> f64 {
        let own = self.sum / self.count.max(1.0);
        let spread = (self.squares / self.count.max(1.0) - own * own).max(0.0) + EPSILON;
        let stored = variance.max(0.0) + EPSILON;
        let nats = 0.5 * ((stored / spread).ln() + (spread + (own - mean).powi(2)) / stored - 1.0);
        // Values that are not finite do not fit at all.
        if nats.is_nan() { MOST } else { nats.min(MOST) }
    }
}

/// Values before a BatchNormalization over images, by channel.
#[derive(Debug)]
pub(super) struct NormFit<'a> {
    norm: &'a FirstNorm,
    images: Vec<Vec<Sums>>,
}

impl NormFit<'_> {
    /// Adds samples of a session that [`FirstNorm::session`] opened.
    pub(super) fn add(&mut self, session: &mut Session, samples: &[f32]) -> Result<()> {
        let (batch, channels) = (session.batch.max(1), self.norm.mean.len().max(1));
        let images = &mut self.images;
        session.run_samples(samples, &mut |outputs, count| {
            let values = outputs.first().map_or(&[][..], Vec::as_slice);
            for image in values.chunks_exact((values.len() / batch).max(1)).take(count) {
                let planes = image.chunks_exact((image.len() / channels).max(1));
                images.push(planes.map(Sums::of).collect());
            }
            Ok(())
        })
    }

    /// Returns the mean divergence over channels, with the jackknife's contributions of the images.
    pub(super) fn divergence(&self) -> Measured {
        let none = vec![Sums::default(); self.norm.mean.len()];
        let all = self.images.iter().fold(none, |all, image| {
            all.iter().zip(image).map(|(all, image)| all.plus(*image, 1.0)).collect()
        });
        let mean_over = |sums: &mut dyn Iterator<Item = Sums>| {
            let stored = self.norm.mean.iter().zip(&self.norm.variance);
            let all = sums.zip(stored).map(|(sums, (&mean, &variance))| sums.divergence(mean, variance));
            all.sum::<f64>() / self.norm.mean.len().max(1) as f64
        };
        let value = mean_over(&mut all.iter().copied());
        let without = |i: usize| {
            mean_over(&mut all.iter().zip(&self.images[i]).map(|(all, image)| all.plus(*image, -1.0)))
        };
        Measured { value, images: pseudo_values(value, self.images.len(), without), whole: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id;

    fn sums(values: &[f32]) -> Sums {
        Sums::of(values)
    }

    #[test]
    fn the_divergence_is_that_of_normal_distributions() {
        // Mean 1, variance 4 against mean 0, variance 1: (ln(1/4) + 4 + 1 − 1) / 2.
        let found = sums(&[-1.0, 3.0, -1.0, 3.0]).divergence(0.0, 1.0);
        assert!((found - 0.5 * (4.0 - 4f64.ln())).abs() < 1e-4, "{found}");
        assert!(sums(&[-1.0, 1.0]).divergence(0.0, 1.0).abs() < 1e-9);
        assert_eq!(sums(&[1e6, -1e6]).divergence(0.0, 1.0), MOST);
        assert_eq!(sums(&[f32::NAN]).divergence(0.0, 1.0), MOST);
    }

    #[test]
    fn images_contribute_by_the_jackknife() {
        let norm =
            FirstNorm { node: "bn".to_owned(), input: ValueId::new(0), mean: vec![0.0], variance: vec![1.0] };
        let images = vec![vec![sums(&[-1.0, 1.0])], vec![sums(&[-1.0, 1.0])], vec![sums(&[-3.0, 3.0])]];
        let found = NormFit { norm: &norm, images }.divergence();
        // The variance of all is 11/3, without the last image it is 1.
        let nats = |variance: f64| 0.5 * (variance - 1.0 - variance.ln());
        assert!((found.value - nats(11.0 / 3.0)).abs() < 1e-4, "{found:?}");
        assert!((found.images[2] - 3.0 * nats(11.0 / 3.0)).abs() < 1e-3, "{found:?}");
        assert!(found.error().is_some_and(|error| error > 0.1));
    }
}
