//! Why a lab does not start. Every room may say it; it knows none of them.

#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("failed to start the lab's {part}: {cause}")]
    Start { part: String, cause: String },
    #[error("`{version}` is not a version that the lab plays: 2.9 to 2.12, or 2.13 for upstream's main")]
    UnknownVersion { version: String },
    #[error("the lab knows no weather `{name}`; it knows: {known}")]
    UnknownWeather { name: String, known: String },
    #[error("the lab knows no defect `{name}`; it knows: {known}")]
    UnknownDefect { name: String, known: String },
}
