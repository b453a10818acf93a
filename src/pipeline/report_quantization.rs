//! The report page of a quantization.

use super::calibration::Calibration;
use super::quantized::{Form, Quantized};
use super::report_options::ReportOptions;
use super::report_quality::judge;
use super::report_rows::{self, repeat};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::onnx::Model;
use crate::quantize::coding::CodedSize;
use crate::report::{Num, Page, QuantizationSection, Repeat, quantized_layers, size_rows, tensor_range};

/// Builds the report page of a quantization: sizes, quality, ranges or codebooks, and the data that repeat it.
///
/// # Errors
/// A preprocessing that cannot be described, and images that cannot be read again.
pub fn quantization_page(
    found: &Quantized,
    network: &Model,
    calibration: Option<&Calibration>,
    device: &Device,
    options: &ReportOptions,
) -> Result<Page> {
    let mut page = Page { model: report_rows::title(network), ..Page::default() };
    let section = section(found.form(), found.coded())?;
    let mut rows = report_rows::program(options);
    rows.push(report_rows::file("Model", network));
    rows.push(repeat("Quantized model", format!("SHA-256 {}", found.model().sha256)));
    rows.extend(settings(&section));
    if let Some(calibration) = calibration {
        page.preprocessing = Some(calibration.fit.describe()?);
        page.summary.calibration = calibration.fit.len() as u64;
        rows.extend(report_rows::images(calibration)?);
        if let Some(evaluation) = found.evaluation() {
            judge(&mut page, calibration, &options.class_names, evaluation)?;
        }
    }
    rows.push(report_rows::device(device));
    (page.repeat, page.quantization) = (rows, Some(section));
    Ok(page)
}

/// Describes a quantized network; `coded` has the sizes before and after.
pub(super) fn section(form: Form<'_>, coded: &[CodedSize; 2]) -> Result<QuantizationSection> {
    let (format, integers) = match form {
        Form::Integers(integer) => ("8-bit integers".to_owned(), Some(integer)),
        Form::Palette(shared) => (format!("palette of {} bits", shared.bits.bits()), None),
    };
    Ok(QuantizationSection {
        format,
        runtime: integers.map(|integer| integer.runtime.to_string()),
        ranges: integers.map(|integer| integer.ranges.to_string()),
        sizes: size_rows(coded),
        bits_per_weight: [&coded[0], &coded[1]].map(|size| size.bits_per_weight().map(Num)),
        tensors: integers.map_or_else(Vec::new, |integer| integer.tensors.iter().map(tensor_range).collect()),
        layers: quantized_layers(form.model(), form.reasons())?,
    })
}

/// Returns the choices that the page repeats.
pub(super) fn settings(section: &QuantizationSection) -> Vec<Repeat> {
    let runtime = section.runtime.iter().map(|runtime| repeat("Runtime", runtime));
    let ranges = section.ranges.iter().map(|ranges| repeat("Ranges", ranges));
    std::iter::once(repeat("Numbers", &section.format)).chain(runtime).chain(ranges).collect()
}
