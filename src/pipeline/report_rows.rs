//! The rows with which a report page says how to repeat the work.

use super::calibration::Calibration;
use super::report_options::ReportOptions;
use crate::error::Result;
use crate::exec::devices::Device;
use crate::onnx::Model;
use crate::report::Repeat;

/// Returns a named value.
pub(super) fn repeat(what: impl Into<String>, value: impl Into<String>) -> Repeat {
    Repeat { what: what.into(), value: value.into() }
}

/// Returns the version of the program, the command and the options with their origins.
pub(super) fn program(options: &ReportOptions) -> Vec<Repeat> {
    let command = options.command.iter().map(|command| repeat("Command", command));
    let settings = options.settings.iter();
    let settings =
        settings.map(|(name, value, origin)| repeat(format!("Option {name}"), format!("{value} ({origin})")));
    std::iter::once(repeat("Secateur", env!("CARGO_PKG_VERSION"))).chain(command).chain(settings).collect()
}

/// Returns the path and the hash of a model.
pub(super) fn file(what: &str, model: &Model) -> Repeat {
    repeat(what, format!("{}, SHA-256 {}", model.path.display(), model.sha256))
}

/// Returns the number and the origin of the calibration images, and their preprocessing in words.
pub(super) fn images(calibration: &Calibration) -> Result<[Repeat; 2]> {
    let (count, origin) = (calibration.fit.len(), &calibration.origin.data);
    let images = repeat("Images", format!("{count} ({origin})"));
    Ok([images, repeat("Preprocessing", calibration.fit.describe()?)])
}

/// Returns the device with its driver.
pub(super) fn device(device: &Device) -> Repeat {
    let who = device.describe();
    repeat("Device", format!("{} ({}, {})", who.name, who.backend, who.driver))
}

/// Returns the name of a model's file, which is the title of the page.
pub(super) fn title(model: &Model) -> String {
    let name = model.path.file_name().unwrap_or(model.path.as_os_str());
    name.to_string_lossy().into_owned()
}
