//! ONNX files: protobuf messages, validated loading, and saving.
//!
//! A [`Model`] contains the original message, of which the library edits parts, so that names, metadata and other tensors
//! survive. Loading guarantees invariants: there is a graph, the operator set is 7 or newer, the bytes of every tensor
//! are in the message (none is external) and match its dimensions, and names of initializers are unique.

pub mod attrs;
mod bindings;
mod external;
pub mod proto;
mod save;
pub mod tensor;
#[cfg(test)]
mod tests;
mod visit;

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};
use crate::file::folder_of;

pub use bindings::InputBindings;
use proto::{
    GraphProto, ModelProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TensorShapeProtoDimension,
    TypeProto, TypeProtoTensor, ValueInfoProto,
};
pub(crate) use visit::visit_tensors;

/// The oldest supported operator set; older ones define broadcasting differently.
pub const OLDEST_OPSET: i64 = 7;

/// A validated model, as its file contains it.
#[derive(Clone, Debug)]
pub struct Model {
    /// The message, in which tensors that were external have their bytes in `raw_data`.
    pub proto: ModelProto,
    /// The path of the file.
    pub path: PathBuf,
    /// The SHA-256 of the file's bytes followed by those of external tensors, in hexadecimal.
    pub sha256: String,
    /// The size of the file and of its external data files, in bytes.
    pub bytes: u64,
    /// The names of external tensors, which are external again when the model is saved.
    pub external: BTreeSet<String>,
    /// The external data files.
    pub data_files: Vec<PathBuf>,
    /// Values and sizes of the inputs that a user gave, which the file does not contain.
    pub bindings: InputBindings,
}

/// The remedy for a file with contradictory parts.
const DAMAGED: &str = "the file is damaged or was written by a faulty tool: export the model again";

/// Adds the file and the remedy [`DAMAGED`] to an error of a model, and the kind if the error has none of its own.
pub(crate) fn damaged(error: Error, path: &Path) -> Error {
    let error = match error.kind() {
        ErrorKind::InvalidInput => error.with_kind(ErrorKind::InvalidModel),
        _ => error,
    };
    error.file(path).remedy(DAMAGED)
}

impl Model {
    /// Reads a model with its external data.
    ///
    /// # Errors
    /// A file that cannot be read, is not an ONNX model, or violates an invariant of this module.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|e| Error::io("read the model", path, e))?;
        Self::from_bytes(bytes, path)
    }

    /// Reads a model from the bytes of a file.
    ///
    /// `path` is used in messages, and external data is read from its folder.
    ///
    /// # Errors
    /// The conditions of [`Model::load`].
    pub fn from_bytes(bytes: impl Into<Bytes>, path: &Path) -> Result<Self> {
        Self::parse(bytes.into(), path).map_err(|e| damaged(e, path))
    }

    fn parse(bytes: Bytes, path: &Path) -> Result<Self> {
        let mut proto = decode(&bytes)?;
        let attached = external::attach(&mut proto, &folder_of(path))?;
        check_tensors(&mut proto)?;
        let mut hash = Sha256::new_with_prefix(&bytes);
        attached.contents.iter().for_each(|content| hash.update(content));
        let sha256 = hash.finalize().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
            hex
        });
        Ok(Self {
            proto,
            path: path.to_path_buf(),
            sha256,
            bytes: bytes.len() as u64 + attached.file_bytes,
            external: attached.names,
            data_files: attached.files,
            bindings: InputBindings::default(),
        })
    }

    /// Returns the model with values and sizes of its inputs.
    #[must_use]
    pub fn with_bindings(self, bindings: InputBindings) -> Self {
        Self { bindings, ..self }
    }

    /// Writes the model atomically, by renaming a temporary file in the same folder.
    ///
    /// Tensors that were external are written to `PATH.data`, and also all large ones if the file would exceed 2 GiB.
    ///
    /// # Errors
    /// A path that cannot be written; an existing file is kept then.
    pub fn save(&self, path: &Path) -> Result<()> {
        save::save(self, path, save::PROTOBUF_LIMIT)
    }

    /// Returns the files that [`Model::save`] writes for a model no larger than this one.
    ///
    /// # Errors
    /// A model with external data whose file name is not Unicode.
    pub fn files_at(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let data = save::needs_data(self, save::PROTOBUF_LIMIT).then(|| save::data_file(path)).transpose()?;
        Ok([path.to_path_buf()].into_iter().chain(data.map(|(_, path)| path)).collect())
    }

    /// Returns the encoded message with all tensors inside, whatever its size.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    /// Returns the version of the standard operator set that the model uses.
    pub fn opset(&self) -> i64 {
        opset(&self.proto).unwrap_or(0)
    }

    /// Returns the main graph.
    pub fn graph(&self) -> &GraphProto {
        self.proto.graph.as_ref().expect("a model without a graph is refused at load")
    }

    /// Returns the main graph for editing.
    pub fn graph_mut(&mut self) -> &mut GraphProto {
        self.proto.graph.as_mut().expect("a model without a graph is refused at load")
    }
}

fn opset(proto: &ModelProto) -> Option<i64> {
    let standard = |domain: &str| matches!(domain, "" | "ai.onnx");
    proto.opset_import.iter().filter(|set| standard(set.domain())).map(OperatorSetIdProto::version).max()
}

/// Formats that are mistaken for ONNX: offset of the magic bytes, the bytes, a description, a remedy.
const MISTAKEN: [(usize, &[u8], &str, &str); 6] = [
    (0, b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself with git lfs pull"),
    (0, b"PK\x03\x04", "a zip archive or PyTorch checkpoint", "export it with torch.onnx.export"),
    (0, b"\x80\x02", "a Python pickle", "export the model with torch.onnx.export"),
    (0, b"\x89HDF", "an HDF5 (Keras) file", "convert it with tf2onnx"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it with tf2onnx"),
    (0, b"<", "a web page or XML", "download the model file itself"),
];

/// Decodes the message of a model.
///
/// Protobuf decodes nearly any bytes, so the required parts of a model are checked one by one.
fn decode(bytes: &Bytes) -> Result<ModelProto> {
    let not_a_model = |got: String| {
        let known = MISTAKEN
            .iter()
            .find(|(at, magic, ..)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
        let (got, remedy) = known
            .map_or((got, "check that the file is complete"), |&(_, _, what, remedy)| {
                (what.to_owned(), remedy)
            });
        Error::new("not an ONNX model").with_kind(ErrorKind::InvalidModel).got(got).remedy(remedy)
    };
    if bytes.is_empty() {
        return Err(not_a_model("an empty file".to_owned()));
    }
    let proto = ModelProto::decode(bytes.clone()).map_err(|e| not_a_model(e.to_string()))?;
    let has_work = |graph: &GraphProto| !graph.node.is_empty() || !graph.output.is_empty();
    if !proto.graph.as_ref().is_some_and(has_work) {
        return Err(not_a_model("a message without nodes and outputs".to_owned()));
    }
    if proto.ir_version.is_none() {
        return Err(not_a_model("a message without an IR version".to_owned()));
    }
    if proto.opset_import.is_empty() {
        return Err(not_a_model("a message that imports no operator set".to_owned()));
    }
    let convert = "convert it with onnx.version_converter.convert_version(model, 13)";
    match opset(&proto) {
        Some(OLDEST_OPSET..) => Ok(proto),
        Some(old) => Err(Error::new("the operator set of the model is too old")
            .with_kind(ErrorKind::Unsupported)
            .expected(format!("{OLDEST_OPSET} or newer"))
            .got(old.to_string())
            .remedy(convert)),
        None => Err(Error::new("the model does not import the standard operator set")
            .with_kind(ErrorKind::Unsupported)
            .expected("an import of the domain \"\" or \"ai.onnx\"")
            .got(proto.opset_import.iter().map(OperatorSetIdProto::domain).collect::<Vec<_>>().join(", "))
            .remedy("export the network with the operators of the standard")),
    }
}

/// Checks that the data of every tensor fits its dimensions, and that names of initializers are unique.
fn check_tensors(proto: &mut ModelProto) -> Result<()> {
    visit_tensors(proto, &mut |tensor| tensor::shape(tensor).map(drop))?;
    let Some(graph) = &proto.graph else { return Ok(()) };
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    let mut names = HashSet::new();
    match graph.initializer.iter().chain(sparse).find(|tensor| !names.insert(tensor.name())) {
        None => Ok(()),
        Some(twice) => {
            Err(Error::new(format!("the initializer \"{}\" is defined twice", twice.name())).invalid_model())
        }
    }
}

/// Returns the declaration of an initializer, which is also an input up to IR version 3.
pub(crate) fn declaration(name: &str, tensor: &TensorProto) -> ValueInfoProto {
    let dim = |&d: &i64| TensorShapeProtoDimension { dim_value: Some(d), ..Default::default() };
    let shape = TensorShapeProto { dim: tensor.dims.iter().map(dim).collect() };
    let kind = TypeProtoTensor { elem_type: tensor.data_type, shape: Some(shape) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type: Some(kind), ..Default::default() }),
        ..Default::default()
    }
}
