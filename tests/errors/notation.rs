//! Small models in one line: `Conv [N,3,8,8] =[4,3,3,3] group=1; Relu ^`.
//!
//! Nodes are separated by `;` and begin with the operator, optionally after its domain and `:`, optionally followed by
//! `@` and the opset (default 18).
//! Notation of inputs:
//!
//! ```text
//! [N,3]  i64[3]    an input of the network, float by default
//! =[3,3] =u8[]     a constant of this shape, with reproducible values
//! (1,-1) (0.5,2.)  a list of integers, or of floats
//! 7      0.5       one number
//! ^      _         the output of the previous node; an omitted input
//! &v1              a value by its name
//! ```
//!
//! `name=3`, `name=[1,1]`, `name=0.5`, `name='text'` and `name=['a','b']` are attributes, `→2` is the number of outputs.

use prost::Message as _;
use secateur::onnx::proto::{
    AttributeProto, AttributeType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorShapeProtoDimension, TypeProto, TypeProtoTensor, ValueInfoProto,
};

/// Returns the encoded model.
pub(crate) fn model(text: &str) -> Vec<u8> {
    message(text).encode_to_vec()
}

/// Returns a model with nodes `n1`, `n2`…, weights `w1`, `w2`…, inputs `x1`…, values `v1`…, and the last value `y`.
pub(crate) fn message(text: &str) -> ModelProto {
    let mut graph = GraphProto::default();
    let mut opset = 18;
    let nodes: Vec<&str> = text.split(';').map(str::trim).collect();
    for (at, line) in nodes.iter().enumerate() {
        let mut words = line.split_whitespace();
        let op = words.next().unwrap();
        let (op, own) = op.split_once('@').unwrap_or((op, ""));
        let (domain, op) = op.split_once(':').unwrap_or(("", op));
        opset = own.parse().unwrap_or(opset);
        let mut node = NodeProto {
            op_type: Some(op.into()),
            domain: Some(domain.into()),
            name: Some(format!("n{}", at + 1)),
            ..NodeProto::default()
        };
        let mut outputs = 1;
        for word in words {
            if let Some(count) = word.strip_prefix('→') {
                outputs = count.parse().unwrap();
            } else if word.starts_with(char::is_alphabetic) && word.contains('=') {
                node.attribute.push(attribute(word));
            } else {
                let name = input(word, at, &mut graph);
                node.input.push(name);
            }
        }
        let made = if at + 1 == nodes.len() { "y".to_owned() } else { format!("v{}", at + 1) };
        node.output =
            (0..outputs).map(|k| if k == 0 { made.clone() } else { format!("{made}{k}") }).collect();
        graph.node.push(node);
    }
    let made = graph.node.last().unwrap().output.clone();
    graph.output =
        made.into_iter().map(|n| ValueInfoProto { name: Some(n), ..ValueInfoProto::default() }).collect();
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(opset) }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

/// Returns the name of an input; adds the input or constant to the graph if it is new.
fn input(word: &str, at: usize, graph: &mut GraphProto) -> String {
    match word {
        "_" => return String::new(),
        "^" => return format!("v{at}"),
        _ => {}
    }
    if let Some(name) = word.strip_prefix('&') {
        return name.to_owned();
    }
    let fed = !word.starts_with(['=', '(', '-']) && !word.starts_with(|c: char| c.is_ascii_digit());
    if fed {
        let name = format!("x{}", graph.input.len() + 1);
        graph.input.push(value(&name, word));
        return name;
    }
    let name = format!("w{}", graph.initializer.len() + 1);
    let mut tensor = match word.strip_prefix('=') {
        Some(described) => filled(described),
        None => listed(word),
    };
    tensor.name = Some(name.clone());
    graph.initializer.push(tensor);
    name
}

/// Parses a type and dimensions such as `u8[N,3]`.
fn described(word: &str) -> (i32, Vec<&str>) {
    let (kind, dims) = word.trim_end_matches(']').split_once('[').unwrap();
    let kinds = ["f32", "u8", "i8", "u16", "i16", "i32", "i64", "text", "bool", "f16", "f64", "u32", "u64"];
    let code = kinds.iter().position(|k| *k == kind).map_or(1, |at| at as i32 + 1);
    (code, dims.split(',').filter(|d| !d.is_empty()).collect())
}

fn value(name: &str, word: &str) -> ValueInfoProto {
    let (code, dims) = described(word);
    let dim = dims.into_iter().map(|d| match d.parse() {
        Ok(n) => TensorShapeProtoDimension { dim_value: Some(n), ..TensorShapeProtoDimension::default() },
        Err(_) => {
            TensorShapeProtoDimension { dim_param: Some(d.into()), ..TensorShapeProtoDimension::default() }
        }
    });
    let tensor =
        TypeProtoTensor { elem_type: Some(code), shape: Some(TensorShapeProto { dim: dim.collect() }) };
    let kind = TypeProto { tensor_type: Some(tensor), ..TypeProto::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(kind), ..ValueInfoProto::default() }
}

/// Creates a constant of a shape: noise for floats, otherwise ones.
fn filled(word: &str) -> TensorProto {
    let (code, dims) = described(word);
    let dims: Vec<i64> = dims.iter().map(|d| d.parse().unwrap()).collect();
    let len: i64 = dims.iter().product();
    let mut tensor = TensorProto { data_type: Some(code), dims, ..TensorProto::default() };
    match code {
        1 => tensor.float_data = (0..len).map(|k| (k * 7919 % 1009) as f32 / 504.5 - 1.0).collect(),
        7 => tensor.int64_data = vec![1; len as usize],
        8 => tensor.string_data = vec![b"a".to_vec().into(); len as usize],
        _ => tensor.int32_data = vec![1; len as usize],
    }
    tensor
}

/// Creates a constant list or a single number.
fn listed(word: &str) -> TensorProto {
    let items: Vec<&str> = word.trim_matches(['(', ')']).split(',').filter(|i| !i.is_empty()).collect();
    let dims = if word.starts_with('(') { vec![items.len() as i64] } else { vec![] };
    if word.contains('.') {
        let float_data = items.iter().map(|i| i.parse().unwrap()).collect();
        TensorProto { data_type: Some(1), dims, float_data, ..TensorProto::default() }
    } else {
        let int64_data = items.iter().map(|i| i.parse().unwrap()).collect();
        TensorProto { data_type: Some(7), dims, int64_data, ..TensorProto::default() }
    }
}

fn attribute(word: &str) -> AttributeProto {
    let (name, text) = word.split_once('=').unwrap();
    let mut attribute = AttributeProto { name: Some(name.into()), ..AttributeProto::default() };
    let list: Vec<&str> = text.trim_matches(['[', ']']).split(',').filter(|i| !i.is_empty()).collect();
    let kind = match (text.starts_with('['), text.contains('.')) {
        _ if text.starts_with('\'') => {
            attribute.s = Some(text.trim_matches('\'').as_bytes().to_vec().into());
            AttributeType::String
        }
        _ if text.starts_with("['") => {
            attribute.strings =
                list.iter().map(|i| i.trim_matches('\'').as_bytes().to_vec().into()).collect();
            AttributeType::Strings
        }
        (true, false) => {
            attribute.ints = list.iter().map(|i| i.parse().unwrap()).collect();
            AttributeType::Ints
        }
        (true, true) => {
            attribute.floats = list.iter().map(|i| i.parse().unwrap()).collect();
            AttributeType::Floats
        }
        (false, false) => {
            attribute.i = Some(text.parse().unwrap());
            AttributeType::Int
        }
        (false, true) => {
            attribute.f = Some(text.parse().unwrap());
            AttributeType::Float
        }
    };
    attribute.r#type = Some(kind as i32);
    attribute
}
