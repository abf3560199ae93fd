//! A command in a container of a pod (`pods/exec`); what it prints is handed on as it comes.

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::cluster::Cluster;
use crate::cluster::connect::upgrade;

const PROTOCOL: &str = "v4.channel.k8s.io";
/// The first byte of a frame is its channel.
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// What is kept of what it complains about, in bytes.
const LONGEST: usize = 2000;

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The API server did not open it, in its words.
    #[error("{0}")]
    Refused(String),
    #[error("the exec broke: {0}")]
    Broke(#[from] tokio_tungstenite::tungstenite::Error),
    #[error("the exec ended before its command did")]
    Cut,
    /// What the server says of its end, and what it printed to complain.
    #[error("{said}{}{complaint}", if complaint.is_empty() { "" } else { ": " })]
    Failed { said: String, complaint: String },
    /// Whoever takes what it prints could not.
    #[error(transparent)]
    Taken(std::io::Error),
}

/// Where it runs.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    pub container: &'a str,
}

/// Runs it to its end, which must be a good one. `take`: what it printed; an error of its ends all.
pub async fn run(
    cluster: &Cluster,
    place: Place<'_>,
    command: &[&str],
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<(), ExecError> {
    let Place { namespace, pod, container } = place;
    let mut path =
        format!("/api/v1/namespaces/{namespace}/pods/{pod}/exec?container={container}&stdout=true&stderr=true");
    for word in command {
        path.push_str("&command=");
        path.extend(utf8_percent_encode(word, NON_ALPHANUMERIC));
    }
    let socket = upgrade::open(cluster, &path, PROTOCOL, "exec").await;
    let mut socket = socket.map_err(|refused| ExecError::Refused(refused.why))?;
    let mut complaint = String::new();
    while let Some(message) = socket.next().await {
        let bytes: Bytes = match message? {
            Message::Binary(bytes) => bytes,
            // The library queues the Pong; flushing sends it.
            Message::Ping(_) => {
                socket.flush().await?;
                continue;
            }
            Message::Close(_) => break,
            Message::Text(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        match bytes.split_first() {
            Some((&STDOUT, printed)) => take(printed).map_err(ExecError::Taken)?,
            Some((&STDERR, said)) if complaint.len() < LONGEST => complaint.push_str(&String::from_utf8_lossy(said)),
            Some((&STATUS, status)) => return ended(status, &complaint),
            _ => {}
        }
    }
    Err(ExecError::Cut)
}

/// What the last frame says of the command.
fn ended(status: &[u8], complaint: &str) -> Result<(), ExecError> {
    let status: Value = serde_json::from_slice(status).unwrap_or_default();
    if status["status"] == "Success" {
        return Ok(());
    }
    let said = status["message"].as_str().unwrap_or("it failed, and nobody says why").to_owned();
    Err(ExecError::Failed { said, complaint: complaint.trim().chars().take(200).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_ends_badly_tells_its_code_and_its_complaint() {
        assert!(ended(br#"{"status": "Success"}"#, "a warning").is_ok());
        let bad = br#"{"status": "Failure", "message": "command terminated with non-zero exit code: exit status 1"}"#;
        let said = ended(bad, "cat: x: No such file or directory\n").unwrap_err().to_string();
        assert!(said.ends_with("exit status 1: cat: x: No such file or directory"), "{said}");
        assert!(ended(b"", "").is_err(), "silence is no success");
    }
}
