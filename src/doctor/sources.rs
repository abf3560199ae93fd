//! Whether each profile's source platform takes its login. Reads only; what a run would clone is not looked for.

use std::sync::Arc;

use futures::StreamExt;

use super::{Probe, Weight};
use crate::cluster::Cluster;
use crate::config::{Loaded, ProviderProfile};
use crate::source::{self, DriverOptions, SourceAccess, SourceError};

/// Logins at once.
const AT_ONCE: usize = 8;

/// One probe a profile. A profile that is not well is a doubt: cells of the others can be.
pub(super) async fn probes(cluster: &Cluster, loaded: &Loaded) -> Vec<Probe> {
    if loaded.providers.is_empty() {
        return vec![
            Probe::of("source platforms", Weight::Doubt, "no provider profile is configured: there is nothing to run")
                .remedy("give `providers_json`, or `providers:` in a --config file (docs/providers.md)"),
        ];
    }
    let options = DriverOptions {
        timeouts: loaded.settings.timeouts.clone(),
        insecure: loaded.settings.source_provider_insecure_skip_verify,
        cluster: Some(cluster.clone()),
    };
    let asked = loaded.providers.values().map(|profile| probe(Arc::new(profile.clone()), &options));
    futures::stream::iter(asked).buffered(AT_ONCE).collect().await
}

async fn probe(profile: Arc<ProviderProfile>, options: &DriverOptions) -> Probe {
    let name = format!("source {}", profile.name);
    let driver = match source::access(&profile, options) {
        Ok(SourceAccess::Driver(driver)) => driver,
        Ok(SourceAccess::InventoryOnly) => {
            let message = format!("{} is known by MTV's inventory alone: its login is tried by MTV", profile.platform);
            return Probe::of(name, Weight::Fine, message);
        }
        Err(error) => return told(&name, &profile, &error),
    };
    let probe = match driver.connect().await {
        Ok(about) => Probe::of(name, Weight::Fine, format!("{} {}", about.product, about.version)),
        Err(error) => told(&name, &profile, &error),
    };
    driver.disconnect().await;
    probe
}

fn told(name: &str, profile: &ProviderProfile, error: &SourceError) -> Probe {
    let remedy = match error {
        SourceError::Unreachable { .. } => {
            "check `api_url`, name resolution, firewall and proxy from where this runs, and `ca_file` where TLS is not trusted"
                .to_owned()
        }
        SourceError::Login { .. } => format!("check `username` and `password` of the profile {}", profile.name),
        SourceError::Timeout { .. } => "it answers too late: see `timeouts.request`".to_owned(),
        SourceError::NotFound { .. }
        | SourceError::Operation { .. }
        | SourceError::Unsupported { .. }
        | SourceError::NotOurs { .. }
        | SourceError::Ledger(_) => format!("see the profile {} in docs/providers.md", profile.name),
    };
    Probe::new(name, Err(error.to_string())).doubted().remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LoadRequest, load};
    use std::time::Duration;

    fn cluster() -> Cluster {
        let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, tower::BoxError>("nobody answers".into())
        });
        Cluster::from_client(kube::Client::new(nobody, "default"), "https://lab", Duration::from_secs(1)).unwrap()
    }

    async fn probed(providers: &str) -> Vec<Probe> {
        let secrets = tempfile::tempdir().unwrap();
        let request = LoadRequest {
            secrets_dir: Some(secrets.path().to_owned()),
            set: ["timeouts.connect=1s", "timeouts.request=1s"].map(str::to_owned).to_vec(),
            providers_text: Some((providers.to_owned(), "test".to_owned())),
            scenarios_default: true,
            ..LoadRequest::default()
        };
        super::probes(&cluster(), &load(&request).unwrap()).await
    }

    #[tokio::test]
    async fn a_platform_that_does_not_answer_is_a_doubt_with_its_address_and_what_to_check() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/ovirt-engine/api", free.local_addr().unwrap());
        drop(free);
        let probes = probed(&format!(
            r#"{{"dead": {{"type": "ovirt", "api_url": "{url}", "username": "u", "password": "p"}},
                "share": {{"type": "ova", "api_url": "n:/s"}}}}"#
        ))
        .await;
        let [dead, share] = probes.as_slice() else { panic!("{probes:?}") };
        assert_eq!(
            (dead.name.as_str(), dead.weight),
            ("source dead", Weight::Doubt),
            "the other profile's cells can be"
        );
        assert!(dead.message.contains(&url), "{dead:?}");
        assert!(dead.remedy.as_ref().is_some_and(|remedy| remedy.contains("firewall")), "{dead:?}");
        assert_eq!(share.weight, Weight::Fine);
        assert!(share.message.contains("inventory alone"), "{share:?}");
    }

    #[tokio::test]
    async fn without_a_profile_there_is_nothing_to_run() {
        let probes = probed("{}").await;
        assert!(
            matches!(probes.as_slice(), [one] if one.weight == Weight::Doubt && one.remedy.is_some()),
            "{probes:?}"
        );
    }
}
