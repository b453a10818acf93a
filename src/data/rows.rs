//! Arrays that hold a network's inputs as they are: sequences, volumes, vectors, and several inputs.

use std::path::Path;

use super::arrays::{self, Array};
use super::npz;
use super::picture::Frame;
use super::recipe::{ChannelOrder, DataOptions, Layout, Preprocessing};
use super::spec::{InputSpec, SampleSpec};
use crate::error::{Error, Result};
use crate::tensor::{SampleShape, show};

/// Arrays with their number of rows, and their labels before any offset if known.
pub(super) type OpenedRows = (Rows, usize, Option<Vec<i64>>);

/// Arrays with one row for each sample, one array for each input of the network.
#[derive(Debug)]
pub(super) struct Rows {
    arrays: Vec<Array>,
    shape: SampleShape,
}

/// Opens an array file for a network whose samples are not images; `part` is the array or split that was named.
pub(super) fn open(path: &Path, part: Option<&str>, spec: &SampleSpec) -> Result<OpenedRows> {
    let opened = match spec.inputs.as_slice() {
        [input] => open_only(path, part, input),
        inputs if is_npz(path) => npz::open_inputs(path, inputs.iter().map(|input| input.name.as_str())),
        _ => return Err(several(spec).file(path)),
    };
    opened.and_then(|(arrays, labels)| of_arrays(arrays, labels, spec)).map_err(|e| e.file(path))
}

/// Opens an array with one row for each clip; `None` for other data, such as the frames of clips.
pub(super) fn open_clips(path: &Path, part: Option<&str>, spec: &SampleSpec) -> Option<Result<OpenedRows>> {
    let [input] = spec.inputs.as_slice() else { return None };
    let (arrays, labels) = open_only(path, part, input).ok()?;
    let has_rows = arrays.iter().all(|array| array.shape.len() == input.axes.len() + 1);
    has_rows.then(|| of_arrays(arrays, labels, spec).map_err(|e| e.file(path)))
}

fn is_npz(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"))
}

/// Opens the array of the only input, and labels of an archive.
fn open_only(path: &Path, part: Option<&str>, input: &InputSpec) -> Result<(Vec<Array>, Option<Vec<i64>>)> {
    if is_npz(path) {
        let (array, labels) = npz::open(path, part, &input.name)?;
        return Ok((vec![array], labels));
    }
    npz::refuse_part(path, part)?;
    Ok((vec![arrays::open_npy(path)?], None))
}

/// Returns the error for data that cannot feed several inputs.
pub(super) fn several(spec: &SampleSpec) -> Error {
    Error::new("the network has several inputs")
        .expected(format!("an .npz file with an array for each: {}", spec.show()))
        .remedy("write numpy.savez(FILE, NAME=…, …), or fix the small ones, as in `input` NAME=1")
}

/// Creates a source from one array for each input.
pub(super) fn of_arrays(
    arrays: Vec<Array>,
    labels: Option<Vec<i64>>,
    spec: &SampleSpec,
) -> Result<OpenedRows> {
    let mut rows = Rows { arrays: vec![], shape: SampleShape::default() };
    for (array, input) in arrays.into_iter().zip(&spec.inputs) {
        let (array, shape) = fitted(array, input)?;
        rows.arrays.push(array);
        rows.shape.0.push(shape);
    }
    let lens: Vec<usize> = rows.arrays.iter().map(|array| array.shape[0]).collect();
    let len = lens.first().copied().unwrap_or(0);
    if lens.iter().any(|&n| n != len) {
        return Err(Error::new("the arrays of the inputs differ in their number of samples")
            .expected(format!("{len} rows, as the first has"))
            .got(format!("{lens:?}"))
            .remedy("give arrays whose rows belong together"));
    }
    if len == 0 || rows.shape.elements() == 0 {
        return Err(Error::new("the array of samples is empty").remedy("give at least one sample"));
    }
    if let Some(labels) = labels.as_ref().filter(|l| l.len() != len) {
        return Err(Error::new("samples and labels differ in number")
            .expected(format!("{len} labels"))
            .got(labels.len().to_string())
            .remedy("give labels that belong to these samples"));
    }
    Ok((rows, len, labels))
}

/// Returns an array with a row for each sample, and the shape that a row has for the input.
fn fitted(mut array: Array, input: &InputSpec) -> Result<(Array, Vec<usize>)> {
    if input.takes(&array.shape) && !input.axes.is_empty() {
        // A single sample without an axis that counts samples.
        array.shape.insert(0, 1);
    }
    let row = array.shape.get(1..).unwrap_or_default();
    if !array.shape.is_empty() && input.takes(row) {
        let row = row.to_vec();
        return Ok((array, row));
    }
    // Axes of length 1 may be left out, such as the channel of a signal.
    let squeezed = |shape: &[usize]| shape.iter().copied().filter(|&n| n != 1).collect::<Vec<_>>();
    let whole: Option<Vec<usize>> = input.axes.iter().copied().collect();
    if let Some(whole) = whole.filter(|whole| !array.shape.is_empty() && squeezed(whole) == squeezed(row)) {
        return Ok((array, whole));
    }
    let free: Vec<usize> = (0..input.axes.len()).filter(|&axis| input.axes[axis] != Some(1)).collect();
    if !array.shape.is_empty() && free.len() == row.len() && free.len() < input.axes.len() {
        let fits = free.iter().zip(row).all(|(&axis, n)| input.axes[axis].is_none_or(|size| size == *n));
        if fits {
            let mut whole = vec![1; input.axes.len()];
            free.iter().zip(row).for_each(|(&axis, &n)| whole[axis] = n);
            return Ok((array, whole));
        }
    }
    Err(Error::new("the array does not have the network's shape")
        .expected(format!("N rows of {}", input.show()))
        .got(show(&array.shape))
        .remedy("reshape it: the first axis counts samples, and the others are those of the input"))
}

impl Rows {
    /// Returns the number of elements along the first axis of the first array, which `mean` and `std` may differ by.
    pub(super) fn channels(&self) -> usize {
        self.shape.0.first().and_then(|shape| shape.first()).copied().unwrap_or(1)
    }

    /// Returns the element type of each array, as in NumPy.
    pub(super) fn elements(&self) -> Vec<String> {
        self.arrays.iter().map(|array| array.element.name()).collect()
    }

    /// Reads samples, and normalizes those of a single input by its first axis.
    pub(super) fn frames(&self, places: &[usize], recipe: &Preprocessing) -> Result<Vec<Frame>> {
        let mut frames: Vec<Frame> =
            places.iter().map(|_| Frame { shape: self.shape.clone(), data: vec![] }).collect();
        let changes = recipe.scale != 1.0
            || recipe.mean.iter().any(|&m| m != 0.0)
            || recipe.std.iter().any(|&s| s != 1.0);
        for array in &self.arrays {
            for (&place, frame) in places.iter().zip(&mut frames) {
                let bytes = array.rows(place..place + 1)?;
                frame.data.extend(array.element.to_f32(&bytes));
            }
        }
        if changes {
            let inner = self.shape.elements() / self.channels().max(1);
            for frame in &mut frames {
                for (channel, values) in frame.data.chunks_mut(inner.max(1)).enumerate() {
                    values.iter_mut().for_each(|v| *v = recipe.normalise(*v, channel));
                }
            }
        }
        Ok(frames)
    }

    /// Resolves the options that make sense for arrays: `mean`, `std` and `scale` of a single input.
    pub(super) fn recipe(&self, options: &DataOptions) -> Result<Preprocessing> {
        options.without_rate()?;
        if let Some(name) = options.for_images() {
            return Err(Error::new(format!("{name} is for images"))
                .expected("arrays of the network's own shape, which are taken as they are")
                .got(self.shape.to_string())
                .remedy(format!("leave out {name}; `mean`, `std` and `scale` normalize arrays")));
        }
        let several = self.shape.0.len() > 1;
        if several && (options.mean.is_some() || options.std.is_some() || options.scale.is_some()) {
            return Err(Error::new("arrays of several inputs are taken as they are")
                .expected("no `mean`, `std` or `scale`")
                .remedy("normalize the arrays before they are saved"));
        }
        Preprocessing::of_arrays(options, if several { 1 } else { self.channels() })
    }
}

impl Preprocessing {
    /// Returns the recipe that changes nothing.
    pub(super) fn unchanged(channels: usize, layout: Layout) -> Self {
        Self {
            resize: None,
            crop: None,
            letterbox: None,
            channels,
            order: ChannelOrder::Rgb,
            scale: 1.0,
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
            layout,
            rate: None,
            length: None,
        }
    }
}
