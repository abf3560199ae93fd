//! Each fault over a real connection, and the plan's promises.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use http::Request;

use super::class::Effect;
use super::plan::{Planned, decide};
use super::*;
use crate::pki::LabCa;
use crate::serve;

const ALL: FaultOptions = FaultOptions { rate: 1.0, seed: 7, mild: 0.0 };

/// Everything that breaks in 200 requests of a class.
fn plan(seed: u64, rate: f64, class: &str, effect: Effect) -> Vec<Option<Planned>> {
    (0..200).map(|count| decide(FaultOptions { rate, seed, mild: 0.0 }, "api", class, effect, count)).collect()
}

#[test]
fn the_plan_is_the_same_for_the_same_seed_and_another_for_another() {
    let once = plan(7, 0.1, "get pods", Effect::Read);
    assert_eq!(once, plan(7, 0.1, "get pods", Effect::Read));
    assert_ne!(once, plan(8, 0.1, "get pods", Effect::Read));
    assert_ne!(once, plan(7, 0.1, "get nodes", Effect::Read));
    let broken = once.iter().flatten().count();
    assert!((5..40).contains(&broken), "{broken} of 200 at 10 %");
    assert_eq!(plan(7, 0.0, "get pods", Effect::Read).iter().flatten().count(), 0);
}

#[test]
fn every_fault_is_met_by_some_request() {
    let effects = [Effect::Read, Effect::ReadOn, Effect::Write, Effect::Watch, Effect::Upgrade, Effect::Login];
    let met: BTreeSet<&str> = effects
        .into_iter()
        .flat_map(|effect| plan(7, 1.0, "x", effect))
        .flatten()
        .map(|planned| planned.fault.name())
        .collect();
    assert_eq!(met.len(), 20, "{met:?}");
}

/// An endpoint that counts what it did, and how it is asked.
struct Shop {
    url: String,
    client: reqwest::Client,
    done: Arc<AtomicU64>,
    faults: Faults,
    _endpoint: serve::Endpoint,
}

async fn shop(options: FaultOptions) -> Shop {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = LabCa::new().unwrap();
    let faults = Faults::new(Some(options));
    let listener = serve::bind("shop", [127, 0, 0, 1].into(), 0).await.unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let counted = done.clone();
    let router = Router::new().fallback(move |_: Request<Body>| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move { format!("{{\"number\": {number}, \"text\": \"long enough to be cut\"}}").into_response() }
    });
    let tls = ca.server_config(&["127.0.0.1".to_owned()]).unwrap();
    let endpoint = serve::https_with("shop", listener, tls, router, &faults.at("shop", Dialect::Rest)).unwrap();
    let roots = reqwest::Certificate::from_pem_bundle(ca.ca_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only(roots).timeout(Duration::from_secs(5));
    let url = format!("https://127.0.0.1:{}", endpoint.port());
    Shop { url, client: client.build().unwrap(), done, faults, _endpoint: endpoint }
}

/// What a request ended with: a status and a body, or what went wrong.
async fn ask(shop: &Shop, method: http::Method, path: &str) -> Result<(u16, String), String> {
    let answer =
        shop.client.request(method, format!("{}{path}", shop.url)).send().await.map_err(|e| format!("{e:?}"))?;
    let status = answer.status().as_u16();
    answer.text().await.map(|text| (status, text)).map_err(|e| format!("{e:?}"))
}

/// A path whose first request meets this fault.
fn path_that_meets(fault: Fault, method: &str, effect: Effect) -> String {
    let letters = |n: u32| {
        format!("/{}", char::from_u32(u32::from('a') + n % 26).unwrap().to_string().repeat(1 + n as usize / 26))
    };
    (0..500)
        .map(letters)
        .find(|path| decide(ALL, "shop", &format!("{method} {path}"), effect, 0).is_some_and(|p| p.fault == fault))
        .unwrap()
}

#[tokio::test]
async fn a_refused_request_was_not_done_and_a_lost_answer_was() {
    let shop = shop(ALL).await;
    for (fault, status) in [(Fault::TooMany, 429), (Fault::Internal, 500), (Fault::Unavailable, 503)] {
        let path = path_that_meets(fault, "POST", Effect::Write);
        assert_eq!(ask(&shop, http::Method::POST, &path).await.unwrap().0, status);
    }
    let path = path_that_meets(Fault::ResetBefore, "POST", Effect::Write);
    assert!(ask(&shop, http::Method::POST, &path).await.is_err());
    assert_eq!(shop.done.load(Ordering::SeqCst), 0);
    let path = path_that_meets(Fault::LostAnswer, "POST", Effect::Write);
    assert!(ask(&shop, http::Method::POST, &path).await.is_err());
    assert_eq!(shop.done.load(Ordering::SeqCst), 1);
    let path = path_that_meets(Fault::GatewayTimeout, "POST", Effect::Write);
    assert_eq!(ask(&shop, http::Method::POST, &path).await.unwrap().0, 504);
    assert_eq!(shop.done.load(Ordering::SeqCst), 2);
    let path = path_that_meets(Fault::Duplicate, "POST", Effect::Write);
    assert_eq!(ask(&shop, http::Method::POST, &path).await.unwrap().0, 200);
    assert_eq!(shop.done.load(Ordering::SeqCst), 4);
    let counts = shop.faults.counts();
    assert_eq!((counts[&Fault::LostAnswer], counts[&Fault::Duplicate], shop.faults.requests()), (1, 1, 7));
}

#[tokio::test]
async fn a_late_write_is_done_after_its_client_gave_up() {
    let shop = shop(ALL).await;
    let path = path_that_meets(Fault::LateWrite, "POST", Effect::Write);
    assert!(ask(&shop, http::Method::POST, &path).await.is_err());
    assert_eq!(shop.done.load(Ordering::SeqCst), 0);
    let done = async {
        while shop.done.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), done).await.unwrap();
}

#[tokio::test]
async fn an_answer_can_end_in_its_middle_with_and_without_an_error() {
    let shop = shop(ALL).await;
    let path = path_that_meets(Fault::ResetInBody, "GET", Effect::Read);
    assert!(ask(&shop, http::Method::GET, &path).await.is_err());
    let path = path_that_meets(Fault::CutBody, "GET", Effect::Read);
    let (status, text) = ask(&shop, http::Method::GET, &path).await.unwrap();
    assert_eq!(status, 200);
    assert!(text.starts_with("{\"number\"") && serde_json::from_str::<serde_json::Value>(&text).is_err(), "{text}");
}

#[tokio::test]
async fn an_outage_cuts_connections_and_ends() {
    let shop = shop(FaultOptions { rate: 0.0, seed: 1, mild: 0.0 }).await;
    assert!(ask(&shop, http::Method::GET, "/a").await.is_ok());
    shop.faults.outage("shop", Duration::from_millis(700));
    assert!(ask(&shop, http::Method::GET, "/a").await.is_err());
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(ask(&shop, http::Method::GET, "/a").await.is_ok());
}

#[tokio::test]
async fn what_broke_is_in_the_journal_with_what_came_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("faults.jsonl");
    let shop = shop(ALL).await;
    let first = path_that_meets(Fault::Internal, "GET", Effect::Read);
    let second = path_that_meets(Fault::Unavailable, "POST", Effect::Write);
    ask(&shop, http::Method::GET, &first).await.unwrap();
    shop.faults.log_to(&path).unwrap();
    ask(&shop, http::Method::POST, &second).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().map(|line| (line["endpoint"].as_str(), line["fault"].as_str())).collect();
    assert_eq!(told, [(Some("shop"), Some("500")), (Some("shop"), Some("503"))]);
}
