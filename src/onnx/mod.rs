//! ONNX files: the messages, loading with every claim checked, and saving.
//!
//! A [`Model`] is the original message. The rest of the program reads it, edits the parts that change
//! and saves it, so that names, metadata and untouched tensors survive. Loading ends with promises
//! on which the rest relies: there is a graph, the operator set is 7 or newer, every tensor's bytes
//! are in the message (none is external) and as many as its dimensions say, and initializers have
//! different names.

pub mod attrs;
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

use crate::error::{Error, Result};
use crate::file::folder_of;

use proto::{GraphProto, ModelProto, OperatorSetIdProto};
use visit::visit_tensors;

/// The oldest operator set that is understood; broadcasting was another thing before it.
pub const OLDEST_OPSET: i64 = 7;

/// A model as its file says it, checked.
#[derive(Clone, Debug)]
pub struct Model {
    /// The message. Tensors that were external have their bytes in `raw_data` here.
    pub proto: ModelProto,
    /// Where it came from.
    pub path: PathBuf,
    /// SHA-256 of the file's bytes followed by its external tensors', in hexadecimal.
    pub sha256: String,
    /// Size of the file and of its external data files.
    pub bytes: u64,
    /// Names of the tensors that were external, and will be again when the model is saved.
    pub external: BTreeSet<String>,
    /// The files that those tensors came from.
    pub data_files: Vec<PathBuf>,
}

/// The remedy for a file whose parts contradict each other.
pub(crate) const DAMAGED: &str =
    "the file is damaged or was written by a faulty tool: export the model again";

impl Model {
    /// Reads a model, with its external data.
    ///
    /// # Errors
    /// A file that cannot be read, is not an ONNX model, or breaks one of this module's promises.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|e| Error::io("read the model", path, e))?;
        Self::from_bytes(bytes, path)
    }

    /// A model from the bytes of a file; `path` is for messages, and external data is looked for
    /// beside it.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_bytes(bytes: impl Into<Bytes>, path: &Path) -> Result<Self> {
        Self::parse(bytes.into(), path).map_err(|e| e.file(path).remedy(DAMAGED))
    }

    fn parse(bytes: Bytes, path: &Path) -> Result<Self> {
        let mut proto = decode(&bytes)?;
        let attached = external::attach(&mut proto, &folder_of(path))?;
        check_tensors(&mut proto)?;
        let mut hash = Sha256::new_with_prefix(&bytes);
        attached.contents.iter().for_each(|content| hash.update(content));
        let sha256 = hash.finalize().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}"); // a String takes everything
            hex
        });
        Ok(Self {
            proto,
            path: path.to_path_buf(),
            sha256,
            bytes: bytes.len() as u64 + attached.file_bytes,
            external: attached.names,
            data_files: attached.files,
        })
    }

    /// Writes the model: to a temporary file in the same folder, then renamed. Tensors that were
    /// external go to `PATH.data`, and so do all large ones where the file would exceed 2 GiB.
    ///
    /// # Errors
    /// A path that cannot be written; what stood there before is untouched then.
    pub fn save(&self, path: &Path) -> Result<()> {
        save::save(self, path, save::PROTOBUF_LIMIT)
    }

    /// The files that [`Model::save`] writes for a model no larger than this one.
    ///
    /// # Errors
    /// A file name that cannot be told in the model.
    pub fn files_at(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let data = save::needs_data(self, save::PROTOBUF_LIMIT).then(|| save::data_file(path)).transpose()?;
        Ok([path.to_path_buf()].into_iter().chain(data.map(|(_, path)| path)).collect())
    }

    /// The model as one message with everything inside, whatever its size.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    /// The version of the standard operator set that the model uses.
    pub fn opset(&self) -> i64 {
        opset(&self.proto).unwrap_or(0)
    }

    /// The main graph.
    pub fn graph(&self) -> &GraphProto {
        self.proto.graph.as_ref().expect("a model without a graph is refused at load")
    }

    /// The main graph, to be edited.
    pub fn graph_mut(&mut self) -> &mut GraphProto {
        self.proto.graph.as_mut().expect("a model without a graph is refused at load")
    }
}

fn opset(proto: &ModelProto) -> Option<i64> {
    let standard = |domain: &str| matches!(domain, "" | "ai.onnx");
    proto.opset_import.iter().filter(|set| standard(set.domain())).map(OperatorSetIdProto::version).max()
}

/// What people hand us instead of models: where it shows, how, what it is, what to do.
const MISTAKEN: [(usize, &[u8], &str, &str); 6] = [
    (0, b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself with `git lfs pull`"),
    (0, b"PK\x03\x04", "a zip archive or PyTorch checkpoint", "export it with torch.onnx.export"),
    (0, b"\x80\x02", "a Python pickle", "export the model with torch.onnx.export"),
    (0, b"\x89HDF", "an HDF5 (Keras) file", "convert it with tf2onnx"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it with tf2onnx"),
    (0, b"<", "a web page or XML", "download the model file itself"),
];

/// The message, if the bytes are an ONNX model that can be worked with. Protobuf takes nearly
/// anything for a message, so what a model must have is asked for one by one.
fn decode(bytes: &Bytes) -> Result<ModelProto> {
    let not_a_model = |got: String| {
        let known = MISTAKEN
            .iter()
            .find(|(at, magic, ..)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
        let (got, remedy) = known
            .map_or((got, "check that the file is complete"), |&(_, _, what, remedy)| {
                (what.to_owned(), remedy)
            });
        Error::new("not an ONNX model").got(got).remedy(remedy)
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
        Some(old) => Err(Error::new("the model's operator set is too old")
            .expected(format!("{OLDEST_OPSET} or newer"))
            .got(old.to_string())
            .remedy(convert)),
        None => Err(Error::new("the model does not import the standard operator set")
            .expected("an import of the domain \"\" or \"ai.onnx\"")
            .got(proto.opset_import.iter().map(OperatorSetIdProto::domain).collect::<Vec<_>>().join(", "))
            .remedy("export the network with the operators of the standard")),
    }
}

/// Every tensor holds what it claims, and no two initializers of the graph share a name.
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
