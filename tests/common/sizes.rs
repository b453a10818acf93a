//! The demo network for images of other sizes.

use std::path::Path;

use secateur::onnx::Model;

/// A model for images of a size; `None` leaves the size free in the file.
pub(crate) fn resized(path: &Path, sizes: Option<[usize; 2]>) -> Model {
    let mut model = Model::load(path).unwrap();
    let input = model.graph_mut().input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
    for (i, dim) in input.shape.as_mut().unwrap().dim[2..].iter_mut().enumerate() {
        (dim.dim_value, dim.dim_param) = match sizes {
            Some(sizes) => (Some(sizes[i] as i64), None),
            None => (None, Some(["H", "W"][i].to_owned())),
        };
    }
    Model::from_bytes(model.to_bytes(), path).unwrap()
}
