//! Faults that are aimed at one class of requests, and writes that were sent twice without a look.

use super::Effect;
use super::plan::{Fault, Planned};

/// What is to break: so many requests of a class, after some that pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aim {
    /// As the journal calls it: `api`, `vsphere` …
    pub endpoint: &'static str,
    /// As the journal calls it (`delete namespaces/{}`, `CloneVM_Task`); with `*` at its end, what begins so.
    pub class: &'static str,
    pub fault: Fault,
    /// So many of the class pass first.
    pub after: u64,
    /// So many break then.
    pub times: u64,
}

impl Aim {
    /// Whether it meets request number `count` of `class`. Logins are never aimed at: without one nothing else
    /// would be asked.
    pub(super) fn meets(&self, endpoint: &str, class: &str, effect: Effect, count: u64) -> Option<Planned> {
        let named = match self.class.strip_suffix('*') {
            Some(head) => class.starts_with(head),
            None => class == self.class,
        };
        let due = count >= self.after && count - self.after < self.times;
        (endpoint == self.endpoint && named && due && effect != Effect::Login).then_some(Planned {
            fault: self.fault,
            dice: count,
            mild: false,
        })
    }
}

/// Whether a request makes something each time that it comes, so that it must not be sent again before
/// somebody has looked whether the first one did. An API server is not among those asked: names are fixed
/// there, and the second one is answered 409.
pub(super) fn makes(endpoint_is_soap: bool, class: &str, body: &[u8]) -> bool {
    if endpoint_is_soap {
        return matches!(class, "CloneVM_Task" | "CreateSnapshot_Task" | "RegisterVM_Task");
    }
    let Some(path) = class.strip_prefix("POST ") else { return false };
    let last = path.rsplit('/').next().unwrap_or_default();
    match last {
        // Of the actions of a server one makes an image; the others name a state.
        "action" => body.windows(b"createImage".len()).any(|part| part == b"createImage"),
        "start" | "stop" | "shutdown" | "suspend" | "commit" => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_meets_its_class_alone_and_only_so_often() {
        let aim = Aim { endpoint: "api", class: "delete *", fault: Fault::Forbidden, after: 1, times: 2 };
        let met = |endpoint, class, count| aim.meets(endpoint, class, Effect::Write, count).is_some();
        assert_eq!([0, 1, 2, 3].map(|n| met("api", "delete namespaces/{}", n)), [false, true, true, false]);
        assert!(!met("api", "get namespaces/{}", 1) && !met("vsphere", "delete x", 1));
        let exact = Aim { class: "delete pods/{}", ..aim };
        assert!(exact.meets("api", "delete pods/{}", Effect::Write, 1).is_some());
        assert!(exact.meets("api", "delete pods/{}/log", Effect::Write, 1).is_none());
        assert!(exact.meets("api", "delete pods/{}", Effect::Login, 1).is_none());
    }

    #[test]
    fn what_makes_something_each_time_is_told_from_what_names_a_state() {
        assert!(makes(false, "POST /compute/v2.1/servers", b""));
        assert!(makes(false, "POST /compute/v2.1/servers/{}/action", b"{\"createImage\": {}}"));
        assert!(!makes(false, "POST /compute/v2.1/servers/{}/action", b"{\"os-stop\": null}"));
        assert!(!makes(false, "POST /ovirt-engine/api/vms/{}/start", b"{}"));
        assert!(!makes(false, "DELETE /volume/v3/volumes/{}", b""));
        assert!(makes(true, "CloneVM_Task", b"") && !makes(true, "Destroy_Task", b""));
    }
}
