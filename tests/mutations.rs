//! Damaged models: any file is either loaded or refused with an error, without panics, hangs, or more memory than the
//! size of the file and of its tensors justify.
//!
//! SECATEUR_MUTATIONS sets the number of files (500 by default). SECATEUR_MUTATION selects a single one, which is also
//! written to the folder for temporary files.

#![allow(clippy::unwrap_used)] // a panic is a failed test

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use peak_alloc::PeakAlloc;
use prost::Message;
use secateur::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

#[path = "common/builder.rs"]
#[allow(dead_code)] // not every test builds everything
mod builder;
#[path = "common/dice.rs"]
mod dice;
#[path = "common/walk.rs"]
mod walk;

use dice::Dice;
use walk::{Most, Told, walk};

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// The longest time for one file.
const LONGEST: Duration = Duration::from_secs(10);
/// The most memory beyond four times the sizes of the file and of the largest tensor, in bytes: a plan's buffers.
const ROOM: usize = 96 << 20;
const MOST: Most = Most { macs: 1 << 26, elements: 1 << 22, labelled: usize::MAX };

/// The largest tensor of a model, and the peak memory before execution, which keeps 200 MB per thread for matrix
/// products of any size.
#[derive(Default)]
struct Measured {
    largest: AtomicUsize,
    peak: AtomicUsize,
}

impl Measured {
    fn record(&self, told: Told) {
        match told {
            Told::Largest(elements) => self.largest.store(elements, Ordering::Relaxed),
            Told::Cut => self.peak.store(PEAK.peak_usage(), Ordering::Relaxed),
        }
    }
}

impl Dice {
    fn number(&mut self) -> i64 {
        const ODD: [i64; 14] =
            [0, -1, 1, 2, 3, 7, 255, -2, 1 << 20, 1 << 31, 1 << 40, i64::MAX, i64::MIN, -(1 << 33)];
        ODD[self.roll(ODD.len())]
    }
}

fn damage_bytes(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.roll(bytes.len());
    match dice.roll(4) {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << dice.roll(8),
        2 => bytes[at] = dice.roll(256) as u8,
        _ => {
            let part = bytes[at..(at + 1 + dice.roll(40)).min(bytes.len())].to_vec();
            let to = dice.roll(bytes.len());
            bytes.splice(to..to, part);
        }
    }
}

fn damage_attribute(attribute: &mut AttributeProto, dice: &mut Dice) {
    match dice.roll(7) {
        0 => attribute.i = Some(dice.number()),
        1 => attribute.f = Some([f32::NAN, f32::INFINITY, -1.0, 0.0, 1e38][dice.roll(5)]),
        2 => attribute.ints.push(dice.number()),
        3 => drop(attribute.ints.pop()),
        4 => attribute.ints.iter_mut().for_each(|i| *i = dice.number()),
        5 => attribute.name = Some(["axis", "axes", "pads", "group", "to", "perm"][dice.roll(6)].to_owned()),
        _ => attribute.r#type = Some(dice.roll(16) as i32),
    }
}

fn damage_tensor(tensor: &mut TensorProto, dice: &mut Dice) {
    let number = dice.number();
    match dice.roll(6) {
        0 => tensor.dims.push(number),
        1 => drop(tensor.dims.pop()),
        2 => tensor.dims.iter_mut().for_each(|d| *d = number),
        3 => tensor.data_type = Some(dice.roll(30) as i32),
        4 => {
            let half = |raw: &bytes::Bytes| raw.slice(..raw.len() / 2);
            tensor.raw_data = tensor.raw_data.as_ref().map(half);
        }
        _ => {
            let at = dice.roll(tensor.dims.len());
            if let Some(dim) = tensor.dims.get_mut(at) {
                *dim = number;
            }
        }
    }
}

fn damage_node(graph: &mut GraphProto, dice: &mut Dice) {
    const OPERATORS: [&str; 24] = [
        "Reshape",
        "Concat",
        "Split",
        "Slice",
        "Gather",
        "Transpose",
        "Pad",
        "Expand",
        "Tile",
        "Resize",
        "ConstantOfShape",
        "Range",
        "MatMul",
        "Gemm",
        "Conv",
        "ConvTranspose",
        "ReduceMean",
        "TopK",
        "OneHot",
        "DepthToSpace",
        "Einsum",
        "NonMaxSuppression",
        "Unsqueeze",
        "BatchNormalization",
    ];
    let names: Vec<String> =
        graph.node.iter().flat_map(|n| n.input.iter().chain(&n.output)).cloned().collect();
    let at = dice.roll(graph.node.len());
    let other: NodeProto = graph.node[dice.roll(graph.node.len())].clone();
    let node = &mut graph.node[at];
    let input = dice.roll(node.input.len());
    match dice.roll(9) {
        0 => node.op_type = Some(OPERATORS[dice.roll(OPERATORS.len())].to_owned()),
        1 => drop(node.input.pop()),
        2 => node.input.extend(names.get(dice.roll(names.len())).cloned()),
        3 if !node.input.is_empty() => node.input[input].clone_from(&names[dice.roll(names.len())]),
        4 => drop(node.output.pop()),
        5 => node.attribute.clear(),
        6 => node.attribute.clone_from(&other.attribute),
        7 => graph.node.insert(at, other),
        _ => drop(graph.node.remove(at)),
    }
}

fn damage(model: &mut ModelProto, dice: &mut Dice) {
    let Some(graph) = &mut model.graph else { return };
    match dice.roll(6) {
        0 | 1 if !graph.node.is_empty() => damage_node(graph, dice),
        2 => {
            let all: Vec<&mut AttributeProto> =
                graph.node.iter_mut().flat_map(|n| &mut n.attribute).collect();
            let at = dice.roll(all.len());
            if let Some(attribute) = all.into_iter().nth(at) {
                damage_attribute(attribute, dice);
            }
        }
        3 => {
            let at = dice.roll(graph.initializer.len());
            if let Some(tensor) = graph.initializer.get_mut(at) {
                damage_tensor(tensor, dice);
            }
        }
        4 => {
            let number = dice.number();
            let infos = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
            let shapes = infos.filter_map(|i| i.r#type.as_mut()?.tensor_type.as_mut()?.shape.as_mut());
            let dims: Vec<_> = shapes.flat_map(|s| &mut s.dim).collect();
            let at = dice.roll(dims.len());
            if let Some(dim) = dims.into_iter().nth(at) {
                dim.dim_value = Some(number);
            }
        }
        _ => model.opset_import.iter_mut().for_each(|o| o.version = Some(dice.number())),
    }
}

/// Returns a random network with one to three damages.
fn damaged(seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let moves: Vec<(u8, u8, u8)> = (0..3 + dice.roll(6))
        .map(|_| (dice.roll(256) as u8, dice.roll(256) as u8, dice.roll(256) as u8))
        .collect();
    let (mut bytes, _) = builder::random(seed, &moves, dice.roll(2) == 0);
    for _ in 0..1 + dice.roll(3) {
        match ModelProto::decode(bytes.as_slice()) {
            Ok(mut model) if dice.roll(4) > 0 => {
                damage(&mut model, &mut dice);
                bytes = model.encode_to_vec();
            }
            _ if !bytes.is_empty() => damage_bytes(&mut bytes, &mut dice),
            _ => {}
        }
    }
    bytes
}

#[test]
fn damaged_models_are_loaded_or_refused() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seeds = match number("SECATEUR_MUTATION") {
        Some(one) => {
            let path = std::env::temp_dir().join("damaged.onnx");
            std::fs::write(&path, damaged(one)).unwrap();
            println!("{}", path.display());
            one..one + 1
        }
        None => 0..number("SECATEUR_MUTATIONS").unwrap_or(500),
    };
    let (mut fine, mut wrong) = (0, Vec::new());
    for seed in seeds {
        let bytes = damaged(seed);
        let size = bytes.len();
        let before = PEAK.current_usage();
        PEAK.reset_peak_usage();
        let measured = Arc::new(Measured::default());
        let (sender, receiver) = mpsc::channel();
        let own = Arc::clone(&measured);
        std::thread::spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| walk(bytes, MOST, &|told| own.record(told))));
            let _ = sender.send(result);
        });
        match receiver.recv_timeout(LONGEST) {
            Ok(Ok(result)) => fine += usize::from(result.is_ok()),
            Ok(Err(panic)) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                wrong.push(format!("{seed}: panicked: {}", text.unwrap_or_default()));
            }
            Err(_) => {
                wrong.push(format!("{seed}: still not done after {LONGEST:?}"));
                break;
            }
        }
        let at = |measured: &AtomicUsize| measured.load(Ordering::Relaxed);
        let peak = if at(&measured.peak) > 0 { at(&measured.peak) } else { PEAK.peak_usage() };
        let (peak, asked) = (peak.saturating_sub(before), 4 * at(&measured.largest));
        if peak > 4 * (size + asked) + ROOM {
            let (peak, size, asked) = (peak >> 20, size >> 10, asked >> 20);
            wrong.push(format!("{seed}: {peak} MB for a file of {size} kB that asks for {asked} MB"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{fine} could be run");
}
