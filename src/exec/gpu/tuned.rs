//! What was timed on this device before: which way is the fastest for each shape, in memory and in a file.
//!
//! The file is for one adapter, driver and set of shaders: its name is a hash of these, and it says them again inside.
//! What cannot be read, or is another's, is as good as not there, and a note says so. Shapes carry no batch: whatever
//! was timed holds for every batch, or an image's bits would depend on its company.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::exec::info::DeviceInfo;
use crate::file::write_whole;
use crate::kernels::{KERNELS, Kernel};

/// Where the files are, instead of the user's folder for caches; empty for nowhere.
const FOLDER_VARIABLE: &str = "SECATEUR_CACHE";

/// A file, and what is known in memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tuned {
    /// Adapter, backend, driver.
    device: String,
    /// A hash of all shaders.
    shaders: String,
    /// The way's name for each shape; an empty one is the kernel's own shader.
    ways: BTreeMap<String, String>,
}

impl Tuned {
    /// Nothing known.
    pub(super) fn new(info: &DeviceInfo) -> Self {
        let mut hash = Sha256::new();
        KERNELS.iter().for_each(|row| hash.update(row.shader));
        let DeviceInfo { name, backend, driver, driver_info, .. } = info;
        Self {
            device: format!("{name}, {backend}, {driver} {driver_info}"),
            shaders: hex(hash),
            ways: BTreeMap::new(),
        }
    }

    /// The way of a call, if it was timed, over halves or single precision.
    pub(super) fn way(&self, kernel: &dyn Kernel, halves: bool) -> Option<&str> {
        if self.ways.is_empty() {
            return None;
        }
        self.ways.get(&shape(kernel, halves)?).map(String::as_str)
    }

    pub(super) fn learn(&mut self, shape: String, way: &str) {
        self.ways.insert(shape, way.to_owned());
    }

    pub(super) fn knows(&self, shape: &str) -> bool {
        self.ways.contains_key(shape)
    }

    fn path(&self, folder: &Path) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update(&self.device);
        hash.update([0]);
        hash.update(&self.shaders);
        folder.join(format!("ways-{}.json", &hex(hash)[..16]))
    }

    /// Takes in what stands in the folder's file. The note, where there is one, says why nothing was taken.
    pub(super) fn recall(&mut self, folder: &Path) -> Option<String> {
        let path = self.path(folder);
        let bytes = std::fs::read(&path).ok()?;
        let unusable = |why: &str| Some(format!("{} is not used: {why}", path.display()));
        match serde_json::from_slice::<Self>(&bytes) {
            Err(error) => unusable(&format!("it cannot be read ({error})")),
            Ok(file) if (&file.device, &file.shaders) != (&self.device, &self.shaders) => {
                unusable("it was made on another device or by other shaders")
            }
            Ok(file) => {
                self.ways = file.ways;
                None
            }
        }
    }

    /// Writes the folder's file.
    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let doing = "write what was timed";
        std::fs::create_dir_all(folder).map_err(|e| Error::io(doing, folder, &e))?;
        let text = serde_json::to_vec_pretty(self).map_err(|e| Error::new(doing).got(e.to_string()))?;
        write_whole(&self.path(folder), doing, &text)
    }
}

/// What a call's timings are known by: the call at the batch at which it is timed, and what it computes with.
pub(super) fn shape(kernel: &dyn Kernel, halves: bool) -> Option<String> {
    kernel.autotune_key().map(|timed| format!("{timed:?}{}", if halves { " in halves" } else { "" }))
}

/// The folder of the files; `None` where there is none or none is wanted.
pub(super) fn folder() -> Option<PathBuf> {
    match std::env::var_os(FOLDER_VARIABLE) {
        Some(folder) => Some(PathBuf::from(folder)).filter(|f| !f.as_os_str().is_empty()),
        None => Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("secateur")),
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernels::activation::Activation;
    use crate::kernels::depthwise::Depthwise;
    use crate::kernels::window::Windows;

    fn tuned() -> Tuned {
        Tuned { device: "a, b".into(), shaders: "c".into(), ways: BTreeMap::new() }
    }

    fn call(batch: usize) -> Arc<dyn Kernel> {
        Arc::new(Depthwise {
            batch,
            channels: 3,
            multiplier: 1,
            windows: Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([4, 4]) },
            activation: Activation::None,
        })
    }

    #[test]
    fn what_was_learned_comes_back_for_every_batch() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = tuned();
        first.learn(shape(&*call(2), false).unwrap(), "texels");
        first.save(&folder.path().join("new")).unwrap();
        let mut second = tuned();
        assert_eq!(second.recall(&folder.path().join("new")), None);
        assert_eq!(
            [(1, false), (7, false), (7, true)].map(|(batch, halves)| second.way(&*call(batch), halves)),
            [Some("texels"), Some("texels"), None]
        );
    }

    #[test]
    fn broken_and_foreign_files_are_left_alone_with_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let mut mine = tuned();
        assert_eq!(mine.recall(folder.path()), None, "nothing there is nothing to say");
        let path = mine.path(folder.path());
        let foreign = serde_json::to_vec(&Tuned { device: "d".into(), ..tuned() }).unwrap();
        for bytes in [b"{\"device\": ".to_vec(), foreign] {
            std::fs::write(&path, bytes).unwrap();
            let note = mine.recall(folder.path()).expect("a note");
            assert!(note.contains("not used"), "{note}");
            assert_eq!(mine, tuned());
        }
    }
}
