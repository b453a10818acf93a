//! Typed access to the attributes of a node.
//!
//! An absent attribute is `None`; an attribute of another type is an error that names node and attribute.

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::Tensor;

use super::proto::{AttributeProto, AttributeType, NodeProto};
use super::tensor;

/// Returns the name of a node for messages, or its operator and first output if it has none.
pub fn node_label(node: &NodeProto) -> String {
    match (node.name(), node.output.iter().find(|output| !output.is_empty())) {
        ("", Some(output)) => format!("{} → {output}", node.op_type()),
        ("", None) => node.op_type().to_owned(),
        (name, _) => name.to_owned(),
    }
}

/// The attributes of a node, by name.
#[derive(Clone, Copy, Debug)]
pub struct Attrs<'a> {
    node: &'a NodeProto,
}

impl<'a> Attrs<'a> {
    /// Returns the attributes of `node`.
    pub fn new(node: &'a NodeProto) -> Self {
        Self { node }
    }

    /// Returns the names of the attributes that the node has.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.node.attribute.iter().map(AttributeProto::name)
    }

    /// Returns an integer attribute.
    ///
    /// # Errors
    /// An attribute of another type.
    pub fn int(&self, name: &str) -> Result<Option<i64>> {
        self.find(name, AttributeType::Int, |a| a.i)
    }

    /// Returns an integer attribute, or `default` if it is absent.
    ///
    /// # Errors
    /// An attribute of another type.
    pub fn int_or(&self, name: &str, default: i64) -> Result<i64> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// Returns an attribute that is a list of integers.
    ///
    /// # Errors
    /// An attribute of another type.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        self.find(name, AttributeType::Ints, |a| Some(a.ints.clone()))
    }

    /// Returns a floating-point attribute.
    ///
    /// # Errors
    /// An attribute of another type.
    pub fn float(&self, name: &str) -> Result<Option<f32>> {
        self.find(name, AttributeType::Float, |a| a.f)
    }

    /// Returns a floating-point attribute, or `default` if it is absent.
    ///
    /// # Errors
    /// An attribute of another type.
    pub fn float_or(&self, name: &str, default: f32) -> Result<f32> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    /// Returns an attribute that is a list of floats.
    ///
    /// # Errors
    /// An attribute of another type.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        self.find(name, AttributeType::Floats, |a| Some(a.floats.clone()))
    }

    /// Returns a string attribute.
    ///
    /// # Errors
    /// An attribute of another type, or bytes that are not UTF-8.
    pub fn string(&self, name: &str) -> Result<Option<String>> {
        let bytes = self.find(name, AttributeType::String, |a| a.s.clone())?;
        bytes
            .map(|bytes| String::from_utf8(bytes.to_vec()))
            .transpose()
            .map_err(|_| self.failure(name, "is not UTF-8 text"))
    }

    /// Returns an attribute that is a list of strings.
    ///
    /// # Errors
    /// An attribute of another type, or bytes that are not UTF-8.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<String>>> {
        let all = self.find(name, AttributeType::Strings, |a| Some(a.strings.clone()))?;
        let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec());
        all.map(|all| all.into_iter().map(text).collect::<std::result::Result<_, _>>())
            .transpose()
            .map_err(|_| self.failure(name, "is not UTF-8 text"))
    }

    /// Returns the decoded values of a tensor attribute.
    ///
    /// # Errors
    /// An attribute of another type, and the conditions of [`tensor::decode`].
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let proto = self.find(name, AttributeType::Tensor, |a| a.t.as_deref())?;
        proto
            .map(tensor::decode)
            .transpose()
            .map_err(|e| e.context(format!("attribute {name}")).node(node_label(self.node)))
    }

    /// Returns the value of an attribute, which must have the type `wanted`.
    ///
    /// Early versions of ONNX have no type field; an attribute without one is accepted if the value is present.
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
            return Err(self.failure(name, "refers to a parameter of a function, but is not in one"));
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
        Error::new(format!("attribute {name} {what}"))
            .with_kind(ErrorKind::InvalidModel)
            .node(node_label(self.node))
    }
}

/// Sets an integer attribute, and adds it if it is absent.
pub fn set_int(node: &mut NodeProto, name: &str, value: i64) {
    let attribute = reset(node, name, AttributeType::Int);
    attribute.i = Some(value);
}

/// Sets an attribute that is a list of integers, and adds it if it is absent.
pub fn set_ints(node: &mut NodeProto, name: &str, values: &[i64]) {
    let attribute = reset(node, name, AttributeType::Ints);
    attribute.ints = values.to_vec();
}

/// Returns an attribute with type `kind` and no value, keeping name and doc string; adds it if it is absent.
fn reset<'a>(node: &'a mut NodeProto, name: &str, kind: AttributeType) -> &'a mut AttributeProto {
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
