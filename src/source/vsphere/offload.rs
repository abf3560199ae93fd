//! What vSphere must have before an array can copy: datastores of a kind that XCOPY knows, and a LUN to map.

use super::VsphereDriver;
use crate::api::vim::property::PropertySpec;
use crate::api::vim::{Element, decode_name};
use crate::source::SourceError;

/// Where hosts tell their LUNs.
const LUNS: &str = "config.storageDevice.scsiLun";

/// Why no array copies from a datastore of this type; `None`: one may.
fn no_xcopy(type_: &str) -> Option<&'static str> {
    match type_ {
        "NFS" | "NFS41" | "vsan" => Some("XCOPY is of block storage"),
        _ => None,
    }
}

/// `naa.600…` as a device's name has it, whatever stands before it.
pub(super) fn naa(lun: &str) -> String {
    let last = lun.rsplit('/').next().unwrap_or(lun);
    if last.starts_with("naa.") || last.contains('.') { last.to_owned() } else { format!("naa.{last}") }
}

impl VsphereDriver {
    pub(super) async fn obstacles(&self, storages: &[&str], lun: Option<&str>) -> Result<Vec<String>, SourceError> {
        let props = vec![PropertySpec { kind: "Datastore", paths: &["name", "summary.type"] }];
        let known = self.session.list(props).await.map_err(|e| self.session.failed("list the datastores", e))?;
        let mut found = Vec::new();
        for wanted in storages {
            let is = |name: Option<&str>| name.map(decode_name).as_deref() == Some(*wanted);
            let by_id = known.iter().find(|object| object.obj.id == *wanted);
            match by_id.or_else(|| known.iter().find(|object| is(object.text("name")))) {
                None => found.push(format!("there is no datastore {wanted}")),
                Some(object) => {
                    let type_ = object.text("summary.type").unwrap_or_default();
                    found
                        .extend(no_xcopy(type_).map(|why| format!("datastore {wanted} is of type {type_}, and {why}")));
                }
            }
        }
        if let Some(lun) = lun {
            // Its mapping file lies on the clone's datastore, which has been looked at: no mapping lies on NFS.
            found.extend(self.no_such_lun(&naa(lun)).await?);
        }
        Ok(found)
    }

    /// A host that tells no LUNs says nothing against one.
    async fn no_such_lun(&self, wanted: &str) -> Result<Option<String>, SourceError> {
        let props = vec![PropertySpec { kind: "HostSystem", paths: &["name", LUNS] }];
        let hosts = self.session.list(props).await.map_err(|e| self.session.failed("list the hosts' LUNs", e))?;
        let luns: Vec<&Element> =
            hosts.iter().filter_map(|host| host.props.get(LUNS)).flat_map(|luns| &luns.children).collect();
        let there = luns.iter().any(|lun| lun.text_at("canonicalName") == Some(wanted));
        Ok((!luns.is_empty() && !there).then(|| format!("no host sees the LUN {wanted} (`rdm_lun_uuid`)")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lun_is_named_by_its_naa_number_whatever_form_it_is_given_in() {
        assert_eq!(naa("/vmfs/devices/disks/naa.6001"), "naa.6001");
        assert_eq!(naa("naa.6001"), "naa.6001");
        assert_eq!(naa("6001"), "naa.6001");
        assert_eq!(naa("eui.0025"), "eui.0025");
    }

    #[test]
    fn xcopy_is_refused_on_nfs_alone() {
        assert!(no_xcopy("NFS").is_some() && no_xcopy("NFS41").is_some() && no_xcopy("VMFS").is_none());
    }
}
