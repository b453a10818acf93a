//! Parsing of criteria: a name, or a sum of names with weights.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::custom::{self, CustomCriterion};
use super::{CRITERIA, CriterionRow, Needs, file};
use crate::error::{Error, Result};

/// A weighted sum of criteria, in most cases a single one.
#[derive(Clone, Debug)]
pub struct Criterion {
    /// The summands of the score.
    pub terms: Vec<Term>,
    text: String,
    file: Option<PathBuf>,
    function: Option<CustomCriterion>,
}

/// A summand of a criterion.
#[derive(Clone, Debug)]
pub struct Term {
    /// The factor of the criterion's score.
    pub weight: f64,
    /// The criterion of this summand.
    pub row: &'static CriterionRow,
}

impl FromStr for Criterion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let alone = |row, file| {
            Ok(Self { terms: vec![Term { weight: 1.0, row }], text: text.to_owned(), file, function: None })
        };
        if let Some(path) = text.strip_prefix("file:") {
            return alone(&file::ROW, Some(path.into()));
        }
        if !text.contains(['+', '*']) {
            return alone(named(text)?, None);
        }
        let terms = text.split('+').map(|term| {
            let (weight, name) = term.split_once('*').unwrap_or(("1", term));
            let weight = weight.trim().parse::<f64>().ok().filter(|w| w.is_finite() && *w > 0.0);
            let weight = weight.ok_or_else(|| {
                Error::new("a criterion with an invalid weight")
                    .expected("a sum of criteria with weights above 0")
                    .got(term)
                    .remedy("for example 0.5*l1+0.5*apoz")
            })?;
            Ok(Term { weight, row: named(name.trim())? })
        });
        Ok(Self { terms: terms.collect::<Result<_>>()?, text: text.to_owned(), file: None, function: None })
    }
}

fn named(text: &str) -> Result<&'static CriterionRow> {
    CRITERIA.iter().copied().find(|row| row.name == text).ok_or_else(|| {
        let names: Vec<&str> = CRITERIA.iter().map(|r| r.name).collect();
        let error = Error::new("an unknown criterion").expected(names.join(", ")).got(text);
        error.meant(text, names, "run `plan()` with `help_criteria` for a description of each")
    })
}

impl std::fmt::Display for Criterion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Criterion {
    /// Returns whether all summands estimate the loss of the whole network from gradients.
    pub fn is_by_gradients(&self) -> bool {
        self.terms.iter().all(|term| term.row.needs.gradients)
    }

    /// Creates a criterion from a function of the caller, with a name for cuts and reports.
    pub fn custom(name: impl Into<String>, function: CustomCriterion) -> Self {
        let terms = vec![Term { weight: 1.0, row: &custom::ROW }];
        Self { terms, text: name.into(), file: None, function: Some(function) }
    }

    /// Returns the statistics that the summands need.
    pub fn needs(&self) -> Needs {
        if let Some(function) = &self.function {
            return function.needs;
        }
        self.terms.iter().fold(Needs::WEIGHTS, |needs, term| needs.and(term.row.needs))
    }

    /// Returns the function of the caller, if there is one.
    pub fn function(&self) -> Option<&CustomCriterion> {
        self.function.as_ref()
    }

    /// Returns the file of scores, for the criterion `file:PATH`.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sums_are_parsed() {
        let sum: Criterion = "0.5*l1 + apoz".parse().expect("a sum");
        let terms: Vec<(f64, &str)> = sum.terms.iter().map(|t| (t.weight, t.row.name)).collect();
        assert_eq!(terms, [(0.5, "l1"), (1.0, "apoz")]);
        assert!(sum.needs().data && !sum.needs().gram);
        let file: Criterion = "file:a+b*c.csv".parse().expect("a file");
        assert_eq!(file.file(), Some(Path::new("a+b*c.csv")));
        for wrong in ["apoy", "-1*l1", "nan*l1+l2", "l1+", "0.5*"] {
            assert!(wrong.parse::<Criterion>().is_err(), "{wrong}");
        }
        let error = "apoy".parse::<Criterion>().expect_err("a typing error");
        assert!(error.to_string().contains("did you mean apoz?"), "{error}");
    }
}
