//! The configuration file: options that a team repeats, in `secateur.toml` beside the model or named by `--config`.
//!
//! Its values become defaults of the parser, so that they neither conflict with options of the command line nor require
//! others. Where an option of the command line requires one of the file, that one is handed over as if it were given.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use toml::{Table, Value};

use super::streams::OutputFile;
use crate::error::{Error, Result};

/// The file that is read without being named.
pub(super) const FILE: &str = "secateur.toml";

/// Options that are about the command line itself.
const NOT_IN_FILES: [&str; 5] = ["config", "no_config", "help", "version", "help_criteria"];

/// Options of which one replaces all others.
const BUDGETS: [&str; 6] =
    ["keep_macs", "keep_params", "keep_latency", "remove_below", "max_drop", "min_quality"];

/// A value of the file for an option of the verb.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    /// The option's name in the parser.
    id: String,
    /// The option's name on the command line, without hyphens before it.
    name: String,
    /// The values as the command line takes them; none for an option without a value.
    words: Vec<String>,
    is_flag: bool,
}

/// The values of a configuration file for a verb.
#[derive(Clone, Debug)]
pub(super) struct Config {
    path: PathBuf,
    verb: String,
    entries: Vec<Entry>,
}

impl Config {
    /// Finds the file for a command line and reads its values for the verb; `None` if there is no file.
    ///
    /// # Errors
    /// A named file that does not exist, a file that is no TOML, keys that are no options, values that do not fit.
    pub(super) fn find(command: &Command, args: &[OsString]) -> Result<Option<Self>> {
        // Errors of the command line are reported by the parse that follows.
        let Ok(matches) = command.clone().ignore_errors(true).try_get_matches_from(args) else {
            return Ok(None);
        };
        let Some((verb, given)) = matches.subcommand() else { return Ok(None) };
        let named =
            [given, &matches].into_iter().find_map(|m| m.try_get_one::<PathBuf>("config").ok().flatten());
        let declined =
            [given, &matches].into_iter().any(|m| matches!(m.try_get_one("no_config"), Ok(Some(true))));
        let path = match (named, declined) {
            (Some(path), _) => path.clone(),
            (None, true) => return Ok(None),
            (None, false) => match beside_model(given) {
                Some(path) if path.is_file() => path,
                _ => return Ok(None),
            },
        };
        let mut built = command.clone();
        built.build();
        let Some(of_verb) = built.find_subcommand(verb) else { return Ok(None) };
        let text =
            std::fs::read_to_string(&path).map_err(|e| Error::io("read the configuration", &path, e))?;
        let entries = entries(&text, &built, of_verb, path.parent().unwrap_or(Path::new("")))
            .map_err(|error| error.file(&path))?;
        let given = given_ids(given);
        let entries = effective(entries, &given, of_verb).map_err(|error| error.file(&path))?;
        Ok(Some(Self { path, verb: verb.to_owned(), entries }))
    }

    /// Sets the values as defaults of the parser.
    pub(super) fn install(&self, mut command: Command) -> Command {
        for Entry { id, words, is_flag, .. } in &self.entries {
            let set = |arg: Arg| {
                let words = if *is_flag { vec!["true".to_owned()] } else { words.clone() };
                arg.required(false).default_values(words)
            };
            let is_global = command.get_arguments().any(|arg| arg.get_id() == id);
            command = match is_global {
                true => command.mut_arg(id, set),
                false => command.mut_subcommand(&self.verb, |verb| verb.mut_arg(id, set)),
            };
        }
        command
    }

    /// Returns the arguments for options that a command line lacks, of which an error of the parser names the flags.
    pub(super) fn supplied(&self, missing: &str) -> Vec<(String, Vec<OsString>)> {
        let flags: Vec<&str> = missing.split_whitespace().collect();
        let wanted =
            self.entries.iter().filter(|entry| flags.contains(&format!("--{}", entry.name).as_str()));
        let args = wanted.map(|Entry { id, name, words, .. }| {
            let args = words.iter().map(|word| format!("--{name}={word}").into());
            (id.clone(), args.collect())
        });
        args.collect()
    }

    /// Returns whether an error of the parser is about a value of the file.
    pub(super) fn is_about(&self, flag: &str) -> bool {
        let flag = flag.split_whitespace().next().unwrap_or_default();
        self.entries.iter().any(|entry| format!("--{}", entry.name) == flag)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn contains(&self, id: &str) -> bool {
        self.entries.iter().any(|entry| entry.id == id)
    }

    /// Describes the values that are used; `None` if there are none for the verb.
    pub(super) fn note(&self) -> Option<String> {
        let said = |entry: &Entry| match entry.is_flag {
            true => entry.name.clone(),
            false => format!("{} {}", entry.name, entry.words.join(",")),
        };
        let values: Vec<String> = self.entries.iter().map(said).collect();
        (!values.is_empty()).then(|| format!("from {}: {}", self.path.display(), values.join(", ")))
    }
}

/// An option's value, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) origin: String,
}

/// Lists the options of a parsed command line that have a value, with the origin of each.
pub(super) fn settings(
    command: &Command,
    matches: &ArgMatches,
    config: Option<&Config>,
    supplied: &[String],
) -> Vec<Setting> {
    const SILENT: [&str; 4] = ["json", "quiet", "color", "config"];
    let Some((verb, given)) = matches.subcommand() else { return vec![] };
    let Some(of_verb) = command.find_subcommand(verb) else { return vec![] };
    let options = of_verb.get_arguments().filter(|arg| !arg.is_positional());
    let found = options.filter_map(|arg| {
        let id = arg.get_id().as_str();
        if SILENT.contains(&id) || NOT_IN_FILES.contains(&id) {
            return None;
        }
        let words: Vec<String> = given.get_raw(id)?.map(|word| word.to_string_lossy().into_owned()).collect();
        let file = config.filter(|config| config.contains(id));
        let origin = match (given.value_source(id)?, file) {
            (_, Some(config)) if supplied.iter().any(|own| own == id) => config.path.display().to_string(),
            (ValueSource::DefaultValue, Some(config)) => config.path.display().to_string(),
            (ValueSource::DefaultValue, None) => "default".to_owned(),
            (ValueSource::EnvVariable, _) => {
                let name = arg.get_env().map(|name| name.to_string_lossy().into_owned());
                format!("environment variable {}", name.unwrap_or_default())
            }
            _ => "command line".to_owned(),
        };
        let value = words.join(",");
        let is_off = !arg.get_action().takes_values() && value == "false";
        let name = arg.get_long()?.to_owned();
        (!is_off).then_some(Setting { name, value, origin })
    });
    found.collect()
}

/// Returns the path of the file beside the model of a command line.
fn beside_model(given: &ArgMatches) -> Option<PathBuf> {
    let first = |id| given.try_get_many::<PathBuf>(id).ok().flatten().and_then(|mut paths| paths.next());
    let model = first("model").or_else(|| first("models"))?;
    (model != Path::new("-")).then(|| model.parent().unwrap_or(Path::new("")).join(FILE))
}

/// Returns the options that a command line names.
fn given_ids(given: &ArgMatches) -> Vec<String> {
    let named = |id: &&clap::Id| given.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    given.ids().filter(named).map(|id| id.as_str().to_owned()).collect()
}

/// Reads all keys, and returns those of a verb: its section counts more than what stands before all sections.
fn entries(text: &str, program: &Command, verb: &Command, folder: &Path) -> Result<Vec<Entry>> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.bytes().take(at).filter(|&byte| byte == b'\n').count();
        Error::new("the configuration is no TOML")
            .expected("lines such as preset = \"imagenet\"")
            .got(format!("line {}: {}", line + 1, text.lines().nth(line).unwrap_or_default().trim()))
            .remedy("put texts in quotes, and lists in brackets")
    })?;
    let mut found: Vec<Entry> = vec![];
    let verbs = || program.get_subcommands().filter(|verb| verb.get_name() != "help");
    let (sections, keys): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_table());
    for (key, value) in keys {
        let mut known = verbs().flat_map(options).map(long).collect::<Vec<_>>();
        known.sort_unstable();
        known.dedup();
        if !known.contains(&hyphenated(key).as_str()) {
            return Err(unknown(
                key,
                &known,
                "see `secateur prune --help` for names, without the hyphens before them",
            ));
        }
        if let Some(arg) = options(verb).find(|arg| long(arg) == hyphenated(key)) {
            found.push(entry(arg, value, folder)?);
        }
    }
    for (section, value) in sections {
        let names: Vec<&str> = verbs().map(Command::get_name).collect();
        let Some(of) = verbs().find(|verb| verb.get_name() == hyphenated(section)) else {
            return Err(unknown(section, &names, "name a section like a verb, as in [prune]"));
        };
        for (key, value) in value.as_table().into_iter().flatten() {
            let known: Vec<&str> = options(of).map(long).collect();
            let Some(arg) = options(of).find(|arg| long(arg) == hyphenated(key)) else {
                let help = format!("see `secateur {} --help`", of.get_name());
                return Err(unknown(&format!("{section}.{key}"), &known, &help));
            };
            let own = entry(arg, value, folder)?;
            if of.get_name() == verb.get_name() {
                found.retain(|entry| entry.id != own.id);
                found.push(own);
            }
        }
    }
    // A switch that is false is not set.
    found.retain(|entry| !entry.is_flag || entry.words.is_empty());
    Ok(found)
}

fn unknown(key: &str, known: &[&str], otherwise: &str) -> Error {
    let short = key.rsplit('.').next().unwrap_or(key);
    Error::new("the configuration has a key that is no option").got(key).meant(
        &hyphenated(short),
        known.iter().copied(),
        otherwise,
    )
}

/// Returns the options of a verb that may stand in a file.
fn options(verb: &Command) -> impl Iterator<Item = &Arg> {
    let allowed = |arg: &&Arg| arg.get_long().is_some() && !NOT_IN_FILES.contains(&arg.get_id().as_str());
    verb.get_arguments().filter(allowed)
}

fn long(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

fn hyphenated(key: &str) -> String {
    key.replace('_', "-")
}

/// Converts a value of the file to the words of an option.
fn entry(arg: &Arg, value: &Value, folder: &Path) -> Result<Entry> {
    let name = long(arg).to_owned();
    let is_flag = !arg.get_action().takes_values();
    let unfit = |expected: &str| {
        let error = Error::new(format!("the configuration has a value that does not fit --{name}"));
        let remedy = format!("see the option in `secateur prune --help`, and write {name} = VALUE");
        error
            .expected(expected)
            .got(word(value).unwrap_or_else(|| value.type_str().to_owned()))
            .remedy(remedy)
    };
    let mut words = match (is_flag, value) {
        // The word "false" keeps a place until sections have replaced it.
        (true, Value::Boolean(on)) => {
            if *on {
                vec![]
            } else {
                vec!["false".to_owned()]
            }
        }
        (true, _) => return Err(unfit("true or false")),
        (false, Value::Array(items)) => {
            let several =
                matches!(arg.get_action(), clap::ArgAction::Append) || arg.get_value_delimiter().is_some();
            if !several {
                return Err(unfit("one value"));
            }
            let words = items.iter().map(word).collect::<Option<Vec<_>>>();
            words.filter(|words| !words.is_empty()).ok_or_else(|| unfit("a list of texts or numbers"))?
        }
        (false, value) => vec![word(value).ok_or_else(|| unfit("a text, a number or a list"))?],
    };
    words.iter_mut().for_each(|word| *word = located(arg, word, folder));
    Ok(Entry { id: arg.get_id().to_string(), name, words, is_flag })
}

/// Returns a text or number as the command line takes it.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Makes a path of the file relative to its folder.
fn located(arg: &Arg, word: &str, folder: &Path) -> String {
    let within = |path: &str| folder.join(path).display().to_string();
    let parser = arg.get_value_parser().type_id();
    let is_path = parser == ValueParser::path_buf().type_id()
        || parser == ValueParser::from(clap::value_parser!(OutputFile)).type_id();
    match arg.get_id().as_str() {
        _ if is_path && word != "-" => within(word),
        "data" | "test" if !word.starts_with("random:") => within(word),
        "criterion" => match word.strip_prefix("file:") {
            Some(scores) => format!("file:{}", within(scores)),
            None => word.to_owned(),
        },
        "input" => match word.split_once('=') {
            Some((name, file)) if file.ends_with(".npy") => format!("{name}={}", within(file)),
            _ => word.to_owned(),
        },
        _ => word.to_owned(),
    }
}

/// Removes values that an option of the command line replaces or excludes.
///
/// # Errors
/// Values of the file that exclude each other.
fn effective(entries: Vec<Entry>, given: &[String], verb: &Command) -> Result<Vec<Entry>> {
    let excluded = |a: &str, b: &str| {
        let arg = |id: &str| verb.get_arguments().find(|arg| arg.get_id() == id);
        let listed = |a: &str, b: &str| {
            arg(a).is_some_and(|arg| verb.get_arg_conflicts_with(arg).iter().any(|other| other.get_id() == b))
        };
        listed(a, b) || listed(b, a) || BUDGETS.contains(&a) && BUDGETS.contains(&b)
    };
    let is_replaced = |entry: &Entry| given.iter().any(|id| *id == entry.id || excluded(id, &entry.id));
    let left: Vec<Entry> = entries.into_iter().filter(|entry| !is_replaced(entry)).collect();
    for (at, one) in left.iter().enumerate() {
        if let Some(other) = left[at + 1..].iter().find(|other| excluded(&one.id, &other.id)) {
            return Err(Error::new("two values of the configuration exclude each other")
                .got(format!("{} and {}", one.name, other.name))
                .remedy("leave one of them out"));
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, args: &[&str]) -> Result<Vec<(String, Vec<String>)>> {
        let mut program = super::super::command();
        program.build();
        let verb = program.find_subcommand(args[0]).expect("a verb");
        let all = ["secateur"].iter().chain(args);
        let matches =
            super::super::command().ignore_errors(true).try_get_matches_from(all).expect("arguments");
        let given = given_ids(matches.subcommand().expect("a verb").1);
        let found = entries(text, &program, verb, Path::new("team"))?;
        Ok(effective(found, &given, verb)?.into_iter().map(|entry| (entry.id, entry.words)).collect())
    }

    fn ids(text: &str, args: &[&str]) -> Vec<String> {
        read(text, args).expect("a configuration").into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn values_are_those_of_the_verb_and_its_section() {
        let text = "preset = 'cifar10'\nlabel_offset = 1\nstrict = true\n[prune]\nprotect = ['a', 'b{1,2}']\n\
                    preset = 'unit'\nmax-cut = 0.5\n[eval]\nstrict = false\n";
        let expected = [("label_offset", "1"), ("strict", ""), ("max_cut", "0.5"), ("preset", "unit")];
        let mut found = read(text, &["prune", "net.onnx", "-o", "x"]).expect("a configuration");
        found.retain(|(id, _)| id != "protect");
        let mut found: Vec<_> = found.iter().map(|(id, words)| (id.as_str(), words.join(""))).collect();
        found.sort_by_key(|(id, _)| expected.iter().position(|(name, _)| name == id));
        assert_eq!(found, expected.map(|(id, word)| (id, word.to_owned())));
        assert_eq!(ids(text, &["eval", "net.onnx"]), ["label_offset", "preset"]);
        assert_eq!(ids(text, &["devices"]), Vec::<String>::new());
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let text =
            "data = 'images'\nclasses = 'names.txt'\ncriterion = 'file:s.csv'\ninput = ['a=1', 'b=b.npy']\n";
        let found = read(text, &["prune", "net.onnx", "-o", "x"]).expect("a configuration");
        let of = |id: &str| found.iter().find(|(own, _)| own == id).map(|(_, words)| words.join(" "));
        let within = |name: &str| Path::new("team").join(name).display().to_string();
        assert_eq!(of("data"), Some(within("images")));
        assert_eq!(of("classes"), Some(within("names.txt")));
        assert_eq!(of("criterion"), Some(format!("file:{}", within("s.csv"))));
        assert_eq!(of("input"), Some(format!("a=1 b={}", within("b.npy"))));
        assert_eq!(read("data = 'random:4'", &["eval", "n"]).expect("one")[0].1, ["random:4"]);
    }

    #[test]
    fn the_command_line_wins() {
        let text = "keep-macs = 0.5\ncriterion = 'l1'\nheld-out = 0.3\n";
        assert_eq!(ids(text, &["prune", "n", "-o", "x"]).len(), 3);
        assert_eq!(ids(text, &["prune", "n", "-o", "x", "--criterion", "l2"]), ["held_out", "keep_macs"]);
        assert_eq!(ids(text, &["prune", "n", "-o", "x", "--max-drop", "1"]), ["criterion", "held_out"]);
        assert_eq!(ids(text, &["prune", "n", "-o", "x", "--cut", "c", "--test", "t"]), Vec::<String>::new());
    }

    #[test]
    fn mistakes_are_errors() {
        for (text, word) in [
            ("presets = 'unit'", "did you mean preset?"),
            ("[prunee]\n", "did you mean prune?"),
            ("[prune]\nkeep-mac = 1", "did you mean keep-macs?"),
            ("config = 'x'", "no option"),
            ("preset = ['a', 'b']", "one value"),
            ("strict = 1", "true or false"),
            ("preset", "no TOML"),
            ("keep-macs = 0.5\nkeep-params = 0.5", "exclude each other"),
        ] {
            let error = read(text, &["prune", "n", "-o", "x"]).expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
