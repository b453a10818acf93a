//! The options that fix values and sizes of a network's inputs.

use std::path::Path;

use super::streams::load_model;
use crate::error::{Error, Result};
use crate::pipeline::{DataOptions, DataSources, InputOptions, Model, input_names, parse_shape};

/// Values and sizes of a network's inputs.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct InputArgs {
    /// Fix the value of an input, such as a scale factor or a threshold.
    ///
    /// VALUE is a number for all elements, numbers a,b,c, or a .npy file. It holds for every sample. May be given several
    /// times.
    #[arg(long, value_name = "NAME=VALUE")]
    input: Vec<String>,
    /// Set the shape of an input with free sizes, batch included.
    ///
    /// For example x=1x3x48x320. May be given several times.
    #[arg(long, value_name = "NAME=SHAPE")]
    size: Vec<String>,
}

impl InputArgs {
    /// Loads a model with these values and sizes; free sizes may follow from data.
    pub(super) fn load(&self, path: &Path, data: Option<(&DataSources, &DataOptions)>) -> Result<Model> {
        let model = load_model(path)?;
        self.options(&input_names(&model))?.bind(model, data)
    }

    fn options(&self, names: &[String]) -> Result<InputOptions> {
        let parts = |text, form: &str| {
            split(text, names).filter(|(name, value)| !name.is_empty() && !value.is_empty()).ok_or_else(
                || {
                    Error::new(format!("not {form}"))
                        .got(format!("\"{text}\""))
                        .remedy(format!("write {form}"))
                },
            )
        };
        let values = self.input.iter().map(|text| {
            let (name, value) = parts(text, "NAME=VALUE")?;
            Ok((name.to_owned(), value.parse()?))
        });
        let sizes = self.size.iter().map(|text| {
            let (name, shape) = parts(text, "NAME=SHAPE")?;
            Ok((name.to_owned(), parse_shape(shape)?))
        });
        Ok(InputOptions { values: values.collect::<Result<_>>()?, sizes: sizes.collect::<Result<_>>()? })
    }
}

/// Splits an argument such as NAME=VALUE. A name may contain the sign: an input's name counts, else the shortest.
pub(super) fn split<'a>(text: &'a str, names: &[String]) -> Option<(&'a str, &'a str)> {
    let mut splits = text.match_indices('=').map(|(at, _)| (&text[..at], &text[at + 1..]));
    let known = |(name, _): &(&str, &str)| names.iter().any(|own| own == name);
    splits.clone().find(known).or_else(|| splits.next())
}
