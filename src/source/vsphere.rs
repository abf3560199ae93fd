//! vSphere: placeholder signatures.

use super::*;

pub struct VsphereDriver;

impl VsphereDriver {
    pub fn new(_profile: Arc<ProviderProfile>, _options: DriverOptions) -> Result<Self, SourceError> {
        unimplemented!()
    }
}

#[async_trait]
impl SourceDriver for VsphereDriver {
    fn platform(&self) -> Platform {
        unimplemented!()
    }
    async fn connect(&self) -> Result<About, SourceError> {
        unimplemented!()
    }
    async fn find(&self, _: &str) -> Result<Option<VmRef>, SourceError> {
        unimplemented!()
    }
    async fn networks_of(&self, _: &str) -> Result<Vec<SourceNetwork>, SourceError> {
        unimplemented!()
    }
    async fn clone_vm(&self, _: CloneRequest<'_>, _: &Ledger) -> Result<VmRef, SourceError> {
        unimplemented!()
    }
    async fn set_power(&self, _: &VmRef, _: bool) -> Result<String, SourceError> {
        unimplemented!()
    }
    async fn wait_guest_info(&self, _: &VmRef, _: Duration) -> Result<(), SourceError> {
        unimplemented!()
    }
    async fn snapshot(&self, _: &VmRef, _: &str) -> Result<(), SourceError> {
        unimplemented!()
    }
    async fn describe(&self, _: &VmRef) -> Result<SourceVm, SourceError> {
        unimplemented!()
    }
    async fn power(&self, _: &VmRef) -> Result<Power, SourceError> {
        unimplemented!()
    }
    async fn delete_vm(&self, _: &str) -> Result<bool, SourceError> {
        unimplemented!()
    }
    async fn list_by_prefix(&self, _: &str) -> Result<Vec<VmRef>, SourceError> {
        unimplemented!()
    }
    async fn disconnect(&self) {
        unimplemented!()
    }
}
