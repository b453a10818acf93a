//! The options that fix values and sizes of a network's inputs.

use std::path::Path;

use super::streams::load_model;
use crate::error::{Error, Result};
use crate::pipeline::{InputOptions, Model, parse_shape};

/// Values and sizes of a network's inputs.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct InputArgs {
    /// Fix the value of an input, such as a scale or a threshold: a number, numbers a,b,c, or a .npy file.
    #[arg(long, value_name = "NAME=VALUE")]
    input: Vec<String>,
    /// Whole shape of an input whose sizes the file leaves free, the batch included: x=1x3x48x320.
    #[arg(long, value_name = "NAME=SHAPE")]
    size: Vec<String>,
}

impl InputArgs {
    /// Loads a model with these values and sizes.
    pub(super) fn load(&self, path: &Path) -> Result<Model> {
        self.options()?.bind(load_model(path)?, None)
    }

    /// Returns the parsed options.
    pub(super) fn options(&self) -> Result<InputOptions> {
        let values = self.input.iter().map(|text| {
            let (name, value) = split(text, "NAME=VALUE")?;
            Ok((name.to_owned(), value.parse()?))
        });
        let sizes = self.size.iter().map(|text| {
            let (name, shape) = split(text, "NAME=SHAPE")?;
            Ok((name.to_owned(), parse_shape(shape)?))
        });
        Ok(InputOptions { values: values.collect::<Result<_>>()?, sizes: sizes.collect::<Result<_>>()? })
    }
}

/// Splits NAME=VALUE at the last sign, because a name may contain it.
fn split<'a>(text: &'a str, form: &str) -> Result<(&'a str, &'a str)> {
    text.rsplit_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty()).ok_or_else(|| {
        Error::new(format!("not {form}")).got(format!("\"{text}\"")).remedy(format!("write {form}"))
    })
}
