//! The HTML page of a cut: one file that needs nothing else, made of plain data.
//!
//! [`Page`] is all that the page knows; the rest of the street fills it ([`network`], [`pictures`]) and [`render`] puts
//! it as one block of JSON into the document, the style and the scripts of `assets/report`. The scripts write text into
//! the document as text only, so that no name in a model can become markup; the block itself cannot end early, because
//! it holds no `<`.

pub mod network;
mod number;
mod page;
pub mod pictures;
#[cfg(test)]
mod tests;

pub use number::Num;
pub use page::{
    ColumnText, Cost, Drawn, Feature, GroupRow, LayerSection, Page, Quality, Repeat, SearchCurve,
    SearchPoint, Sheet, Speed, Summary,
};

const DOCUMENT: &str = include_str!("../../assets/report/page.html");
const STYLE: &str = include_str!("../../assets/report/page.css");
/// One scope, in this order.
const SCRIPTS: [&str; 7] = [
    include_str!("../../assets/report/dom.js"),
    include_str!("../../assets/report/chart.js"),
    include_str!("../../assets/report/glance.js"),
    include_str!("../../assets/report/table.js"),
    include_str!("../../assets/report/layer.js"),
    include_str!("../../assets/report/pictures.js"),
    include_str!("../../assets/report/page.js"),
];

/// The document.
pub fn render(page: &Page) -> String {
    // Plain structs of numbers and text, without maps that have other keys than text, cannot fail.
    let data = serde_json::to_string(page).expect("a page is plain data").replace('<', "\\u003c");
    let title = page.model.replace('&', "&amp;").replace('<', "&lt;");
    let parts = [
        ("{{title}}", title),
        ("{{style}}", STYLE.to_owned()),
        ("{{data}}", data),
        ("{{script}}", SCRIPTS.concat()),
    ];
    // From left to right, so that nothing is looked for in what was put in.
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
