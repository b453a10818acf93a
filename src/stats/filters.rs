//! A layer's weights as its filters, one a row, whatever the layout that the operator wants.

use std::ops::Range;

use faer::Mat;

use crate::error::Result;
use crate::ops::Layer;
use crate::tensor::Tensor;

/// The filters and the bias of a layer, in its own units.
#[derive(Clone, Debug, PartialEq)]
pub struct Filters {
    /// One a filter: the inputs of its group one after the other, each with its taps.
    pub rows: Vec<Vec<f64>>,
    /// One number a filter; zeros where the layer has none.
    pub bias: Vec<f64>,
}

impl Filters {
    /// Those of a layer with these weights.
    ///
    /// # Errors
    /// Weights that are not floats.
    pub fn of(layer: &Layer, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let mut rows = vec![Vec::new(); layer.out_channels(&weight.shape)];
        for (filter, values) in layer.runs(&weight.shape, weight.floats()?) {
            rows[filter].extend(values.iter().map(|&w| f64::from(w)));
        }
        let bias = Self::bias(rows.len(), bias);
        Ok(Self { rows, bias })
    }

    /// One number for each of `filters`, from a bias that may be one for all, or none.
    pub fn bias(filters: usize, bias: Option<&Tensor>) -> Vec<f64> {
        match bias.map(Tensor::to_f64) {
            Some(one) if one.len() == 1 => vec![one[0]; filters],
            Some(bias) => bias,
            None => vec![0.0; filters],
        }
    }

    /// What some filters have at some of the places of a row that `elements` divide: places × columns, of which each
    /// filter has as many as an element has weights.
    pub fn columns(&self, filters: Range<usize>, elements: usize, places: &[usize]) -> Mat<f64> {
        let own = &self.rows[filters];
        let each = own.first().map_or(0, Vec::len) / elements.max(1);
        Mat::from_fn(places.len(), own.len() * each, |i, o| own[o / each][places[i] * each + o % each])
    }

    /// Puts [`columns`](Self::columns) in their places.
    pub fn put(&mut self, filters: Range<usize>, elements: usize, places: &[usize], columns: &Mat<f64>) {
        for (f, row) in self.rows[filters].iter_mut().enumerate() {
            let each = row.len() / elements.max(1);
            for (i, &place) in places.iter().enumerate() {
                (0..each).for_each(|part| row[place * each + part] = columns[(i, f * each + part)]);
            }
        }
    }

    /// The weights as the layer holds them, with the type and layout of `like`.
    ///
    /// # Errors
    /// As [`Filters::of`].
    pub fn weights(&self, layer: &Layer, like: &Tensor) -> Result<Tensor> {
        let mut taken = vec![0; self.rows.len()];
        let mut data = Vec::with_capacity(like.len());
        for (filter, values) in layer.runs(&like.shape, like.floats()?) {
            data.extend_from_slice(&self.rows[filter][taken[filter]..][..values.len()]);
            taken[filter] += values.len();
        }
        Ok(Tensor::from_f64(like.dtype, &like.shape, &data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_go_back_to_where_they_came_from() {
        let layer = |filters, groups, transposed| Layer {
            weight: 1,
            filters,
            channels: 1,
            groups,
            transposed,
            bias: None,
            plain: true,
        };
        let weight = Tensor::float(&[4, 3, 2], (0..24u8).map(f32::from).collect());
        for layer in [layer(0, 1, false), layer(1, 1, false), layer(1, 1, true), layer(1, 2, true)] {
            let filters = Filters::of(&layer, &weight, None).expect("floats");
            assert_eq!(filters.rows.len(), layer.out_channels(&weight.shape));
            assert_eq!(filters.weights(&layer, &weight).expect("floats"), weight, "{layer:?}");
        }
        let turned = Filters::of(&layer(1, 2, true), &weight, None).expect("floats");
        assert_eq!(turned.rows[3], [12.0, 13.0, 18.0, 19.0], "the first filter of the second group");
    }
}
