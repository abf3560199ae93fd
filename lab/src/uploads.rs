//! CDI's upload proxy: takes an image for a claim from who holds a token for it (`UploadTokenRequest`), and tells the claim
//! that it has come. What was sent is not kept: no disk in the lab has contents. Only its size counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode, header};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::controllers::requested;

/// A claim that waits for an image has it.
pub const TARGET: &str = "cdi.kubevirt.io/storage.upload.target";
/// How the pod does that takes it.
pub const POD_PHASE: &str = "cdi.kubevirt.io/storage.pod.phase";
pub const POD_READY: &str = "cdi.kubevirt.io/storage.pod.ready";
/// How long a token is good, as CDI's are.
const GOOD: Duration = Duration::from_secs(300);
/// Tokens that are remembered.
const TOKENS: usize = 1024;
/// A qcow2 image begins with these, and says at byte 24 how large the disk in it is.
const QCOW: &[u8] = b"QFI\xfb";
const QCOW_HEAD: usize = 32;

/// Which claim a token is for, and since when.
struct Grant {
    namespace: String,
    claim: String,
    since: Instant,
}

/// Tokens that were given out.
#[derive(Default)]
pub struct UploadTokens(Mutex<HashMap<String, Grant>>);

impl UploadTokens {
    pub fn issue(&self, namespace: &str, claim: &str) -> String {
        let token = crate::api::names::random_chars(64);
        let grant = Grant { namespace: namespace.to_owned(), claim: claim.to_owned(), since: Instant::now() };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, grant| grant.since.elapsed() < GOOD);
        if all.len() >= TOKENS {
            all.clear();
        }
        all.insert(token.clone(), grant);
        token
    }

    /// Namespace and name of the claim.
    fn claim(&self, headers: &HeaderMap) -> Option<(String, String)> {
        let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = all.get(token.trim()).filter(|grant| grant.since.elapsed() < GOOD)?;
        Some((grant.namespace.clone(), grant.claim.clone()))
    }
}

#[derive(Clone)]
struct Proxy {
    client: kube::Client,
    tokens: Arc<UploadTokens>,
}

/// `POST /v1beta1/upload` and `/v1beta1/upload-async`, which is first asked by `HEAD` whether it is there.
pub fn router(client: kube::Client, tokens: Arc<UploadTokens>) -> Router {
    let proxy = Proxy { client, tokens };
    Router::new()
        .route("/healthz", axum::routing::get(async || "OK"))
        .route("/v1beta1/upload", post(upload))
        .route("/v1beta1/upload-async", post(upload).head(asked))
        .with_state(proxy)
}

type Refusal = (StatusCode, String);

fn failed(error: impl std::fmt::Display) -> Refusal {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

impl Proxy {
    /// The claim that a caller may fill now.
    async fn claim(&self, headers: &HeaderMap) -> Result<(Api<PersistentVolumeClaim>, PersistentVolumeClaim), Refusal> {
        let Some((namespace, name)) = self.tokens.claim(headers) else {
            return Err((StatusCode::UNAUTHORIZED, String::new()));
        };
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &namespace);
        let found = claims.get_opt(&name).await.map_err(failed)?;
        let Some(claim) = found else {
            return Err((StatusCode::NOT_FOUND, format!("PVC {namespace}/{name} not found")));
        };
        let says = |name: &str| claim.annotations().get(name).map(String::as_str).unwrap_or_default();
        if says(POD_PHASE) == "Succeeded" {
            return Err((StatusCode::CONFLICT, format!("PVC {name} already successfully uploaded")));
        }
        if says(POD_READY) != "true" {
            return Err((StatusCode::SERVICE_UNAVAILABLE, format!("upload pod of PVC {name} is not ready")));
        }
        Ok((claims, claim))
    }
}

async fn asked(State(proxy): State<Proxy>, headers: HeaderMap) -> Response {
    match proxy.claim(&headers).await {
        Ok(_) => StatusCode::OK.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn upload(State(proxy): State<Proxy>, headers: HeaderMap, body: Body) -> Response {
    match take(&proxy, &headers, body.into_data_stream()).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn take(proxy: &Proxy, headers: &HeaderMap, mut body: BodyDataStream) -> Result<(), Refusal> {
    let (claims, claim) = proxy.claim(headers).await?;
    let (mut head, mut sent) = (Vec::new(), 0_u64);
    while let Some(part) = body.next().await {
        let part = part.map_err(|e| (StatusCode::BAD_REQUEST, format!("the upload was cut off: {e}")))?;
        head.extend(part.iter().take(QCOW_HEAD.saturating_sub(head.len())));
        sent += part.len() as u64;
    }
    let (size, room) = (disk_size(&head).unwrap_or(sent), requested(&claim));
    if size > room {
        let why = format!(
            "Saving stream failed: Virtual image size {size} is larger than the reported available storage {room}. \
             A larger PVC is required."
        );
        return Err((StatusCode::BAD_REQUEST, why));
    }
    let done = json!({"metadata": {"annotations": {POD_PHASE: "Succeeded", POD_READY: "false"}}});
    claims.patch(&claim.name_any(), &PatchParams::default(), &Patch::Merge(done)).await.map(drop).map_err(failed)
}

/// What a qcow2 image says.
fn disk_size(head: &[u8]) -> Option<u64> {
    let size = head.get(24..).and_then(<[u8]>::first_chunk::<8>)?;
    head.starts_with(QCOW).then(|| u64::from_be_bytes(*size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_claim_and_another_one_for_none() {
        let tokens = UploadTokens::default();
        let token = tokens.issue("n", "disk");
        let headers =
            |token: &str| HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())]);
        assert_eq!(tokens.claim(&headers(&token)), Some(("n".to_owned(), "disk".to_owned())));
        assert_eq!((tokens.claim(&headers("other")), tokens.claim(&HeaderMap::new())), (None, None));
    }

    #[tokio::test]
    async fn blank_http_and_upload_data_volumes_are_filled() {
        use kube::api::{DynamicObject, ListParams, PostParams};
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = crate::LabOptions { clock_scale: 60_000.0, ..crate::LabOptions::default() };
        let lab = crate::Lab::start(options).await.unwrap();
        let (stop, tasks) = (tokio_util::sync::CancellationToken::new(), tokio_util::task::TaskTracker::new());
        let image = Router::new().route("/disk", axum::routing::get(async || "image"));
        let url = crate::serve::plain("web", [127, 0, 0, 1].into(), image, &stop, &tasks).await.unwrap();
        let kind = kube::core::GroupVersionKind::gvk("cdi.kubevirt.io", "v1beta1", "DataVolume");
        let kind = kube::core::ApiResource::from_gvk(&kind);
        let volumes: Api<DynamicObject> = Api::namespaced_with(lab.client(), "default", &kind);
        let sources = [
            ("blank", json!({"blank": {}})),
            ("http", json!({"http": {"url": format!("{url}/disk")}})),
            ("none", json!({"http": {"url": format!("{url}/none")}})),
            ("sent", json!({"upload": {}})),
        ];
        for (name, source) in sources {
            let dv = json!({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": {"name": name},
                "spec": {"source": source, "storage": {"resources": {"requests": {"storage": "1Mi"}}}}});
            volumes.create(&PostParams::default(), &serde_json::from_value(dv).unwrap()).await.unwrap();
        }
        let phases = async |wanted: &str| {
            let began = Instant::now();
            loop {
                let all = volumes.list(&ListParams::default()).await.unwrap().items;
                let phase = |dv: &DynamicObject| dv.data["status"]["phase"].as_str().unwrap_or_default().to_owned();
                let told: Vec<String> = all.iter().map(|dv| format!("{} {}", dv.name_any(), phase(dv))).collect();
                let told = told.join(", ");
                if told == wanted {
                    return;
                }
                assert!(began.elapsed() < Duration::from_secs(20), "{told}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        phases("blank Succeeded, http Succeeded, none ImportScheduled, sent UploadReady").await;
        let token = async |claim: &str| {
            let body = json!({"metadata": {"generateName": "t-"}, "spec": {"pvcName": claim}}).to_string();
            let path = "/apis/upload.cdi.kubevirt.io/v1beta1/namespaces/default/uploadtokenrequests";
            let request = http::Request::post(path).header("content-type", "application/json").body(body.into_bytes());
            let answer: Result<serde_json::Value, kube::Error> = lab.client().request(request.unwrap()).await;
            answer.map(|answer| answer["status"]["token"].as_str().unwrap_or_default().to_owned())
        };
        assert!(token("nobodys").await.is_err());
        let waiting = volumes.get("sent").await.unwrap();
        assert_eq!(waiting.data["status"]["conditions"][2]["status"], "True", "{:?}", waiting.data["status"]);
        let token = token("sent").await.unwrap();
        let kind = kube::core::GroupVersionKind::gvk("cdi.kubevirt.io", "v1beta1", "CDIConfig");
        let configs: Api<DynamicObject> = Api::all_with(lab.client(), &kube::core::ApiResource::from_gvk(&kind));
        let proxy = configs.get("config").await.unwrap().data["status"]["uploadProxyURL"].as_str().unwrap().to_owned();
        let ca = reqwest::Certificate::from_pem(lab.ca_pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        let send = async |token: &str, image: Vec<u8>| {
            let request = client.post(format!("{proxy}/v1beta1/upload-async")).bearer_auth(token).body(image);
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        assert_eq!(send("other", Vec::new()).await.0, 401);
        let (code, why) = send(&token, vec![0; (1 << 20) + 1]).await;
        assert!(code == 400 && why.contains("larger than the reported available storage 1048576"), "{code} {why}");
        let asked = client.head(format!("{proxy}/v1beta1/upload-async")).bearer_auth(&token).send().await.unwrap();
        assert_eq!((asked.status().as_u16(), send(&token, vec![0; 1 << 20]).await), (200, (200, String::new())));
        phases("blank Succeeded, http Succeeded, none ImportScheduled, sent Succeeded").await;
        assert_eq!(send(&token, Vec::new()).await.0, 409);
        stop.cancel();
        lab.stop().await;
    }

    #[test]
    fn the_size_of_a_disk_is_what_its_image_says() {
        let mut head = QCOW.to_vec();
        head.extend([0; 20]);
        head.extend((20_u64 << 30).to_be_bytes());
        assert_eq!((disk_size(&head), disk_size(&head[..30]), disk_size(&[0; 32])), (Some(20 << 30), None, None));
    }
}
