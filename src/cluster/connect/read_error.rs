//! Why something could not be read: from the API server, or from what answers behind it.

/// Each names what was to be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("there is no {what}")]
    Missing { what: String },
    /// No answer, or a refusal.
    #[error("failed to read {what}: {because}")]
    Failed { what: String, because: String },
    /// An answer, and not one of this kind.
    #[error("{what} can't be read: {because}")]
    Unreadable { what: String, because: String },
    /// It is there, and what is looked for is not in it.
    #[error("{what} has no {lacks}")]
    Incomplete { what: String, lacks: &'static str },
    /// There are two ways, and neither leads there.
    #[error("{what} has no address: {first}; {second}")]
    NoWay { what: &'static str, first: Box<ReadError>, second: Box<ReadError> },
}

impl ReadError {
    pub fn failed(what: impl Into<String>, because: impl Into<String>) -> Self {
        Self::Failed { what: what.into(), because: because.into() }
    }

    pub fn unreadable(what: impl Into<String>, because: impl std::fmt::Display) -> Self {
        Self::Unreadable { what: what.into(), because: because.to_string() }
    }
}

/// Where the reason is a line of a report and nothing else.
impl From<ReadError> for String {
    fn from(error: ReadError) -> Self {
        error.to_string()
    }
}
