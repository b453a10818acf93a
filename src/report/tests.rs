use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::graph::Graph;
use crate::graph::facts::Facts;
use crate::onnx::Model;
use crate::prune::{Channels, Cut, Judged, Score, rewrite};
use crate::stats::{Distances, Header, Profile};

const HOSTILE: &str = "</script><script>alert(1)</script><!--<script>{{script}}";

/// The JSON of a page up to the first end of a script, as a browser parses it.
fn data(html: &str) -> Value {
    let (_, rest) =
        html.split_once("<script type=\"application/json\" id=\"data\">").expect("a block of data");
    serde_json::from_str(rest.split_once("</script>").expect("its end").0).expect("JSON")
}

#[test]
fn names_stay_text() {
    let layer = LayerSection { name: HOSTILE.to_owned(), ..LayerSection::default() };
    let blocked = Some([HOSTILE.to_owned(), "is <b>an output</b>".to_owned()]);
    let page = Page {
        model: HOSTILE.to_owned(),
        layers: vec![layer],
        dependency_groups: vec![GroupRow { blocked, ..GroupRow::default() }],
        repeat: vec![Repeat { what: "Command".to_owned(), value: HOSTILE.to_owned() }],
        ..Page::default()
    };
    let html = render(&page);
    let plain = render(&Page::default());
    for mark in ["<script", "</script", "<!--", "<b>"] {
        assert_eq!(html.matches(mark).count(), plain.matches(mark).count(), "{mark} of a name is markup");
    }
    let data = data(&html);
    assert_eq!(data["layers"][0]["name"], HOSTILE);
    assert_eq!(data["dependency_groups"][0]["blocked"][0], HOSTILE);
    assert_eq!(data["repeat"][0]["value"], HOSTILE);
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let html = render(&Page::default());
    assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"));
    assert_eq!(html.matches("</script").count(), 2, "the data and the scripts, neither of which ends early");
    // The namespace of SVG is an address that is never opened.
    let text = html.replace("http://www.w3.org/2000/svg", "");
    for mark in ["http:", "https:", "src=", "@import", "<link rel=\"stylesheet", "fetch(", "innerHTML"] {
        assert!(!text.contains(mark), "{mark}");
    }
    assert!(!html.contains("{{"), "a mark of the document is left");
}

#[test]
fn nan_and_infinity_become_null() {
    let mut layer = LayerSection::default();
    layer.values.insert("w_l1", [1.0, f64::NAN, f64::INFINITY].map(Num).to_vec());
    let quality = Quality { top1: Some([f64::NAN, 0.5]), kl: Some(f64::INFINITY), ..Quality::default() };
    let summary = Summary { quality: Some(quality), ..Summary::default() };
    let data = data(&render(&Page { layers: vec![layer], summary, ..Page::default() }));
    assert_eq!(data["layers"][0]["values"]["w_l1"].to_string(), "[1,null,null]");
    assert_eq!(data["summary"]["quality"]["top1"].to_string(), "[null,0.5]");
}

/// 200 layers of 100 channels, with every column and its errors.
#[test]
fn a_page_of_a_large_network_has_a_few_megabytes() {
    let numbers = |layer: usize| -> Vec<Num> {
        (0..100).map(|c| Num((((layer * 100 + c) as f64) * 0.618_034).sin() * 1e-3)).collect()
    };
    let layer = |i: usize| {
        let mut layer =
            LayerSection { name: format!("/stage{i}/block/conv/Conv"), ..LayerSection::default() };
        layer.state = "kc".repeat(50);
        for column in network::columns() {
            layer.values.insert(column.key, numbers(i));
            layer.errors.insert(column.key, numbers(i + 7));
        }
        layer
    };
    let html = render(&Page { layers: (0..200).map(layer).collect(), ..Page::default() });
    assert_eq!(data(&html)["layers"].as_array().expect("layers").len(), 200);
    let values = 200 * 100 * 2 * network::columns().len();
    assert!(html.len() > 5 * values && html.len() < 6 << 20, "{} bytes", html.len());
}

#[test]
fn a_page_agrees_with_its_cut() {
    let model = Model::from_bytes(&include_bytes!("../../assets/demo.onnx")[..], Path::new("demo.onnx"))
        .expect("the demo network");
    let graph = Graph::from_model(&model).expect("a graph");
    let channels = Channels::of(&graph).expect("coupled");
    let free = channels.coupled.iter().filter(|k| k.block.is_none()).map(|k| k.id);
    let removed: BTreeSet<usize> = free.step_by(3).collect();
    let score = |id: usize| Score { value: id as f64, error: Some(0.5) };
    let judged: Vec<Judged> =
        (0..channels.coupled.len()).map(|id| Judged { score: score(id), confidence: None }).collect();
    let names = ("l1".to_owned(), "some".to_owned());
    let cut = Cut::new((&graph, &model.sha256), &channels, &judged, &removed, names).expect("a cut");
    let profile = Profile::of_weights(&graph, Header::default(), Distances::None).expect("statistics");
    let mut layers = network::described(&graph, &channels, &cut, &removed, &profile);
    let total = channels.cost(&channels.lengths()).0;
    assert_eq!(layers.iter().filter_map(|l| l.macs[0]).sum::<u64>(), total);
    for layer in &layers {
        assert_eq!(layer.state.len(), layer.width[0], "{}", layer.name);
        assert_eq!(layer.state.matches('c').count(), layer.width[0] - layer.width[1], "{}", layer.name);
        assert!(layer.values["w_l1"].len() == layer.width[0] && !layer.values.contains_key("a_mean"));
        assert!(layer.errors["score"].iter().filter(|e| e.0 == 0.5).count() == layer.width[0]);
    }
    let dependency_groups = network::group_rows(&graph, &channels, &layers, &removed);
    assert_eq!(dependency_groups.iter().map(|t| t.coupled).sum::<usize>(), channels.coupled.len());
    assert_eq!(dependency_groups.iter().map(|t| t.cut).sum::<usize>(), removed.len());
    assert!(
        dependency_groups.iter().any(|t| t.blocked.is_some())
            && dependency_groups.iter().all(|t| !t.layers.is_empty())
    );

    let small = rewrite(&model, &graph, &channels, &removed).expect("a smaller network").model;
    let small = Graph::from_model(&small).expect("its graph");
    let facts = Facts::at_own_size(&small).expect("its facts");
    assert_eq!(network::shrunk(&mut layers, &small, &facts), None);
    let left: u64 = layers.iter().filter_map(|l| l.macs[1]).sum();
    assert!(left < total && left > 0);
    let own = network::shrunk(&mut layers, &graph, &channels.facts);
    assert!(own.is_some(), "the original does not have the widths of the cut");

    let drawn = pictures::filters(&graph, &channels.facts, None).expect("pictures").expect("filters");
    assert_eq!((drawn.layer, drawn.sheet.count), (0, layers[0].width[0]));
}
