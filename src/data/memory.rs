//! Data sets of arrays that callers hold, and of batches that callers yield.

use std::sync::Arc;

use super::arrays::{Array, RowReader};
use super::labels::Labels;
use super::parts::Part;
use super::recipe::DataOptions;
use super::samples::Samples;
use super::spec::{SampleSpec, Takes};
use super::stream::{SampleStream, StreamSamples};
use super::{Dataset, rows, source};
use crate::error::Result;

/// An array with one row for each sample, for one input of a network.
#[derive(Clone, Debug)]
pub struct InputArray {
    /// The name of the input; it does not matter if the network has one input.
    pub name: String,
    /// The type of the elements in NumPy's notation, such as `<f4`.
    pub dtype: String,
    /// The dimensions, of which the first counts samples.
    pub shape: Vec<usize>,
    /// The reader of the elements, which is called when samples are needed, from any thread.
    pub reader: Arc<dyn RowReader>,
}

impl Dataset {
    /// Creates a data set of arrays that are read by rows whenever they are needed, one for each input.
    ///
    /// Bytes of images are preprocessed, floats of images and other arrays are taken as they are unless `options` say
    /// otherwise, as in files.
    ///
    /// # Errors
    /// Arrays that do not fit the network's inputs, or labels of another number.
    pub fn from_arrays(
        arrays: Vec<InputArray>,
        labels: Option<Vec<i64>>,
        options: &DataOptions,
        network: impl Into<SampleSpec>,
    ) -> Result<Self> {
        let network = network.into().checked()?;
        let mut opened = Vec::new();
        for at in 0..network.inputs.len() {
            let InputArray { dtype, shape, reader, .. } =
                &arrays[network.place_of(at, || arrays.iter().map(|array| array.name.as_str()))?];
            opened.push(Array::read_by(dtype, shape.clone(), Arc::clone(reader))?);
        }
        let part = match network.takes(options.layout) {
            Takes::Images { input, group } if opened[0].shape.len() <= 4 => {
                let opened = source::of_array(opened.remove(0), labels, input)?;
                Self::of_images((opened, None), options, (input, group))?
            }
            _ => Self::of_rows(rows::of_arrays(opened, labels, &network)?, None, options)?,
        };
        Self::of_parts(vec![part], options)
    }

    /// Creates a data set of a stream's samples, which are kept in memory if they take at most `max_memory` bytes.
    ///
    /// A larger stream is walked again in each pass. With `images` and without `sample`, the rest is never read.
    ///
    /// # Errors
    /// Samples that do not fit the network, labels for some samples only, no samples; a stream that is larger than the
    /// limit and cannot be walked again, errors of the stream.
    pub fn from_stream(
        stream: Arc<dyn SampleStream>,
        max_memory: u64,
        options: &DataOptions,
        network: impl Into<SampleSpec>,
    ) -> Result<Self> {
        let network = network.into().checked()?;
        let (samples, len, labels) = StreamSamples::read(stream, max_memory, options, network)?;
        let (samples, labels) = (Samples::Stream(samples), labels.map(Labels::from));
        Self::of_parts(vec![Part { path: None, samples, len, labels }], options)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::super::spec::InputSpec;
    use super::*;

    /// An array in memory with bytes as elements.
    #[derive(Debug)]
    struct Bytes(Vec<u8>, usize);

    impl RowReader for Bytes {
        fn rows(&self, range: Range<usize>) -> Result<Vec<u8>> {
            Ok(self.0[range.start * self.1..range.end * self.1].to_vec())
        }
    }

    fn images(shape: [usize; 4]) -> InputArray {
        let one = shape[1..].iter().product();
        let bytes = (0..shape[0] * one).map(|i| (i % 251) as u8).collect();
        let reader = Arc::new(Bytes(bytes, one));
        InputArray { name: "any".to_owned(), dtype: "|u1".to_owned(), shape: shape.to_vec(), reader }
    }

    #[test]
    fn arrays_give_the_batches_that_bytes_give() {
        let (array, options) = (images([5, 3, 4, 4]), DataOptions::default());
        let bytes = array.reader.rows(0..5).expect("all rows");
        let network = &[None, Some(3), Some(4), Some(4)];
        let labels = [0_u32, 1, 2, 0, 1];
        let whole =
            Dataset::from_bytes(bytes, &array.shape, Some(&labels), &options, network).expect("bytes");
        let signed = labels.iter().map(|&label| i64::from(label)).collect();
        let by_rows = Dataset::from_arrays(vec![array], Some(signed), &options, network).expect("an array");
        let batches = |data: &Dataset| data.batches(2).collect::<Result<Vec<_>>>().expect("batches");
        assert_eq!(batches(&whole), batches(&by_rows));
    }

    #[test]
    fn several_inputs_are_found_by_name() {
        let input = |name: &str| InputSpec { name: name.to_owned(), axes: vec![Some(48)], integer: true };
        let spec = SampleSpec { inputs: vec![input("a"), input("b")] };
        let named =
            |name: &str| InputArray { name: name.to_owned(), shape: vec![5, 48], ..images([5, 3, 4, 4]) };
        let options = DataOptions::default();
        let open = |names: [&str; 2]| Dataset::from_arrays(names.map(named).to_vec(), None, &options, &spec);
        assert_eq!(open(["b", "a"]).expect("both").sample().expect("a sample").0, [[48], [48]]);
        let error = open(["a", "c"]).expect_err("one is missing").to_string();
        assert!(error.contains("\"c\"") && error.contains("\"b\" (48)"), "{error}");
    }
}
