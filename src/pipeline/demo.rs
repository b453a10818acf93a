//! A small trained network and images for it, both built in.
//!
//! `assets/train_demo.py` trained the network on images of the generator in [`crate::data::synthetic`].

use std::path::Path;

use super::calibration::{Calibration, Origin};
use super::network::Network;
use crate::data::{DataOptions, Dataset, synthetic};
use crate::error::Result;
use crate::onnx::Model;

const NETWORK: &[u8] = include_bytes!("../../assets/demo.onnx");
/// Calibration images and their seed.
const CALIBRATION: (usize, u64) = (512, 3);
/// Test images, which neither training nor calibration saw, and their seed.
const TEST: (usize, u64) = (1000, 4);

/// Returns the built-in network: images of 3×32×32, ten classes.
///
/// # Errors
/// None for the network as built in.
pub fn network() -> Result<Network> {
    Network::from_model(Model::from_bytes(NETWORK, Path::new("demo.onnx"))?)
}

/// Returns generated images for the built-in network, with labels.
///
/// # Errors
/// No images.
pub fn images(count: usize, seed: u64) -> Result<Dataset> {
    let (images, labels) = synthetic::images(seed, count);
    let options = DataOptions { mean: Some(vec![0.5]), std: Some(vec![0.25]), ..DataOptions::default() };
    let shape = [None, Some(3), Some(32), Some(32)];
    Dataset::from_bytes(images, &[count, 3, 32, 32], Some(&labels), &options, &shape)
}

/// Returns 512 calibration images, judged by 1,000 test images.
///
/// # Errors
/// None for the images as built in.
pub fn calibration() -> Result<Calibration> {
    let origin = Origin { data: "built in".to_owned(), shard: None };
    Ok(Calibration::with_test(images(CALIBRATION.0, CALIBRATION.1)?, origin, images(TEST.0, TEST.1)?))
}

/// Returns generated images as bytes, N×3×32×32, and their labels.
pub fn raw_images(count: usize, seed: u64) -> (Vec<u8>, Vec<u32>) {
    synthetic::images(seed, count)
}
