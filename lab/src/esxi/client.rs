//! The populator's side of a host's sshd (`internal/vmware/ssh_client.go` and `ssh_executor.go`): its key, its commands.

use std::sync::Arc;

use russh::ChannelMsg;
use russh::client::{self, Handle};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, decode_secret_key};
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::wrapper::{SCRIPT, VERSION};
use super::{EsxiHost, USER};

/// A connection to a host by a private key.
pub struct Executor {
    handle: Handle<AnyHost>,
    _served: DropGuard,
}

struct AnyHost;

impl client::Handler for AnyHost {
    type Error = russh::Error;
    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

impl Executor {
    /// Connects, and asks whether the key is there with its restricted command (`TestSSHConnectivity`). `None`: it is not.
    pub async fn connect(host: &Arc<EsxiHost>, private_key: &str) -> Option<Self> {
        let key = decode_secret_key(private_key, None).ok()?;
        let (stream, serve) = host.connect();
        let stop = CancellationToken::new();
        let served = stop.clone().drop_guard();
        tokio::spawn(async move {
            tokio::select! { () = stop.cancelled() => {}, () = serve => {} }
        });
        let mut handle = client::connect_stream(Arc::new(client::Config::default()), stream, AnyHost).await.ok()?;
        let hash = handle.best_supported_rsa_hash().await.ok().flatten().flatten();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        if !handle.authenticate_publickey(USER, key).await.ok()?.success() {
            return None;
        }
        let own = Self { handle, _served: served };
        let (said, _) = own.execute("", "status test-task-id").await.ok()?;
        (said.trim() == "SSH_OK").then_some(own)
    }

    async fn execute(&self, datastore: &str, command: &str) -> Result<(String, u32), russh::Error> {
        let mut channel = self.handle.channel_open_session().await?;
        channel.exec(true, format!("DS={datastore};CMD={command}")).await?;
        let (mut out, mut code) = (Vec::new(), 255);
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => out.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => code = exit_status,
                _ => {}
            }
        }
        Ok((String::from_utf8_lossy(&out).into_owned(), code))
    }

    /// What a command of the wrapper answers with status 0 (`parseTaskResponse`).
    async fn ask(&self, datastore: &str, command: &str) -> Result<String, String> {
        let (said, code) = self.execute(datastore, command).await.map_err(|e| e.to_string())?;
        let field = |name: &str| {
            let rest = said.split_once(&format!("<field name=\"{name}\"><string>"))?.1;
            rest.split_once("</string>").map(|(value, _)| value.to_owned())
        };
        match (field("status"), field("message")) {
            (Some(status), Some(message)) if status == "0" => Ok(message),
            (Some(status), Some(message)) => Err(format!("operation failed with status {status}: {message}")),
            _ => Err(format!("Process exited with status {code}: {}", said.trim())),
        }
    }

    /// The version of the script on the datastore.
    pub async fn version(&self, datastore: &str) -> Option<String> {
        let said: Value = serde_json::from_str(&self.ask(datastore, "--version").await.ok()?).ok()?;
        Some(said["version"].as_str()?.to_owned())
    }

    /// The id of the task.
    pub async fn clone_disk(&self, datastore: &str, source: &str, target: &str) -> Result<String, String> {
        let failed = |why: String| format!("failed to start clone task: failed to start clone: {why}");
        let said = self.ask(datastore, &format!("--clone -s {source} -t {target}")).await.map_err(failed)?;
        let task: Value = serde_json::from_str(&said).map_err(|e| failed(e.to_string()))?;
        Ok(task["taskId"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether the array does it, as far as the host knows.
    pub async fn look(&self, datastore: &str, task: &str) -> Result<bool, String> {
        let failed = |why: String| format!("failed to update task status: failed to get task status: {why}");
        let said = self.ask(datastore, &format!("--task-get -i {task}")).await.map_err(failed)?;
        let told: Value = serde_json::from_str(&said).map_err(|e| failed(e.to_string()))?;
        Ok(told["xcopyUsed"].as_bool().unwrap_or_default())
    }

    pub async fn clean(&self, datastore: &str, task: &str) -> Result<(), String> {
        self.ask(datastore, &format!("--task-clean -i {task}")).await.map(drop)
    }
}

/// The script that the populator brings.
pub fn script() -> (&'static str, &'static str) {
    (SCRIPT, VERSION)
}
