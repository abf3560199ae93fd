//! MTV's key in an ESXi host's `authorized_keys`, while a cell migrates: its populators come by SSH where a profile says so.
//!
//! A host's file is shared with everybody who administers it. A line comes and goes as a whole; every other one stays as it
//! is, byte for byte but for a missing end of the file's last line. The change is one command that runs on the host to its
//! end, whatever becomes of the connection, below a lock that every mtv-matrix takes. The line's comment holds its name and
//! the run's mark.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use russh::keys::PublicKeyOrCertificate;
use russh::{ChannelMsg, Disconnect, client};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::VsphereDriver;
use crate::api::names::hash_chars;
use crate::api::vim::property::PropertySpec;
use crate::api::vim::{ObjectContent, decode_name};
use crate::config::{Credentials, Platform};
use crate::ledger::mark::{self, Claim, Judgement, Shown};
use crate::ledger::{Ledger, Thing};
use crate::net::Poll;
use crate::net::words::chain;
use crate::source::{KeyRequest, SourceDriver as _, SourceError, SourceItem, permit};

/// As the ledger calls it.
pub(super) const KIND: &str = "authorized-key";
const KEYS: &str = "/etc/ssh/keys-root/authorized_keys";
/// Who has made it changes the file.
const LOCK: &str = "/tmp/mtv-matrix-keys";
/// The exit code of a change that found the lock taken.
const TAKEN: u32 = 75;
/// How long another one's change is waited for; each takes moments.
const LOCK_LIMIT: Duration = Duration::from_secs(60);
/// One command.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// Hosts that are asked at the same time.
const AT_ONCE: usize = 8;
const SSH_PORT: u16 = 22;

/// A line of the file, as far as it is one of a run's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    text: String,
    name: String,
    id: String,
}

/// A host whose sshd is meant.
struct Host {
    id: String,
    name: String,
    endpoint: String,
}

fn id_of(host: &str, key: &str) -> String {
    format!("{host}/{}", hash_chars(key, 16))
}

/// The lines whose comment begins with a name that begins so.
fn lines_of(host: &str, file: &str, prefix: &str) -> Vec<Line> {
    let line = |text: &str| {
        let at = text.find(&format!(" {prefix}"))?;
        let (before, comment) = (text.get(..at)?, text.get(at + 1..)?);
        let (name, key) = (comment.split(' ').next()?, before.rsplit(' ').next()?);
        Some(Line { text: text.to_owned(), name: name.to_owned(), id: id_of(host, key) })
    };
    file.lines().filter_map(line).collect()
}

/// For `sh`.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The file without the line, and with it once where it is to be there.
fn change(line: &str, there: bool) -> String {
    let quoted = quoted(line);
    let add = if there { format!("printf '%s\\n' {quoted} >> {LOCK}/new && ") } else { String::new() };
    format!(
        "mkdir {LOCK} || exit {TAKEN}; umask 077; mkdir -p /etc/ssh/keys-root; test -e {KEYS} || touch {KEYS}; \
         grep -v -x -F -e {quoted} {KEYS} > {LOCK}/new; test $? -lt 2 && {add}cat {LOCK}/new > {KEYS}; \
         rm -f {LOCK}/new; rmdir {LOCK}"
    )
}

/// Takes any host's key: nobody has told us one, and MTV's populator does so, too.
struct AnyHost;

impl client::Handler for AnyHost {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

impl VsphereDriver {
    fn host_login(&self) -> Option<Result<Credentials, String>> {
        self.config.copyoffload.as_ref().and_then(|section| section.host_login())
    }

    fn host(&self, object: &ObjectContent) -> Host {
        let (id, name) = (object.obj.id.clone(), decode_name(object.text("name").unwrap_or_default()));
        let told = self.config.copyoffload.as_ref().map(|section| &section.esxi_ssh_endpoints);
        let told = told.and_then(|told| told.get(&id).or_else(|| told.get(&name))).cloned();
        let endpoint = told.unwrap_or_else(|| name.clone());
        let endpoint = if endpoint.contains(':') { endpoint } else { format!("{endpoint}:{SSH_PORT}") };
        Host { id, name, endpoint }
    }

    /// Logs in and runs one command: what it printed, and its exit code.
    async fn on_host(&self, host: &Host, command: &str) -> Result<(String, u32), SourceError> {
        let unreachable = |cause: String| SourceError::Unreachable {
            profile: self.profile.name.clone(),
            endpoint: format!("the sshd of ESXi host {} ({})", host.name, host.endpoint),
            cause,
        };
        let login = match self.host_login() {
            Some(Ok(login)) => login,
            Some(Err(lacks)) => return Err(self.session.refused(format!("log in to host {}", host.name), lacks)),
            None => return Err(self.unsupported(format!("logging in to host {}", host.name))),
        };
        let talk = async {
            let config = client::Config { inactivity_timeout: Some(COMMAND_LIMIT), ..client::Config::default() };
            let mut handle =
                client::connect(Arc::new(config), host.endpoint.as_str(), AnyHost).await.map_err(|e| chain(&e))?;
            let answer = handle.authenticate_password(&login.username, login.password.expose_secret()).await;
            if !answer.map_err(|e| chain(&e))?.success() {
                return Ok(None);
            }
            let mut channel = handle.channel_open_session().await.map_err(|e| chain(&e))?;
            channel.exec(true, command).await.map_err(|e| chain(&e))?;
            let (mut out, mut code) = (Vec::new(), None);
            while let Some(message) = channel.wait().await {
                match message {
                    ChannelMsg::Data { data } => out.extend_from_slice(&data),
                    ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
                    _ => {}
                }
            }
            let _ = handle.disconnect(Disconnect::ByApplication, "done", "").await;
            let code = code.ok_or_else(|| "the connection ended before the command did".to_owned())?;
            Ok(Some((String::from_utf8_lossy(&out).into_owned(), code)))
        };
        match tokio::time::timeout(COMMAND_LIMIT, talk).await {
            Ok(Ok(Some(said))) => Ok(said),
            Ok(Ok(None)) => Err(SourceError::Login {
                profile: self.profile.name.clone(),
                endpoint: format!("ESXi host {} ({})", host.name, host.endpoint),
                username: login.username,
                cause: "the password is wrong, or sshd takes none".to_owned(),
            }),
            Ok(Err(cause)) => Err(unreachable(cause)),
            Err(_) => Err(unreachable(format!("no answer within {COMMAND_LIMIT:?}"))),
        }
    }

    /// The file; one that is not there is empty.
    async fn keys_on(&self, host: &Host) -> Result<String, SourceError> {
        let (text, code) = self.on_host(host, &format!("test -e {KEYS} || exit 0; cat {KEYS}")).await?;
        match code {
            0 => Ok(text),
            code => {
                Err(self.session.refused(format!("read {KEYS} of host {}", host.name), format!("exit code {code}")))
            }
        }
    }

    /// Changes the file below the lock, and looks whether it is so now.
    async fn change_keys(&self, host: &Host, line: &str, there: bool) -> Result<(), SourceError> {
        let own = {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(keys.entry(host.id.clone()).or_default())
        };
        let _turn = own.lock().await;
        let what = format!("{LOCK} on host {}, which another mtv-matrix has made", host.name);
        let command = change(line, there);
        let changed = crate::source::poll::until(&self.profile.name, &what, Instant::now() + LOCK_LIMIT, || async {
            match self.on_host(host, &command).await? {
                (_, TAKEN) => Ok(Poll::NotYet("it is there".to_owned())),
                (_, code) => Ok(Poll::Done(code)),
            }
        });
        let code = changed.await?;
        let now = self.keys_on(host).await?;
        if now.lines().any(|other| other == line) == there {
            return Ok(());
        }
        let what = format!("change {KEYS} of host {}", host.name);
        Err(self.session.refused(what, format!("exit code {code}, and it is as it was")))
    }

    pub(super) async fn add_key(&self, request: &KeyRequest<'_>, ledger: &Ledger) -> Result<String, SourceError> {
        let object = self.by_id_or_name("HostSystem", request.host).await?;
        let host = self.host(&object);
        // Who can't be asked has got nothing.
        self.keys_on(&host).await?;
        let name = request.run.clone_name(&format!("key-{}", host.id));
        let id = id_of(&host.id, request.line.rsplit(' ').next().unwrap_or_default());
        let note = match ledger.marker() {
            Some(marker) => marker.note(request.cell, &marker.by_id(KIND, &id)),
            None => mark::plain_note(request.run, request.cell),
        };
        let entry = ledger.intent(
            Some(request.cell),
            Thing::SourceItem {
                profile: self.profile.name.clone(),
                platform: Platform::Vsphere.name().to_owned(),
                kind: KIND.to_owned(),
                name: name.clone(),
                id: None,
                instance: self.instance().await?,
            },
        )?;
        self.change_keys(&host, &format!("{} {name} {note}", request.line), true).await?;
        ledger.done(entry, Some(id))?;
        Ok(host.name)
    }

    /// The host that a key's name tells.
    async fn host_of_key(&self, name: &str, run: &crate::api::names::RunId) -> Result<Option<Host>, SourceError> {
        let Some(id) = run.base_of(name).strip_prefix("key-") else { return Ok(None) };
        match self.by_id_or_name("HostSystem", id).await {
            Ok(object) => Ok(Some(self.host(&object))),
            // It was taken out of vCenter; whatever is on it, nobody reaches it from here.
            Err(SourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn shown(line: &Line) -> Shown<'_> {
        Shown { kind: KIND, name: &line.name, id: &line.id, note: Some(&line.text) }
    }

    pub(super) async fn judge_key(&self, claim: &Claim<'_>) -> Result<Option<Judgement>, SourceError> {
        let Some(host) = self.host_of_key(claim.name, claim.run).await? else { return Ok(None) };
        let lines = lines_of(&host.id, &self.keys_on(&host).await?, claim.name);
        let mut judged: Vec<Judgement> = lines.iter().map(|line| claim.judge(Self::shown(line))).collect();
        judged.sort_by_key(|judgement| *judgement == Judgement::Ours);
        Ok(judged.into_iter().next())
    }

    pub(super) async fn remove_key(&self, claim: &Claim<'_>) -> Result<bool, SourceError> {
        let Some(host) = self.host_of_key(claim.name, claim.run).await? else { return Ok(false) };
        let lines = lines_of(&host.id, &self.keys_on(&host).await?, claim.name);
        for line in &lines {
            permit(&self.profile.name, claim, Self::shown(line))?;
            self.change_keys(&host, &line.text, false).await?;
        }
        Ok(!lines.is_empty())
    }

    /// Keys on any host whose name begins so; where populators come by another way nobody looks.
    pub(super) async fn keys_like(&self, prefix: &str) -> Result<Vec<SourceItem>, SourceError> {
        if !matches!(self.host_login(), Some(Ok(_))) {
            return Ok(Vec::new());
        }
        let props = vec![PropertySpec { kind: "HostSystem", paths: &["name", "runtime.connectionState"] }];
        let known = self.session.list(props).await.map_err(|e| self.session.failed("list the hosts", e))?;
        let works = |object: &&ObjectContent| object.text("runtime.connectionState") == Some("connected");
        let hosts: Vec<Host> = known.iter().filter(works).map(|object| self.host(object)).collect();
        let found: Vec<Vec<SourceItem>> = stream::iter(hosts)
            .map(|host| async move {
                let lines = lines_of(&host.id, &self.keys_on(&host).await?, prefix);
                let item = |line: Line| SourceItem { kind: KIND.to_owned(), name: line.name, id: line.id };
                Ok::<_, SourceError>(lines.into_iter().map(item).collect())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_known_by_the_name_in_its_comment_and_by_its_key() {
        let ours =
            "command=\"x y\",no-pty ssh-rsa AAAA mm-abcdefghij-key-host-7-k3k3k3 mtv-matrix run mm-abcdefghij mark m";
        let file = format!("ssh-rsa BBBB admin\n{ours}\n# mm-abcdefghij\n");
        let found = lines_of("host-7", &file, "mm-abcdefghij-");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].text.as_str(), found[0].name.as_str()), (ours, "mm-abcdefghij-key-host-7-k3k3k3"));
        assert_eq!(found[0].id, id_of("host-7", "AAAA"));
        assert_eq!(lines_of("host-7", &file, "mm-zzzzzzzzzz-"), []);
    }

    #[test]
    fn a_change_is_one_command_in_which_a_line_is_one_word() {
        let command = change("command=\"sh -c 'a'\" ssh-rsa AAAA x", true);
        assert!(command.starts_with("mkdir /tmp/mtv-matrix-keys || exit 75; "), "{command}");
        assert_eq!(command.matches(r"'command=").count(), 2, "{command}");
        assert!(command.contains(r"'command=") && command.contains(r"sh -c '\''a'\''"), "{command}");
        assert!(!change("x", false).contains("printf"));
    }
}
