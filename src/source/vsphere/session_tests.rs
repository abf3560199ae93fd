//! The session against a server that logs everybody in and then forgets, refuses, or is none.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;

use super::*;
use crate::config::{Credentials, LoadRequest, load};

/// A server: what it was asked in order, and how it answers.
#[derive(Default)]
struct Server {
    asked: Mutex<Vec<String>>,
    logins: AtomicU32,
    /// Calls of this login are answered that nobody is logged in.
    forgets: u32,
    refuses_login: bool,
    /// So many first answers are a proxy's page.
    broken: AtomicU32,
    /// Updates that were asked for.
    polls: AtomicU32,
    /// Views that were made; the first one is gone when it is read.
    views: AtomicU32,
}

fn envelope(body: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
        xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"#
    )
}

fn fault(kind: &str) -> (StatusCode, String) {
    let body = format!(
        "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{kind} it is</faultstring><detail>\
         <{kind}Fault xsi:type=\"{kind}\"/></detail></soapenv:Fault>"
    );
    (StatusCode::INTERNAL_SERVER_ERROR, envelope(&body))
}

const CONTENT: &str = r#"<RetrieveServiceContentResponse><returnval>
    <rootFolder type="Folder">group-d1</rootFolder><propertyCollector type="PropertyCollector">propertyCollector</propertyCollector>
    <sessionManager type="SessionManager">SessionManager</sessionManager>
    <about><name>V</name><fullName>V 8</fullName><version>8.0.3</version><build>1</build><apiType>VirtualCenter</apiType>
    <apiVersion>8.0.3.0</apiVersion></about></returnval></RetrieveServiceContentResponse>"#;

impl Server {
    fn answer(&self, headers: &HeaderMap, body: &str) -> axum::response::Response {
        let operation = operation(body).to_owned();
        self.asked.lock().unwrap().push(operation.clone());
        let broken = |left: u32| left.checked_sub(1);
        if self.broken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, broken).is_ok() {
            return (StatusCode::BAD_GATEWAY, "<html>the proxy has lost it</html>").into_response();
        }
        match operation.as_str() {
            "RetrieveServiceContent" => envelope(CONTENT).into_response(),
            "Login" if self.refuses_login => fault("InvalidLogin").into_response(),
            "Login" => {
                let number = self.logins.fetch_add(1, Ordering::SeqCst) + 1;
                let cookie = format!("vmware_soap_session=\"s{number}\"; Path=/; HttpOnly");
                let user = "<LoginResponse><returnval><userName>VSPHERE\\u</userName></returnval></LoginResponse>";
                ([("set-cookie", cookie)], envelope(user)).into_response()
            }
            "CurrentTime" => {
                let cookie = headers.get("cookie").and_then(|value| value.to_str().ok()).unwrap_or_default();
                if cookie.is_empty() || cookie.ends_with(&format!("\"s{}\"", self.forgets)) {
                    return fault("NotAuthenticated").into_response();
                }
                let now = "<CurrentTimeResponse><returnval>2026-01-01T00:00:00Z</returnval></CurrentTimeResponse>";
                envelope(now).into_response()
            }
            "CreatePropertyCollector" => {
                let made = "<returnval type=\"PropertyCollector\">pc-1</returnval>";
                envelope(&format!("<CreatePropertyCollectorResponse>{made}</CreatePropertyCollectorResponse>"))
                    .into_response()
            }
            "WaitForUpdatesEx" => self.updates(body),
            "CreateContainerView" => {
                let view = format!("session[{}]view", self.views.fetch_add(1, Ordering::SeqCst));
                let made = format!("<returnval type=\"ContainerView\">{view}</returnval>");
                envelope(&format!("<CreateContainerViewResponse>{made}</CreateContainerViewResponse>")).into_response()
            }
            "RetrievePropertiesEx" if body.contains("session[0]view") => {
                let (status, body) = fault("ManagedObjectNotFound");
                (status, body.replace("it is", ": The object 'vim.view.ContainerView:session[0]view' is gone"))
                    .into_response()
            }
            _ => envelope("<Response/>").into_response(),
        }
    }

    /// The VM is called `a`, then `b`. The answer that tells of `b` is lost, and its version with it.
    fn updates(&self, body: &str) -> axum::response::Response {
        let told = |version: u32, name: &str| {
            envelope(&format!(
                "<WaitForUpdatesExResponse><returnval><version>{version}</version><filterSet><filter \
                 type=\"PropertyFilter\">f</filter><objectSet><kind>enter</kind><obj type=\"VirtualMachine\">vm-1</obj>\
                 <changeSet><name>name</name><op>assign</op><val>{name}</val></changeSet></objectSet></filterSet>\
                 </returnval></WaitForUpdatesExResponse>"
            ))
            .into_response()
        };
        let known = !body.contains("<version></version>") && !body.contains("<version/>");
        match (self.polls.fetch_add(1, Ordering::SeqCst), known) {
            (0, false) => told(1, "a"),
            (1, true) => (StatusCode::BAD_GATEWAY, "<html>the proxy has lost it</html>").into_response(),
            (_, true) => fault("InvalidCollectorVersion").into_response(),
            (_, false) => told(2, "b"),
        }
    }
}

/// The server's endpoint, and a session with it.
async fn session(server: Server) -> (Arc<Server>, Session) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Arc::new(server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/sdk", listener.local_addr().unwrap());
    let state = Arc::clone(&server);
    let router = axum::Router::new()
        .fallback(move |headers: HeaderMap, body: String| async move { state.answer(&headers, &body) });
    tokio::spawn(async move { axum::serve(listener, router).await });

    let text = r#"{"v": {"type": "vsphere", "api_url": "https://v/sdk", "username": "u", "password": "canary"}}"#;
    let request = LoadRequest { providers_text: Some((text.to_owned(), "test".to_owned())), ..LoadRequest::default() };
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    let mut profile = loaded.providers.into_values().next().unwrap();
    profile.api_url = endpoint;
    profile.login = Credentials { username: "u".into(), password: "canary".into() };
    let options = DriverOptions { timeouts: loaded.settings.timeouts, insecure: true, cluster: None };
    (server, Session::new(Arc::new(profile), options))
}

async fn current_time(session: &Session) -> Result<String, SourceError> {
    let call = |_: &Live| {
        r#"<Envelope><Body><CurrentTime xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></CurrentTime></Body></Envelope>"#
            .to_owned()
    };
    let values = session.call(call).await.map_err(|error| session.failed("read the time", error))?;
    Ok(values.first().map(|value| value.text.clone()).unwrap_or_default())
}

#[tokio::test]
async fn calls_share_one_login_and_the_user_is_the_one_that_the_server_names() {
    let (server, session) = session(Server::default()).await;
    let (a, b) = tokio::join!(current_time(&session), current_time(&session));
    assert_eq!((a.unwrap().as_str(), b.unwrap().as_str()), ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"));
    assert_eq!(session.live().await.map_err(|e| e.told()).unwrap().user, r"VSPHERE\u");
    assert_eq!(server.logins.load(Ordering::SeqCst), 1);
    session.disconnect().await;
    assert_eq!(server.asked.lock().unwrap().last().map(String::as_str), Some("Logout"));
}

#[tokio::test]
async fn a_session_that_the_server_forgot_is_renewed_once_and_the_call_repeated() {
    let (server, session) = session(Server { forgets: 1, ..Server::default() }).await;
    assert_eq!(current_time(&session).await.unwrap(), "2026-01-01T00:00:00Z");
    let asked = server.asked.lock().unwrap().clone();
    let once = ["RetrieveServiceContent", "Login", "CurrentTime"];
    assert_eq!(asked, [once, once].concat());
}

#[tokio::test]
async fn a_refused_login_names_the_user_and_the_endpoint_and_never_the_password() {
    let (server, session) = session(Server { refuses_login: true, ..Server::default() }).await;
    let error = current_time(&session).await.unwrap_err();
    assert!(matches!(&error, SourceError::Login { username, .. } if username == "u"), "{error:?}");
    let said = format!("{error} {error:?}");
    assert!(said.contains("/sdk") && said.contains("InvalidLogin") && !said.contains("canary"), "{said}");
    assert_eq!(server.asked.lock().unwrap().len(), 2, "a refused login is not tried again: it locks accounts");
}

#[tokio::test]
async fn a_proxys_page_is_no_answer_of_the_server_and_a_login_is_tried_again() {
    let (server, session) = session(Server { broken: AtomicU32::new(1), ..Server::default() }).await;
    assert_eq!(current_time(&session).await.unwrap(), "2026-01-01T00:00:00Z");
    assert_eq!(server.asked.lock().unwrap().first().map(String::as_str), Some("RetrieveServiceContent"));
    assert_eq!(server.logins.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_wait_whose_first_request_a_proxy_lost_asks_again() {
    let (server, session) = session(Server::default()).await;
    session.live().await.map_err(|error| error.told()).unwrap();
    server.broken.store(1, Ordering::SeqCst);
    let vm = MoRef::new("VirtualMachine", "vm-1");
    let done = |_: &_| crate::net::Poll::<()>::Done(());
    // What counts is that it was asked for a collector a second time.
    let _ = session.wait_for(&[vm], &["name"], Duration::from_secs(1), done).await;
    let asked = server.asked.lock().unwrap().clone();
    assert_eq!(asked.iter().filter(|operation| *operation == "CreatePropertyCollector").count(), 2, "{asked:?}");
}

#[tokio::test]
async fn a_wait_whose_update_was_lost_begins_anew_where_the_collector_is_past_its_version() {
    let (server, session) = session(Server::default()).await;
    let vm = MoRef::new("VirtualMachine", "vm-1");
    let named_b = |known: &std::collections::BTreeMap<MoRef, crate::api::vim::Props>| {
        let name = known.get(&vm).and_then(|props| props.get("name")).map(|name| name.text.clone()).unwrap_or_default();
        if name == "b" { crate::net::Poll::Done(name) } else { crate::net::Poll::NotYet(name) }
    };
    let waited = session.wait_for(std::slice::from_ref(&vm), &["name"], Duration::from_secs(30), named_b).await;
    let waited = waited.map_err(|error| error.told()).unwrap();
    assert!(matches!(waited, super::super::wait::Waited::Done(name) if name == "b"));
    // Told of `a`, lost on the way, refused, and told from the beginning.
    assert_eq!(server.polls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_view_that_went_with_its_session_is_made_once_more() {
    let (server, session) = session(Server::default()).await;
    let props = vec![property::PropertySpec { kind: "VirtualMachine", paths: &["name"] }];
    let found = session.list(props).await.map_err(|error| error.told()).unwrap();
    assert!(found.is_empty());
    assert_eq!(server.views.load(Ordering::SeqCst), 2);
}
