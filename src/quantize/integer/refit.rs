//! Integer weights that are refitted to the outputs of the original.
//!
//! From the network's input to its output, least squares fits a layer's weights to the original's outputs, so that they
//! compensate the errors of the layers before. They are then rounded by the second moments of the layer's input, and the
//! bias restores the means of the outputs (bias correction, Nagel 2019).

use std::collections::{BTreeMap, HashSet};

use super::Quantizable;
use super::scales::{integer, of_weights};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::graph::ValueId;
use crate::observer::Observer;
use crate::prune::Channels;
use crate::quantize::rounding::round;
use crate::repair::{FilterSystem, Images, refit_constrained};
use crate::stats::Filters;
use crate::tensor::Tensor;

impl Quantizable {
    /// Replaces the weights and biases of layers by those whose integers keep the original's outputs best.
    ///
    /// # Errors
    /// The conditions of [`repair`](crate::repair::repair).
    pub fn refit(&mut self, (device, images): (&Device, &Images), observer: &mut dyn Observer) -> Result<()> {
        let channels = Channels::of(&self.graph)?;
        let layers = &self.placement.layers;
        let nearest: BTreeMap<ValueId, Tensor> = layers
            .iter()
            .map(|layer| {
                let (value, tensor) = &layer.weight;
                Ok((
                    *value,
                    dequantized(tensor, layer.layer.filters, &channel_scales(tensor, layer.layer.filters)?)?,
                ))
            })
            .collect::<Result<_>>()?;
        // The scales of each layer that is refitted, in order.
        let mut scales: Vec<Vec<f32>> = vec![];
        let mut constrain = |systems: &[FilterSystem], filters: &mut Filters| {
            let most = |row: &Vec<f64>| row.iter().fold(0.0f64, |most, w| most.max(w.abs())) as f32;
            let own: Vec<f32> = filters.rows.iter().map(|row| of_weights(most(row))).collect();
            let nearest = |filter: usize, w: f64| {
                let scale = own[filter];
                integer(w as f32, scale) as f64 * f64::from(scale)
            };
            systems.iter().for_each(|system| round(system, filters, nearest));
            for (f, row) in filters.rows.iter_mut().enumerate() {
                row.iter_mut().for_each(|w| *w = nearest(f, *w));
            }
            scales.push(own);
        };
        let of = (&self.graph, &channels);
        let refit = refit_constrained(of.0, of.1, &nearest, (device, images), &mut constrain, observer)?;
        let names: HashSet<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let refitted = refit.refits.iter().filter(|refit| names.contains(refit.node.as_str()));
        let of_node: BTreeMap<String, Vec<f32>> =
            refitted.map(|refit| refit.node.clone()).zip(scales).collect();
        let model = refit.apply(&self.model)?;
        self.replace(model)?;
        for layer in &mut self.placement.layers {
            layer.scales = of_node.get(&layer.name).cloned();
        }
        Ok(())
    }
}

/// Returns the position of an element along the axis of a tensor.
pub(super) fn along(tensor: &Tensor, axis: usize, element: usize) -> usize {
    let inner: usize = tensor.shape[axis + 1..].iter().product();
    element / inner.max(1) % tensor.shape[axis].max(1)
}

/// Returns the scale of each output channel by its largest weight.
pub(super) fn channel_scales(tensor: &Tensor, axis: usize) -> Result<Vec<f32>> {
    let mut most = vec![0.0f32; tensor.shape[axis]];
    for (i, w) in tensor.floats()?.iter().enumerate() {
        let channel = along(tensor, axis, i);
        most[channel] = most[channel].max(w.abs());
    }
    Ok(most.into_iter().map(of_weights).collect())
}

/// Returns the weights after rounding to integers and back.
fn dequantized(tensor: &Tensor, axis: usize, scales: &[f32]) -> Result<Tensor> {
    let rounded = |(i, &w): (usize, &f32)| {
        let scale = scales[along(tensor, axis, i)];
        integer(w, scale) as f32 * scale
    };
    let rounded = tensor.floats()?.iter().enumerate().map(rounded).collect();
    Ok(Tensor { dtype: tensor.dtype, ..Tensor::float(&tensor.shape, rounded) })
}
