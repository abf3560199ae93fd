//! Finding things by exact name: one listing, kept, refreshed on a miss.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::VsphereDriver;
use crate::api::vim::device::Network;
use crate::api::vim::property::{FilterSpec, PropertySpec, Select};
use crate::api::vim::{MoRef, ObjectContent, decode_name};
use crate::source::{SourceError, VmRef};

/// VMs by name; names are unique within a folder only.
pub(super) type Index = HashMap<String, Vec<MoRef>>;

/// One listing for all who ask while another is under way: a thousand cells that begin at once would each hold a thousand
/// names of their own. Each gets a listing that began after it asked.
#[derive(Debug)]
pub(super) struct Listings<T> {
    begun: AtomicU64,
    /// The newest that ended, by its number.
    newest: tokio::sync::Mutex<Option<(u64, Arc<T>)>>,
}

impl<T> Default for Listings<T> {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), newest: tokio::sync::Mutex::new(None) }
    }
}

impl<T> Listings<T> {
    async fn share<E>(&self, list: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let asked = self.begun.load(Ordering::SeqCst);
        // Held while it lists: who comes meanwhile waits for the next one, and that is for all of them.
        let mut newest = self.newest.lock().await;
        if let Some((_, listed)) = newest.as_ref().filter(|(number, _)| *number > asked) {
            return Ok(listed.clone());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let listed = Arc::new(list.await?);
        *newest = Some((number, listed.clone()));
        Ok(listed)
    }
}

impl VsphereDriver {
    /// Reads the names of all VMs and templates.
    pub(super) async fn refresh(&self) -> Result<Arc<Index>, SourceError> {
        self.listings.share(self.list_names()).await
    }

    async fn list_names(&self) -> Result<Index, SourceError> {
        let props = vec![PropertySpec { kind: "VirtualMachine", paths: &["name"] }];
        let objects = self.session.list(props).await.map_err(|e| self.session.failed("list the VMs", e))?;
        let mut index = Index::new();
        for object in objects {
            if let Some(name) = object.text("name") {
                index.entry(decode_name(name)).or_default().push(object.obj);
            }
        }
        *self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = index.clone();
        Ok(index)
    }

    fn known(&self, name: &str) -> Option<MoRef> {
        let index = self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match index.get(name).map(Vec::as_slice) {
            Some([one]) => Some(one.clone()),
            _ => None,
        }
    }

    /// Keeps a VM just made.
    pub(super) fn remember(&self, name: &str, vm: &MoRef) {
        let mut index = self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        index.insert(name.to_owned(), vec![vm.clone()]);
    }

    pub(super) fn forget(&self, name: &str) {
        self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(name);
    }

    /// The VM of that name, by a fresh listing.
    pub(super) async fn find_fresh(&self, name: &str) -> Result<Option<MoRef>, SourceError> {
        let mut found = self.refresh().await?.get(name).cloned().unwrap_or_default();
        match found.len() {
            0 | 1 => Ok(found.pop()),
            n => {
                let ids: Vec<&str> = found.iter().map(|m| m.id.as_str()).collect();
                let cause = format!(
                    "{n} VMs have this name ({}): write the id, or the path (/Datacenter/vm/folder/name), of the one that is meant",
                    ids.join(", ")
                );
                Err(self.session.refused(format!("find VM {name}"), cause))
            }
        }
    }

    /// The VM that is meant by its path in the inventory, or by its id, where no VM has that for a name.
    async fn by_path_or_id(&self, meant: &str) -> Result<Option<MoRef>, SourceError> {
        let is_id =
            meant.strip_prefix("vm-").is_some_and(|id| !id.is_empty() && id.chars().all(|c| c.is_ascii_digit()));
        if is_id {
            let vm = MoRef::new("VirtualMachine", meant);
            return match self.props(&vm, &["name"]).await {
                Ok(_) => Ok(Some(vm)),
                Err(SourceError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            };
        }
        if !meant.starts_with('/') {
            return Ok(None);
        }
        let index = self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        // A name may hold a slash, too.
        let named = index.into_iter().filter(|(name, _)| meant.ends_with(&format!("/{name}")));
        for vm in named.flat_map(|(_, vms)| vms) {
            if self.path_of(&vm).await? == meant {
                return Ok(Some(vm));
            }
        }
        Ok(None)
    }

    /// `/Datacenter/vm/folder/name`: what is above it, without the root folder.
    async fn path_of(&self, vm: &MoRef) -> Result<String, SourceError> {
        let mut path = String::new();
        let mut above = Some(vm.clone());
        while let Some(object) = above {
            let of_vapp = if object.kind == "VirtualMachine" {
                &["name", "parent", "parentVApp"][..]
            } else {
                &["name", "parent"]
            };
            let read = self.props(&object, of_vapp).await?;
            above = read.moref("parent").or_else(|| read.moref("parentVApp"));
            if above.is_some() {
                path = format!("/{}{path}", decode_name(read.text("name").unwrap_or_default()));
            }
        }
        Ok(path)
    }

    /// The VM of that name, or what is meant by its path or id; what is known already is verified by one cheap read.
    pub(super) async fn find_vm(&self, name: &str) -> Result<Option<MoRef>, SourceError> {
        if let Some(vm) = self.known(name) {
            match self.props(&vm, &["name"]).await {
                Ok(object) if object.text("name").map(decode_name).as_deref() == Some(name) => return Ok(Some(vm)),
                Ok(_) | Err(SourceError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match self.find_fresh(name).await? {
            Some(vm) => Ok(Some(vm)),
            None => self.by_path_or_id(name).await,
        }
    }

    /// Likewise, or an error that names similar VMs.
    pub(super) async fn require(&self, name: &str) -> Result<MoRef, SourceError> {
        if let Some(vm) = self.find_vm(name).await? {
            return Ok(vm);
        }
        let index = self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let near = index
            .keys()
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(score, _)| *score > 0.85)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = match near {
            Some((_, near)) => format!("; did you mean {near}?"),
            None => format!("; {} VMs are visible to this login", index.len()),
        };
        Err(self.missing("VM or template", name, hint))
    }

    pub(super) fn missing(&self, kind: &str, name: &str, hint: String) -> SourceError {
        SourceError::NotFound { profile: self.profile.name.clone(), kind: kind.to_owned(), name: name.to_owned(), hint }
    }

    /// Properties of one object.
    pub(super) async fn props(&self, object: &MoRef, paths: &[&str]) -> Result<ObjectContent, SourceError> {
        let objects = std::slice::from_ref(object);
        let props = vec![PropertySpec { kind: &object.kind, paths }];
        let read = self.session.read(&FilterSpec { props, select: Select::Objects(objects) }).await;
        let gone = || self.missing(&object.kind, &object.id, String::new());
        match read {
            Ok(found) => found.into_iter().next().ok_or_else(gone),
            Err(error) if error.is("ManagedObjectNotFound") => Err(gone()),
            Err(error) => Err(self.session.failed(format!("read {object}"), error)),
        }
    }

    /// Properties of several objects of one read.
    async fn props_of(
        &self,
        objects: &[MoRef],
        props: Vec<PropertySpec<'_>>,
    ) -> Result<Vec<ObjectContent>, SourceError> {
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        let spec = FilterSpec { props, select: Select::Objects(objects) };
        self.session.read(&spec).await.map_err(|e| self.session.failed("read names", e))
    }

    /// The networks and the datastores that a VM refers to, in one read: these by id.
    pub(super) async fn surroundings(
        &self,
        networks: &[MoRef],
        datastores: &[MoRef],
    ) -> Result<(Vec<Network>, BTreeMap<String, String>), SourceError> {
        let props = vec![
            PropertySpec { kind: "Network", paths: &["name"] },
            PropertySpec { kind: "DistributedVirtualPortgroup", paths: &["key"] },
            PropertySpec { kind: "OpaqueNetwork", paths: &["summary"] },
            PropertySpec { kind: "Datastore", paths: &["name"] },
        ];
        let refs: Vec<MoRef> = networks.iter().chain(datastores).cloned().collect();
        let objects = self.props_of(&refs, props).await?;
        let (stores, nets): (Vec<_>, Vec<_>) = objects.iter().partition(|object| object.obj.kind == "Datastore");
        let name = |o: &ObjectContent| decode_name(o.text("name").unwrap_or_default());
        let stores = stores.into_iter().map(|o| (o.obj.id.clone(), name(o))).collect();
        Ok((nets.into_iter().map(Network::from_object).collect(), stores))
    }

    /// An object of a kind by its id or its exact name.
    pub(super) async fn by_id_or_name(&self, kind: &str, wanted: &str) -> Result<ObjectContent, SourceError> {
        let paths: &[&str] = if kind == "Datastore" { &["name", "summary.freeSpace"] } else { &["name", "parent"] };
        let objects = self
            .session
            .list(vec![PropertySpec { kind, paths }])
            .await
            .map_err(|e| self.session.failed(format!("list objects of kind {kind}"), e))?;
        let by_id = objects.iter().find(|o| o.obj.id == wanted);
        let by_name = || objects.iter().find(|o| o.text("name").map(decode_name).as_deref() == Some(wanted));
        by_id.or_else(by_name).cloned().ok_or_else(|| self.missing(kind, wanted, String::new()))
    }

    pub(super) fn vm_ref(&self, name: &str, vm: &MoRef) -> VmRef {
        VmRef { id: vm.id.clone(), name: name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;
    use crate::net::pauses::pause;

    #[tokio::test(start_paused = true)]
    async fn who_asks_while_a_listing_goes_shares_the_next_one_and_nobody_gets_one_from_before() {
        let listings = Listings::default();
        let made = AtomicU64::new(0);
        let ask = |after: u64| {
            let (listings, made) = (&listings, &made);
            async move {
                pause(Duration::from_secs(after)).await;
                let list = async {
                    pause(Duration::from_secs(10)).await;
                    Ok::<_, Infallible>(made.fetch_add(1, Ordering::SeqCst) + 1)
                };
                *listings.share(list).await.unwrap()
            }
        };
        let (first, second, third, late) = tokio::join!(ask(0), ask(1), ask(2), ask(15));
        assert_eq!((first, second, third), (1, 2, 2), "a listing that had begun may lack what was made since");
        assert_eq!(late, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_listing_that_failed_is_nobody_elses_answer() {
        let listings = Listings::<u8>::default();
        let failing = listings.share(async {
            pause(Duration::from_secs(10)).await;
            Err("the network is down")
        });
        let (failed, other) = tokio::join!(failing, listings.share(async { Ok::<_, &str>(7) }));
        assert_eq!((failed, other.as_deref()), (Err("the network is down"), Ok(&7)));
    }
}
