//! Choosing an endpoint of each service from Keystone's catalogue. Pure.

use serde_json::Value;

/// The services that the driver talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Compute,
    Volume,
    Image,
    Network,
}

impl Service {
    pub(super) const ALL: [Self; 4] = [Self::Compute, Self::Volume, Self::Image, Self::Network];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Volume => "block storage",
            Self::Image => "image",
            Self::Network => "network",
        }
    }

    /// Types in the catalogue, the one that MTV needs first.
    fn types(self) -> &'static [&'static str] {
        match self {
            Self::Compute => &["compute"],
            Self::Volume => &["volumev3", "block-storage", "block-store"],
            Self::Image => &["image"],
            Self::Network => &["network"],
        }
    }

    /// The version that is part of the URL where the catalogue leaves it out.
    fn version(self) -> Option<&'static str> {
        match self {
            Self::Compute | Self::Volume => None,
            Self::Image => Some("v2"),
            Self::Network => Some("v2.0"),
        }
    }
}

/// Base URLs, without a slash at their end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Endpoints(Vec<(&'static str, String)>);

impl Endpoints {
    /// The endpoints of `region` with `interface`. `Err`: which service has none, and what there is.
    pub(super) fn choose(catalogue: &Value, region: &str, interface: &str) -> Result<Self, String> {
        let mut chosen = Vec::new();
        for service in Service::ALL {
            let url = service.types().iter().find_map(|kind| endpoint(catalogue, kind, region, interface));
            let Some(url) = url else { return Err(nothing(catalogue, service, region, interface)) };
            chosen.push((service.name(), with_version(service, url)));
        }
        Ok(Self(chosen))
    }

    pub(super) fn url(&self, service: Service) -> &str {
        self.0.iter().find(|(name, _)| *name == service.name()).map_or("", |(_, url)| url)
    }
}

fn entries(catalogue: &Value) -> impl Iterator<Item = (&str, &Value)> {
    catalogue.as_array().into_iter().flatten().flat_map(|entry| {
        let kind = entry.get("type").and_then(Value::as_str).unwrap_or_default();
        entry.get("endpoints").and_then(Value::as_array).into_iter().flatten().map(move |e| (kind, e))
    })
}

fn is_in(endpoint: &Value, region: &str) -> bool {
    ["region", "region_id"].iter().any(|key| endpoint.get(key).and_then(Value::as_str) == Some(region))
}

fn endpoint<'a>(catalogue: &'a Value, kind: &str, region: &str, interface: &str) -> Option<&'a str> {
    entries(catalogue)
        .filter(|(of, e)| *of == kind && e.get("interface").and_then(Value::as_str) == Some(interface))
        .find(|(_, e)| region.is_empty() || is_in(e, region))
        .and_then(|(_, e)| e.get("url")?.as_str())
}

fn with_version(service: Service, url: &str) -> String {
    let url = url.trim_end_matches('/');
    let last = url.rsplit('/').next().unwrap_or_default();
    let versioned = last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    match service.version() {
        Some(version) if !versioned => format!("{url}/{version}"),
        _ => url.to_owned(),
    }
}

fn nothing(catalogue: &Value, service: Service, region: &str, interface: &str) -> String {
    let of_service = |kind: &str| service.types().contains(&kind);
    let mut regions: Vec<&str> = entries(catalogue)
        .filter(|(kind, e)| of_service(kind) && e.get("interface").and_then(Value::as_str) == Some(interface))
        .filter_map(|(_, e)| e.get("region")?.as_str())
        .collect();
    regions.sort_unstable();
    regions.dedup();
    let there =
        if regions.is_empty() { "none in any region".to_owned() } else { format!("only in {}", regions.join(", ")) };
    format!("the catalogue has no {interface} {} endpoint in region `{region}`: {there}", service.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn catalogue(volume: &str) -> Value {
        let endpoints = |url: &str| {
            json!([
                {"interface": "internal", "region": "one", "region_id": "one", "url": format!("http://inside{url}")},
                {"interface": "public", "region": "two", "region_id": "two", "url": format!("http://two{url}")},
                {"interface": "public", "region": "one", "region_id": "one", "url": format!("http://one{url}/")},
            ])
        };
        json!([
            {"type": "compute", "endpoints": endpoints("/v2.1")},
            {"type": volume, "endpoints": endpoints("/v3/p")},
            {"type": "image", "endpoints": endpoints("")},
            {"type": "network", "endpoints": endpoints("/v2.0")},
        ])
    }

    #[test]
    fn endpoints_are_of_the_region_and_the_interface_and_carry_their_version() {
        let chosen = Endpoints::choose(&catalogue("volumev3"), "one", "public").unwrap();
        assert_eq!(chosen.url(Service::Compute), "http://one/v2.1");
        assert_eq!(chosen.url(Service::Volume), "http://one/v3/p");
        assert_eq!(chosen.url(Service::Image), "http://one/v2");
        assert_eq!(chosen.url(Service::Network), "http://one/v2.0");
        let inside = Endpoints::choose(&catalogue("block-storage"), "one", "internal").unwrap();
        assert_eq!(inside.url(Service::Image), "http://inside/v2");
    }

    #[test]
    fn a_region_without_the_service_is_named_with_those_that_have_it() {
        let error = Endpoints::choose(&catalogue("volumev3"), "three", "public").unwrap_err();
        assert_eq!(error, "the catalogue has no public compute endpoint in region `three`: only in one, two");
        let error = Endpoints::choose(&catalogue("sharev2"), "one", "public").unwrap_err();
        assert_eq!(error, "the catalogue has no public block storage endpoint in region `one`: none in any region");
    }
}
