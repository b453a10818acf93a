//! Shared weights: files with codebooks and indices compute the outputs of the rounded weights, and can be used on.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use secateur::data::synthetic;
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::facts::Facts;
use secateur::graph::{Graph, Sizes};
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::onnx::tensor::{decode, encode, keep};
use secateur::prune::{Channels, rewrite, with_constants};
use secateur::quantize::coding::coded_size;
use secateur::quantize::palette::{Codebook, PaletteBits, share_weights, shared_weights, write};
use secateur::repair::Images;
use secateur::tensor::{DType, SampleShape, Tensor};
use secateur::train::parameters;

const BITS: [PaletteBits; 3] = [PaletteBits::Four, PaletteBits::Six, PaletteBits::Eight];

/// The demo's network, with another opset. Its operators are the same in all of these opsets.
fn model(opset: i64) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo.onnx");
    let mut model = Model::load(&path).unwrap();
    model.proto.opset_import.iter_mut().for_each(|set| set.version = Some(opset));
    model
}

fn images(seed: u64, count: usize) -> Images {
    let (bytes, _) = synthetic::images(seed, count);
    let data = bytes.iter().map(|&b| (f32::from(b) / 255.0 - 0.5) / 0.25).collect();
    Images { data: Arc::new(data), sample: SampleShape::of_one(&[3, 32, 32]), count }
}

fn outputs(model: &Model, images: &Images) -> Vec<f32> {
    let graph = Graph::from_model(model).unwrap();
    Session::plain(&graph, &Device::Cpu, None).unwrap().predict(&images.data).unwrap()
}

/// Σ (a − b)² over Σ b².
fn error(got: &[f32], wanted: &[f32]) -> f64 {
    let off: f64 = got.iter().zip(wanted).map(|(&a, &b)| f64::from(a - b).powi(2)).sum();
    off / wanted.iter().map(|&b| f64::from(b).powi(2)).sum::<f64>()
}

/// The model with every weight of a layer rounded to a codebook, and the names of these weights.
fn rounded(model: &Model, bits: PaletteBits) -> (Model, BTreeSet<String>) {
    let weights = model.graph().initializer.iter().filter(|tensor| tensor.dims.len() > 1);
    let rounded = weights.map(|tensor| {
        let weight = decode(tensor).unwrap();
        let numbers = weight.floats().unwrap();
        let book = Codebook::of(numbers, None, bits.values());
        (tensor.name().to_owned(), Tensor::float(&weight.shape, book.rounded(numbers)))
    });
    let rounded: Vec<(String, Tensor)> = rounded.collect();
    let model = with_constants(model, rounded.iter().map(|(name, tensor)| (name, tensor)), []).unwrap();
    (model, rounded.into_iter().map(|(name, _)| name).collect())
}

#[test]
fn files_with_codebooks_compute_what_the_rounded_weights_compute() {
    // Slice by attributes, Slice by inputs, integers of 4 bits.
    for opset in [9, 17, 21] {
        for bits in BITS {
            let (rounded, names) = rounded(&model(opset), bits);
            let written = write(&rounded, &names, bits).unwrap();
            let written = Model::from_bytes(written.to_bytes(), Path::new("shared.onnx")).unwrap();
            let some = images(3, 4);
            assert_eq!(outputs(&written, &some), outputs(&rounded, &some), "opset {opset}, {bits}");
            let found = shared_weights(&written);
            let of: BTreeSet<String> = found.iter().map(|weight| weight.name.clone()).collect();
            assert_eq!(of, names, "opset {opset}, {bits}");
            for weight in found {
                let numbers: Vec<f32> =
                    weight.indices.iter().map(|&index| weight.values[usize::from(index)]).collect();
                let own = rounded.graph().initializer.iter().find(|t| t.name() == weight.name).unwrap();
                assert_eq!(**decode(own).unwrap().floats().unwrap(), numbers);
            }
        }
    }
}

#[test]
fn indices_take_the_bits_of_the_palette_on_disk() {
    for (opset, bits) in [9, 17, 21].into_iter().flat_map(|opset| BITS.map(|bits| (opset, bits))) {
        let model = model(opset);
        let graph = Graph::from_model(&model).unwrap();
        let channels = Channels::of(&graph).unwrap();
        let shared = share_weights(&model, (&graph, &channels), bits, None, &mut Silent).unwrap();
        let found = shared_weights(&shared.model);
        let count: usize = found.iter().map(|weight| weight.indices.len()).sum();
        let packed: usize = found
            .iter()
            .flat_map(|weight| &weight.packed)
            .map(|name| shared.model.graph().initializer.iter().find(|t| t.name() == name).unwrap())
            .map(|tensor| tensor.raw_data().len())
            .sum();
        assert!(count > 1000 && packed <= count * bits.bits() as usize / 8 + 2 * found.len(), "{packed}");
        assert_eq!(found.len(), shared.layers.len());
        let size = coded_size(&shared.model).unwrap();
        assert!(size.bytes() < size.file && size.bytes() < model.bytes / 3, "{size:?}");
    }
}

#[test]
fn refitted_codebooks_keep_the_outputs() {
    let model = model(17);
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let (calibration, test) = (images(5, 200), images(6, 100));
    let wanted = outputs(&model, &test);
    let of = |images: Option<(&Device, &Images)>| {
        let shared =
            share_weights(&model, (&graph, &channels), PaletteBits::Four, images, &mut Silent).unwrap();
        assert!(shared.unrefitted.is_empty(), "{:?}", shared.unrefitted);
        assert!(shared_weights(&shared.model).iter().all(|weight| weight.values.len() <= 16));
        error(&outputs(&shared.model, &test), &wanted)
    };
    let (plain, refitted) = (of(None), of(Some((&Device::Cpu, &calibration))));
    assert!(plain < 0.05 && refitted < 0.5 * plain, "{refitted} of {plain}");
}

#[test]
fn networks_with_shared_weights_are_cut() {
    for (opset, bits) in [9, 17, 21].into_iter().flat_map(|opset| BITS.map(|bits| (opset, bits))) {
        let (rounded, names) = rounded(&model(opset), bits);
        let written = write(&rounded, &names, bits).unwrap();
        let cut = |model: &Model| {
            let graph = Graph::from_model(model).unwrap();
            let channels = Channels::of(&graph).unwrap();
            let removed = channels.coupled.iter().filter(|k| k.block.is_none()).map(|k| k.id).step_by(3);
            rewrite(model, &graph, &channels, &removed.collect()).unwrap().model
        };
        let some = images(3, 4);
        let (shared, plain) = (cut(&written), cut(&rounded));
        assert_eq!(outputs(&shared, &some), outputs(&plain, &some), "opset {opset}, {bits}");
        // Indices of the weight's own shape are cut; packed ones are replaced by weights.
        let whole = bits == PaletteBits::Eight || opset >= 21 && bits == PaletteBits::Four;
        assert_eq!(
            shared_weights(&shared).len(),
            if whole { names.len() } else { 0 },
            "opset {opset}, {bits}"
        );
    }
}

#[test]
fn integers_of_four_bits_are_read_and_cut() {
    for (dtype, numbers) in
        [(DType::U4, [1, 2, 15, 4, 5, 6, 7, 8, 0]), (DType::I4, [1, -2, -8, 4, 5, 6, 7, -1, 0])]
    {
        let tensor = Tensor { dtype, ..Tensor::int(&[3, 3], numbers.to_vec()) };
        let message = encode("w", &tensor);
        assert_eq!(message.raw_data().len(), 5);
        assert_eq!(decode(&message).unwrap(), tensor);
        let less = keep(&message, &[Some(vec![true, false, true]), Some(vec![false, true, true])]).unwrap();
        let left: Vec<i64> = [1, 2, 7, 8].map(|at: usize| numbers[at]).to_vec();
        assert_eq!(decode(&less).unwrap(), Tensor { dtype, ..Tensor::int(&[2, 2], left) });
    }
}

#[test]
fn codebooks_are_the_parameters_of_a_training() {
    for (opset, bits) in [(17, PaletteBits::Four), (17, PaletteBits::Six), (21, PaletteBits::Four)] {
        let (rounded, names) = rounded(&model(opset), bits);
        let written = write(&rounded, &names, bits).unwrap();
        let graph = Graph::from_model(&written).unwrap();
        let facts = Facts::infer(&graph, &graph.input_shapes(None, &Sizes::Own).unwrap()).unwrap();
        let trained: BTreeSet<String> = parameters(&graph, &facts).into_iter().map(|p| p.name).collect();
        for name in names {
            assert!(trained.contains(&format!("{name}.codebook")), "{name} of {trained:?}");
        }
    }
}
