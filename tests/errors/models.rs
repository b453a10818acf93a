//! Files that are not models, and models with errors outside of nodes.

use prost::Message as _;
use secateur::onnx::proto::{
    AttributeProto, AttributeType, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    SparseTensorProto, StringStringEntryProto, TensorProto, TensorProtoSegment,
};

use super::case::{Case, case};
use super::notation::{message, model};

/// A title, and the function that damages a model.
type Damage = (&'static str, fn(&mut ModelProto));

/// A valid model of two nodes: `n1` with the weights `w1`, and `n2`.
const SOUND: &str = "Conv [1,3,8,8] =[4,3,3,3] pads=[1,1,1,1]; Relu ^";

const NO_MODELS: &[(&str, &[u8])] = &[
    ("an empty file", b""),
    ("a text", b"This is not a network.\n"),
    ("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\n"),
    ("a PyTorch checkpoint", b"PK\x03\x04"),
    ("a pickle", b"\x80\x02}"),
    ("a Keras file", b"\x89HDF\r\n"),
    ("a TensorFlow Lite model", b"\x1c\0\0\0TFL3"),
    ("a web page", b"<html></html>"),
];

const DAMAGES: &[Damage] = &[
    ("a model without nodes", |m| m.graph = Some(GraphProto::default())),
    ("a model without an IR version", |m| m.ir_version = None),
    ("a model of no operator set", |m| m.opset_import.clear()),
    ("a model of an old operator set", |m| m.opset_import[0].version = Some(6)),
    ("a model of operators of one vendor", |m| m.opset_import[0].domain = Some("com.example".into())),
    ("a model of a future operator set", |m| m.opset_import[0].version = Some(99)),
    ("two unknown operators", |m| {
        node(m, 0).op_type = Some("Frobnicate".into());
        node(m, 1).op_type = Some("Quuxify".into());
    }),
    ("a plugin of TensorRT", |m| node(m, 1).op_type = Some("EfficientNMS_TRT".into())),
    ("an operator of another domain", |m| node(m, 1).domain = Some("com.example".into())),
    ("a name of weights given twice", |m| graph(m).initializer.push(weights("w1"))),
    ("a negative dimension", |m| tensor(m).dims[0] = -4),
    ("dimensions beyond memory", |m| tensor(m).dims = vec![1 << 31, 1 << 31, 3, 3]),
    ("dimensions and no data", |m| tensor(m).dims = vec![1 << 20, 1 << 20]),
    ("too few bytes", |m| tensor(m).raw_data = Some(vec![0; 7].into())),
    ("weights in parts", |m| tensor(m).segment = Some(TensorProtoSegment::default())),
    ("weights of a type that is none", |m| tensor(m).data_type = Some(99)),
    ("weights of text", |m| {
        let text = vec![b"a".to_vec().into(); 108];
        *tensor(m) = TensorProto { data_type: Some(8), string_data: text, ..tensor(m).clone() };
    }),
    ("an integer beyond int64", |m| {
        graph(m).initializer.push(TensorProto {
            data_type: Some(13),
            uint64_data: vec![u64::MAX],
            dims: vec![1],
            ..weights("big")
        });
        node(m, 1).input.push("big".into());
    }),
    ("weights that are NaN", |m| tensor(m).float_data[7] = f32::NAN),
    ("sparse weights", |m| {
        let values = Some(weights("sparse"));
        graph(m).sparse_initializer.push(SparseTensorProto { values, ..SparseTensorProto::default() });
    }),
    ("an input that is no tensor", |m| graph(m).input[0].r#type = None),
    ("an input of text", |m| input(m).elem_type = Some(8)),
    ("an input without a shape", |m| input(m).shape = None),
    ("a value that nothing makes", |m| node(m, 1).input[0] = "nobody".into()),
    ("an output that nothing makes", |m| graph(m).output[0].name = Some("nobody".into())),
    ("no output", |m| graph(m).output.clear()),
    ("an input that a node makes", |m| {
        node(m, 0).input[0] = "w1".into();
        node(m, 1).output[0] = "x1".into();
        graph(m).output[0].name = Some("x1".into());
    }),
    ("a value made twice", |m| node(m, 1).output[0] = "v1".into()),
    ("a cycle", |m| node(m, 0).input[0] = "y".into()),
    ("an attribute that is no text", |m| {
        attribute(m, "auto_pad").s = Some(b"\xff".to_vec().into());
        attribute(m, "auto_pad").r#type = Some(AttributeType::String as i32);
    }),
    ("a parameter outside of a function", |m| attribute(m, "pads").ref_attr_name = Some("p".into())),
    ("an attribute of weights that do not fit", |m| {
        let constant = NodeProto {
            op_type: Some("Constant".into()),
            name: Some("constant".into()),
            output: vec!["c".into()],
            ..NodeProto::default()
        };
        graph(m).node.insert(0, constant);
        attribute(m, "value").t = Some(Box::new(TensorProto { dims: vec![2], ..weights("c") }));
        attribute(m, "value").r#type = Some(AttributeType::Tensor as i32);
    }),
    ("a function that calls itself", |m| call(m, |f| f.node = vec![f_call()])),
    ("a function of another operator set", |m| call(m, |f| f.opset_import[0].version = Some(7))),
    ("an If without a branch", |m| {
        graph(m).initializer.push(TensorProto {
            data_type: Some(9),
            int32_data: vec![1],
            float_data: vec![],
            ..weights("true")
        });
        *node(m, 1) =
            NodeProto { op_type: Some("If".into()), input: vec!["true".into()], ..node(m, 1).clone() };
    }),
    ("an If that the input decides", |m| node(m, 1).op_type = Some("If".into())),
    ("external weights without a place", |m| external(m, &[])),
    ("external weights elsewhere", |m| external(m, &[("location", "../w.bin")])),
    ("external weights that are missing", |m| external(m, &[("location", "missing.bin")])),
    ("external weights in a folder", |m| external(m, &[("location", "folder")])),
    ("external weights at no number", |m| external(m, &[("location", "w.bin"), ("offset", "far")])),
    ("external weights of no length", |m| external(m, &[("location", "w.bin"), ("length", "long")])),
    ("external weights beyond the end", |m| external(m, &[("location", "w.bin"), ("length", "432")])),
    ("external weights of another length", |m| external(m, &[("location", "w.bin"), ("length", "4")])),
    ("external weights of text", |m| {
        external(m, &[("location", "w.bin")]);
        tensor(m).data_type = Some(8);
    }),
];

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn node(model: &mut ModelProto, at: usize) -> &mut NodeProto {
    &mut graph(model).node[at]
}

fn tensor(model: &mut ModelProto) -> &mut TensorProto {
    &mut graph(model).initializer[0]
}

fn input(model: &mut ModelProto) -> &mut secateur::onnx::proto::TypeProtoTensor {
    graph(model).input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap()
}

/// Returns an attribute of the first node; adds it if it is missing.
fn attribute<'a>(model: &'a mut ModelProto, name: &str) -> &'a mut AttributeProto {
    let all = &mut node(model, 0).attribute;
    if !all.iter().any(|a| a.name() == name) {
        all.push(AttributeProto { name: Some(name.into()), ..AttributeProto::default() });
    }
    all.iter_mut().find(|a| a.name() == name).unwrap()
}

/// Creates a tensor of one float.
fn weights(name: &str) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(1),
        float_data: vec![1.0],
        dims: vec![1],
        ..TensorProto::default()
    }
}

fn external(model: &mut ModelProto, entries: &[(&str, &str)]) {
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some((*key).into()),
        value: Some((*value).into()),
    };
    let weights = tensor(model);
    weights.float_data.clear();
    weights.data_location = Some(1);
    weights.external_data = entries.iter().map(entry).collect();
}

/// Turns the second node into a call of a function, which `change` damages.
fn call(model: &mut ModelProto, change: fn(&mut FunctionProto)) {
    let mut function = FunctionProto {
        name: Some("F".into()),
        domain: Some("local".into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(18) }],
        ..FunctionProto::default()
    };
    change(&mut function);
    model.functions.push(function);
    *node(model, 1) = NodeProto { input: vec!["v1".into()], output: vec!["y".into()], ..f_call() };
}

fn f_call() -> NodeProto {
    NodeProto {
        op_type: Some("F".into()),
        domain: Some("local".into()),
        name: Some("call".into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        ..NodeProto::default()
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let inspect = |title, bytes: Vec<u8>| case(title, "inspect model.onnx").with("model.onnx", bytes);
    let none = NO_MODELS.iter().map(|(title, bytes)| inspect(title, bytes.to_vec()));
    let damaged = DAMAGES.iter().map(|(title, damage)| {
        let mut message = message(SOUND);
        damage(&mut message);
        inspect(title, message.encode_to_vec()).with("w.bin", vec![0; 16]).with("folder/", [])
    });
    let cut = model(SOUND);
    let cut_short = inspect("a model that was cut short", cut[..cut.len() / 2].to_vec());
    let missing = case("a model that is not there", "inspect nothing.onnx");
    let folder = case("a folder for a model", "inspect folder").with("folder/", []);
    [missing, folder, cut_short].into_iter().chain(none).chain(damaged).collect()
}
