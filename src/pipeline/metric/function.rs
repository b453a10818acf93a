//! Metrics that are functions of one image.

use std::fmt;
use std::sync::Arc;

use super::{JudgedImage, Measured, Meter, Metric};
use crate::error::Result;

type Function = dyn Fn(&JudgedImage) -> Result<f64> + Send + Sync;

/// A metric that is the mean over images of a function's value.
#[derive(Clone)]
pub struct FunctionMetric {
    name: String,
    unit: String,
    higher_is_better: bool,
    function: Arc<Function>,
}

impl fmt::Debug for FunctionMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionMetric").field("name", &self.name).field("unit", &self.unit).finish()
    }
}

impl FunctionMetric {
    /// Creates a metric whose larger values are better from a function of one image.
    pub fn new(
        name: impl Into<String>,
        unit: impl Into<String>,
        function: impl Fn(&JudgedImage) -> Result<f64> + Send + Sync + 'static,
    ) -> Self {
        let function = Arc::new(function);
        Self { name: name.into(), unit: unit.into(), higher_is_better: true, function }
    }

    /// Makes smaller values better.
    #[must_use]
    pub fn lower_is_better(mut self) -> Self {
        self.higher_is_better = false;
        self
    }
}

impl Metric for FunctionMetric {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn unit(&self) -> &str {
        &self.unit
    }

    fn higher_is_better(&self) -> bool {
        self.higher_is_better
    }

    fn meter(&self) -> Result<Box<dyn Meter>> {
        Ok(Box::new(Values { function: Arc::clone(&self.function), images: vec![] }))
    }
}

struct Values {
    function: Arc<Function>,
    images: Vec<f64>,
}

impl Meter for Values {
    fn add(&mut self, image: &JudgedImage) -> Result<()> {
        self.images.push((self.function)(image)?);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured> {
        Ok(Measured::mean(self.images))
    }
}
