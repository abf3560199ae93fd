//! What kind of request one is: its class, by which requests are counted, and what it does.

use http::request::Parts;
use http::{Method, header};

use super::Dialect;

/// What a request does, and so how it can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Read,
    /// The rest of a list.
    ReadOn,
    Write,
    Watch,
    Upgrade,
    Login,
}

/// Whose clients are spared: the lab's own, and those of a Forklift that it runs.
const SPARED: [&str; 4] = [OWN_AGENT, "forklift", "Go-http-client", "virt-"];

/// The `User-Agent` of the lab's own clients.
pub const OWN_AGENT: &str = "mtv-lab";

pub(super) fn spared(parts: &Parts) -> bool {
    let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    SPARED.iter().any(|known| agent.starts_with(known))
}

/// Class and effect. Names and ids of single objects are no part of a class: how many there are of a kind is
/// what a run repeats, what they are called is not.
pub(super) fn of(dialect: Dialect, parts: &Parts, body: &[u8]) -> (String, Effect) {
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let flag = |name: &str| query.split('&').any(|pair| pair == format!("{name}=true") || pair == format!("{name}=1"));
    match dialect {
        Dialect::Kubernetes => {
            let class = format!("{} {}", verb(parts, flag("watch")), kubernetes(path));
            let effect = if parts.headers.contains_key(header::UPGRADE) {
                Effect::Upgrade
            } else if path.starts_with("/oauth") || path.starts_with("/.well-known") {
                Effect::Login
            } else if flag("watch") {
                Effect::Watch
            } else if query.split('&').any(|pair| pair.starts_with("continue=") && pair.len() > 9) {
                Effect::ReadOn
            } else {
                by_method(&parts.method)
            };
            (class, effect)
        }
        Dialect::Soap => {
            let operation = soap_operation(body);
            let reads = ["Retrieve", "Query", "Find", "Search", "Wait", "Continue", "Current", "Check"];
            // Views, filters and collectors are of the session and end with it.
            let of_session = ["CreateContainerView", "CreateFilter", "CreatePropertyCollector", "Destroy"];
            let is = |known: &[&str]| known.iter().any(|start| operation.starts_with(start));
            let effect = match operation.as_str() {
                "Login" | "Logout" => Effect::Login,
                "" => by_method(&parts.method),
                "Destroy_Task" => Effect::Write,
                _ if is(&reads) || (is(&of_session) && !operation.ends_with("_Task")) => Effect::Read,
                _ => Effect::Write,
            };
            let class = if operation.is_empty() { format!("{} {}", parts.method, template(path)) } else { operation };
            (class, effect)
        }
        Dialect::Rest => {
            let login = ["/auth/tokens", "/sso/oauth", "/oauth/token", "/api/session"];
            let effect = match by_method(&parts.method) {
                _ if login.iter().any(|part| path.contains(part)) => Effect::Login,
                other => other,
            };
            (format!("{} {}", parts.method, template(path)), effect)
        }
    }
}

fn by_method(method: &Method) -> Effect {
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => Effect::Read,
        _ => Effect::Write,
    }
}

/// What a request to the API server wishes, as a refusal names it.
pub(super) struct Wish {
    pub verb: &'static str,
    pub group: String,
    /// With its subresource.
    pub resource: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
}

pub(super) fn wish(parts: &Parts) -> Wish {
    let path: Vec<&str> = parts.uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let (group, rest) = match path.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        other => ("", other),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, inside @ ..] if !inside.is_empty() => (Some(*namespace), inside),
        other => (None, other),
    };
    let (resource, name) = match rest {
        [plural, name, below, ..] => (format!("{plural}/{below}"), Some(*name)),
        [plural, name] => ((*plural).to_owned(), Some(*name)),
        other => (other.first().copied().unwrap_or_default().to_owned(), None),
    };
    let watch = parts.uri.query().unwrap_or_default().contains("watch=");
    let verb = match (&parts.method, name) {
        (&Method::GET, None) if watch => "watch",
        (&Method::GET, None) => "list",
        (&Method::GET, Some(_)) => "get",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, None) => "deletecollection",
        _ => "delete",
    };
    Wish {
        verb,
        group: group.to_owned(),
        resource,
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
    }
}

fn verb(parts: &Parts, watch: bool) -> String {
    if watch { "watch".to_owned() } else { parts.method.as_str().to_lowercase() }
}

/// `plans.forklift.konveyor.io`, `nodes`, `virtualmachines/portforward` …: without namespaces and names.
fn kubernetes(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        other => return other.iter().take(2).copied().collect::<Vec<_>>().join("/"),
    };
    let rest = match rest {
        ["namespaces", _, inside @ ..] if !inside.is_empty() => inside,
        other => other,
    };
    let (plural, one, below) = match rest {
        [] => ("", false, ""),
        [plural] => (*plural, false, ""),
        [plural, _] => (*plural, true, ""),
        [plural, _, below, ..] => (*plural, true, *below),
    };
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    let one = if one { "/{}" } else { "" };
    let below = if below.is_empty() { String::new() } else { format!("/{below}") };
    format!("{plural}{group}{one}{below}")
}

/// A path whose ids are `{}`: what has a digit and is long, or is a number.
fn template(path: &str) -> String {
    let part = |text: &str| {
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let id = digits > 0 && (digits == text.len() || text.len() >= 12);
        if id { "{}".to_owned() } else { text.to_owned() }
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The name of the first element in the envelope's body; empty where there is none.
fn soap_operation(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(2048)).unwrap_or_default());
    let after = text.find("Body").and_then(|at| text.get(at..)).and_then(|rest| rest.split_once('<'));
    let Some((_, element)) = after else { return String::new() };
    let name: String = element.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
    name.rsplit(':').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str) -> Parts {
        http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_class_has_neither_names_nor_ids() {
        let of = |dialect, method, uri| super::of(dialect, &parts(method, uri), b"");
        let kube = Dialect::Kubernetes;
        assert_eq!(
            of(kube, "POST", "/apis/forklift.konveyor.io/v1beta1/namespaces/mm-1/plans"),
            ("post plans.forklift.konveyor.io".into(), Effect::Write)
        );
        assert_eq!(of(kube, "GET", "/api/v1/namespaces/mm-1/pods/a/log").0, "get pods/{}/log");
        assert_eq!(of(kube, "GET", "/api/v1/namespaces/x"), ("get namespaces/{}".into(), Effect::Read));
        assert_eq!(of(kube, "GET", "/api/v1/pods?watch=true"), ("watch pods".into(), Effect::Watch));
        assert_eq!(of(kube, "GET", "/api/v1/pods?limit=5&continue=abc").1, Effect::ReadOn);
        assert_eq!(of(kube, "GET", "/oauth/authorize?x=1"), ("get oauth/authorize".into(), Effect::Login));
        assert_eq!(
            of(Dialect::Rest, "DELETE", "/compute/v2.1/servers/6f1c2f7e-11d2-4a62-9a0f-0f2b7bd1a1aa"),
            ("DELETE /compute/v2.1/servers/{}".into(), Effect::Write)
        );
    }

    #[test]
    fn soap_is_known_by_its_operation() {
        let of = |operation: &str| {
            let body = format!("<e:Envelope><e:Body><{operation} xmlns=\"urn:vim25\"><_this/></{operation}></e:Body>");
            super::of(Dialect::Soap, &parts("POST", "/sdk"), body.as_bytes())
        };
        assert_eq!(of("CloneVM_Task"), ("CloneVM_Task".into(), Effect::Write));
        assert_eq!(of("RetrievePropertiesEx").1, Effect::Read);
        assert_eq!(of("DestroyView").1, Effect::Read);
        assert_eq!(of("Destroy_Task").1, Effect::Write);
        assert_eq!(of("Login").1, Effect::Login);
    }

    #[test]
    fn the_labs_own_clients_are_spared() {
        let mut own = parts("GET", "/");
        assert!(!spared(&own));
        own.headers.insert(header::USER_AGENT, http::HeaderValue::from_static("mtv-lab/1"));
        assert!(spared(&own));
    }
}
