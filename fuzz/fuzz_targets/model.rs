//! Whatever stands in an ONNX file, it is read, or refused with an error.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/walk.rs"]
#[allow(dead_code)] // a fuzzer listens to nothing
mod walk;

use walk::{Most, walk};

/// A fuzzer wants many runs.
const MOST: Most = Most { macs: 1 << 22, elements: 1 << 18, labelled: 1 << 26 };

fuzz_target!(|bytes: &[u8]| {
    let _ = walk(bytes.to_vec(), MOST, &|_| {});
});
