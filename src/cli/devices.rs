//! `secateur devices`: the adapters of this machine.

use serde_json::json;

use super::Answer;
use super::output::Output;
use super::table::{Table, WIDTH, wrapped};
use crate::error::Result;
use crate::pipeline::DeviceChoice;
use crate::pipeline::devices::{list, open};

pub(super) fn run(output: &Output) -> Result<Answer> {
    let devices = list();
    let (auto, note) = open(&DeviceChoice::Auto)?;
    let auto = auto.describe();
    output.result(&json!({ "devices": devices, "auto": auto, "note": note }));
    let mut table = Table::new(&["device", "*name", "<backend", "<type", "binding"]);
    for d in &devices {
        let binding = format!("{} MiB", d.max_storage_buffer_binding_size >> 20);
        table.row([d.index.to_string(), d.name.clone(), d.backend.clone(), d.kind.to_string(), binding]);
    }
    let cpu = ["cpu", "the CPU interpreter", "cpu", "cpu", ""];
    table.row(cpu.map(str::to_owned));
    let mut lines = table.lines(WIDTH);
    lines.next().into_iter().for_each(|titles| output.line(titles));
    let drivers = devices.iter().map(|d| format!("{} {}", d.driver, d.driver_info)).map(Some).chain([None]);
    for (line, driver) in lines.zip(drivers) {
        output.line(line);
        driver.iter().flat_map(|driver| wrapped(driver, 7)).for_each(|line| output.line(line));
    }
    output.line(format!("auto takes: {}", auto.name));
    if let Some(note) = note {
        output.note(note);
    }
    Ok(Answer::Yes)
}
