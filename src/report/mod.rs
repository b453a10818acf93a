//! The report of a cut as one self-contained HTML page, rendered from plain data.
//!
//! [`Page`] has all data of the page, and [`network`] and [`pictures`] compute parts of it. [`render`] inserts the data
//! as one block of JSON, with the style and the scripts of `assets/report`, into the document. The scripts insert text
//! as text only, so that no name in a model can become markup. The block cannot end early, because it contains no `<`.

mod cuts;
pub mod drawing;
mod input_picture;
mod layout;
pub mod network;
mod number;
mod page;
mod parts;
pub mod pictures;
mod predictions;
mod quantization;
#[cfg(test)]
mod tests;
mod training;

pub use cuts::{CutColumn, Cuts};
pub use drawing::Drawing;
pub use input_picture::inputs;
pub use number::Num;
pub use page::{InputSheet, Page, Summary};
pub use parts::{
    ColumnText, Cost, FeatureMaps, FilterSheet, GroupRow, LayerSection, MetricRow, Quality, Repeat,
    SearchCurve, SearchPoint, Sheet, Speed,
};
pub use predictions::{ChangeCounts, ChangedImage, ClassRow, ConfusedPair, PredictionChanges};
pub use quantization::{
    QuantizationSection, QuantizedLayer, SizeRow, TensorRange, quantized_layers, size_rows, tensor_range,
};
pub use training::{LossPoint, LossText, TrainingSection};

const DOCUMENT: &str = include_str!("../../assets/report/page.html");
const STYLE: &str = include_str!("../../assets/report/page.css");
/// The scripts in order; they share one scope.
const SCRIPTS: [&str; 17] = [
    include_str!("../../assets/report/dom.js"),
    include_str!("../../assets/report/glossary.js"),
    include_str!("../../assets/report/export.js"),
    include_str!("../../assets/report/chart.js"),
    include_str!("../../assets/report/accuracy.js"),
    include_str!("../../assets/report/glance.js"),
    include_str!("../../assets/report/table.js"),
    include_str!("../../assets/report/curve.js"),
    include_str!("../../assets/report/training.js"),
    include_str!("../../assets/report/quantization.js"),
    include_str!("../../assets/report/viewport.js"),
    include_str!("../../assets/report/drawing.js"),
    include_str!("../../assets/report/predictions.js"),
    include_str!("../../assets/report/cuts.js"),
    include_str!("../../assets/report/layer.js"),
    include_str!("../../assets/report/pictures.js"),
    include_str!("../../assets/report/page.js"),
];

/// Renders a page as an HTML document.
pub fn render(page: &Page) -> String {
    // Structs of numbers and text, with maps keyed by text, always serialize.
    let data = serde_json::to_string(page).expect("a page is plain data").replace('<', "\\u003c");
    let title = page.model.replace('&', "&amp;").replace('<', "&lt;");
    let parts = [
        ("{{title}}", title),
        ("{{style}}", STYLE.to_owned()),
        ("{{data}}", data),
        ("{{script}}", SCRIPTS.concat()),
    ];
    // From left to right, so that inserted text is never searched for marks.
    let mut rest = DOCUMENT;
    let mut html = String::new();
    for (mark, text) in parts {
        let (before, after) = rest.split_once(mark).expect("the document has its marks in order");
        html += before;
        html += &text;
        rest = after;
    }
    html + rest
}
