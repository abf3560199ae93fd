//! The files that are in the binary, so that it runs anywhere.

/// `config/default.yaml`.
pub(crate) const DEFAULTS: (&str, &str) =
    ("config/default.yaml", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/default.yaml")));

macro_rules! shipped {
    ($($file:literal),*) => {
        &[$((
            concat!("config/scenarios/", $file),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/scenarios/", $file)),
        )),*]
    };
}

/// `config/scenarios/*.yaml`.
pub(crate) const SCENARIOS: &[(&str, &str)] = shipped![
    "sanity.yaml",
    "remote.yaml",
    "comprehensive.yaml",
    "hooks.yaml",
    "guests.yaml",
    "networks.yaml",
    "provider.yaml",
    "plans.yaml",
    "lifecycle.yaml",
    "limits.yaml",
    "copyoffload.yaml",
    "live.yaml"
];
