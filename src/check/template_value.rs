//! What a template works with, and why it may give no text: for the language and for its functions.

/// A value while a template is rendered.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Str(String),
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Str(text) => f.write_str(text),
            Self::Int(n) => write!(f, "{n}"),
            Self::Float(n) => write!(f, "{n}"),
            Self::Bool(b) => write!(f, "{b}"),
        }
    }
}

impl Value {
    /// What `if` makes of it.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Str(text) => !text.is_empty(),
            Self::Int(n) => *n != 0,
            Self::Float(n) => *n != 0.0,
            Self::Bool(b) => *b,
        }
    }
}

/// Why a template gave no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("the field .{0} is unknown")]
    UnknownField(String),
    #[error("{0}")]
    Syntax(String),
    #[error("{function}: {message}")]
    Function { function: String, message: String },
}
