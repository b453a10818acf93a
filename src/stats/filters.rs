//! A layer's weights as one row per filter, in any operator's layout.

use std::ops::Range;

use faer::Mat;

use crate::error::Result;
use crate::ops::Layer;
use crate::tensor::Tensor;

/// The filters and the bias of a layer, without the scale of a BatchNormalization.
#[derive(Clone, Debug, PartialEq)]
pub struct Filters {
    /// Weights of each filter: the taps of each input of its group, or a recurrent layer's gates for each input.
    pub rows: Vec<Vec<f64>>,
    /// Bias of each filter; zeros if the layer has no bias.
    pub bias: Vec<f64>,
}

impl Filters {
    /// Extracts the filters and the bias from a layer's tensors.
    ///
    /// # Errors
    /// Weights that are not floats.
    pub fn of(layer: &Layer, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let mut rows = vec![Vec::new(); layer.out_channels(&weight.shape)];
        for (filter, values) in layer.runs(&weight.shape, weight.floats()?) {
            rows[filter].extend(values.iter().map(|&w| f64::from(w)));
        }
        if layer.gates.is_some() {
            rows = rows.into_iter().map(|row| layer.by_input(&weight.shape, row, false)).collect();
        }
        let bias = Self::bias(rows.len(), bias);
        Ok(Self { rows, bias })
    }

    /// Expands an optional bias, which may have one element, to `filters` numbers.
    pub fn bias(filters: usize, bias: Option<&Tensor>) -> Vec<f64> {
        match bias.map(Tensor::to_f64) {
            Some(one) if one.len() == 1 => vec![one[0]; filters],
            Some(bias) => bias,
            None => vec![0.0; filters],
        }
    }

    /// Returns the weights of some filters at some elements as a matrix, places × columns.
    ///
    /// A row consists of `elements` equal parts. Each filter has as many columns as a part has weights.
    pub fn columns(&self, filters: Range<usize>, elements: usize, places: &[usize]) -> Mat<f64> {
        let own = &self.rows[filters];
        let each = own.first().map_or(0, Vec::len) / elements.max(1);
        Mat::from_fn(places.len(), own.len() * each, |i, o| own[o / each][places[i] * each + o % each])
    }

    /// Writes back the weights returned by [`columns`](Self::columns).
    pub fn put(&mut self, filters: Range<usize>, elements: usize, places: &[usize], columns: &Mat<f64>) {
        for (f, row) in self.rows[filters].iter_mut().enumerate() {
            let each = row.len() / elements.max(1);
            for (i, &place) in places.iter().enumerate() {
                (0..each).for_each(|part| row[place * each + part] = columns[(i, f * each + part)]);
            }
        }
    }

    /// Returns the weights as a tensor with the type and layout of `like`.
    ///
    /// # Errors
    /// A tensor `like` that is not of floats.
    pub fn weights(&self, layer: &Layer, like: &Tensor) -> Result<Tensor> {
        let restored: Vec<Vec<f64>>;
        let mut rows = &self.rows;
        if layer.gates.is_some() {
            restored = rows.iter().map(|row| layer.by_input(&like.shape, row.clone(), true)).collect();
            rows = &restored;
        }
        let mut taken = vec![0; rows.len()];
        let mut data = Vec::with_capacity(like.len());
        for (filter, values) in layer.runs(&like.shape, like.floats()?) {
            data.extend_from_slice(&rows[filter][taken[filter]..][..values.len()]);
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
            gates: None,
        };
        let weight = Tensor::float(&[4, 3, 2], (0..24u8).map(f32::from).collect());
        for layer in [layer(0, 1, false), layer(1, 1, false), layer(1, 1, true), layer(1, 2, true)] {
            let filters = Filters::of(&layer, &weight, None).expect("floats");
            assert_eq!(filters.rows.len(), layer.out_channels(&weight.shape));
            assert_eq!(filters.weights(&layer, &weight).expect("floats"), weight, "{layer:?}");
        }
        let turned = Filters::of(&layer(1, 2, true), &weight, None).expect("floats");
        assert_eq!(turned.rows[3], [12.0, 13.0, 18.0, 19.0], "the first filter of the second group");
        // Two directions, two gates of three units, two inputs.
        let recurrent = Layer { gates: Some(2), ..layer(1, 1, false) };
        let weight = Tensor::float(&[2, 6, 2], (0..24u8).map(f32::from).collect());
        let filters = Filters::of(&recurrent, &weight, None).expect("floats");
        assert_eq!(filters.rows.len(), 3);
        assert_eq!(filters.rows[1], [2.0, 8.0, 14.0, 20.0, 3.0, 9.0, 15.0, 21.0], "by input");
        assert_eq!(filters.weights(&recurrent, &weight).expect("floats"), weight);
    }
}
