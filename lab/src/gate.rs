//! Who calls a service of the lab, and whether they may: asked of the API server, by a token review
//! and an access review, as the services of a real cluster ask.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};

/// MTV's inventory believes an answer for so long (forklift.md §8.1).
const BELIEVED: Duration = Duration::from_secs(10);

/// Why a caller is sent away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// No token, or one that nobody has.
    Stranger,
    Forbidden(String),
    /// The API server did not answer.
    Broken(String),
}

/// Asks the API server, and believes what it said for a while.
pub struct Gate {
    client: kube::Client,
    callers: Mutex<HashMap<String, (Instant, UserInfo)>>,
    allowed: Mutex<HashMap<String, Instant>>,
}

impl Gate {
    pub fn new(client: kube::Client) -> Self {
        Self { client, callers: Mutex::default(), allowed: Mutex::default() }
    }

    /// Whose token this is.
    pub async fn caller(&self, token: &str) -> Result<UserInfo, Refused> {
        if token.is_empty() {
            return Err(Refused::Stranger);
        }
        let known = |callers: &HashMap<String, (Instant, UserInfo)>| {
            callers.get(token).filter(|(at, _)| at.elapsed() < BELIEVED).map(|(_, user)| user.clone())
        };
        if let Some(user) = known(&self.callers.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(user);
        }
        let review = TokenReview {
            spec: TokenReviewSpec { token: token.to_owned(), audiences: None },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await.map_err(|e| Refused::Broken(e.to_string()))?;
        let status = answer.status.filter(|status| status.authenticated == Some(true)).ok_or(Refused::Stranger)?;
        let user = status.user.unwrap_or_default();
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.insert(token.to_owned(), (Instant::now(), user.clone()));
        Ok(user)
    }

    /// Whether the caller may do this.
    pub async fn may(&self, caller: &UserInfo, what: ResourceAttributes) -> Result<(), Refused> {
        let question = format!("{:?} {what:?}", caller.username);
        let known =
            |allowed: &HashMap<String, Instant>| allowed.get(&question).is_some_and(|at| at.elapsed() < BELIEVED);
        if known(&self.allowed.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: caller.username.clone(),
                uid: caller.uid.clone(),
                groups: caller.groups.clone(),
                extra: caller.extra.clone(),
                resource_attributes: Some(what.clone()),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await.map_err(|e| Refused::Broken(e.to_string()))?;
        if !answer.status.is_some_and(|status| status.allowed) {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            return Err(Refused::Forbidden(format!(
                "user={}, verb={}, resource={}, subresource={}, namespace={}, name={}",
                text(&caller.username),
                text(&what.verb),
                text(&what.resource),
                text(&what.subresource),
                text(&what.namespace),
                text(&what.name)
            )));
        }
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner).insert(question, Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::apiserver::{ApiServer, ApiServerOptions};
    use crate::pki::LabCa;

    #[tokio::test]
    async fn a_caller_is_known_by_his_token_and_a_stranger_is_refused() {
        let ca = LabCa::new().unwrap();
        let options = ApiServerOptions {
            part: "API server",
            listen: IpAddr::from([127, 0, 0, 1]),
            port: 0,
            kubernetes_version: "v1.33.5".to_owned(),
            users: Vec::new(),
            token: "right".to_owned(),
            subresources: None,
            inventory: None,
            faults: Default::default(),
        };
        let server = ApiServer::start(options, &ca).await.unwrap();
        let gate = Gate::new(server.client());
        assert_eq!(gate.caller("").await, Err(Refused::Stranger));
        assert_eq!(gate.caller("wrong").await, Err(Refused::Stranger));
        let caller = gate.caller("right").await.unwrap();
        assert_eq!(gate.may(&caller, ResourceAttributes::default()).await, Ok(()));
        server.stop().await;
    }
}
