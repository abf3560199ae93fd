//! What CDI's importer asks of an HTTP source before it reads a byte: whether the server is the one
//! that the certificate says, and whether the headers that a Secret holds are taken.
//!
//! Knows a DataVolume's `spec.source.http`, not what fills it.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::api::Api;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// For one answer, real.
const LIMIT: Duration = Duration::from_secs(10);

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Why nothing can be imported from this source; `None` where all is well.
pub(super) async fn refused(client: &Client, namespace: &str, source: &Value) -> Result<Option<String>, kube::Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = match text(source, "certConfigMap") {
        // The system's own authorities do, or there is no TLS.
        "" => None,
        name => maps.get_opt(name).await?,
    };
    let pem: String = map.and_then(|map| map.data).unwrap_or_default().into_values().collect();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut headers = HeaderMap::new();
    for name in source["secretExtraHeaders"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let Some(secret) = secrets.get_opt(name).await? else { return Ok(Some(format!("secret {name} not found"))) };
        for line in secret.data.unwrap_or_default().into_values() {
            headers.extend(header(&String::from_utf8_lossy(&line.0)));
        }
    }
    Ok(ask(text(source, "url"), &pem, headers).await.err())
}

/// `name: value` as one header.
fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

async fn ask(url: &str, pem: &str, headers: HeaderMap) -> Result<(), String> {
    let words = |e: reqwest::Error| format!("unable to connect to http data source: {}", e.without_url());
    let mut builder = reqwest::Client::builder().no_proxy().user_agent(crate::faults::OWN_AGENT).timeout(LIMIT);
    if !pem.is_empty() {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(words)?);
    }
    let answer = builder.build().map_err(words)?.head(url).headers(headers).send().await.map_err(words)?;
    let code = answer.status();
    if code.is_success() { Ok(()) } else { Err(format!("http: expected status code 200, got {}", code.as_u16())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_what_stands_before_and_after_the_first_colon() {
        let (name, value) = header("x-kubevirt-export-token: a:b").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-kubevirt-export-token", "a:b"));
        assert!(header("no colon").is_none());
    }
}
