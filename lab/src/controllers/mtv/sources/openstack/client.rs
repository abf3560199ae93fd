//! The lab's MTV as a client of OpenStack: what its collector reads, and what its migrations make on
//! the cloud to copy disks.
//!
//! Plain HTTP as gophercloud speaks it (no microversions), so that it works as well against a real
//! cloud. Knows nothing of the lab's own platforms.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{join_all, try_join_all};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::super::transport::{Protocol, told};
use super::view;
use crate::controllers::mtv::Mtv;
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::inventory::model::{InvDisk, InvVm, Inventory};
use crate::inventory::own::{OwnDisk, OwnVm};

/// Simulated time between two refreshes of the collector.
const REFRESH: Duration = Duration::from_secs(10);
/// Shortest real time between two.
const SHORTEST: Duration = Duration::from_millis(150);
/// Real time between two looks at something that is being made.
const AGAIN: Duration = Duration::from_millis(20);
/// How often is looked before something counts as stuck.
const LOOKS: u32 = 1500;
/// Marks what MTV made of a volume.
const ORIGINAL_VOLUME: &str = "forklift_original_volume_id";
const ORIGINAL_IMAGE: &str = "forklift_original_image_id";

/// Logs in to OpenStack.
pub(super) async fn connect(mtv: &Mtv, login: &Login) -> Result<Arc<dyn PlatformClient>, ConnectError> {
    let client = OpenstackClient::login(mtv, login).await?;
    client.check_region().await.map_err(ConnectError::Failed)?;
    Ok(Arc::new(client))
}

/// A token and where the services are.
#[derive(Clone)]
struct Live {
    token: String,
    user: String,
    project: (String, String),
    compute: String,
    volume: String,
    image: String,
    network: String,
}

struct OpenstackClient {
    http: reqwest::Client,
    login: Login,
    identity: String,
    live: Mutex<Live>,
    refresh: Duration,
    revision: AtomicU64,
    judged: std::sync::Mutex<Judged>,
}

/// What the collector's policy has judged. Servers come before their volumes
/// (`pkg/controller/provider/container/openstack/model.go`), so one whose volume the inventory did not
/// know yet has an error for a concern, and keeps it until it changes.
#[derive(Default)]
struct Judged {
    /// Of the reading before; `None` at the first, which is judged as a whole.
    volumes: Option<BTreeSet<String>>,
    /// By id: the state that was judged, and whether that was too early.
    servers: BTreeMap<String, (Value, bool)>,
}

impl Judged {
    /// Judges a reading; returns the servers that were judged too early.
    fn look(&mut self, servers: &[Value], volumes: &[Value]) -> BTreeSet<String> {
        let mut now = BTreeMap::new();
        for server in servers {
            let attached = view::volume_ids(server);
            let state = json!([server["updated"], server["status"], attached]);
            let early = match self.servers.get(text(server, "/id")) {
                Some((judged, early)) if *judged == state => *early,
                _ => self.volumes.as_ref().is_some_and(|known| attached.iter().any(|id| !known.contains(*id))),
            };
            now.insert(text(server, "/id").to_owned(), (state, early));
        }
        self.servers = now;
        self.volumes = Some(volumes.iter().map(|volume| text(volume, "/id").to_owned()).collect());
        self.servers.iter().filter(|(_, (_, early))| *early).map(|(id, _)| id.clone()).collect()
    }
}

#[derive(Clone, Copy)]
enum To {
    Identity,
    Compute,
    Volume,
    Image,
    Network,
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn items(body: &Value, key: &str) -> Vec<Value> {
    body[key].as_array().cloned().unwrap_or_default()
}

/// The `auth` body as gophercloud makes it of the Secret.
fn auth(login: &Login) -> Value {
    let domain = |id: [&str; 2], name: [&str; 2]| {
        let first = |keys: [&str; 2]| keys.iter().map(|k| login.secret(k).to_owned()).find(|v| !v.is_empty());
        match (first(name), first(id)) {
            (Some(name), _) => json!({"name": name}),
            (None, Some(id)) => json!({"id": id}),
            (None, None) => json!({"id": "default"}),
        }
    };
    let user_domain = domain(["userDomainID", "domainID"], ["userDomainName", "domainName"]);
    match login.secret("authType") {
        "applicationcredential" => {
            let credential = match login.secret("applicationCredentialID") {
                "" => json!({
                    "name": login.secret("applicationCredentialName"), "secret": login.secret("applicationCredentialSecret"),
                    "user": {"name": login.secret("username"), "domain": user_domain},
                }),
                id => json!({"id": id, "secret": login.secret("applicationCredentialSecret")}),
            };
            json!({"identity": {"methods": ["application_credential"], "application_credential": credential}})
        }
        method => {
            let project = match login.secret("projectID") {
                "" => json!({
                    "name": login.secret("projectName"),
                    "domain": domain(["projectDomainID", "domainID"], ["projectDomainName", "domainName"]),
                }),
                id => json!({"id": id}),
            };
            let identity = if method == "token" {
                json!({"methods": ["token"], "token": {"id": login.secret("token")}})
            } else {
                let user = match login.secret("userID") {
                    "" => {
                        json!({"name": login.secret("username"), "domain": user_domain, "password": login.secret("password")})
                    }
                    id => json!({"id": id, "password": login.secret("password")}),
                };
                json!({"methods": ["password"], "password": {"user": user}})
            };
            json!({"identity": identity, "scope": {"project": project}})
        }
    }
}

async fn authenticate(http: &reqwest::Client, identity: &str, login: &Login) -> Result<Live, ConnectError> {
    let failed = |e: reqwest::Error| ConnectError::Failed(told(&Method::POST, &e));
    let request = http.post(format!("{identity}/auth/tokens")).json(&json!({"auth": auth(login)}));
    let answer = request.send().await.map_err(failed)?;
    match answer.status().as_u16() {
        201 => {}
        401 => return Err(ConnectError::Auth("Authentication failed".to_owned())),
        code => return Err(ConnectError::Failed(format!("Keystone answered {code}"))),
    }
    let token = answer.headers().get("x-subject-token").and_then(|t| t.to_str().ok()).unwrap_or_default().to_owned();
    let body: Value = answer.json().await.map_err(failed)?;
    let availability = match login.secret("availability") {
        "" => "public",
        other => other,
    };
    let region = login.secret("regionName");
    // Exact types, no aliases.
    let endpoint = |kind: &str| -> Result<String, ConnectError> {
        let entries = body.pointer("/token/catalog").and_then(Value::as_array);
        let endpoints = entries.into_iter().flatten().filter(|e| e["type"] == kind).flat_map(|e| items(e, "endpoints"));
        let fits = |e: &Value| e["interface"] == availability && (e["region"] == region || e["region_id"] == region);
        let url = endpoints.into_iter().find(fits).map(|e| text(&e, "/url").trim_end_matches('/').to_owned());
        let none = "No suitable endpoint could be found in the service catalog.";
        url.ok_or_else(|| ConnectError::Failed(none.to_owned()))
    };
    Ok(Live {
        token,
        user: text(&body, "/token/user/id").to_owned(),
        project: (text(&body, "/token/project/id").to_owned(), text(&body, "/token/project/name").to_owned()),
        compute: endpoint("compute")?,
        volume: endpoint("volumev3")?,
        image: format!("{}/v2", endpoint("image")?),
        network: format!("{}/v2.0", endpoint("network")?),
    })
}

impl OpenstackClient {
    async fn login(mtv: &Mtv, login: &Login) -> Result<Self, ConnectError> {
        let http = mtv.transports.of(login, Protocol::Rest)?;
        let url = login.url.trim_end_matches('/');
        let identity = if url.ends_with("/v3") { url.to_owned() } else { format!("{url}/v3") };
        let live = authenticate(&http, &identity, login).await?;
        Ok(Self {
            http,
            login: login.clone(),
            identity,
            live: Mutex::new(live),
            refresh: mtv.clock.real(REFRESH).max(SHORTEST),
            revision: AtomicU64::new(0),
            judged: std::sync::Mutex::default(),
        })
    }

    /// Without a region that a normal user may read, MTV never becomes ready.
    async fn check_region(&self) -> Result<(), String> {
        let user = self.live.lock().await.user.clone();
        self.get(To::Identity, &format!("/users/{user}/projects")).await?;
        self.get(To::Identity, &format!("/regions/{}", self.login.secret("regionName"))).await.map(drop)
    }

    /// One request; a token that ended is renewed once. Status, `Location` and body.
    fn send<'a>(
        &'a self,
        method: Method,
        to: To,
        path: &'a str,
        body: Option<&'a Value>,
    ) -> BoxFuture<'a, Result<(u16, String, Value), String>> {
        async move {
            let mut renewed = false;
            loop {
                let live = self.live.lock().await.clone();
                let base = match to {
                    To::Identity => &self.identity,
                    To::Compute => &live.compute,
                    To::Volume => &live.volume,
                    To::Image => &live.image,
                    To::Network => &live.network,
                };
                let mut request = self.http.request(method.clone(), format!("{base}{path}"));
                request = request.header("X-Auth-Token", &live.token).header("Accept", "application/json");
                if let Some(body) = body {
                    request = request.json(body);
                    if method == Method::PATCH {
                        request = request.header("Content-Type", "application/openstack-images-v2.1-json-patch");
                    }
                }
                let answer = request.send().await.map_err(|e| told(&method, &e))?;
                let status = answer.status().as_u16();
                if status == 401 && !renewed {
                    renewed = true;
                    let fresh = authenticate(&self.http, &self.identity, &self.login).await;
                    *self.live.lock().await = fresh.map_err(|refused| match refused {
                        ConnectError::Auth(why) | ConnectError::Failed(why) => why,
                    })?;
                    continue;
                }
                let location =
                    answer.headers().get("location").and_then(|l| l.to_str().ok()).unwrap_or_default().to_owned();
                let body = answer.text().await.map_err(|e| e.to_string())?;
                return Ok((status, location, serde_json::from_str(&body).unwrap_or_default()));
            }
        }
        .boxed()
    }

    async fn get(&self, to: To, path: &str) -> Result<Value, String> {
        match self.send(Method::GET, to, path, None).await? {
            (200, _, body) => Ok(body),
            (code, ..) => Err(format!("GET {path}: {code}")),
        }
    }

    async fn post(&self, to: To, path: &str, body: &Value) -> Result<(String, Value), String> {
        match self.send(Method::POST, to, path, Some(body)).await? {
            (200..=202, location, body) => Ok((location, body)),
            (code, ..) => Err(format!("POST {path}: {code}")),
        }
    }

    async fn delete(&self, to: To, path: &str) -> Result<(), String> {
        match self.send(Method::DELETE, to, path, None).await? {
            (202 | 204 | 404, ..) => Ok(()),
            (code, ..) => Err(format!("DELETE {path}: {code}")),
        }
    }

    async fn server(&self, id: &str) -> Result<Value, String> {
        Ok(self.get(To::Compute, &format!("/servers/{id}")).await?["server"].take())
    }

    /// Looks until `done` says so of what a GET answers.
    async fn until(&self, to: To, path: &str, done: impl Fn(&Value) -> Result<bool, String>) -> Result<Value, String> {
        for _ in 0..LOOKS {
            let body = self.get(to, path).await?;
            if done(&body)? {
                return Ok(body);
            }
            tokio::time::sleep(AGAIN).await;
        }
        Err(format!("{path} did not become ready"))
    }

    async fn image_active(&self, id: &str) -> Result<(), String> {
        let done = |image: &Value| match text(image, "/status") {
            "active" => Ok(true),
            "queued" | "saving" | "uploading" | "importing" => Ok(false),
            other => Err(format!("image {id} is {other}")),
        };
        self.until(To::Image, &format!("/images/{id}"), done).await.map(drop)
    }

    async fn mark_image(&self, id: &str, key: &str, value: &str) -> Result<(), String> {
        let patch = json!([{"op": "add", "path": format!("/{key}"), "value": value}]);
        match self.send(Method::PATCH, To::Image, &format!("/images/{id}"), Some(&patch)).await? {
            (200 | 202 | 204, ..) => Ok(()),
            (code, ..) => Err(format!("PATCH of image {id}: {code}")),
        }
    }

    /// One volume becomes an image: its snapshot, a volume of that, an upload (B13, steps 5 to 9).
    async fn image_of_volume(&self, image: &str, volume: &str) -> Result<(), String> {
        let path = format!("/snapshots?limit=1&name={}&volume_id={volume}", encode(&format!("snapshot for {image}")));
        let found = |body: &Value| match text(body, "/snapshots/0/status") {
            "available" => Ok(true),
            // One of before may be on its way out: it is passed over (`ensureSnapshotsFromVolumes`).
            "creating" | "deleting" | "deleted" => Ok(false),
            "" => Err(format!("volume {volume} has no snapshot for {image}")),
            other => Err(format!("the snapshot of volume {volume} is {other}")),
        };
        let snapshot = text(&self.until(To::Volume, &path, found).await?, "/snapshots/0/id").to_owned();
        let copy = json!({"volume": {
            "name": format!("volume created from {image}"), "snapshot_id": snapshot, "metadata": {ORIGINAL_VOLUME: volume},
        }});
        let (_, made) = self.post(To::Volume, "/volumes", &copy).await?;
        let copy = text(&made, "/volume/id").to_owned();
        let is = |wanted: &'static str| {
            move |body: &Value| match text(body, "/volume/status") {
                status if status == wanted => Ok(true),
                "creating" | "uploading" => Ok(false),
                other => Err(format!("the copy of a volume is {other}")),
            }
        };
        let path = format!("/volumes/{copy}");
        let body = self.until(To::Volume, &path, is("available")).await?;
        let metadata = body.pointer("/volume/volume_image_metadata").and_then(Value::as_object).cloned();
        for key in metadata.unwrap_or_default().keys().filter(|k| k.starts_with("os_glance")) {
            self.post(To::Volume, &format!("{path}/action"), &json!({"os-unset_image_metadata": {"key": key}})).await?;
        }
        let upload =
            json!({"os-volume_upload_image": {"image_name": format!("{image}-volume-{volume}"), "disk_format": "raw"}});
        let (_, made) = self.post(To::Volume, &format!("{path}/action"), &upload).await?;
        let id = text(&made, "/os-volume_upload_image/image_id").to_owned();
        self.mark_image(&id, ORIGINAL_VOLUME, volume).await?;
        self.image_active(&id).await?;
        self.until(To::Volume, &path, is("available")).await.map(drop)
    }

    /// Everything of a collection that has this name.
    async fn named(&self, to: To, collection: &str, name: &str) -> Result<Vec<Value>, String> {
        let list = if collection == "volumes" { "/volumes/detail".to_owned() } else { format!("/{collection}") };
        Ok(items(&self.get(to, &format!("{list}?name={}", encode(name))).await?, collection))
    }

    /// Deletes the images of a name, however far they got; waits until they are gone.
    async fn remove_images(&self, name: &str) -> Result<(), String> {
        for _ in 0..LOOKS {
            let found = self.named(To::Image, "images", name).await?;
            if found.is_empty() {
                return Ok(());
            }
            for image in &found {
                // Refused while it is being made.
                let _ = self.delete(To::Image, &format!("/images/{}", text(image, "/id"))).await;
            }
            tokio::time::sleep(AGAIN).await;
        }
        Err(format!("{name} could not be removed"))
    }

    /// Deletes one volume or snapshot, however far it got; waits until it is gone.
    async fn remove_one(&self, path: &str) -> Result<(), String> {
        let (key, cascade) = if path.starts_with("/volumes/") { ("volume", "?cascade=true") } else { ("snapshot", "") };
        for _ in 0..LOOKS {
            match self.send(Method::GET, To::Volume, path, None).await? {
                (200, _, body) if body[key]["status"] == "deleting" => {}
                // Refused while it is being made.
                (200, ..) => drop(self.delete(To::Volume, &format!("{path}{cascade}")).await),
                (404, ..) => return Ok(()),
                (code, ..) => return Err(format!("GET {path}: {code}")),
            }
            tokio::time::sleep(AGAIN).await;
        }
        Err(format!("{path} could not be removed"))
    }
}

fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[async_trait]
impl PlatformClient for OpenstackClient {
    async fn collect(&self) -> Result<Inventory, String> {
        let (project, region) = (self.live.lock().await.project.clone(), self.login.secret("regionName"));
        let lists = [
            (To::Image, "/images", "images"),
            (To::Compute, "/flavors/detail", "flavors"),
            (To::Compute, "/servers/detail", "servers"),
            (To::Volume, "/snapshots", "snapshots"),
            (To::Volume, "/volumes/detail", "volumes"),
            (To::Volume, "/types", "volume_types"),
            (To::Network, "/networks", "networks"),
            (To::Network, "/subnets", "subnets"),
        ];
        let read =
            lists.map(|(to, path, key)| async move { Ok::<_, String>((key, items(&self.get(to, path).await?, key))) });
        let mut raw = view::Raw::default();
        for (key, list) in try_join_all(read).await? {
            raw.lists.insert(key, list);
        }
        let flavors = raw.list("flavors").iter().map(|f| text(f, "/id").to_owned()).collect::<Vec<_>>();
        let specs = flavors.iter().map(|id| async move {
            let body = self.get(To::Compute, &format!("/flavors/{id}/os-extra_specs")).await?;
            Ok::<_, String>((id.clone(), body["extra_specs"].clone()))
        });
        raw.extra_specs = try_join_all(specs).await?.into_iter().collect();
        if let Ok(mut judged) = self.judged.lock() {
            raw.early = judged.look(raw.list("servers"), raw.list("volumes"));
        }
        raw.project = project;
        raw.region = region.to_owned();
        raw.revision = self.revision.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(view::inventory(&raw))
    }

    /// Nothing is pushed: the collector comes again after a while.
    async fn changed(&self) -> Result<bool, String> {
        tokio::time::sleep(self.refresh).await;
        Ok(true)
    }

    async fn power(&self, vm_id: &str, on: bool) -> Result<(), String> {
        let (action, wanted) = if on { ("os-start", "ACTIVE") } else { ("os-stop", "SHUTOFF") };
        if text(&self.server(vm_id).await?, "/status") == wanted {
            return Ok(());
        }
        self.post(To::Compute, &format!("/servers/{vm_id}/action"), &json!({action: null})).await?;
        let done = |body: &Value| Ok(text(body, "/server/status") == wanted);
        self.until(To::Compute, &format!("/servers/{vm_id}"), done).await.map(drop)
    }

    async fn power_state(&self, vm_id: &str) -> Result<bool, String> {
        Ok(text(&self.server(vm_id).await?, "/status") == "ACTIVE")
    }

    async fn create_snapshot(&self, _: &str, _: &str) -> Result<String, String> {
        Err("OpenStack VMs are migrated cold only".to_owned())
    }

    async fn remove_snapshot(&self, _: &str, _: &str) -> Result<(), String> {
        Err("OpenStack VMs are migrated cold only".to_owned())
    }

    async fn prepare_copy(&self, vm: &InvVm) -> Result<(), String> {
        let image = format!("forklift-migration-vm-{}", vm.id);
        let create = json!({"createImage": {"name": image}});
        // The id is in `Location` only: no microversion is asked for.
        let (location, _) = self.post(To::Compute, &format!("/servers/{}/action", vm.id), &create).await?;
        let id = location.rsplit('/').next().unwrap_or_default().to_owned();
        let boots_from_image = if let OwnVm::Openstack(own) = &vm.own { own.image_id.as_str() } else { "" };
        if !boots_from_image.is_empty() {
            self.mark_image(&id, ORIGINAL_IMAGE, boots_from_image).await?;
        }
        let volumes: Vec<&str> =
            vm.disks.iter().filter(|d| d.own != OwnDisk::Image).map(|d| d.source.as_str()).collect();
        if !boots_from_image.is_empty() {
            // Nova snapshots the volumes of servers that boot from one; of others MTV does it.
            for volume in &volumes {
                let body = json!({"snapshot": {
                    "volume_id": volume, "name": format!("snapshot for {image}"), "force": true,
                    "metadata": {ORIGINAL_VOLUME: volume},
                }});
                self.post(To::Volume, "/snapshots", &body).await?;
            }
        }
        self.image_active(&id).await?;
        let copies = volumes.iter().map(|volume| self.image_of_volume(&image, volume));
        try_join_all(copies).await.map(drop)
    }

    async fn image_of(&self, vm: &InvVm, disk: &InvDisk) -> Result<Option<String>, String> {
        let found = self.named(To::Image, "images", &super::image_of(vm, disk)).await?;
        Ok(found.first().map(|image| text(image, "/id").to_owned()))
    }

    async fn needed_on_the_way(&self, vm: &InvVm, keep_snapshots: bool) -> Result<Vec<String>, String> {
        let image = format!("forklift-migration-vm-{}", vm.id);
        let volumes = self.named(To::Volume, "volumes", &format!("volume created from {image}")).await?;
        let snapshots = match keep_snapshots {
            true => Vec::new(),
            false => self.named(To::Volume, "snapshots", &format!("snapshot for {image}")).await?,
        };
        let paths = |collection: &'static str, items: Vec<Value>| {
            items.into_iter().map(move |item| format!("/{collection}/{}", text(&item, "/id")))
        };
        Ok(paths("volumes", volumes).chain(paths("snapshots", snapshots)).collect())
    }

    async fn tidy_copy(&self, made: Vec<String>) -> Result<(), String> {
        for path in made {
            self.remove_one(&path).await?;
        }
        Ok(())
    }

    async fn finish_copy(&self, vm: &InvVm) -> Result<(), String> {
        let image = format!("forklift-migration-vm-{}", vm.id);
        let images = vm.disks.iter().map(|d| format!("{image}-volume-{}", d.source));
        let removed = join_all(images.map(|name| async move { self.remove_images(&name).await })).await;
        removed.into_iter().collect::<Result<Vec<()>, String>>()?;
        self.remove_images(&image).await
    }

    async fn logout(&self) {}
}

#[cfg(test)]
mod judged_tests {
    use super::*;

    #[test]
    fn a_server_that_comes_with_a_new_volume_is_judged_too_early_until_it_changes() {
        let server = |id: &str, updated: &str, volume: &str| json!({"id": id, "updated": updated, "status": "SHUTOFF", "os-extended-volumes:volumes_attached": [{"id": volume}]});
        let volumes = [json!({"id": "v1"}), json!({"id": "v2"})];
        let (old, new) = (server("s1", "1", "v1"), server("s2", "1", "v2"));
        let mut judged = Judged::default();
        assert!(judged.look(std::slice::from_ref(&old), &volumes[..1]).is_empty(), "the first reading is whole");
        let both = [old.clone(), new];
        assert_eq!(judged.look(&both, &volumes), BTreeSet::from(["s2".to_owned()]));
        assert_eq!(judged.look(&both, &volumes).len(), 1, "and stays so");
        assert!(judged.look(&[old, server("s2", "2", "v2")], &volumes).is_empty());
    }
}
