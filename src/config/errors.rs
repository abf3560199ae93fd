//! Where a value came from, and what is wrong with it. Never holds a value of a secret.

use std::fmt;

/// The layers, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    Default,
    File,
    Secret,
    Environment,
    Flag,
}

impl Layer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Secret => "secret",
            Self::Environment => "environment",
            Self::Flag => "flag",
        }
    }
}

/// The place a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub layer: Layer,
    /// A file, a variable, a flag.
    pub source: String,
    /// Counted from 1; files only.
    pub line: Option<usize>,
}

impl Origin {
    pub(crate) fn at(&self, line: usize) -> Self {
        Self { line: (line > 0).then_some(line), ..self.clone() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.layer, self.line) {
            (_, Some(line)) => write!(f, "{}:{line}", self.source),
            (Layer::Environment, None) => write!(f, "environment {}", self.source),
            _ => f.write_str(&self.source),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub origin: Origin,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// Everything that is wrong with the configuration, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// The known word most like `word`, if any is like it at all.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|k| {
            let (a, b) = (word.to_lowercase(), k.to_lowercase());
            // Two swapped letters in a short word are alike, whatever Jaro and Winkler say.
            let slip = if strsim::damerau_levenshtein(&a, &b) == 1 { 0.9 } else { 0.0 };
            (strsim::jaro_winkler(&a, &b).max(slip), k)
        })
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// `; did you mean …?`, or nothing.
pub(crate) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, prefix: &str) -> String {
    nearest(word, known).map(|k| format!("; did you mean `{prefix}{k}`?")).unwrap_or_default()
}
