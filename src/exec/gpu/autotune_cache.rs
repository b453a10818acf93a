//! The autotune cache: the fastest algorithm of each shape on one device, in memory and in a file.
//!
//! A file belongs to one adapter, driver and set of shaders; its name is a hash of these, and its contents repeat them.
//! Unreadable files, and those of another device or shader set, are ignored with a note. Shapes contain no batch size:
//! a timing holds for every batch, so that the bits of an image do not depend on its batch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::exec::info::DeviceInfo;
use crate::file::write_whole;
use crate::kernels::{KERNELS, Kernel};

/// Environment variable with the folder of the files, in place of the user's cache folder; empty for none.
const FOLDER_VARIABLE: &str = "SECATEUR_CACHE";

/// The timings of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AutotuneCache {
    /// The adapter, backend and driver.
    device: String,
    /// A hash of all shaders.
    shaders: String,
    /// The name of the fastest algorithm of each shape; an empty name is the kernel's own shader.
    algorithms: BTreeMap<String, String>,
}

impl AutotuneCache {
    /// An empty cache for a device.
    pub(super) fn new(info: &DeviceInfo) -> Self {
        let mut hash = Sha256::new();
        KERNELS.iter().for_each(|row| hash.update(row.shader));
        let DeviceInfo { name, backend, driver, driver_info, .. } = info;
        Self {
            device: format!("{name}, {backend}, {driver} {driver_info}"),
            shaders: hex(hash),
            algorithms: BTreeMap::new(),
        }
    }

    /// The fastest algorithm of a call with f16 or f32 storage, if it was timed.
    pub(super) fn algorithm(&self, kernel: &dyn Kernel, f16: bool) -> Option<&str> {
        if self.algorithms.is_empty() {
            return None;
        }
        self.algorithms.get(&shape(kernel, f16)?).map(String::as_str)
    }

    /// Adds the fastest algorithm of a shape.
    pub(super) fn insert(&mut self, shape: String, algorithm: &str) {
        self.algorithms.insert(shape, algorithm.to_owned());
    }

    /// Returns whether a shape was timed.
    pub(super) fn contains(&self, shape: &str) -> bool {
        self.algorithms.contains_key(shape)
    }

    fn path(&self, folder: &Path) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update(&self.device);
        hash.update([0]);
        hash.update(&self.shaders);
        folder.join(format!("algorithms-{}.json", &hex(hash)[..16]))
    }

    /// Replaces the timings by those of the folder's file. Returns a note if the file is ignored.
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
                self.algorithms = file.algorithms;
                None
            }
        }
    }

    /// Writes the folder's file.
    ///
    /// # Errors
    /// Fails if the folder or the file cannot be written.
    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let doing = "write the autotune cache";
        std::fs::create_dir_all(folder).map_err(|e| Error::io(doing, folder, e))?;
        let text = serde_json::to_vec_pretty(self).map_err(|e| Error::new(doing).got(e.to_string()))?;
        write_whole(&self.path(folder), doing, &text)
    }
}

/// The key of a call's timing: the call at the batch at which it is timed, and the storage precision.
pub(super) fn shape(kernel: &dyn Kernel, f16: bool) -> Option<String> {
    kernel.autotune_key().map(|timed| format!("{timed:?}{}", if f16 { ", f16" } else { "" }))
}

/// The folder of the files; `None` if there is none, or if the variable is empty.
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

    fn cache() -> AutotuneCache {
        AutotuneCache { device: "a, b".into(), shaders: "c".into(), algorithms: BTreeMap::new() }
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
    fn timings_are_recalled_for_every_batch() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = cache();
        first.insert(shape(&*call(2), false).unwrap(), "texels");
        first.save(&folder.path().join("new")).unwrap();
        let mut second = cache();
        assert_eq!(second.recall(&folder.path().join("new")), None);
        assert_eq!(
            [(1, false), (7, false), (7, true)].map(|(batch, f16)| second.algorithm(&*call(batch), f16)),
            [Some("texels"), Some("texels"), None]
        );
    }

    #[test]
    fn broken_and_foreign_files_are_ignored_with_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let mut mine = cache();
        assert_eq!(mine.recall(folder.path()), None, "no file, no note");
        let path = mine.path(folder.path());
        let foreign = serde_json::to_vec(&AutotuneCache { device: "d".into(), ..cache() }).unwrap();
        for bytes in [b"{\"device\": ".to_vec(), foreign] {
            std::fs::write(&path, bytes).unwrap();
            let note = mine.recall(folder.path()).expect("a note");
            assert!(note.contains("not used"), "{note}");
            assert_eq!(mine, cache());
        }
    }
}
