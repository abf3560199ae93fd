//! What the storage array says to a populator's login: the lab has one, of any vendor, that knows one host, one user and
//! one password. Words are those of the populators at 2.12.5 (`cmd/vsphere-copy-offload-populator`: `main` and the
//! vendors' `New…Clonner`); what a vendor's own library would say is written as its API documents it.

use crate::world::ARRAY_LOGIN;

/// What a populator's arguments lack (`handleArgs`), a line each. `told` reads the Secret; empty: not there.
pub fn incomplete(told: impl Fn(&str) -> String) -> Option<String> {
    let mut lines = Vec::new();
    if told("STORAGE_HOSTNAME").is_empty() {
        lines.push("missing value for flag --storage-hostname");
    }
    let login = !told("STORAGE_USERNAME").is_empty() && !told("STORAGE_PASSWORD").is_empty();
    if told("STORAGE_TOKEN").is_empty() && !login {
        lines.push("either STORAGE_TOKEN or both STORAGE_USERNAME and STORAGE_PASSWORD must be provided");
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Why the populator ends before it copies anything; `None`: the array lets it in.
pub fn refusal(vendor: &str, told: impl Fn(&str) -> String) -> Option<String> {
    let lacks = |key: &'static str| told(key).is_empty().then_some(key);
    let unset = |key: &str| {
        format!("Please set {key} in the pod environment or in the secret attached to the relevant storage map")
    };
    let own = match vendor {
        "powermax" => lacks("POWERMAX_SYMMETRIX_ID").or_else(|| lacks("POWERMAX_PORT_GROUP_NAME")).map(unset),
        "pureFlashArray" => lacks("PURE_CLUSTER_PREFIX")
            .map(|_| "clusterPrefix is missing and PURE_CLUSTER_PREFIX is not set.".to_owned()),
        "powerflex" => lacks("POWERFLEX_SYSTEM_ID").map(|key| {
            format!(
                "systemId is empty. Make sure to pass systemId using the env variable {key:?}. The value can be taken from \
                 the vxflexos-config secret under the powerflex CSI deployment"
            )
        }),
        _ => None,
    };
    let who = match vendor {
        "vantara" => "Vantara storage mapper",
        "ontap" => "Ontap storage mapper",
        "flashsystem" => "flashsystem storage mapper",
        "primera3par" => "primera3par clonner",
        "pureFlashArray" => "Pure FlashArray clonner",
        "powerflex" => "PowerFlex clonner",
        "powermax" => "PowerMax clonner",
        "powerstore" => "PowerStore clonner",
        "infinibox" => "Infinibox clonner",
        other => {
            return Some(format!(
                "Unsupported storage vendor {other} use one of [flashsystem vantara ontap primera3par pureFlashArray \
                 powerflex powermax powerstore infinibox]"
            ));
        }
    };
    if let Some(why) = own {
        return Some(format!("failed to initialize {who} with {why}"));
    }
    let host = told("STORAGE_HOSTNAME");
    let unknown = (host.trim_start_matches("https://").trim_end_matches('/') != ARRAY_LOGIN.host)
        .then(|| format!("dial tcp: lookup {host} on 172.30.0.10:53: no such host"));
    let by_token = vendor == "pureFlashArray" && !told("STORAGE_TOKEN").is_empty();
    let known = match by_token {
        true => told("STORAGE_TOKEN") == ARRAY_LOGIN.token,
        false => told("STORAGE_USERNAME") == ARRAY_LOGIN.user && told("STORAGE_PASSWORD") == ARRAY_LOGIN.password,
    };
    let why = match unknown {
        Some(why) => why,
        None if known => return None,
        None => denied(vendor, by_token).to_owned(),
    };
    Some(match vendor {
        // These two are let in by nobody before they work: they say it when they look for the host's initiators.
        "primera3par" => format!("failed to ensure host with IQN: failed to get host by adapterId: {why}"),
        "infinibox" => format!("failed to get all hosts: {why}"),
        _ => format!("failed to initialize {who} with {}", said(vendor, &host, by_token, &why)),
    })
}

/// What an array of the vendor answers to a login that it does not know.
fn denied(vendor: &str, by_token: bool) -> &'static str {
    match vendor {
        "ontap" => "[POST /cluster][401] error: User is not authorized",
        "vantara" => "request failed with status 401: {\"message\":\"Authentication failed.\"}",
        "flashsystem" => "FlashSystem authentication failed. Status: 403 Forbidden, Body: \"CMMVC5786E\"",
        "primera3par" => "authentication failed: invalid username or password (code 5)",
        "pureFlashArray" if by_token => {
            "auth token request failed with status 401: {\"errors\":[{\"message\":\"Invalid API token.\"}]}"
        }
        "pureFlashArray" => "API token request failed with status 400: [{\"msg\": \"invalid credentials\"}]",
        "powerstore" => "401 Unauthorized: Authorization failed",
        "infinibox" => "AUTHENTICATION_REQUIRED: credentials are not valid",
        _ => "401 Unauthorized",
    }
}

/// The wrapping of the vendor's constructor.
fn said(vendor: &str, host: &str, by_token: bool, why: &str) -> String {
    let unreachable = why.starts_with("dial ");
    match vendor {
        "ontap" => format!(
            "failed to initialize ONTAP client (common causes: incorrect password, invalid SVM name, network connectivity): {why}"
        ),
        "vantara" if unreachable => {
            format!("failed to connect to Vantara storage: failed to get API version: error making request: {why}")
        }
        "vantara" => format!("failed to connect to Vantara storage: failed to generate session: {why}"),
        "flashsystem" if unreachable => format!(
            "failed to create FlashSystem API client: initial authentication failed: failed to send auth request to FlashSystem: {why}"
        ),
        "flashsystem" => format!("failed to create FlashSystem API client: initial authentication failed: {why}"),
        "pureFlashArray" if unreachable => format!(
            "failed to create REST client: failed to detect API versions: failed to get API versions: Get \
             \"https://{host}/api/api_version\": {why}"
        ),
        "pureFlashArray" if by_token => format!("failed to create REST client: failed to get auth token: {why}"),
        "pureFlashArray" => format!("failed to create REST client: failed to get API token: {why}"),
        "powerflex" => format!("error authenticating: {why}"),
        "powerstore" => format!("failed to authenticate with PowerStore backend {host}: {why}"),
        _ => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(extra: &[(&str, &str)]) -> impl Fn(&str) -> String {
        let base = [
            ("STORAGE_HOSTNAME", ARRAY_LOGIN.host),
            ("STORAGE_USERNAME", ARRAY_LOGIN.user),
            ("STORAGE_PASSWORD", ARRAY_LOGIN.password),
        ];
        let all: Vec<(String, String)> =
            extra.iter().chain(&base).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        move |key| all.iter().find(|(own, _)| own == key).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    const OWN: &[(&str, &str)] = &[
        ("POWERMAX_SYMMETRIX_ID", "1"),
        ("POWERMAX_PORT_GROUP_NAME", "p"),
        ("PURE_CLUSTER_PREFIX", "px"),
        ("POWERFLEX_SYSTEM_ID", "s"),
    ];
    const VENDORS: [&str; 9] = [
        "ontap",
        "vantara",
        "flashsystem",
        "primera3par",
        "pureFlashArray",
        "powerflex",
        "powermax",
        "powerstore",
        "infinibox",
    ];

    #[test]
    fn the_array_lets_in_its_own_user_alone_whatever_its_vendor() {
        for vendor in VENDORS {
            assert_eq!(refusal(vendor, secret(OWN)), None, "{vendor}");
            let with = |key, value| refusal(vendor, secret(&[&[(key, value)], OWN].concat()));
            for (key, value) in [("STORAGE_PASSWORD", "nonsense"), ("STORAGE_USERNAME", "nobody")] {
                assert!(with(key, value).is_some(), "{vendor} takes {key}={value}");
            }
            let elsewhere = with("STORAGE_HOSTNAME", "nonsense").unwrap_or_default();
            assert!(elsewhere.contains("lookup nonsense on 172.30.0.10:53: no such host"), "{vendor}: {elsewhere}");
        }
        let wrong = refusal("ontap", secret(&[("STORAGE_PASSWORD", "nonsense")])).unwrap_or_default();
        assert!(wrong.starts_with("failed to initialize Ontap storage mapper with failed to initialize ONTAP client"));
        let pure = |token| refusal("pureFlashArray", secret(&[&[("STORAGE_TOKEN", token)], OWN].concat()));
        assert!(
            pure(ARRAY_LOGIN.token).is_none() && pure("t").is_some_and(|why| why.contains("failed to get auth token"))
        );
    }

    #[test]
    fn a_vendor_without_its_own_keys_does_not_begin_and_says_so_in_the_populators_words() {
        let without = |vendor: &str| refusal(vendor, secret(&[])).unwrap_or_default();
        assert!(without("powermax").contains("POWERMAX_SYMMETRIX_ID"));
        assert!(without("pureFlashArray").contains("PURE_CLUSTER_PREFIX"));
        assert!(without("powerflex").contains("\"POWERFLEX_SYSTEM_ID\""));
        assert!(without("netapp").starts_with("Unsupported storage vendor netapp"));
        assert!(incomplete(secret(&[])).is_none());
        assert_eq!(incomplete(|_| String::new()).map(|text| text.lines().count()), Some(2));
        let token = |key: &str| {
            if matches!(key, "STORAGE_HOSTNAME" | "STORAGE_TOKEN") { "x".to_owned() } else { String::new() }
        };
        assert_eq!(incomplete(token), None);
    }
}
