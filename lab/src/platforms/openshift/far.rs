//! A second cluster, with KubeVirt and storage and without MTV: a source or a destination by URL and
//! token.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::{LabPlatform, PlatformOptions};
use super::{Machines, follow};
use crate::apiserver::{ApiServer, ApiServerOptions};
use crate::census;
use crate::controllers::kubevirt::exports::{self, ExportOptions};
use crate::controllers::kubevirt::{self, KubevirtOptions, Subresources};
use crate::controllers::storage::{self, StorageOptions};
use crate::controllers::told::Teller;
use crate::defects::Defects;
use crate::error::LabError;
use crate::faults::Dialect;
use crate::guests::Guests;
use crate::ports::GuestDirectory;
use crate::seed::{SeedOptions, seed_cluster};
use crate::serve::Endpoint;

/// It is a release behind the lab's own.
const OCP_VERSION: &str = "4.19.9";
const KUBERNETES_VERSION: &str = "v1.32.8";

/// By which it is kept.
const PART: &str = "second cluster";

/// The lab's second cluster.
pub struct FarOpenshift {
    api: Arc<ApiServer>,
    token: String,
    ca_pem: String,
    machines: Arc<Machines>,
    exports: Option<Endpoint>,
    stop: CancellationToken,
    tasks: TaskTracker,
    baseline: BTreeSet<String>,
}

impl FarOpenshift {
    pub async fn start(options: &PlatformOptions<'_>) -> Result<Self, LabError> {
        let before = options.before(PART);
        let told = before.and_then(|kept| kept["token"].as_str()).map(str::to_owned);
        let token = told.unwrap_or_else(|| format!("sha256~lab-{}", crate::api::names::random_chars(24)));
        let own = ApiServerOptions {
            part: "second API server",
            listen: options.listen,
            port: 0,
            kubernetes_version: KUBERNETES_VERSION.to_owned(),
            users: Vec::new(),
            token: token.clone(),
            subresources: None,
            inventory: None,
            faults: options.faults.at("api-remote", Dialect::Kubernetes),
        };
        let api = Arc::new(ApiServer::start(own, options.ca).await?);
        if let Some(kept) = before {
            api.restore(&kept["api"]);
        }
        // Nothing answers for monitoring: the worker is then chosen without it.
        let seed = SeedOptions {
            mtv_version: String::new(),
            mtv_crds: None,
            mtv_image: crate::seed::OWN_MTV.to_owned(),
            ocp_version: OCP_VERSION.to_owned(),
            inventory_addr: String::new(),
            thanos_addr: "127.0.0.1:1".to_owned(),
            upload_addr: None,
            own_server: true,
            api_url: api.url(),
            cluster: options.world.cluster.clone(),
        };
        seed_cluster(&api.client(), &seed).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let machines = Arc::new(Machines(follow(&api.client(), &stop, &tasks)));
        let defects = Defects::default();
        let guests = Arc::new(Guests::new(machines.clone(), defects.clone(), options.sky.clone(), options.clock));
        api.set_subresources(Arc::new(Subresources::new(api.client(), guests)));
        let exports = if options.exports {
            let (client, clock) = (api.client(), options.clock);
            let own = ExportOptions { client, clock, ca: options.ca, listen: options.listen };
            Some(exports::start(own, &stop, &tasks).await?)
        } else {
            None
        };
        let baseline = names(&api);
        // Nobody looks into it.
        let events = Teller::new(&api.client(), false);
        tasks.spawn(
            kubevirt::run(KubevirtOptions {
                client: api.client(),
                clock: options.clock,
                defects,
                sky: options.sky.clone(),
                guests: machines.clone(),
                events: events.clone(),
                stop: stop.clone(),
            })
            .boxed(),
        );
        // No kubelet plays pods over there.
        let storage = StorageOptions {
            client: api.client(),
            clock: options.clock,
            guests: machines.clone(),
            pods: false,
            mtv: None,
            populators: tokio::sync::Mutex::default(),
            events,
            stop: stop.clone(),
        };
        tasks.spawn(storage::run(storage).boxed());
        let ca_pem = options.ca.ca_pem().to_owned();
        Ok(Self { api, token, ca_pem, machines, exports, stop, tasks, baseline })
    }
}

/// Every object that a run could leave behind, one line each.
fn names(api: &ApiServer) -> BTreeSet<String> {
    // Events expire by themselves.
    let objects = api.snapshot().into_iter().filter(|o| o.kind != "Event");
    objects.map(|o| format!("{} {}/{} on the second cluster", o.kind, o.namespace, o.name)).collect()
}

#[async_trait]
impl LabPlatform for FarOpenshift {
    fn profiles(&self) -> Vec<(String, Value)> {
        let profile = json!({
            "type": "openshift",
            "version": "4.19",
            "fqdn": "127.0.0.1",
            "api_url": self.api.url(),
            "token": self.token,
            "ca_pem": self.ca_pem,
        });
        vec![("openshift-remote".to_owned(), profile)]
    }

    fn kept(&self) -> Option<(&'static str, Value)> {
        Some((PART, json!({"token": self.token, "api": self.api.kept()})))
    }

    fn guests(&self) -> Arc<dyn GuestDirectory> {
        self.machines.clone()
    }

    fn leftovers(&self) -> Vec<String> {
        names(&self.api).difference(&self.baseline).cloned().collect()
    }

    fn census(&self) -> BTreeMap<String, Value> {
        census::of(&self.api, " on the second cluster")
    }

    fn requests(&self) -> (&'static str, u64) {
        ("remote_api_requests", self.api.request_count())
    }

    fn further_urls(&self) -> Vec<String> {
        self.exports.iter().map(|endpoint| format!("https://{}", endpoint.addr())).collect()
    }

    async fn stop(&self) {
        self.stop.cancel();
        if let Some(exports) = &self.exports {
            exports.stop().await;
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.api.stop().await;
    }
}
