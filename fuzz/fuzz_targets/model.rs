//! Fuzz target: any ONNX file is either processed or refused with an error.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/walk.rs"]
#[allow(dead_code)] // not every item is used here
mod walk;

use walk::{Most, walk};

/// Limits per run; a fuzzer needs many runs.
const MOST: Most = Most { macs: 1 << 22, elements: 1 << 18, labelled: 1 << 26 };

fuzz_target!(|bytes: &[u8]| {
    let _ = walk(bytes.to_vec(), MOST, &|_| {});
});
