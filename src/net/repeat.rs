//! Which requests may be repeated although nobody knows whether the first was carried out.
//!
//! The one place that decides it. A request is safe when doing it twice is doing it once: it reads, it
//! removes one thing by its name or id, it asks for a state, or it makes something that only its session
//! sees. Whoever sends a safe request must take "it is so already" (404 of a delete, 409 of a start) for
//! success. All others are repeated only when the answer proves that nothing was done.

use http::Method;

/// Whether a request may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Twice is once.
    Safe,
    /// Only when the first try surely did nothing, or after a look.
    IfUndone,
}

/// POSTs of the Kubernetes API that change nothing: questions, and short-lived tokens.
const QUESTIONS: [&str; 6] = [
    "/selfsubjectaccessreviews",
    "/selfsubjectrulesreviews",
    "/selfsubjectreviews",
    "/subjectaccessreviews",
    "/tokenreviews",
    "/token",
];

/// Logins: a second one is a second session or token, which ends by itself.
const LOGINS: [&str; 3] = ["/auth/tokens", "/sso/oauth/token", "/sso-logout"];

/// Actions of REST APIs that name a state. `true` of oVirt's path's end, and of the key of OpenStack's body.
const STATES: [&str; 7] = ["start", "stop", "shutdown", "os-start", "os-stop", "forceDelete", "os-force_delete"];

/// By method, path (without query) and content type.
pub fn http(method: &Method, path: &str, content_type: Option<&str>) -> Repeat {
    let safe = match *method {
        Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE | Method::PUT => true,
        // Merging the same twice changes nothing; a list of operations may.
        Method::PATCH => content_type
            .is_some_and(|t| t.starts_with("application/merge-patch") || t.starts_with("application/apply-patch")),
        Method::POST => {
            QUESTIONS.iter().chain(&LOGINS).any(|end| path.ends_with(end))
                || path.rsplit('/').next().is_some_and(|last| STATES.contains(&last))
        }
        _ => false,
    };
    if safe { Repeat::Safe } else { Repeat::IfUndone }
}

/// A POST to `…/action` whose body's one key is the action's name.
pub fn action(name: &str) -> Repeat {
    if STATES.contains(&name) { Repeat::Safe } else { Repeat::IfUndone }
}

/// By the name of a SOAP operation of vSphere.
pub fn soap(operation: &str) -> Repeat {
    const SAFE: [&str; 18] = [
        "Login",
        "Logout",
        "CurrentTime",
        "RetrieveServiceContent",
        "RetrievePropertiesEx",
        "RetrieveProperties",
        "WaitForUpdatesEx",
        "CreateContainerView",
        "DestroyView",
        "CreatePropertyCollector",
        "DestroyPropertyCollector",
        "DestroyPropertyFilter",
        "CreateFilter",
        "CancelTask",
        "PowerOnVM_Task",
        "PowerOffVM_Task",
        "ShutdownGuest",
        "Destroy_Task",
    ];
    // A page that was read is gone: `ContinueRetrievePropertiesEx` is not among the safe ones.
    let reads = ["Query", "Find", "Search", "List"].iter().any(|head| operation.starts_with(head));
    if reads || SAFE.contains(&operation) { Repeat::Safe } else { Repeat::IfUndone }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_removes_or_asks_for_a_state_is_safe_and_what_makes_something_is_not() {
        let merge = Some("application/merge-patch+json");
        assert_eq!(http(&Method::GET, "/api/v1/pods", None), Repeat::Safe);
        assert_eq!(http(&Method::DELETE, "/api/v1/namespaces/a", None), Repeat::Safe);
        assert_eq!(http(&Method::PATCH, "/api/v1/nodes/a", merge), Repeat::Safe);
        assert_eq!(http(&Method::PATCH, "/api/v1/nodes/a", Some("application/json-patch+json")), Repeat::IfUndone);
        assert_eq!(http(&Method::POST, "/api/v1/namespaces", None), Repeat::IfUndone);
        let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        assert_eq!(http(&Method::POST, review, None), Repeat::Safe);
        assert_eq!(http(&Method::POST, "/ovirt-engine/api/vms/1/stop", None), Repeat::Safe);
        assert_eq!(http(&Method::POST, "/ovirt-engine/api/vms", None), Repeat::IfUndone);
        assert_eq!(action("os-stop"), Repeat::Safe);
        assert_eq!(action("createImage"), Repeat::IfUndone);
        assert_eq!(soap("RetrievePropertiesEx"), Repeat::Safe);
        assert_eq!(soap("ContinueRetrievePropertiesEx"), Repeat::IfUndone);
        assert_eq!(soap("CloneVM_Task"), Repeat::IfUndone);
    }
}
