//! Fuzz target: any cut file is either applied to the demo network or refused with an error.

#![no_main]

mod file;

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use secateur::graph::Graph;
use secateur::onnx::Model;
use secateur::prune::{Channels, Cut};

struct Demo {
    sha256: String,
    graph: Graph,
    channels: Channels,
}

static DEMO: LazyLock<Demo> = LazyLock::new(|| {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.onnx"));
    let model = Model::load(path).expect("the demo's network");
    let graph = Graph::from_model(&model).expect("the demo's network");
    let channels = Channels::of(&graph).expect("the demo's network");
    Demo { sha256: model.sha256, graph, channels }
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut cut) = Cut::load(&file::of("cut.json", bytes)) {
        let _ = cut.removed(&DEMO.graph, &DEMO.sha256, &DEMO.channels);
        cut.model_sha256.clone_from(&DEMO.sha256);
        let _ = cut.removed(&DEMO.graph, &DEMO.sha256, &DEMO.channels);
    }
});
