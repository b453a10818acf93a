//! The arrays that a network takes for one sample.

use super::recipe::{Layout, NetworkInput};
use crate::error::{Error, Result};

/// The arrays of a sample: one for each input of a network that data must provide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleSpec {
    /// The inputs in order.
    pub inputs: Vec<InputSpec>,
}

/// One array of a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputSpec {
    /// The name of the network's input; empty if it does not matter.
    pub name: String,
    /// The sizes of the axes, without a batch axis; `None` for a free one.
    pub axes: Vec<Option<usize>>,
    /// True if the network takes integers or booleans.
    pub integer: bool,
}

/// The axes of a network's only input, batch first.
impl From<&[Option<usize>]> for SampleSpec {
    fn from(shape: &[Option<usize>]) -> Self {
        let axes = shape.get(1..).unwrap_or_default().to_vec();
        Self { inputs: vec![InputSpec { axes, ..InputSpec::default() }] }
    }
}

impl<const N: usize> From<&[Option<usize>; N]> for SampleSpec {
    fn from(shape: &[Option<usize>; N]) -> Self {
        Self::from(shape.as_slice())
    }
}

impl From<&Vec<Option<usize>>> for SampleSpec {
    fn from(shape: &Vec<Option<usize>>) -> Self {
        Self::from(shape.as_slice())
    }
}

impl From<&Self> for SampleSpec {
    fn from(spec: &Self) -> Self {
        spec.clone()
    }
}

impl InputSpec {
    /// Returns the input as text, for messages: `"x" (3×?×?)`.
    pub(super) fn show(&self) -> String {
        let sizes = self.axes.iter().map(|n| n.map_or_else(|| "?".to_owned(), |n| n.to_string()));
        let sizes = sizes.collect::<Vec<_>>().join("×");
        if self.name.is_empty() { sizes } else { format!("\"{}\" ({sizes})", self.name) }
    }

    /// Returns whether the input takes arrays of this shape.
    pub(super) fn takes(&self, shape: &[usize]) -> bool {
        self.axes.len() == shape.len() && self.axes.iter().zip(shape).all(|(a, n)| a.is_none_or(|a| a == *n))
    }
}

/// The kind of data that a network takes.
#[derive(Clone, Debug)]
pub(super) enum Takes {
    /// Images, `group` of them for one sample.
    Images {
        input: NetworkInput,
        /// The images of a sample, if the network takes several at once (frames of a clip).
        group: Option<usize>,
    },
    /// Arrays that are not images.
    Arrays,
}

/// A network's only input, if it takes the samples of 1-D sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SoundInput {
    /// Number of channels, 1 or 2.
    pub(super) channels: usize,
    /// Order of channels and samples.
    pub(super) layout: Layout,
    axes: Vec<Option<usize>>,
    /// Place of the axis of samples.
    time: usize,
}

impl SoundInput {
    /// Interprets the axes of an input; further axes of length 1 do not matter.
    fn new(axes: &[Option<usize>], layout: Option<Layout>) -> Option<Self> {
        let mut kept: Vec<usize> = (0..axes.len()).collect();
        while kept.len() > 2 {
            let one = kept.iter().position(|&axis| axes[axis] == Some(1))?;
            kept.remove(one);
        }
        let count = |axis: usize| axes[axis].filter(|n| matches!(n, 1 | 2));
        let (channels, layout, time) = match kept[..] {
            [time] => (1, Layout::Nchw, time),
            [a, b] => match (count(a), count(b)) {
                (Some(_), Some(channels)) if layout == Some(Layout::Nhwc) => (channels, Layout::Nhwc, a),
                (Some(channels), _) => (channels, Layout::Nchw, b),
                (None, Some(channels)) => (channels, Layout::Nhwc, a),
                (None, None) => return None,
            },
            _ => return None,
        };
        Some(Self { channels, layout, axes: axes.to_vec(), time })
    }

    /// Returns the number of samples, if it is fixed.
    pub(super) fn length(&self) -> Option<usize> {
        self.axes[self.time]
    }

    /// Returns whether the channels of a sample follow each other.
    pub(super) fn is_channels_last(&self) -> bool {
        self.layout == Layout::Nhwc
    }

    /// Returns the shape of a recording of so many samples.
    pub(super) fn shape(&self, len: usize) -> Vec<usize> {
        let mut axes = self.axes.clone();
        axes[self.time] = Some(len);
        axes.into_iter().flatten().collect()
    }
}

impl SampleSpec {
    /// Refuses a network that takes no data.
    pub(super) fn checked(self) -> Result<Self> {
        if self.inputs.is_empty() {
            return Err(Error::new("the network has no input that takes data")
                .expected("an input without a fixed value")
                .remedy("leave out `data`, or an `input`"));
        }
        Ok(self)
    }

    /// Returns the place of the array for input `at` among named arrays; a network of one input takes any name.
    pub(super) fn place_of<'a, N>(&self, at: usize, names: impl Fn() -> N) -> Result<usize>
    where
        N: ExactSizeIterator<Item = &'a str>,
    {
        if self.inputs.len() == 1 && names().len() == 1 {
            return Ok(at);
        }
        names().position(|name| name == self.inputs[at].name).ok_or_else(|| {
            Error::new("the arrays do not feed the network's inputs")
                .expected(format!("an array by name for each of {}", self.show()))
                .got(names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "))
                .remedy("give a dictionary with an array for each input, by the input's name")
        })
    }

    /// Returns the only input, if it takes the samples of 1-D sound.
    pub(super) fn sound(&self, layout: Option<Layout>) -> Option<SoundInput> {
        match self.inputs.as_slice() {
            [input] if !input.integer => SoundInput::new(&input.axes, layout),
            _ => None,
        }
    }

    /// Returns whether samples are images: one input with three axes, or four of which the first counts frames.
    pub(super) fn takes(&self, layout: Option<Layout>) -> Takes {
        let [input] = self.inputs.as_slice() else { return Takes::Arrays };
        match input.axes[..] {
            [a, b, c] => Takes::Images { input: NetworkInput::new([a, b, c], layout), group: None },
            [Some(group), a, b, c] if group > 0 => {
                Takes::Images { input: NetworkInput::new([a, b, c], layout), group: Some(group) }
            }
            _ => Takes::Arrays,
        }
    }

    /// Returns the inputs as text, for messages.
    pub(super) fn show(&self) -> String {
        self.inputs.iter().map(InputSpec::show).collect::<Vec<_>>().join(", ")
    }
}
