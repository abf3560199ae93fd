//! Finding servers by exact name, and what belongs to one. Nova's name filter is a regular
//! expression, so every hit is compared again.

use serde_json::Value;

use super::OpenstackDriver;
use super::catalogue::Service;
use super::describe::{Attached, text};
use super::session::Call;
use crate::source::{SourceError, SourceNetwork, VmRef};

/// Escapes what means something in a regular expression. Names without such characters stay as they
/// are, because some databases know no regular expressions and compare parts of names.
fn pattern(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

impl OpenstackDriver {
    /// Servers whose name holds `part`.
    pub(super) async fn servers_like(&self, part: &str) -> Result<Vec<Value>, SourceError> {
        let call = Call::get(Service::Compute, "/servers/detail").with("name", pattern(part));
        self.session.list(call, "servers").await.map_err(|e| self.session.failed("list the servers", e))
    }

    /// The server of exactly this name.
    pub(super) async fn find_server(&self, name: &str) -> Result<Option<Value>, SourceError> {
        let mut found = self.servers_like(name).await?;
        found.retain(|server| text(server, "/name") == name);
        if found.len() > 1 {
            let ids: Vec<&str> = found.iter().map(|s| text(s, "/id")).collect();
            let cause =
                format!("{} servers have this name ({}); names must be unique to be found", ids.len(), ids.join(", "));
            return Err(self.session.refused(format!("find server {name}"), cause));
        }
        Ok(found.pop())
    }

    /// Likewise, or an error that names a similar one.
    pub(super) async fn require(&self, name: &str) -> Result<Value, SourceError> {
        if let Some(server) = self.find_server(name).await? {
            return Ok(server);
        }
        let all = self
            .session
            .list(Call::get(Service::Compute, "/servers"), "servers")
            .await
            .map_err(|e| self.session.failed("list the servers", e))?;
        let near = all
            .iter()
            .map(|server| text(server, "/name"))
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(score, _)| *score > 0.85)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = match near {
            Some((_, near)) => format!("; did you mean {near}?"),
            None => format!("; {} servers are visible to this login", all.len()),
        };
        Err(self.missing("server", name, hint))
    }

    pub(super) fn missing(&self, kind: &str, name: &str, hint: String) -> SourceError {
        SourceError::NotFound { profile: self.profile.name.clone(), kind: kind.to_owned(), name: name.to_owned(), hint }
    }

    /// The server as it is now.
    pub(super) async fn server(&self, vm: &VmRef) -> Result<Value, SourceError> {
        let found = self
            .session
            .look_up(Service::Compute, format!("/servers/{}", vm.id), "server")
            .await
            .map_err(|e| self.session.failed(format!("read server {}", vm.name), e))?;
        found.ok_or_else(|| self.missing("server", &vm.name, format!(" (id {})", vm.id)))
    }

    /// The volumes of a server, the one that it boots from first.
    pub(super) async fn volumes_of(&self, server: &Value) -> Result<Vec<Attached>, SourceError> {
        let id = text(server, "/id");
        let what = || format!("read the volumes of {}", text(server, "/name"));
        let path = format!("/servers/{id}/os-volume_attachments");
        let attachments = self
            .session
            .read(Service::Compute, path, "volumeAttachments")
            .await
            .map_err(|e| self.session.failed(what(), e))?;
        let reads = attachments.as_array().into_iter().flatten().map(|attachment| async {
            let path = format!("/volumes/{}", text(attachment, "/volumeId"));
            let volume = self.session.read(Service::Volume, path, "volume").await?;
            Ok(Attached { device: text(attachment, "/device").to_owned(), volume })
        });
        let mut volumes = futures::future::try_join_all(reads).await.map_err(|e| self.session.failed(what(), e))?;
        volumes.sort_by_key(Attached::place);
        Ok(volumes)
    }

    /// The ports of a server, oldest first: the order in which they were plugged in.
    pub(super) async fn ports_of(&self, server: &Value) -> Result<Vec<Value>, SourceError> {
        let call = Call::get(Service::Network, "/ports").with("device_id", text(server, "/id"));
        let mut ports = self
            .session
            .list(call, "ports")
            .await
            .map_err(|e| self.session.failed(format!("list the ports of {}", text(server, "/name")), e))?;
        ports.sort_by_key(|port| {
            let part = |pointer| text(port, pointer).to_owned();
            (part("/created_at"), part("/name"), part("/id"))
        });
        Ok(ports)
    }

    /// Distinct networks of ports, in their order.
    pub(super) async fn networks(&self, ports: &[Value]) -> Result<Vec<SourceNetwork>, SourceError> {
        let mut ids: Vec<&str> = Vec::new();
        for port in ports {
            let id = text(port, "/network_id");
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let reads = ids.into_iter().map(|id| async move {
            let network = self.session.read(Service::Network, format!("/networks/{id}"), "network").await?;
            Ok(SourceNetwork { id: id.to_owned(), name: text(&network, "/name").to_owned() })
        });
        futures::future::try_join_all(reads).await.map_err(|e| self.session.failed("read networks", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_pattern() {
        assert_eq!(pattern("mtv-tests_rhel8"), "mtv-tests_rhel8");
        assert_eq!(pattern("vm.1 (copy)"), "vm\\.1 \\(copy\\)");
    }
}
