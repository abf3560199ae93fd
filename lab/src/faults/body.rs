//! Bodies that end wrongly, late, or not at all.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::response::Parts;
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

use super::words;

/// Nobody waits longer for a stalled answer than this; then the connection is the client's to give up.
pub(super) const STALL: Duration = Duration::from_secs(600);
/// Answers above this are not kept for stale reads.
const KEPT_BYTES: usize = 256 * 1024;

/// An answer that may be given again.
#[derive(Clone)]
pub(super) struct Kept {
    parts: Parts,
    body: Bytes,
}

impl Kept {
    pub(super) fn response(&self) -> Response {
        Response::from_parts(self.parts.clone(), Body::from(self.body.clone()))
    }
}

/// Reads the whole answer; what was read so far where it breaks by itself.
pub(super) async fn whole(response: Response) -> (Parts, Bytes) {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map(|read| read.to_bytes()).unwrap_or_default();
    (parts, bytes)
}

/// An answer and its copy, where it is small and good enough to be kept.
pub(super) async fn keep(response: Response) -> (Response, Option<Kept>) {
    let (parts, body) = whole(response).await;
    let kept = (parts.status.is_success() && body.len() <= KEPT_BYTES)
        .then(|| Kept { parts: parts.clone(), body: body.clone() });
    (Response::from_parts(parts, Body::from(body)), kept)
}

/// A whole answer with half of its text.
pub(super) async fn cut(response: Response) -> Response {
    let (mut parts, body) = whole(response).await;
    parts.headers.remove(http::header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body.slice(..body.len() / 2)))
}

/// Half of the answer; then the connection is cut, or, without `line`, nothing more comes.
pub(super) async fn half(response: Response, line: Option<CancellationToken>) -> Response {
    let (parts, body) = whole(response).await;
    let first = body.slice(..body.len() / 2);
    let rest = async move {
        match line {
            Some(line) => {
                // The half goes out before the end does.
                tokio::time::sleep(Duration::from_millis(20)).await;
                line.cancel();
                std::future::pending::<()>().await;
            }
            None => tokio::time::sleep(STALL).await,
        }
        Ok(Bytes::new())
    };
    // The length stays as it was told, so that the client knows that this is not all.
    let frames = stream::iter([Ok::<_, Infallible>(first)]).chain(stream::once(rest));
    Response::from_parts(parts, Body::from_stream(frames))
}

/// A watch that begins and says nothing.
pub(super) fn silent(response: Response) -> Response {
    let (parts, _) = response.into_parts();
    let nothing = stream::once(async {
        tokio::time::sleep(STALL).await;
        Ok::<_, Infallible>(Bytes::new())
    });
    Response::from_parts(parts, Body::from_stream(nothing))
}

/// A watch whose events come twice. A frame is a line or several whole ones.
pub(super) fn doubled(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let frames = body.into_data_stream().flat_map(|frame| match frame {
        Ok(bytes) => stream::iter(vec![Ok(bytes.clone()), Ok(bytes)]),
        Err(error) => stream::iter(vec![Err(error)]),
    });
    Response::from_parts(parts, Body::from_stream(frames))
}

/// A watch that is cut after some frames: by an event that says *expired*, or by the end of the connection.
pub(super) fn cut_watch(response: Response, frames: usize, line: Option<CancellationToken>) -> Response {
    let (parts, body) = response.into_parts();
    let end = async move {
        match line {
            Some(line) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                line.cancel();
                std::future::pending().await
            }
            None => Ok(Bytes::from(words::expired_event())),
        }
    };
    Response::from_parts(parts, Body::from_stream(body.into_data_stream().take(frames).chain(stream::once(end))))
}
