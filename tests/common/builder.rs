//! Builds small networks as ONNX files, by hand or at random from a list of choices.
//!
//! Every building block occurs in real networks; their combinations are new. Weights are random, and
//! BatchNormalization has statistics. The batch is symbolic, except in some random networks.

#[path = "computed.rs"]
mod computed;
#[path = "folds.rs"]
mod folds;
#[path = "forms.rs"]
mod forms;
#[path = "mixes.rs"]
mod mixes;
#[path = "random_networks.rs"]
mod random_networks;
#[path = "recurrences.rs"]
mod recurrences;
#[path = "spaces.rs"]
mod spaces;

pub(crate) use forms::First;
pub(crate) use mixes::Heads;
use prost::Message as _;
#[allow(unused_imports)] // not every test builds random networks
pub(crate) use random_networks::random;
#[allow(unused_imports)] // not every test has recurrent layers
pub(crate) use recurrences::Recurrence;
use secateur::onnx::proto::{
    AttributeProto, AttributeType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorShapeProtoDimension, TypeProto, TypeProtoTensor, ValueInfoProto,
};
use secateur::onnx::tensor::encode;
use secateur::tensor::{DType, Tensor};

/// ONNX's code of `f32`.
pub(crate) const FLOAT: i32 = 1;
/// ONNX's code of 64-bit integers.
pub(crate) const INT64: i32 = 7;
/// ONNX's code of booleans.
pub(crate) const BOOL: i32 = 9;

/// A value of the graph under construction: its name, and its shape without the batch.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

impl Value {
    fn channels(&self) -> usize {
        self.shape[0]
    }

    fn square(&self) -> usize {
        self.shape[1]
    }
}

/// A graph under construction, with its initializers.
pub(crate) struct Builder {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    state: u64,
    count: usize,
    side: usize,
    /// Declared inputs; without any, the input is the image `x`.
    inputs: Vec<ValueInfoProto>,
    /// The first axis of tensors.
    pub(crate) first: First,
    /// Operator set version of the file.
    pub(crate) opset: i64,
    /// True if a channel of zeros stays zero throughout: no Sigmoid, no added constant.
    pub(crate) keeps_zero: bool,
    /// Weights and bias of the last convolution: names, channels in and out.
    last: Option<(String, String, usize, usize)>,
}

/// An attribute that holds a list of integers.
pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Ints as i32),
        ints: values.to_vec(),
        ..Default::default()
    }
}

/// An attribute that holds an integer.
pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(value),
        ..Default::default()
    }
}

/// An attribute that holds a string.
pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::String as i32),
        s: Some(value.as_bytes().to_vec().into()),
        ..Default::default()
    }
}

fn number(d: i64) -> TensorShapeProtoDimension {
    TensorShapeProtoDimension { dim_value: Some(d), ..Default::default() }
}

fn typed(name: &str, elem_type: i32, dim: Vec<TensorShapeProtoDimension>) -> ValueInfoProto {
    let tensor = TypeProtoTensor { elem_type: Some(elem_type), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type: Some(tensor), ..Default::default() }),
        ..Default::default()
    }
}

fn symbol(name: &str) -> TensorShapeProtoDimension {
    TensorShapeProtoDimension { dim_param: Some(name.to_owned()), ..Default::default() }
}

/// Declares an `f32` input or output with a symbolic batch.
pub(crate) fn info(name: &str, dims: &[usize]) -> ValueInfoProto {
    typed(name, 1, std::iter::once(symbol("N")).chain(dims.iter().map(|&d| number(d as i64))).collect())
}

/// Declares a constant as an input of the graph.
pub(crate) fn declaration(name: &str, tensor: &TensorProto) -> ValueInfoProto {
    typed(name, tensor.data_type(), tensor.dims.iter().map(|&d| number(d)).collect())
}

/// Elementwise functions that map zero to zero.
const UNARY: [&str; 10] =
    ["Relu", "LeakyRelu", "Tanh", "Elu", "HardSwish", "Mish", "Sin", "Atan", "Asinh", "Shrink"];

impl Builder {
    /// Starts a graph with the input `x`, 3×side×side.
    pub(crate) fn new(seed: u64, side: usize) -> Self {
        Self {
            nodes: vec![],
            initializers: vec![],
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            count: 0,
            side,
            inputs: vec![],
            first: First::Batch,
            opset: 18,
            keeps_zero: true,
            last: None,
        }
    }

    /// The input of the graph.
    pub(crate) fn input(&self) -> Value {
        Value { name: "x".to_owned(), shape: vec![3, self.side, self.side] }
    }

    /// A random number, uniform in -1..1.
    fn noise(&mut self) -> f32 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn constant(&mut self, tensor: &Tensor) -> String {
        self.count += 1;
        let name = format!("c{}", self.count);
        self.initializers.push(encode(&name, tensor));
        name
    }

    /// Adds a constant of random numbers.
    pub(crate) fn floats(&mut self, shape: &[usize], around: f32, scale: f32) -> String {
        // Exporters store equal weights once, and refer to them by Identity nodes.
        let dims: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
        let twin = self
            .initializers
            .iter()
            .rev()
            .find(|t| t.dims == dims && t.data_type() == 1)
            .map(|t| t.name().to_owned());
        if let Some(twin) = twin.filter(|_| shape.len() == 1 && around == 0.0 && self.noise() > 0.4) {
            return self.node("Identity", &[&twin], vec![], shape).name;
        }
        let len = shape.iter().product();
        let data = (0..len).map(|_| around + scale * self.noise()).collect();
        self.constant(&Tensor::float(shape, data))
    }

    /// Adds an integer without axes.
    pub(crate) fn scalar(&mut self, value: i64) -> String {
        self.constant(&Tensor::int(&[], vec![value]))
    }

    /// Adds a list of integers.
    pub(crate) fn whole(&mut self, values: &[i64]) -> String {
        self.constant(&Tensor::int(&[values.len()], values.to_vec()))
    }

    /// Adds a node with one output of the given shape.
    pub(crate) fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
        shape: &[usize],
    ) -> Value {
        self.count += 1;
        let name = format!("{}{}", op.to_lowercase(), self.count);
        self.nodes.push(NodeProto {
            op_type: Some(op.to_owned()),
            name: Some(name.clone()),
            input: inputs.iter().map(|i| (*i).to_owned()).collect(),
            output: vec![name.clone()],
            attribute: attributes,
            ..Default::default()
        });
        Value { name, shape: shape.to_vec() }
    }

    /// Adds a node with several outputs.
    pub(crate) fn several(
        &mut self,
        op: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
        outputs: &[String],
    ) {
        self.count += 1;
        self.nodes.push(NodeProto {
            op_type: Some(op.to_owned()),
            name: Some(format!("{}{}", op.to_lowercase(), self.count)),
            input: inputs.iter().map(|i| (*i).to_owned()).collect(),
            output: outputs.to_vec(),
            attribute,
            ..Default::default()
        });
    }

    /// Adds a convolution with bias and "same" padding.
    pub(crate) fn conv(
        &mut self,
        x: &Value,
        out: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
    ) -> Value {
        let c = x.channels();
        let fan = (c / groups * kernel * kernel) as f32;
        let w = self.floats(&[out, c / groups, kernel, kernel], 0.0, (3.0 / fan).sqrt());
        let b = self.floats(&[out], 0.0, 0.3);
        if groups == 1 && kernel == 3 && stride == 1 {
            self.last = Some((w.clone(), b.clone(), c, out));
        }
        self.conv_with(x, (&w, &b), out, kernel, stride, groups)
    }

    /// Adds a convolution with int8 weights and a scale for each filter.
    pub(crate) fn quantized_conv(&mut self, x: &Value, out: usize) -> Value {
        let shape = [out, x.channels(), 3, 3];
        let data = (0..shape.iter().product()).map(|_| (self.noise() * 127.0) as i64).collect();
        let stored = Tensor { dtype: DType::I8, ..Tensor::int(&shape, data) };
        let zeros = Tensor { dtype: DType::I8, ..Tensor::int(&[out], vec![0; out]) };
        let (stored, zeros) = (self.constant(&stored), self.constant(&zeros));
        let scale = self.floats(&[out], 0.01, 0.005);
        let w = self.node("DequantizeLinear", &[&stored, &scale, &zeros], vec![int("axis", 0)], &shape);
        let b = self.floats(&[out], 0.0, 0.3);
        self.conv_with(x, (&w.name, &b), out, 3, 1, 1)
    }

    /// Adds a convolution whose weights are stored as f64 and take the type of its input by CastLike.
    pub(crate) fn cast_conv(&mut self, x: &Value, out: usize) -> Value {
        let shape = [out, x.channels(), 3, 3];
        let data = (0..shape.iter().product()).map(|_| f64::from(self.noise())).collect::<Vec<_>>();
        let stored = self.constant(&Tensor::from_f64(DType::F64, &shape, &data));
        let w = self.node("CastLike", &[&stored, &x.name], vec![], &shape);
        let b = self.floats(&[out], 0.0, 0.3);
        self.conv_with(x, (&w.name, &b), out, 3, 1, 1)
    }

    fn conv_with(
        &mut self,
        x: &Value,
        (w, b): (&str, &str),
        out: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
    ) -> Value {
        let pad = (kernel / 2) as i64;
        let side = (x.square() + 2 * (kernel / 2) - kernel) / stride + 1;
        let attributes =
            vec![ints("pads", &[pad; 4]), ints("strides", &[stride as i64; 2]), int("group", groups as i64)];
        self.node("Conv", &[&x.name, w, b], attributes, &[out, side, side])
    }

    fn same(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>, like: &Value) -> Value {
        self.node(op, inputs, attributes, &like.shape)
    }

    /// Adds a BatchNormalization with statistics.
    pub(crate) fn batch_norm(&mut self, x: &Value) -> Value {
        let c = [x.channels()];
        let parameters = [
            self.floats(&c, 1.0, 0.5),
            self.floats(&c, 0.0, 0.3),
            self.floats(&c, 0.0, 0.3),
            self.floats(&c, 1.0, 0.5),
        ];
        let mut inputs = vec![x.name.as_str()];
        inputs.extend(parameters.iter().map(String::as_str));
        self.same("BatchNormalization", &inputs, vec![], x)
    }

    /// Adds an elementwise function.
    pub(crate) fn unary(&mut self, op: &str, x: &Value) -> Value {
        if ["Sigmoid", "HardSigmoid", "Softplus", "Exp", "Cos"].contains(&op) {
            self.keeps_zero = false;
        }
        self.same(op, &[&x.name], vec![], x)
    }

    /// Adds a channel shuffle over `groups` groups.
    pub(crate) fn shuffle(&mut self, x: &Value, groups: usize) -> Value {
        let (c, s) = (x.channels(), x.square());
        let rows = self.rows();
        let apart = self.whole(&[rows, groups as i64, (c / groups) as i64, s as i64, s as i64]);
        let together = self.whole(&[rows, c as i64, s as i64, s as i64]);
        let y = self.node("Reshape", &[&x.name, &apart], vec![], &[groups, c / groups, s, s]);
        let y = self.node(
            "Transpose",
            &[&y.name],
            vec![ints("perm", &[0, 2, 1, 3, 4])],
            &[c / groups, groups, s, s],
        );
        self.node("Reshape", &[&y.name, &together], vec![], &x.shape)
    }

    /// Adds a squeeze-and-excitation block.
    fn gate(&mut self, x: &Value) -> Value {
        let c = x.channels();
        let pooled = self.node("GlobalAveragePool", &[&x.name], vec![], &[c, 1, 1]);
        let narrow = self.conv(&pooled, c.div_ceil(2), 1, 1, 1);
        let narrow = self.unary("Relu", &narrow);
        let wide = self.conv(&narrow, c, 1, 1, 1);
        // The gate's Sigmoid only multiplies, so zeros stay zero.
        let open = self.same("Sigmoid", &[&wide.name], vec![], &wide);
        self.same("Mul", &[&x.name, &open.name], vec![], x)
    }

    fn transpose(&mut self, x: &Value, perm: &[i64]) -> Value {
        let shape: Vec<usize> = perm[1..].iter().map(|&p| x.shape[p as usize - 1]).collect();
        self.node("Transpose", &[&x.name], vec![ints("perm", perm)], &shape)
    }

    /// Reshapes a value to another image shape.
    pub(crate) fn reshaped(&mut self, x: &Value, shape: &[usize]) -> Value {
        let whole: Vec<i64> = [self.rows()].into_iter().chain(shape.iter().map(|&d| d as i64)).collect();
        let target = self.whole(&whole);
        self.node("Reshape", &[&x.name, &target], vec![], shape)
    }

    /// Slices the middle part of the channels.
    pub(crate) fn slice(&mut self, x: &Value, from: usize, to: usize) -> Value {
        let [start, end, axis] = [from, to, 1].map(|v| self.whole(&[v as i64]));
        self.node("Slice", &[&x.name, &start, &end, &axis], vec![], &[to - from, x.shape[1], x.shape[2]])
    }

    /// Pads the channels with zeros before and after.
    pub(crate) fn pad(&mut self, x: &Value, before: usize, after: usize) -> Value {
        let pads = self.whole(&[0, before as i64, 0, 0, 0, after as i64, 0, 0]);
        self.node("Pad", &[&x.name, &pads], vec![], &[x.channels() + before + after, x.shape[1], x.shape[2]])
    }

    /// Adds a transposed convolution that doubles the size.
    pub(crate) fn up(&mut self, x: &Value, out: usize, groups: usize) -> Value {
        let w = self.floats(&[x.channels(), out / groups, 2, 2], 0.0, 0.5);
        let b = self.floats(&[out], 0.0, 0.3);
        let attributes = vec![ints("strides", &[2, 2]), int("group", groups as i64)];
        let side = 2 * x.square();
        self.node("ConvTranspose", &[&x.name, &w, &b], attributes, &[out, side, side])
    }

    /// Adds a random block after `x`; `choice` selects the block, `more` its variant.
    fn step(&mut self, x: &Value, others: &[Value], choice: u8, more: u8) -> Vec<Value> {
        let (c, s, more) = (x.channels(), x.square(), usize::from(more));
        let width = 4 + more % 7;
        let one = match choice % 47 {
            0 | 1 => self.conv(x, width, 3, if s >= 8 { 1 + more % 2 } else { 1 }, 1),
            2 => self.conv(x, width, 1, 1, 1),
            3 => self.conv(x, c * (1 + more % 2), 3, 1, c),
            4 if c % 2 == 0 => self.conv(x, 2 * (2 + more % 4), 3, 1, 2),
            5 | 6 => self.batch_norm(x),
            7 => self.unary(UNARY[more % UNARY.len()], x),
            8 => self.unary(["Sigmoid", "HardSigmoid", "Softplus", "Cos"][more % 4], x),
            9 | 10 => {
                let branch = self.conv(x, c, 3, 1, 1);
                let branch = if more % 2 == 0 { self.unary("Relu", &branch) } else { branch };
                self.same("Add", &[&x.name, &branch.name], vec![], x)
            }
            11 | 12 => {
                let other = others.iter().rev().find(|o| o.shape[1..] == x.shape[1..]).unwrap_or(x).clone();
                let shape = [c + other.channels(), s, s];
                self.node("Concat", &[&x.name, &other.name], vec![int("axis", 1)], &shape)
            }
            13 if c >= 4 => {
                let first = 1 + more % (c - 2);
                let sizes = self.whole(&[first as i64, (c - first) as i64]);
                let outputs = ["a", "b"].map(|part| format!("split{}{part}", self.count + 1));
                self.several("Split", &[&x.name, &sizes], vec![int("axis", 1)], &outputs);
                let [a, b] = outputs;
                return vec![
                    Value { name: a, shape: vec![first, s, s] },
                    Value { name: b, shape: vec![c - first, s, s] },
                ];
            }
            14 if c % 2 == 0 => self.shuffle(x, 2),
            15 => self.gate(x),
            16 => {
                let attributes = vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4])];
                self.same(["MaxPool", "AveragePool"][more % 2], &[&x.name], attributes, x)
            }
            17 if s <= 8 => {
                let scales = self.constant(&Tensor::float(&[4], vec![1.0, 1.0, 2.0, 2.0]));
                let mode = text("mode", ["nearest", "linear"][more % 2]);
                self.node("Resize", &[&x.name, "", &scales], vec![mode], &[c, 2 * s, 2 * s])
            }
            18 if s <= 8 => self.up(x, width, 1),
            19 if s <= 8 && c % 2 == 0 => {
                self.up(x, if more % 2 == 0 { c } else { 2 * width }, if more % 2 == 0 { c } else { 2 })
            }
            20 => self.pad(x, more % 3, 1 + more % 2),
            21 if c >= 4 => self.slice(x, more % 2, c - 1),
            22 if c % 4 == 0 => self.node(
                "DepthToSpace",
                &[&x.name],
                vec![int("blocksize", 2), text("mode", ["DCR", "CRD"][more % 2])],
                &[c / 4, 2 * s, 2 * s],
            ),
            23 => {
                let (scale, bias) = (self.floats(&[c], 1.0, 0.5), self.floats(&[c], 0.0, 0.3));
                self.same("InstanceNormalization", &[&x.name, &scale, &bias], vec![], x)
            }
            24 => {
                // Through N×H×W×C: a scale, and a 1×1 convolution as a product with a matrix.
                let last = self.transpose(x, &[0, 2, 3, 1]);
                let scale = self.floats(&[c], 1.0, 0.5);
                let scaled = self.same("Mul", &[&last.name, &scale], vec![], &last);
                let w = self.floats(&[c, width], 0.0, 0.5);
                let product = self.node("MatMul", &[&scaled.name, &w], vec![], &[s, s, width]);
                self.transpose(&product, &[0, 3, 1, 2])
            }
            25 => match self.last.clone().filter(|(_, _, c_in, _)| *c_in == c) {
                // Reuses the last weights.
                Some((w, b, _, out)) => self.conv_with(x, (&w, &b), out, 3, 1, 1),
                None => self.conv(x, width, 3, 1, 1),
            },
            26 => {
                let order: Vec<i64> = (0..c as i64).map(|i| (i * 5 + more as i64) % c as i64).collect();
                let indices = self.whole(&order);
                self.node("Gather", &[&x.name, &indices], vec![int("axis", 1)], &x.shape)
            }
            27 => {
                let rows = self.rows();
                let flat = self.whole(&[rows, -1]);
                let back = self.whole(&[if rows == 0 { -1 } else { rows }, c as i64, s as i64, s as i64]);
                let y = self.node("Reshape", &[&x.name, &flat], vec![], &[c * s * s]);
                self.node("Reshape", &[&y.name, &back], vec![], &x.shape)
            }
            28 => {
                let scale = self.floats(&[1, c, 1, 1], 1.0, 0.5);
                let op = ["Mul", "PRelu"][more % 2];
                let scale = if op == "PRelu" { self.floats(&[c, 1, 1], 0.3, 0.2) } else { scale };
                self.same(op, &[&x.name, &scale], vec![], x)
            }
            29 => self.layer_norm(x),
            30 if c % 2 == 0 => self.group_norm(x, 2),
            31 if c % 3 == 0 => self.group_norm_exported(x, 3),
            31 if c % 2 == 0 => self.group_norm_by_hand(x, 2),
            32 if c % 2 == 0 => self.group_softmax(x, 2),
            33 if s <= 8 => {
                let form = [Heads::Fused, Heads::Split, Heads::Einsum, Heads::Normed][more % 4];
                self.attention(x, (2 + more % 3, 2), width, form)
            }
            34 => self.dynamic_conv(x, width).1,
            35 => self.correlation(x, if more % 2 == 0 { c } else { 1 }, more % 3 == 0),
            36 if s % 2 == 0 => self.unpooled(x, false),
            37 if s >= 2 => self.spatial_transformer(x).1,
            38 => {
                self.deform_conv(
                    x,
                    if c % 2 == 0 { 2 * width } else { width },
                    if c % 2 == 0 { 2 } else { 1 },
                )
                .1
            }
            39 | 40 => {
                // A linear layer along the width, as in sound, or two with fewer features between them. Shifts of the
                // channels are added to its features, if those can be removed.
                self.keeps_zero = false;
                let inner = if choice % 47 == 39 { s } else { width };
                let w = self.floats(&[s, inner], 0.0, (3.0 / s as f32).sqrt());
                let first = self.node("MatMul", &[&x.name, &w], vec![], &[c, s, inner]);
                if inner == s {
                    return vec![first];
                }
                let first = self.unary("Tanh", &first);
                let w = self.floats(&[inner, s], 0.0, (3.0 / inner as f32).sqrt());
                self.node("MatMul", &[&first.name, &w], vec![], &x.shape)
            }
            41 if s <= 8 => self.recurrent_block(x, width, more),
            42 if s % 2 == 0 => self.windows(x, width),
            43 if c % 2 == 0 => return self.halves(x),
            44 if c % 2 == 0 => self.shared_groups(x, width),
            45 if s % 2 == 0 => self.phases(x, width),
            46 => self.slices(x, width),
            _ => self.conv(x, width, 3, 1, 1),
        };
        vec![one]
    }

    /// Adds a classifier over all `values`. Returns the bytes of the file, and whether zeros stay zero.
    pub(crate) fn finish(mut self, values: &[Value], flatten: bool) -> (Vec<u8>, bool) {
        let mut parts = Vec::new();
        for value in values {
            let (c, pixels) = (value.channels(), &value.shape[1..]);
            let pooled = if flatten && pixels.iter().product::<usize>() <= 64 {
                value.clone()
            } else {
                let one = [vec![c], vec![1; pixels.len()]].concat();
                self.node("GlobalAveragePool", &[&value.name], vec![], &one)
            };
            let len = pooled.shape.iter().product();
            parts.push(self.node("Flatten", &[&pooled.name], vec![], &[len]));
        }
        let len = parts.iter().map(|p| p.shape[0]).sum();
        let names: Vec<&str> = parts.iter().map(|p| p.name.as_str()).collect();
        let all = self.node("Concat", &names, vec![int("axis", 1)], &[len]);
        let w = self.floats(&[5, len], 0.0, (3.0 / len as f32).sqrt());
        let b = self.floats(&[5], 0.0, 0.3);
        let y = self.node("Gemm", &[&all.name, &w, &b], vec![int("transB", 1)], &[5]);
        let output = self.end(&y);
        let keeps_zero = self.keeps_zero;
        (self.file(vec![output]), keeps_zero)
    }

    /// Returns the bytes of a file with these outputs.
    fn file(self, output: Vec<ValueInfoProto>) -> Vec<u8> {
        let image = info("x", &[3, self.side, self.side]);
        let graph = GraphProto {
            name: Some("built".to_owned()),
            node: self.nodes,
            initializer: self.initializers,
            input: if self.inputs.is_empty() { vec![image] } else { self.inputs },
            output,
            ..Default::default()
        };
        let model = ModelProto {
            ir_version: Some(10),
            opset_import: vec![OperatorSetIdProto { version: Some(self.opset), ..Default::default() }],
            graph: Some(graph),
            ..Default::default()
        };
        model.encode_to_vec()
    }
}
