//! Extracts the sentences of all errors from the source text of `src`.
//!
//! A sentence is the literal of `Error::new("…")` or `Error::new(format!("…"))`, or `cannot …` of `Error::io("…", …)`.
//! If it is a parameter of the enclosing closure or function, the literals that callers in that file pass are taken.
//! Text in braces matches anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;

/// Sentences of `src` without a case, with the reasons.
const UNMET: &[(&str, &str)] = &[
    // Sentences whose text comes from elsewhere.
    ("{e.to_string()}", "the CSV reader's words, as of labels in rows of other lengths"),
    ("{what}", "clap's words, as of arguments that are missing"),
    ("{claim}", "the idx header's dimensions: their product was looked at before"),
    ("{doing}", "JSON takes any time"),
    ("a table of an unsupported compression", "the tests' own tables cannot be compressed so"),
    ("the smaller network has other inputs than the original", "pruning keeps them"),
    ("a training step needs more memory than is used", "fewer images are computed at once instead"),
    ("a label is no class of the network", "the evaluation before a training compares labels and classes"),
    ("cannot make a temporary folder", "there is one"),
    ("cannot read the result", "it was just written"),
    ("cannot read the labels", "a table that is listed is there"),
    ("standard output cannot take a model with external data", "tests/cli.rs has one"),
    (
        "values before the first BatchNormalization are far from its stored statistics",
        "tests/first_mistakes.rs has one",
    ),
    (
        "the mean and deviation are those of values from 0 to 1, but the stored values are larger",
        "tests/first_mistakes.rs has one",
    ),
    // Data sets and criteria of callers, which the command line has not; python/tests has cases.
    ("a criterion that does not score every channel of a layer", "a function of the caller"),
    ("images of several kinds", "samples that a caller yields"),
    ("samples whose first axes differ cannot be normalized alike", "samples that a caller yields"),
    ("samples without a recipe", "the first batch decides it"),
    ("some samples have a label and others none", "samples that a caller yields"),
    ("the arrays do not feed the network's inputs", "arrays of a caller"),
    ("the data hold fewer samples when they are walked again", "samples that a caller yields"),
    ("the data hold no samples", "samples that a caller yields"),
    ("the data hold other samples when they are walked again", "samples that a caller yields"),
    ("the rows of an array do not have its shape", "an array of a caller"),
    ("the samples take more memory than max_memory, {max_memory} bytes", "samples that a caller yields"),
    // Internal invariants of plans, lowerings and cuts.
    ("cannot write the answer", "standard output is no full disk here; tests/cli.rs has one"),
    ("a call writes to a constant", "no operator does"),
    ("a call writes to its input", "no operator does"),
    ("a constant has a shape that does not fit its elements", "infer and lower agree"),
    ("a constant is read before it is made", "no operator does"),
    (
        "a label beyond the classes that statistics are gathered for",
        "the classes are counted from the labels",
    ),
    ("an accumulating probe does not take its values and the image weights", "no kernel of ours"),
    ("a step has the wrong number of inputs", "plans are ours"),
    ("a step reads and writes buffer {}", "plans are ours"),
    ("a step writes to a constant", "plans are ours"),
    ("a sum was not taken", "one is asked for"),
    (
        "after the cut a node takes another number computed from a shape",
        "what does not fit is told what to be",
    ),
    (
        "after the cut a node that runs on the host takes another shape",
        "what does not fit is told what to be",
    ),
    ("after the cut a value has the wrong shape", "what does not fit is told what to be"),
    ("after the cut the value \"{}\" would not be rectangular", "coupled channels are"),
    ("labels that cannot be moved one by one", "one element is always a unit"),
    ("an Einsum of more than two operands", "infer refuses it first"),
    ("an array that does not fill its shape", "the length was looked at before"),
    ("the operator is not supported", "all are looked at before"),
    ("an output is read before it is computed", "no operator does"),
    ("buffer {} is written by the wrong kind of step", "plans are ours"),
    (
        "the samples have another size than the session was created for",
        "networks are loaded for the size of the samples at hand",
    ),
    ("pixels that do not fill their image", "decoders fill them"),
    ("masks that do not broadcast", "infer refuses them first"),
    ("rows that do not broadcast", "rows of one tensor do"),
    ("scale or zero point does not broadcast to the input", "infer refuses it first"),
    ("tensor {name}: elements smaller than a byte cannot be removed", "loading refuses such tensors"),
    ("tensor {name}: strings have no size", "strings are left out before"),
    ("\"{name}\" is no initializer", "weights become initializers first"),
    ("\"{name}\" has too many values for a codebook", "weights are rounded to one first"),
    ("tensor {name}: its elements are in another file, which was not read", "loading reads them"),
    ("tensor {name}: the mask does not match its dimensions", "masks are ours"),
    ("tensor {name}: the masks do not match its dimensions", "masks are ours"),
    ("the channel that Gather selects was cut", "such channels are blocked"),
    ("the constant \"{name}\" is not in the model", "it was found there"),
    ("the groups of a normalization would differ in size", "groups stay rectangular"),
    ("the indices of Gather are missing", "infer asks for them first"),
    ("the model has no graph", "loading asks for it first"),
    ("the statistics of BatchNormalization are missing", "infer asks for them first"),
    ("the plan accumulates in a constant", "plans are ours"),
    ("the plan accumulates in an input or output", "plans are ours"),
    ("a call reads a residual that was not fused", "lowerings are ours"),
    ("the plan has no {operand:?}", "plans are ours"),
    ("the plan writes its input to a constant", "plans are ours"),
    ("the shape of \"{}\" is not the one that was cut", "the cut made it"),
    ("the host subgraph does not compute an output", "host subgraphs are ours"),
    ("no step computes the value \"{name}\"", "facts say what is made"),
    ("the pruned network is not equal to the masked original", "that is what is proved"),
    ("the pruned network lacks a value", "that is what is proved"),
    ("the pruned network's outputs are not finite", "that is what is proved"),
    ("the pruned network's outputs are not those of the original", "that is what is proved"),
    ("the host subgraph does not compute an output", "host subgraphs are ours"),
    ("the weights are missing", "infer asks for them first"),
    ("the weights are not constant", "only layers of constant weights are found"),
    ("the weights of a layer were lost", "nothing takes them away"),
    ("the input \"{}\" has the wrong number of elements", "shapes are looked at before"),
    ("a run has the wrong number of inputs", "all are given"),
    ("{operand:?} of the plan is too short", "plans are ours"),
    ("the plan has a state of the wrong length", "plans are ours"),
    ("the contents do not fit the states of the plan", "a checkpoint of other options is refused first"),
    ("a gradient reads an input that the call does not have", "gradients are ours"),
    ("gradients of one buffer do not fit", "gradients are ours"),
    ("a training has no loss", "a teacher or labels have one"),
    ("a BatchNormalization is not in the plan", "plans are ours"),
    ("the parameters of a BatchNormalization do not fit", "infer refuses them first"),
    ("no round to prune in", "there are two at least"),
    ("the cuts of all rounds are not one cut of the first network", "cuts are ours"),
    (
        "a resumed training has no statistics of the epochs before",
        "the command line has no such pair of flags",
    ),
    ("the values of a tensor of data-dependent shape cannot be counted", "such tensors are not chosen"),
    ("profiles that differ in the loss of their gradients cannot be merged", "the data decide the loss"),
    ("the loss is constant", "an output that is constant is refused first"),
    ("the operands of a loss do not fit", "outputs of teacher and network are compared first"),
    ("the teacher and the network have different outputs", "the evaluation before compares them first"),
    ("a label is no class of the network", "the evaluation before refuses it first"),
    ("a sample has no class of the network", "the choice of the loss compares labels and classes"),
    ("the gradients to continue are of another loss", "src/pipeline/tests/gradients.rs has one"),
    ("the preparation of batches ended early", "it ends with the training"),
    ("cannot encode the checkpoint", "safetensors takes any array"),
    ("\"{name}\" is not constant", "only constants are folded"),
    // Errors that clap reports first.
    ("a model is needed", "clap asks for it"),
    ("a resumed training needs its checkpoint", "clap asks for it"),
    ("the training cannot have this number of steps", "clap asks for a number above 0"),
    ("the training cannot have this number of images in a step", "clap asks for a number above 0"),
    ("a sweep has no budget", "the command line asks for one"),
    ("a sweep has budgets of one kind", "the command line takes one kind"),
    ("a search that was not checked", "searches are checked first"),
    ("no model was given", "clap asks for one"),
    ("no profiles were given", "clap asks for two"),
    ("no round to decide in", "there is one at least"),
    // Errors preceded by others.
    ("labels cannot follow computed indices", "operators block them first"),
    ("no image could be read", "\"none of the images can be read\" comes first"),
    ("profiles that differ in their layers cannot be merged", "one model has one list of layers"),
    ("images that do not fill their shape", "for callers of the library"),
    // Devices.
    ("\"{}\" does not finish", "a GPU that hangs"),
    ("\"{}\" failed", "a GPU that is lost"),
    ("\"{}\" returned no results", "a GPU that is lost"),
    ("\"{}\" refused the work", "a driver's fault"),
    ("\"{}\" cannot translate the shader", "a fault of naga"),
    ("the test broke the shader", "a unit test's"),
    ("a launch has too many workgroups", "takes a GPU"),
    ("a tensor exceeds the largest buffer that the device can bind", "takes a GPU"),
    ("cannot open the device \"{}\"", "takes a GPU"),
    ("computed weights are too large to be packed on the device", "takes a GPU"),
    ("the device computes wrong outputs: its times mean nothing", "takes a faulty GPU"),
    ("the device cannot run the algorithm \"{name}\"", "for callers of the library, on a GPU"),
    ("the memory of \"{}\" is full", "takes a GPU"),
    ("the network has numbers that f16 cannot hold: its times mean nothing", "takes a GPU"),
    ("the CPU cannot run a plan with f16 storage", "for callers of the library"),
    (
        "the plan stores an array as f16 that the kernel {} takes as f32 only",
        "for callers of the library, on a GPU",
    ),
    ("{what} is larger than the device allows", "takes a GPU"),
    // Races, and errors that need too many resources.
    ("a model with external data needs a file name in Unicode", "no text can say such a name"),
    ("a picture of the report cannot be encoded", "PNG takes any picture"),
    ("a scatter of more updates than a table of indices can address", "takes 128 MB of indices"),
    ("an array of too many dimensions", "takes thousands of them"),
    ("cannot list the folder", "a folder that may not be read, but root may"),
    ("cannot listen to Ctrl-C", "the system's fault"),
    ("cannot open the archive", "it was opened before"),
    ("cannot read the model's external data", "the file goes away meanwhile"),
    ("cannot read the array", "the file goes away meanwhile"),
    ("cannot render the manual page", "memory takes any page"),
    ("decoding an image panicked", "decoders do not"),
    ("no memory for an array of {length} bytes", "takes more than memory"),
    ("the model is too large for one file even without its large tensors", "takes 2 GiB"),
    ("the pruned network would accept {what} of one size only", "no network is known that does"),
    ("branches are nested too deeply", "takes a million of them"),
    ("shapes that do not broadcast", "updates of a scatter have one shape"),
    // Callers of the library.
    ("label images in one array have no files", "an array is asked for its rows"),
    ("an image without a label", "a data set has labels for all images or none"),
    ("an output that is no map any more", "all images of a network have outputs of as many axes"),
    ("nothing was measured", "a reference network is always compared with"),
    (
        "outputs with data-dependent shapes cannot be split into images",
        "no network is known that selects boxes of several images at once and names a metric",
    ),
    ("cannot create a folder", "the system's fault"),
    ("the command of the metric failed", "the shell's words; tests/metrics.rs has one"),
    ("the command of the metric printed no number", "takes a shell; tests/metrics.rs has one"),
    ("cannot run the command of the metric", "a system without a shell"),
    ("a confidence needs a budget", "the command line has no such target for profiles"),
    ("a round without images", "rounds without images are one round"),
    ("no checkpoint was given", "clap asks for one"),
];

/// Returns the faults of the catalogue: missing sentences, and entries of `UNMET` without effect.
pub(crate) fn without_a_case(catalogue: &str) -> Vec<String> {
    let all = all();
    assert!(all.len() > 250, "the sources were found");
    let excused: BTreeMap<&str, &str> = UNMET.iter().copied().collect();
    // Sentences without literal text cannot be searched for.
    let met = |sentence: &str| {
        let literal = holes().replace_all(sentence, "");
        literal.contains(char::is_alphabetic) && pattern(sentence).is_match(catalogue)
    };
    let mut faults = Vec::new();
    for (sentence, place) in all.iter().filter(|(s, _)| !excused.contains_key(s.as_str()) && !met(s)) {
        faults.push(format!("{place} makes an error that no case meets: {sentence}"));
    }
    for (sentence, why) in excused {
        if !all.contains_key(sentence) {
            faults.push(format!("no error says \"{sentence}\", which is excused: {why}"));
        } else if met(sentence) {
            faults.push(format!("a case meets \"{sentence}\", which is excused: {why}"));
        }
    }
    faults
}

/// Returns the pattern of an entry's first line: the sentence, possibly after a prefix for the operation.
///
/// A name in backticks, hole or not, stands in the catalogue as the command line translates it: as a flag.
fn pattern(sentence: &str) -> Regex {
    let flags = Regex::new("`([a-z_{}]+)`").unwrap();
    let sentence =
        flags.replace_all(sentence, |name: &regex::Captures| format!("--{}", name[1].replace('_', "-")));
    let parts: Vec<String> = holes().split(&sentence).map(regex::escape).collect();
    Regex::new(&format!("(?m)^error: (.*: )?{}$", parts.join(".*"))).unwrap()
}

fn holes() -> Regex {
    Regex::new(r"\{[^{}]*\}").unwrap()
}

/// Returns every sentence with the file of one error that contains it.
fn all() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "error.rs" {
                let source = std::fs::read_to_string(&path).unwrap();
                let sentences = sentences(source.split("#[cfg(test)]\nmod tests {").next().unwrap());
                found.extend(sentences.into_iter().map(|s| (s, name.clone())));
            }
        }
    }
    found
}

/// Matches a literal, optionally within `format!`, or an expression.
const TEXT: &str = r#"(?s)^\s*(?:&?format!\(\s*)?(?:"((?:[^"\\]|\\.)*)"|([\w.&]*(?:\(\))?))"#;

/// Returns the sentences of one source file.
pub(crate) fn sentences(source: &str) -> BTreeSet<String> {
    let site = Regex::new(r"Error::(new|io)\(").unwrap();
    // A closure, or a function that returns an error.
    let maker = Regex::new(r"let (\w+) =\s*(?:move )?\|([^|]*)\||fn (\w+)\(([^)]*)\) -> Error").unwrap();
    let mut found = BTreeSet::new();
    for site in site.captures_iter(source) {
        let (start, end) = (site.get(0).unwrap().start(), site.get(0).unwrap().end());
        let template = text(&source[end..]);
        let template = if &site[1] == "io" { format!("cannot {template}") } else { template };
        // Parameters of the nearest preceding closure or function that the sentence contains.
        let around = maker.captures_iter(&source[..start]).last();
        let (name, parameters) = around.map_or(("", ""), |m| {
            let part = |at| m.get(at).map(|m| m.as_str());
            (part(1).or(part(3)).unwrap_or_default(), part(2).or(part(4)).unwrap_or_default())
        });
        let parameters = parameters.split(',').filter(|p| !p.trim().is_empty() && !p.contains("self"));
        let holes = parameters.map(|p| format!("{{{}}}", p.split(':').next().unwrap().trim()));
        let said: Vec<(usize, String)> =
            holes.enumerate().filter(|(_, hole)| template.contains(hole)).collect();
        if said.is_empty() {
            found.insert(template);
            continue;
        }
        let call = Regex::new(&format!(r"[^\w]{name}\(")).unwrap();
        for call in call.find_iter(source).filter(|c| !source[..c.start()].ends_with("fn")) {
            let given =
                |at| (0..at).fold(&source[call.end()..], |rest, _| rest.split_once(',').map_or("", |r| r.1));
            let fill =
                |sentence: String, (at, hole): &(usize, String)| sentence.replace(hole, &text(given(*at)));
            found.insert(said.iter().fold(template.clone(), fill));
        }
    }
    found
}

/// Returns the unescaped literal at the start of arguments, or an expression in braces.
fn text(arguments: &str) -> String {
    let parts = Regex::new(TEXT).unwrap().captures(arguments).unwrap();
    match (parts.get(1), parts.get(2)) {
        (Some(literal), _) => {
            let joined = Regex::new(r"\\\n\s*").unwrap().replace_all(literal.as_str(), "").into_owned();
            joined.replace("\\\"", "\"").replace("\\\\", "\\").replace("{{", "{").replace("}}", "}")
        }
        (None, expression) => format!("{{{}}}", expression.map_or("", |e| e.as_str())),
    }
}
