//! Options of report pages: names of classes, seconds of timing, and how the work was called.

/// The contents of a report page beside the result.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// Seconds for which both networks are timed in all; 0 leaves times out.
    pub seconds: f64,
    /// Images at once while they are timed.
    pub batch: usize,
    /// The command that repeats the work, if there is one.
    pub command: Option<String>,
    /// The names of the classes in the order of the labels; if empty, the data's ([`Dataset::class_names`]).
    ///
    /// [`Dataset::class_names`]: crate::data::Dataset::class_names
    pub class_names: Vec<String>,
    /// The options, each with its value and where that comes from.
    pub settings: Vec<(String, String, String)>,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self { seconds: 3.0, batch: 1, command: None, class_names: vec![], settings: vec![] }
    }
}
