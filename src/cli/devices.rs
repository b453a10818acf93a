//! `secateur devices`: the adapters of this machine.

use serde_json::json;

use super::Answer;
use super::output::Output;
use crate::error::Result;
use crate::pipeline::DeviceChoice;
use crate::pipeline::devices::{list, open};

pub(super) fn run(output: &Output) -> Result<Answer> {
    let devices = list();
    let (auto, note) = open(&DeviceChoice::Auto)?;
    let auto = auto.describe();
    output.result(&json!({ "devices": devices, "auto": auto, "note": note }));
    output.line(format!("{:>3}  {:<38} {:<8} {:<10} {:>9}", "", "name", "backend", "type", "binding"));
    for d in &devices {
        let binding = format!("{} MiB", d.max_storage_buffer_binding_size >> 20);
        output.line(format!("{:>3}  {:<38} {:<8} {:<10} {:>9}", d.index, d.name, d.backend, d.kind, binding));
        output.line(format!("     {} {}", d.driver, d.driver_info));
    }
    output.line(format!("cpu  {:<38} {:<8} {:<10}", "the CPU interpreter", "cpu", "cpu"));
    output.line(format!("auto takes: {}", auto.name));
    if let Some(note) = note {
        output.note(note);
    }
    Ok(Answer::Yes)
}
