//! Finding VMs and templates by exact name, and the gate of the data center.

use std::collections::BTreeMap;

use serde_json::Value;

use super::OvirtDriver;
use super::rest::{inner, items, parsed, search_name, text, text_or_empty};
use crate::source::{SourceError, SourceNetwork, VmRef};

/// Network id and name by id of the vNIC profile.
pub(super) type Profiles = BTreeMap<String, (String, String)>;

impl OvirtDriver {
    /// VMs or templates of this name. The search ignores case and may match more, so names are
    /// compared afterwards.
    pub(super) async fn named(&self, collection: &str, item: &str, name: &str) -> Result<Vec<Value>, SourceError> {
        let search = search_name(name);
        let query: Vec<(&str, &str)> = search.iter().map(|s| ("search", s.as_str())).collect();
        let list = self.session.get(collection, &query).await;
        let list = list.map_err(|e| self.session.failed(format!("look for {name} among its {collection}"), e))?;
        Ok(items(&list, item).iter().filter(|i| text(i, "name").as_deref() == Some(name)).cloned().collect())
    }

    pub(super) async fn find_vm(&self, name: &str) -> Result<Option<VmRef>, SourceError> {
        let found = self.named("vms", "vm", name).await?;
        Ok(found.first().map(|vm| VmRef { id: text_or_empty(vm, "id"), name: name.to_owned() }))
    }

    /// The template of this name; of several versions the newest.
    pub(super) async fn find_template(&self, name: &str) -> Result<Option<Value>, SourceError> {
        let found = self.named("templates", "template", name).await?;
        Ok(found.into_iter().max_by_key(|t| parsed::<u64>(t, "version/version_number").unwrap_or(1)))
    }

    pub(super) async fn require_template(&self, name: &str) -> Result<Value, SourceError> {
        if let Some(template) = self.find_template(name).await? {
            return Ok(template);
        }
        let hint = match self.find_vm(name).await? {
            Some(_) => " (a VM has that name, but clones are made from a template)",
            None => "",
        };
        let hint = format!(" at {}{hint}", self.profile.api_url);
        Err(SourceError::NotFound {
            profile: self.profile.name.clone(),
            kind: "template".to_owned(),
            name: name.to_owned(),
            hint,
        })
    }

    /// Refuses to work unless the data center that the profile names is there and up.
    pub(super) async fn pass_gate(&self) -> Result<(), SourceError> {
        let wanted = &self.datacenter;
        let what = format!("work in data center {wanted} of {}", self.profile.api_url);
        let list = self.session.get("datacenters", &[]).await.map_err(|e| self.session.failed(&what, e))?;
        let all = items(&list, "data_center");
        let Some(found) = all.iter().find(|d| text(d, "name").as_deref() == Some(wanted)) else {
            let names: Vec<String> = all.iter().map(|d| text_or_empty(d, "name")).collect();
            let known = if names.is_empty() { "none at all".to_owned() } else { names.join(", ") };
            let cause = format!("the engine has no such data center, it has {known} (key `datacenter` of the profile)");
            return Err(self.session.refused(what, cause));
        };
        match text_or_empty(found, "status").as_str() {
            "up" => Ok(()),
            status => Err(self.session.refused(what, format!("the data center is {status}, not up"))),
        }
    }

    pub(super) async fn profiles(&self) -> Result<Profiles, SourceError> {
        let failed = |e| self.session.failed("read the networks", e);
        let networks = self.session.get("networks", &[]).await.map_err(failed)?;
        let names: BTreeMap<String, String> =
            items(&networks, "network").iter().map(|n| (text_or_empty(n, "id"), text_or_empty(n, "name"))).collect();
        let profiles = self.session.get("vnicprofiles", &[]).await.map_err(failed)?;
        let network = |p: &Value| {
            let id = text_or_empty(p, "network/id");
            let name = names.get(&id).cloned().unwrap_or_default();
            (text_or_empty(p, "id"), (id, name))
        };
        Ok(items(&profiles, "vnic_profile").iter().map(network).collect())
    }

    /// Names of the storage domains by id.
    pub(super) async fn domains(&self) -> Result<BTreeMap<String, String>, SourceError> {
        let list = self.session.get("storagedomains", &[]).await;
        let list = list.map_err(|e| self.session.failed("read the storage domains", e))?;
        let pair = |d: &Value| (text_or_empty(d, "id"), text_or_empty(d, "name"));
        Ok(items(&list, "storage_domain").iter().map(pair).collect())
    }

    /// Networks of a template, or of a VM where no template has the name.
    pub(super) async fn networks_by_name(&self, base: &str) -> Result<Vec<SourceNetwork>, SourceError> {
        let path = match self.find_template(base).await? {
            Some(template) => format!("templates/{}/nics", text_or_empty(&template, "id")),
            None => match self.find_vm(base).await? {
                Some(vm) => format!("vms/{}/nics", vm.id),
                None => return self.require_template(base).await.map(|_| Vec::new()),
            },
        };
        let what = format!("read the NICs of {base}");
        let nics = self.session.get(&path, &[]).await.map_err(|e| self.session.failed(&what, e))?;
        let profiles = self.profiles().await?;
        let mut found: Vec<SourceNetwork> = Vec::new();
        for nic in items(&nics, "nic") {
            // A NIC without a profile is plugged into nothing.
            let Some(profile) = text(nic, "vnic_profile/id") else { continue };
            let Some((id, name)) = profiles.get(&profile) else {
                let cause = format!("its vNIC profile {profile} is not among the engine's");
                return Err(self.session.refused(&what, cause));
            };
            let one = SourceNetwork { id: id.clone(), name: name.clone() };
            if !found.contains(&one) {
                found.push(one);
            }
        }
        Ok(found)
    }

    /// A storage domain by id or name.
    pub(super) async fn domain(&self, wanted: &str) -> Result<String, SourceError> {
        let domains = self.domains().await?;
        let found = domains.iter().find(|(id, name)| *id == wanted || *name == wanted);
        found.map(|(id, _)| id.clone()).ok_or_else(|| SourceError::NotFound {
            profile: self.profile.name.clone(),
            kind: "storage domain".to_owned(),
            name: wanted.to_owned(),
            hint: String::new(),
        })
    }

    /// VMs whose name begins with `prefix`. The search is a LIKE, so names are compared afterwards.
    pub(super) async fn beginning_with(&self, prefix: &str) -> Result<Vec<VmRef>, SourceError> {
        let search = search_name(prefix).map(|s| format!("{s}*"));
        let query: Vec<(&str, &str)> = search.iter().map(|s| ("search", s.as_str())).collect();
        let list = self.session.get("vms", &query).await;
        let list = list.map_err(|e| self.session.failed(format!("list the VMs that begin with {prefix}"), e))?;
        let mut found: Vec<VmRef> = items(&list, "vm")
            .iter()
            .map(|vm| VmRef { id: text_or_empty(vm, "id"), name: text_or_empty(vm, "name") })
            .filter(|vm| vm.name.starts_with(prefix))
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Disks of a VM or template as `(attachment, disk)`, in the engine's order.
    pub(super) async fn attachments(&self, path: &str, what: &str) -> Result<Vec<Value>, SourceError> {
        let list = self.session.get(&format!("{path}/diskattachments"), &[("follow", "disk")]).await;
        let list = list.map_err(|e| self.session.failed(what, e))?;
        Ok(items(&list, "disk_attachment").to_vec())
    }
}

/// The first storage domain of a disk.
pub(super) fn domain_of(disk: &Value) -> String {
    inner(disk, "storage_domains", "storage_domain").first().map(|d| text_or_empty(d, "id")).unwrap_or_default()
}
