//! A node's attributes, read with their types and set.
//!
//! An attribute that is absent is `None` (the caller knows the default); one of another type is an
//! error that names node and attribute.

use crate::error::{Error, Result};
use crate::tensor::Tensor;

use super::proto::{AttributeProto, AttributeType, NodeProto};
use super::tensor;

/// What messages call a node: its name, or its operator and first output where it has none.
pub fn node_label(node: &NodeProto) -> String {
    match (node.name(), node.output.iter().find(|output| !output.is_empty())) {
        ("", Some(output)) => format!("{} → {output}", node.op_type()),
        ("", None) => node.op_type().to_owned(),
        (name, _) => name.to_owned(),
    }
}

/// The attributes of one node.
#[derive(Clone, Copy, Debug)]
pub struct Attrs<'a> {
    node: &'a NodeProto,
}

impl<'a> Attrs<'a> {
    /// Those of `node`.
    pub fn new(node: &'a NodeProto) -> Self {
        Self { node }
    }

    /// The names of the attributes that the node has.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.node.attribute.iter().map(AttributeProto::name)
    }

    /// An integer.
    ///
    /// # Errors
    /// An attribute of this name that is of another type.
    pub fn int(&self, name: &str) -> Result<Option<i64>> {
        self.find(name, AttributeType::Int, |a| a.i)
    }

    /// An integer, or `default` where it is absent.
    ///
    /// # Errors
    /// As [`Attrs::int`].
    pub fn int_or(&self, name: &str, default: i64) -> Result<i64> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// A list of integers.
    ///
    /// # Errors
    /// As [`Attrs::int`].
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        self.find(name, AttributeType::Ints, |a| Some(a.ints.clone()))
    }

    /// A number.
    ///
    /// # Errors
    /// As [`Attrs::int`].
    pub fn float(&self, name: &str) -> Result<Option<f32>> {
        self.find(name, AttributeType::Float, |a| a.f)
    }

    /// A number, or `default` where it is absent.
    ///
    /// # Errors
    /// As [`Attrs::int`].
    pub fn float_or(&self, name: &str, default: f32) -> Result<f32> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    /// A list of numbers.
    ///
    /// # Errors
    /// As [`Attrs::int`].
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        self.find(name, AttributeType::Floats, |a| Some(a.floats.clone()))
    }

    /// A text.
    ///
    /// # Errors
    /// As [`Attrs::int`], and bytes that are not UTF-8.
    pub fn string(&self, name: &str) -> Result<Option<String>> {
        let bytes = self.find(name, AttributeType::String, |a| a.s.clone())?;
        bytes
            .map(|bytes| String::from_utf8(bytes.to_vec()))
            .transpose()
            .map_err(|_| self.failure(name, "is not UTF-8 text"))
    }

    /// A tensor's values.
    ///
    /// # Errors
    /// As [`Attrs::int`] and [`tensor::decode`].
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let proto = self.find(name, AttributeType::Tensor, |a| a.t.as_deref())?;
        proto
            .map(tensor::decode)
            .transpose()
            .map_err(|e| e.context(format!("attribute {name}")).node(node_label(self.node)))
    }

    /// The value of the attribute `name`, which must be of type `wanted`. Writers of the first ONNX
    /// versions left the type out: there, the value's presence must do.
    fn find<T>(
        &self,
        name: &str,
        wanted: AttributeType,
        value: impl Fn(&'a AttributeProto) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(attribute) = self.node.attribute.iter().find(|a| a.name() == name) else {
            return Ok(None);
        };
        if !attribute.ref_attr_name().is_empty() {
            return Err(self.failure(name, "stands for a parameter of a function, outside of one"));
        }
        let written = attribute.r#type.unwrap_or_default();
        let found = if written == wanted as i32 || written == AttributeType::Undefined as i32 {
            value(attribute)
        } else {
            None
        };
        found.map(Some).ok_or_else(|| {
            let got = AttributeType::try_from(written)
                .map_or_else(|_| format!("type {written}"), |t| format!("{t:?}").to_lowercase());
            self.failure(name, "has another type, or no value")
                .expected(format!("{wanted:?}").to_lowercase())
                .got(got)
        })
    }

    fn failure(&self, name: &str, what: &str) -> Error {
        Error::new(format!("attribute {name} {what}")).node(node_label(self.node))
    }
}

/// Sets an integer attribute, added where the node has none of this name.
pub fn set_int(node: &mut NodeProto, name: &str, value: i64) {
    let attribute = place(node, name, AttributeType::Int);
    attribute.i = Some(value);
}

/// Sets a list of integers, added where the node has none of this name.
pub fn set_ints(node: &mut NodeProto, name: &str, values: &[i64]) {
    let attribute = place(node, name, AttributeType::Ints);
    attribute.ints = values.to_vec();
}

/// The attribute `name`, emptied of its value and typed; name and doc string stay.
fn place<'a>(node: &'a mut NodeProto, name: &str, kind: AttributeType) -> &'a mut AttributeProto {
    let index = node.attribute.iter().position(|a| a.name() == name).unwrap_or_else(|| {
        node.attribute.push(AttributeProto { name: Some(name.to_owned()), ..Default::default() });
        node.attribute.len() - 1
    });
    let attribute = &mut node.attribute[index];
    *attribute = AttributeProto {
        name: attribute.name.take(),
        doc_string: attribute.doc_string.take(),
        r#type: Some(kind as i32),
        ..Default::default()
    };
    attribute
}
