//! The stamp of a pruned model: entries of `metadata_props` that name the original and the cut.

use serde::Serialize;

use crate::onnx::proto::{ModelProto, StringStringEntryProto};

/// The start of the keys of all entries.
const PREFIX: &str = "secateur.";

/// The origin of a pruned model, as its file records it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stamp {
    /// The version of the program that wrote the file.
    pub version: String,
    /// The SHA-256 of the original, as in [`Cut::model_sha256`](super::Cut::model_sha256).
    pub original: String,
    /// The digest of the decision ([`Cut::digest`](super::Cut::digest)).
    pub cut: String,
    /// The criterion that scored channels.
    pub criterion: String,
    /// The budget in words.
    pub budget: String,
    /// The repair after the cut.
    pub repair: String,
}

impl Stamp {
    /// Reads the stamp of a model; `None` if the model has none.
    pub fn of(model: &ModelProto) -> Option<Self> {
        let entry = |key: &str| {
            let named = |entry: &&StringStringEntryProto| entry.key().strip_prefix(PREFIX) == Some(key);
            model.metadata_props.iter().find(named).map(|entry| entry.value().to_owned())
        };
        Some(Self {
            version: entry("version")?,
            original: entry("original")?,
            cut: entry("cut")?,
            criterion: entry("criterion").unwrap_or_default(),
            budget: entry("budget").unwrap_or_default(),
            repair: entry("repair").unwrap_or_default(),
        })
    }

    /// Writes the stamp into a model, in the place of another one.
    pub fn write(&self, model: &mut ModelProto) {
        Self::remove(model);
        let entries = [
            ("version", &self.version),
            ("original", &self.original),
            ("cut", &self.cut),
            ("criterion", &self.criterion),
            ("budget", &self.budget),
            ("repair", &self.repair),
        ];
        model.metadata_props.extend(entries.map(|(key, value)| StringStringEntryProto {
            key: Some(format!("{PREFIX}{key}")),
            value: Some(value.clone()),
        }));
    }

    /// Removes the stamp of a model, which is wrong once the model changes.
    pub fn remove(model: &mut ModelProto) {
        model.metadata_props.retain(|entry| !entry.key().starts_with(PREFIX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_and_replaced_among_other_entries() {
        let own = StringStringEntryProto { key: Some("author".into()), value: Some("somebody".into()) };
        let mut model = ModelProto { metadata_props: vec![own.clone()], ..ModelProto::default() };
        assert_eq!(Stamp::of(&model), None);
        let first = Stamp { original: "a1".into(), cut: "c1".into(), ..Stamp::default() };
        first.write(&mut model);
        assert_eq!(Stamp::of(&model), Some(first));
        let second = Stamp { original: "a2".into(), budget: "keep-macs 0.5".into(), ..Stamp::default() };
        second.write(&mut model);
        assert_eq!(Stamp::of(&model), Some(second));
        assert_eq!(model.metadata_props.len(), 7, "one stamp beside the file's own entry");
        Stamp::remove(&mut model);
        assert_eq!(model.metadata_props, [own]);
    }
}
