//! What goes where: results to stdout, progress, notes and errors to stderr; a broken pipe is quiet.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::file::write_whole;
use crate::observer::{Observer, Stage};

/// What is wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What is right.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What is said on the way.
const NOTE: Style = AnsiColor::Cyan.on_default();

/// So many things of a kind whose name takes an s.
pub(super) fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A ratio of signal and noise; equal answers have none.
pub(super) fn decibels(snr: f64) -> String {
    if snr == f64::INFINITY { "∞ dB".to_owned() } else { format!("{snr:.1} dB") }
}

/// An observer that moves a progress bar, and ends the operation when `stop` is true.
pub(super) struct BarObserver<'a> {
    pub(super) bar: &'a ProgressBar,
    pub(super) stop: &'a dyn Fn() -> bool,
}

impl Observer for BarObserver<'_> {
    fn stage(&mut self, _stage: Stage, total: u64) {
        self.bar.set_length(total);
    }

    fn advance(&mut self, done: u64) -> ControlFlow<()> {
        self.bar.set_position(done);
        if (self.stop)() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The sink of a run.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// One that says nothing: for a step of something larger.
    pub(crate) fn silent(&self) -> Self {
        Self { json: true, quiet: true }
    }

    /// Bytes to stdout. A reader that has gone is no error; a full disk is, and the exit code says so.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let mut out = anstream::stdout().lock();
        let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) else { return };
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        Self::error(&Error::io("write the answer", Path::new("standard output"), error));
        std::process::exit(2);
    }

    /// A line for people, unless JSON was asked for.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            self.raw(format!("{}\n", text.as_ref()).as_bytes());
        }
    }

    /// The result as JSON, if that was asked for.
    pub(crate) fn result(&self, value: &Value) {
        if self.json {
            self.raw(format!("{value}\n").as_bytes());
        }
    }

    /// A note on stderr.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "{NOTE}note:{NOTE:#} {}", text.as_ref());
        }
    }

    /// An error on stderr.
    pub(crate) fn error(error: &Error) {
        let _ = writeln!(anstream::stderr(), "{BAD}error:{BAD:#} {error}");
    }

    /// An error as the one JSON object on stdout.
    pub(crate) fn json_error(error: &Error) {
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
        let _ = writeln!(std::io::stdout(), "{}", json!({ "error": fields }));
    }

    /// A progress bar on stderr that shows itself when the work takes longer than a second.
    pub(crate) fn progress(&self, what: &str, total: usize) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_secs(1));
        bar
    }
}

/// Writes a table.
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

/// `1,234,567`.
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

/// `12.3 M`: a number that people compare.
pub(crate) fn short(n: u64) -> String {
    let x = n as f64;
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{:.1} k", x / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M", x / 1e6),
        _ => format!("{:.2} G", x / 1e9),
    }
}
