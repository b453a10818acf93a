//! Checkpoints of a training: the states of all parameters, as safetensors.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::file::write_whole;

/// The key of the number of steps in a checkpoint's metadata.
const STEPS: &str = "steps";
/// The key of the description of the training, a line for each option.
const TRAINING: &str = "training";

/// Writes a checkpoint: one array for each parameter with its value, moments and average.
///
/// `training` describes each option; only a training with equal options continues from the file. The file is written
/// to a temporary file and renamed.
///
/// # Errors
/// A device that fails, or a file that cannot be written.
pub fn save_checkpoint(trainer: &mut Trainer, training: &[String], path: &Path) -> Result<()> {
    let (steps, states) = trainer.save()?;
    let bytes: Vec<Vec<u8>> =
        states.iter().map(|state| state.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let names = trainer.state_names();
    let views = names.iter().zip(&bytes).map(|(name, bytes)| {
        let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
        view.map(|view| (name.clone(), view))
    });
    let wrong = |e: safetensors::SafeTensorError| {
        Error::new("cannot encode the checkpoint").file(path).got(e.to_string())
    };
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(wrong)?;
    let metadata =
        HashMap::from([(STEPS.to_owned(), steps.to_string()), (TRAINING.to_owned(), training.join("\n"))]);
    let file = serialize(views, Some(metadata)).map_err(wrong)?;
    write_whole(path, "write the checkpoint", &file)
}

/// Continues from a checkpoint; returns the number of steps that were made.
///
/// # Errors
/// A file that cannot be read, or that belongs to another training.
pub fn load_checkpoint(trainer: &mut Trainer, training: &[String], path: &Path) -> Result<usize> {
    let file = std::fs::read(path).map_err(|e| Error::io("read the checkpoint", path, e))?;
    let damaged = |got: String| {
        Error::new("the file is no checkpoint of a training")
            .file(path)
            .expected("a file that this training wrote")
            .got(got)
            .remedy("set `checkpoint` to the file that the training wrote, or leave `resume` out")
            .invalid_model()
    };
    let (_, header) = SafeTensors::read_metadata(&file).map_err(|e| damaged(e.to_string()))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let made = metadata.get(STEPS).and_then(|steps| steps.parse::<u32>().ok());
    let (Some(steps), Some(other)) = (made, metadata.get(TRAINING)) else {
        return Err(damaged("a file without the number of steps".to_owned()));
    };
    let other: Vec<&str> = other.lines().collect();
    if other != training {
        let pairs = || training.iter().zip(&other).filter(|(own, other)| own != other);
        let listed = |texts: Vec<&str>| texts.join(", ");
        return Err(Error::new("the checkpoint belongs to a training with other options")
            .file(path)
            .expected(listed(pairs().map(|(own, _)| own.as_str()).collect()))
            .got(listed(pairs().map(|(_, other)| *other).collect()))
            .remedy("resume with the options and files of the first run, or leave `resume` out"));
    }
    let tensors = SafeTensors::deserialize(&file).map_err(|e| damaged(e.to_string()))?;
    let state = |name: &String| {
        let view = tensors.tensor(name).map_err(|e| damaged(e.to_string()))?;
        let (words, rest) = view.data().as_chunks::<4>();
        if view.dtype() != Dtype::F32 || !rest.is_empty() {
            return Err(damaged(format!("{:?}", view.dtype())));
        }
        Ok(words.iter().map(|&word| f32::from_le_bytes(word)).collect::<Vec<f32>>())
    };
    let states = trainer.state_names().iter().map(state).collect::<Result<Vec<_>>>()?;
    trainer.restore(&(steps, states)).map_err(|e| damaged(e.to_string()))?;
    Ok(steps as usize)
}
