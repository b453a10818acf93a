//! Whatever stands in a file of images (npy, npz, idx, told apart by their contents; any picture format), it is read, or
//! refused with an error. The first byte chooses the file's name.

#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use secateur::data::{Dataset, DataOptions, read_npy_f32};

/// Images that are looked at: a fuzzer wants many runs.
const MOST: usize = 8;

fn walk(name: &str, bytes: &[u8]) -> secateur::Result<()> {
    let path = file::of(name, bytes);
    let shape = [None, Some(3), Some(8), Some(8)];
    let options = DataOptions { images: Some(MOST), ..DataOptions::default() };
    let images = Dataset::open(&path.to_string_lossy(), &options, &shape)?;
    images.labels();
    for batch in images.batches(4) {
        batch?;
    }
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    // An error is an answer.
    let _ = match first % 3 {
        0 => read_npy_f32(file::of("x.npy", bytes)).map(|_| ()),
        1 => walk("images.npz", bytes),
        _ => walk("t10k-images-idx3-ubyte", bytes),
    };
});
