//! Cloning from a template: full copies, waited for until the VM is down and every disk is ok.

use std::sync::PoisonError;

use serde_json::{Value, json};

use super::OvirtDriver;
use super::rest::{inner, items, text, text_or_empty};
use crate::config::Platform;
use crate::config::scenarios::{AddDisk, DiskType};
use crate::ledger::{Ledger, Thing, mark};
use crate::net::Poll;
use crate::source::{CloneRequest, SourceDriver, SourceError, VM, VmRef};

/// How a disk of the clone is laid out; nothing: as in the template.
fn layout(kind: Option<DiskType>) -> Value {
    match kind {
        None => json!({}),
        Some(DiskType::Thin) => json!({"format": "cow", "sparse": "true"}),
        Some(DiskType::ThickLazy | DiskType::ThickEager) => json!({"format": "raw", "sparse": "false"}),
    }
}

/// Per-disk overrides are matched by the template's disk id.
fn overrides(attachments: &[Value], kind: Option<DiskType>, domain: Option<&str>) -> Vec<Value> {
    if kind.is_none() && domain.is_none() {
        return Vec::new();
    }
    let one = |attachment: &Value| {
        let mut disk = layout(kind);
        disk["id"] = json!(text_or_empty(attachment, "disk/id"));
        if let Some(domain) = domain {
            disk["storage_domains"] = json!({"storage_domain": [{"id": domain}]});
        }
        json!({"disk": disk})
    };
    attachments.iter().map(one).collect()
}

impl OvirtDriver {
    pub(super) async fn make_clone(&self, request: &CloneRequest<'_>, ledger: &Ledger) -> Result<VmRef, SourceError> {
        let what = format!("clone {} to {}", request.base, request.name);
        if request.add_disks.iter().any(|d| d.rdm_type.is_some()) {
            return Err(self.unsupported("adding a raw device mapping to a clone"));
        }
        let template = self.require_template(request.base).await?;
        let id = text_or_empty(&template, "id");
        let attachments = self.attachments(&format!("templates/{id}"), &what).await?;
        let domain = match request.target_storage {
            Some(wanted) => Some(self.domain(wanted).await?),
            None => None,
        };
        let cluster = match text(&template, "cluster/id") {
            Some(cluster) => cluster,
            None => self.any_cluster(&what).await?,
        };
        // By name: the engine sets the id, and an engine's copy of the VM has another name.
        let note = match ledger.marker() {
            Some(marker) => marker.note(request.cell, &marker.by_name(VM, &request.name)),
            None => mark::plain_note(request.run, request.cell),
        };
        let mut body = json!({
            "name": request.name,
            "description": note,
            "cluster": {"id": cluster},
            "template": {"id": id},
            // Nothing is reserved for a VM that lives some minutes; the memory stays the template's.
            "memory_policy": {"guaranteed": "0"},
        });
        let overrides = overrides(&attachments, request.disk_type, domain.as_deref());
        if !overrides.is_empty() {
            body["disk_attachments"] = json!({"disk_attachment": overrides});
        }
        let instance = self.instance().await?;
        let entry = ledger.intent(
            Some(request.cell),
            Thing::SourceVm {
                profile: self.profile.name.clone(),
                platform: Platform::Ovirt.name().to_owned(),
                name: request.name.clone(),
                id: None,
                instance,
            },
        )?;
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(request.name.clone());
        // A clone, not a thin VM: that would hold the template.
        let made = self.session.post("vms", &[("clone", "true")], &body).await;
        let vm = match made {
            Ok(made) => VmRef { id: text_or_empty(&made, "id"), name: request.name.clone() },
            // The answer was lost, the VM may be there: looked for, never asked for twice.
            Err(error) if error.is_in_doubt() => match self.appearing(&request.name).await? {
                Some(vm) => vm,
                None => return Err(self.session.failed(&what, error)),
            },
            Err(error) => {
                self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&request.name);
                return Err(self.session.failed(&what, error));
            }
        };
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&request.name);
        if vm.id.is_empty() {
            return Err(self.session.refused(what, "the engine's answer has no id"));
        }
        self.wait_made(&vm, &what).await?;
        for disk in request.add_disks {
            self.add_disk(&vm, disk, domain.as_deref(), attachments.first(), &what).await?;
        }
        if !request.add_disks.is_empty() {
            self.wait_made(&vm, &what).await?;
        }
        ledger.done(entry, Some(vm.id.clone()))?;
        Ok(vm)
    }

    async fn any_cluster(&self, what: &str) -> Result<String, SourceError> {
        let list = self.session.get("clusters", &[]).await.map_err(|e| self.session.failed(what, e))?;
        let first = items(&list, "cluster").first().and_then(|c| text(c, "id"));
        first.ok_or_else(|| self.session.refused(what, "the engine has no cluster"))
    }

    /// Until the VM is down and its disks are ok: `down` may be told before the last disk is free.
    async fn wait_made(&self, vm: &VmRef, what: &str) -> Result<(), SourceError> {
        let limit = self.session.timeouts().clone;
        let path = format!("vms/{}", vm.id);
        let path = path.as_str();
        let waited = self.session.until(what, limit, || async move {
            let found = self.session.get_opt(path, &[("follow", "disk_attachments.disk")]).await;
            let Some(found) = found.map_err(|e| self.session.failed(what, e))? else {
                let cause = "the engine has taken it back; its event log says why";
                return Err(self.session.refused(what, cause));
            };
            let status = text_or_empty(&found, "status");
            if status != "down" {
                return Ok(Poll::NotYet(format!("VM {status}")));
            }
            let attachments = inner(&found, "disk_attachments", "disk_attachment");
            let states = attachments.iter().map(|a| text_or_empty(a, "disk/status"));
            match states.clone().find(|s| s != "ok" && !s.is_empty()) {
                Some(illegal) if illegal == "illegal" => {
                    Err(self.session.refused(what, "a disk of the clone is illegal: its copy failed"))
                }
                Some(busy) => Ok(Poll::NotYet(format!("VM down, a disk {busy}"))),
                None => Ok(Poll::Done(())),
            }
        });
        waited.await
    }

    async fn add_disk(
        &self,
        vm: &VmRef,
        disk: &AddDisk,
        domain: Option<&str>,
        like: Option<&Value>,
        what: &str,
    ) -> Result<(), SourceError> {
        let gib = u64::from(disk.size_gb.unwrap_or_default());
        if gib == 0 {
            return Err(self.session.refused(what, "a disk to add has no size_gb"));
        }
        let domain = match (&disk.datastore_id, domain, like) {
            (Some(wanted), _, _) => self.domain(wanted).await?,
            (None, Some(domain), _) => domain.to_owned(),
            (None, None, Some(like)) => super::lookup::domain_of(like.get("disk").unwrap_or(&Value::Null)),
            (None, None, None) => String::new(),
        };
        let mut body = layout(Some(disk.provision_type.unwrap_or(DiskType::Thin)));
        body["name"] = json!(format!("{}_extra", vm.name));
        body["provisioned_size"] = json!((gib << 30).to_string());
        body["storage_domains"] = json!({"storage_domain": [{"id": domain}]});
        let body = json!({"active": "true", "bootable": "false", "interface": "virtio_scsi", "disk": body});
        let path = format!("vms/{}/diskattachments", vm.id);
        self.session.post(&path, &[], &body).await.map_err(|e| self.session.failed(what, e))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_overridden_only_where_something_is_asked_for() {
        let attachments = [json!({"id": "d", "disk": {"id": "d"}})];
        assert!(overrides(&attachments, None, None).is_empty());
        let thick = overrides(&attachments, Some(DiskType::ThickLazy), Some("s"));
        assert_eq!(thick[0]["disk"]["id"], "d");
        assert_eq!(thick[0]["disk"]["format"], "raw");
        assert_eq!(thick[0]["disk"]["storage_domains"]["storage_domain"][0]["id"], "s");
    }
}
