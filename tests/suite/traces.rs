//! Traces of a real run on the lab: run → cell → stage → request, the push to a collector, and that of
//! metrics to a Pushgateway.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

/// A server that answers every request with 200 and hands on path and body.
fn collector() -> (String, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (send, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let send = send.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                loop {
                    let mut first = String::new();
                    if reader.read_line(&mut first).unwrap_or(0) == 0 {
                        return;
                    }
                    let mut length = 0;
                    loop {
                        let mut header = String::new();
                        reader.read_line(&mut header).unwrap();
                        if header.trim().is_empty() {
                            break;
                        }
                        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    let path = first.split(' ').nth(1).unwrap().to_owned();
                    let _ = send.send((path, String::from_utf8(body).unwrap()));
                    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                }
            });
        }
    });
    (address, received)
}

#[test]
fn a_run_has_spans_down_to_requests_and_pushes_them_to_a_collector() {
    let results = tempfile::tempdir().unwrap();
    let (endpoint, received) = collector();
    assert_cmd::Command::new(env!("CARGO_BIN_EXE_mtv-matrix"))
        .args([
            "run",
            "--lab",
            "-s",
            "test_sanity_cold_mtv_migration",
            "-p",
            "vsphere",
            "--trace",
            "requests",
            "--results",
        ])
        .arg(results.path())
        .args(["--set", &format!("metrics_push={endpoint}/gateway/")])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .assert()
        .success();
    let text = std::fs::read_to_string(results.path().join("latest/traces.jsonl")).unwrap();
    let mut spans = Vec::new();
    for line in text.lines() {
        let request: ExportTraceServiceRequest = serde_json::from_str(line).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        spans.extend(scopes.flat_map(|scope| scope.spans));
    }
    let by_id: BTreeMap<&[u8], _> = spans.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    assert_eq!(by_id.len(), spans.len(), "ids are unique");
    let parent = |id: &[u8]| by_id.get(id).and_then(|span| by_id.get(span.parent_span_id.as_slice())).copied();
    for (span, trace) in spans.iter().map(|span| (span, &span.trace_id)) {
        assert_eq!(trace, &spans[0].trace_id);
        let is_run = span.name == "run";
        assert_eq!(is_run, parent(&span.span_id).is_none(), "{} has no parent", span.name);
        assert!(!span.name.contains('?'), "a query left the process: {}", span.name);
    }
    let stage_of = |name: &str| {
        let span = spans.iter().find(|span| span.name.starts_with(name)).unwrap_or_else(|| panic!("no span {name}"));
        parent(&span.span_id).unwrap()
    };
    let plan = spans
        .iter()
        .find(|span| span.name.starts_with("POST /apis/forklift.konveyor.io/") && span.name.ends_with("/plans"))
        .unwrap();
    let stage = parent(&plan.span_id).unwrap();
    assert_eq!(stage.name, "plan");
    let cell = parent(&stage.span_id).unwrap();
    assert_eq!(cell.name, "vsphere/test_sanity_cold_mtv_migration");
    assert_eq!(parent(&cell.span_id).unwrap().name, "run");
    assert_eq!(stage_of("CloneVM_Task").name, "prepare");
    assert_eq!(stage_of("Destroy_Task").name, "teardown");

    for line in text.lines() {
        let (path, body) = received.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!((path.as_str(), body.as_str()), ("/v1/traces", line));
    }
    let (path, body) = received.recv_timeout(Duration::from_secs(5)).unwrap();
    let metrics = std::fs::read_to_string(results.path().join("latest/metrics.prom")).unwrap();
    assert_eq!((path.as_str(), &body), ("/gateway/metrics/job/mtv-matrix", &metrics));
    let value = |name: &str| -> f64 {
        let line =
            metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}:\n{metrics}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("mtv_matrix_cells{verdict=\"passed\"}"), 1.0);
    assert!(value("mtv_matrix_transfer_bytes{") >= 1_048_576.0);
    assert!(value("mtv_matrix_transfer_bytes_per_second{") > 0.0);
    assert_eq!(value("mtv_matrix_stage_duration_seconds_count{stage=\"migrate\""), 1.0);
}
