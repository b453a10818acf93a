//! Fuzz target: any file of images is either read or refused with an error.
//!
//! Formats are npy, npz, idx (detected by their contents) and any picture format. The first byte selects the file's name.

#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use secateur::data::{Dataset, DataOptions, read_npy_f32};

/// Maximum number of images per run; a fuzzer needs many runs.
const MOST: usize = 8;

fn walk(name: &str, bytes: &[u8]) -> secateur::Result<()> {
    let path = file::of(name, bytes);
    let shape = [None, Some(3), Some(8), Some(8)];
    let options = DataOptions { images: Some(MOST), ..DataOptions::default() };
    let images = Dataset::open(path.to_string_lossy().as_ref(), &options, &shape)?;
    images.labels();
    for batch in images.batches(4) {
        batch?;
    }
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    // An error is a valid outcome.
    let _ = match first % 3 {
        0 => read_npy_f32(file::of("x.npy", bytes)).map(|_| ()),
        1 => walk("images.npz", bytes),
        _ => walk("t10k-images-idx3-ubyte", bytes),
    };
});
