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
