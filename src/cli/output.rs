//! Output: results to stdout; progress, notes and errors to stderr. A broken pipe is no error.

use std::io::Write as _;
use std::path::Path;

use clap::builder::styling::{AnsiColor, Style};
use serde_json::{Value, json};

use super::monitor::Monitor;
pub(super) use super::numbers::{many, three_digits};
use crate::error::{Error, Result};
use crate::file::write_whole;

/// The style of failures.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// The style of successes.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// The style of notes.
const NOTE: Style = AnsiColor::Cyan.on_default();

/// Formats a shape: `3×32×32`.
pub(super) fn shape(dims: &[usize]) -> String {
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

/// Formats a signal-to-noise ratio; it is infinite for equal outputs.
pub(super) fn decibels(snr: f64) -> String {
    if snr == f64::INFINITY { "∞ dB".to_owned() } else { format!("{snr:.1} dB") }
}

/// The destination of a command's output.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    quiet: bool,
    /// True if the result is a file on stdout, so that texts and JSON go to stderr.
    stdout_is_file: bool,
    /// The display of what is being done.
    pub(super) monitor: Monitor,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool, stdout_is_file: bool) -> Self {
        // JSON on stderr stands alone.
        let monitor = Monitor::new(quiet || json && stdout_is_file);
        Self { json, quiet, stdout_is_file, monitor }
    }

    /// Shows what is being done while `work` runs.
    pub(crate) fn busy<T>(&self, title: &str, work: impl FnOnce() -> T) -> T {
        self.monitor.begin(title, ("", 0));
        let done = work();
        self.monitor.end();
        done
    }

    /// Writes bytes to stdout, or to stderr if the result is a file on stdout. A closed pipe ends the program quietly; any other error ends it with exit code 2.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let written = self.monitor.suspend(|| {
            if self.stdout_is_file {
                anstream::stderr().lock().write_all(bytes)
            } else {
                let mut out = anstream::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
        });
        written.unwrap_or_else(|error| Self::fail(error));
    }

    /// Copies a file to stdout; errors end the program as in [`Self::raw`].
    pub(crate) fn copy(&self, file: &mut std::fs::File) {
        // No escape sequences are filtered out of a file.
        let mut out = std::io::stdout().lock();
        let copied = std::io::copy(file, &mut out).and_then(|_| out.flush());
        copied.unwrap_or_else(|error| Self::fail(error));
    }

    fn fail(error: std::io::Error) -> ! {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        Self::error(&Error::io("write the answer", Path::new("standard output"), error));
        std::process::exit(2);
    }

    /// Prints a line, unless JSON was asked for.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            self.raw(format!("{}\n", text.as_ref()).as_bytes());
        }
    }

    /// Prints the result as JSON, if that was asked for.
    pub(crate) fn result(&self, value: &Value) {
        if self.json {
            self.raw(format!("{value}\n").as_bytes());
        }
    }

    /// Prints a note to stderr.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let note = || writeln!(anstream::stderr(), "{NOTE}note:{NOTE:#} {}", text.as_ref());
            let _ = self.monitor.suspend(note);
        }
    }

    /// Prints an error to stderr.
    pub(crate) fn error(error: &Error) {
        let _ = writeln!(anstream::stderr(), "{BAD}error:{BAD:#} {error}");
    }

    /// Prints an error as the one JSON object on stdout, or on stderr if the result would be a file on stdout.
    pub(crate) fn json_error(error: &Error, stdout_is_file: bool) {
        let mut fields = json!({ "message": error.message() });
        let more = [
            ("node", error.node_name().map(str::to_owned)),
            ("file", error.file_path().map(|p| p.display().to_string())),
            ("remedy", error.remedy_text().map(str::to_owned)),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                fields[name] = json!(value);
            }
        }
        let object = json!({ "error": fields });
        let _ = if stdout_is_file {
            writeln!(std::io::stderr(), "{object}")
        } else {
            writeln!(std::io::stdout(), "{object}")
        };
    }
}

/// Writes a table as CSV.
pub(crate) fn write_csv(
    path: &Path,
    head: &[impl AsRef<str>],
    rows: impl Iterator<Item = Vec<String>>,
) -> Result<()> {
    let fail = |e: String| Error::new("cannot write the table").file(path).got(e);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(head.iter().map(AsRef::as_ref)).map_err(|e| fail(e.to_string()))?;
    for row in rows {
        writer.write_record(row).map_err(|e| fail(e.to_string()))?;
    }
    write_whole(path, "write the table", &writer.into_inner().map_err(|e| fail(e.to_string()))?)
}

/// Formats a number with separators: `1,234,567`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number with a unit prefix: `12.3 M`.
pub(crate) fn short(n: u64) -> String {
    let x = n as f64;
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{:.1} k", x / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M", x / 1e6),
        _ => format!("{:.2} G", x / 1e9),
    }
}
