//! Metrics that another program computes from folders of arrays.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::network::file_names;
use super::output::write_csv;
use crate::error::{Error, Result};
use crate::pipeline::{JudgedImage, Measured, Meter, Metric, NamedTensor, write_array};

/// A metric that a command computes.
///
/// The command receives two folders as its last arguments: the outputs of the network that is judged, and those of the
/// original if there is one. `OUTPUT/000017.npy` is the output of that name for image 17, with a batch axis of 1;
/// `images.csv` lists the images. The last word that it prints is the value.
#[derive(Clone, Debug)]
pub(super) struct CommandMetric {
    command: String,
    higher_is_better: bool,
}

impl CommandMetric {
    pub(super) fn new(command: &str, higher_is_better: bool) -> Self {
        Self { command: command.to_owned(), higher_is_better }
    }
}

impl Metric for CommandMetric {
    fn name(&self) -> String {
        "command".to_owned()
    }

    fn unit(&self) -> &str {
        ""
    }

    fn higher_is_better(&self) -> bool {
        self.higher_is_better
    }

    fn meter(&self) -> Result<Box<dyn Meter>> {
        let folder = TempDir::new().map_err(|e| Error::io("create a folder", &std::env::temp_dir(), e))?;
        Ok(Box::new(Written { command: self.command.clone(), folder, rows: vec![], has_reference: false }))
    }
}

/// Outputs that are written for the command.
struct Written {
    command: String,
    folder: TempDir,
    /// The rows of `images.csv`.
    rows: Vec<Vec<String>>,
    has_reference: bool,
}

impl Written {
    fn write(&self, side: &str, outputs: &[NamedTensor]) -> Result<()> {
        let files = file_names(outputs.iter().map(|(name, _)| name.as_str()));
        for (file, (_, tensor)) in files.zip(outputs) {
            let folder = self.folder.path().join(side).join(file.trim_end_matches(".npy"));
            std::fs::create_dir_all(&folder).map_err(|e| Error::io("create a folder", &folder, e))?;
            write_array(&folder.join(format!("{:06}.npy", self.rows.len())), tensor)?;
        }
        Ok(())
    }
}

impl Meter for Written {
    fn add(&mut self, image: &JudgedImage) -> Result<()> {
        self.write("outputs", image.outputs)?;
        if let Some(reference) = image.reference {
            self.has_reference = true;
            self.write("reference", reference)?;
        }
        let file = image.place.file.as_ref().map_or_else(String::new, |file| file.display().to_string());
        let label = image.label.map_or_else(String::new, |label| label.to_string());
        let array = format!("{:06}", self.rows.len());
        self.rows.push(vec![array, image.place.index.to_string(), file, label]);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured> {
        let outputs = self.folder.path().join("outputs");
        let reference = self.folder.path().join("reference");
        let folders: Vec<&Path> = std::iter::once(outputs.as_path())
            .chain(self.has_reference.then_some(reference.as_path()))
            .collect();
        for folder in &folders {
            let head = ["array", "index", "file", "label"];
            write_csv(&folder.join("images.csv"), &head, self.rows.iter().cloned())?;
        }
        run(&self.command, &folders).map(Measured::of_set)
    }
}

/// Runs the command with folders as its last arguments, and returns the number that it prints last.
fn run(command: &str, folders: &[&Path]) -> Result<f64> {
    let mut shell = if cfg!(windows) {
        let mut shell = Command::new("cmd");
        shell.arg("/C").arg(command);
        shell
    } else {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{command} \"$@\"")).arg("sh");
        shell
    };
    let output = shell
        .args(folders)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::io("run the command of the metric", Path::new(command), e))?;
    let last = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
    };
    if !output.status.success() {
        let why = Some(last(&output.stderr)).filter(|line| !line.is_empty());
        return Err(Error::new("the command of the metric failed")
            .got(why.map_or_else(|| output.status.to_string(), |why| format!("{}: {why}", output.status)))
            .remedy(format!("run it by itself with two folders of arrays: {command}")));
    }
    let line = last(&output.stdout);
    let number = line.split_whitespace().next_back().and_then(|word| word.parse().ok());
    number.filter(|number: &f64| number.is_finite()).ok_or_else(|| {
        Error::new("the command of the metric printed no number")
            .expected("a number as the last word on standard output")
            .got(if line.is_empty() { "nothing".to_owned() } else { line.clone() })
            .remedy(format!("run it by itself with two folders of arrays: {command}"))
    })
}
