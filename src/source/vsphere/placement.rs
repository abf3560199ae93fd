//! Which host a clone is put on, and that it stays there.

use super::VsphereDriver;
use crate::api::vim::property::PropertySpec;
use crate::api::vim::{decode_name, op};
use crate::source::{SourceError, VmRef};

impl VsphereDriver {
    /// The first host by name that works, sees the datastore, and is none of the others.
    pub(super) async fn another_host(&self, others: &[String], storage: Option<&str>) -> Result<String, SourceError> {
        let what = "choose a host";
        let datastore = match storage {
            Some(wanted) => Some(self.by_id_or_name("Datastore", self.resolve(wanted)).await?.obj),
            None => None,
        };
        let paths = &["name", "datastore", "runtime.connectionState", "runtime.inMaintenanceMode"];
        let hosts = self.session.list(vec![PropertySpec { kind: "HostSystem", paths }]).await;
        let hosts = hosts.map_err(|e| self.session.failed(what, e))?;
        let name = |host: &crate::api::vim::ObjectContent| decode_name(host.text("name").unwrap_or_default());
        let mut fit: Vec<_> = hosts
            .iter()
            .filter(|host| host.text("runtime.connectionState") == Some("connected"))
            .filter(|host| host.text("runtime.inMaintenanceMode") != Some("true"))
            .filter(|host| datastore.as_ref().is_none_or(|wanted| host.morefs("datastore").contains(wanted)))
            .filter(|host| !others.iter().any(|other| *other == host.obj.id || *other == name(host)))
            .collect();
        fit.sort_by_key(|host| name(host));
        let first = fit.first().map(|host| host.obj.id.clone());
        first.ok_or_else(|| {
            let cause =
                format!("none of {} hosts works, sees the datastore and is not {}", hosts.len(), others.join(", "));
            self.session.refused(what, cause)
        })
    }

    /// An override of the cluster's DRS for this VM; it goes with the VM. A host alone has no DRS.
    pub(super) async fn without_drs(&self, vm: &VmRef) -> Result<(), SourceError> {
        let what = format!("switch DRS off for {}", vm.name);
        let moref = Self::moref(vm);
        let Some(host) = self.props(&moref, &["runtime.host"]).await?.moref("runtime.host") else { return Ok(()) };
        let parent = self.props(&host, &["parent"]).await?.moref("parent");
        let Some(cluster) = parent.filter(|parent| parent.kind == "ClusterComputeResource") else { return Ok(()) };
        let limit = self.options.timeouts.request;
        let body = op::without_drs(&cluster, &moref);
        let done = self.session.run_task("ReconfigureComputeResource_Task", &what, limit, |_| body.clone()).await;
        done.map(drop).map_err(|e| self.session.failed(&what, e))
    }
}
