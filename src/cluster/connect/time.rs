//! The API server's clock: this machine's may be hours off.

use http::Request;
use http::header::DATE;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use kube::client::Body;

use super::{Cluster, ReadError, retry};

const WHAT: &str = "the API server's clock";

/// What it says, by the date of an answer; to the second.
pub async fn server_time(cluster: &Cluster) -> Result<Timestamp, ReadError> {
    let request = Request::get("/version").body(Body::empty()).map_err(|e| ReadError::failed(WHAT, e.to_string()))?;
    let answer = cluster.client().send(request).await.map_err(|e| ReadError::failed(WHAT, retry::short(&e)))?;
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.ok_or_else(|| ReadError::failed(WHAT, "its answers carry no date"))?;
    DateTimeParser::new().parse_timestamp(date).map_err(|e| ReadError::unreadable(format!("{WHAT}, `{date}`"), e))
}
