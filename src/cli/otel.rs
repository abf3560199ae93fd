//! What OpenTelemetry's own environment variables say: where traces go, which trace a run is a part of, and what is
//! said of who sends them.
//!
//! Rules: OpenTelemetry's *Environment Variable Specification*, *OTLP Exporter Configuration*, and W3C *Trace Context*
//! (`TRACEPARENT`, as Jenkins and Tekton set it). Traces go as JSON over HTTP; nothing else is spoken.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// The collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The whole URL of its traces.
    pub url: String,
    pub headers: Vec<(String, String)>,
}

/// What the environment says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Otel {
    pub traces: Option<Target>,
    /// Attributes of the resource, beside what is known anyway.
    pub resource: BTreeMap<String, String>,
    /// `00-TRACE-SPAN-FLAGS`.
    pub traceparent: Option<String>,
    /// What was set and is not understood.
    pub warnings: Vec<String>,
}

impl Otel {
    pub fn from_env() -> Self {
        Self::read(&|name| std::env::var(name).ok())
    }

    fn read(get: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let mut warnings = Vec::new();
        let mut resource = pairs(&set, "OTEL_RESOURCE_ATTRIBUTES", &mut warnings);
        resource.extend(set("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name)));
        let traceparent = set("TRACEPARENT").filter(|text| {
            let good = is_traceparent(text);
            if !good {
                warnings.push(format!("TRACEPARENT={text:?} is not `00-<32 hex digits>-<16>-<2>`; it is ignored"));
            }
            good
        });
        let off = set("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").is_some_and(|text| text == "none");
        let base =
            || set("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| format!("{}/v1/traces", base.trim_end_matches('/')));
        let url = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(base).filter(|_| !off);
        let traces = url.map(|url| {
            let protocol = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
            if let Some(protocol) = protocol.filter(|protocol| protocol == "grpc") {
                let message =
                    format!("OTLP goes as http/json, not as {protocol}: {url} must take that (often port 4318)");
                warnings.push(message);
            }
            let own = set("OTEL_EXPORTER_OTLP_TRACES_HEADERS").map(|_| "OTEL_EXPORTER_OTLP_TRACES_HEADERS");
            let headers = pairs(&set, own.unwrap_or("OTEL_EXPORTER_OTLP_HEADERS"), &mut warnings);
            Target { url, headers: headers.into_iter().collect() }
        });
        Self { traces, resource, traceparent, warnings }
    }
}

/// `name=value,name=value`, values percent-encoded.
fn pairs(set: &dyn Fn(&str) -> Option<String>, variable: &str, warnings: &mut Vec<String>) -> BTreeMap<String, String> {
    let text = set(variable).unwrap_or_default();
    let mut all = BTreeMap::new();
    for (n, pair) in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).enumerate() {
        match pair.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                let value = percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
                all.insert(name.trim().to_owned(), value);
            }
            // What stands there may be a password.
            _ => warnings.push(format!("entry {} of {variable} is not `name=value`; it is ignored", n + 1)),
        }
    }
    all
}

fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    };
    let zero = |part: &str| part.chars().all(|c| c == '0');
    matches!(parts.as_slice(), ["00", trace, span, flags]
        if hex(trace, 32) && hex(span, 16) && hex(flags, 2) && !zero(trace) && !zero(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Otel {
        let variables: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Otel::read(&|name| variables.get(name).cloned())
    }

    #[test]
    fn the_traces_own_variables_win_and_a_general_endpoint_gets_the_path() {
        let general = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/"), ("OTEL_EXPORTER_OTLP_HEADERS", "a=1")];
        let target = read(&general).traces.unwrap();
        assert_eq!((target.url.as_str(), target.headers.len()), ("http://c:4318/v1/traces", 1));
        let own = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:4318/in"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Basic%20eDp5, x = 2"),
        ];
        let target = read(&[general.as_slice(), &own].concat()).traces.unwrap();
        assert_eq!(target.url, "http://t:4318/in");
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(target.headers, [header("authorization", "Basic eDp5"), header("x", "2")]);
    }

    #[test]
    fn switched_off_nothing_is_sent_and_the_run_still_belongs_to_its_trace() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
            let otel = read(&[endpoint, off, ("TRACEPARENT", parent)]);
            assert_eq!((otel.traces, otel.traceparent.as_deref()), (None, Some(parent)));
        }
    }

    #[test]
    fn who_sends_is_said_by_the_service_name_before_the_attributes() {
        let otel = read(&[
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=qe%2Cplatform"),
            ("OTEL_SERVICE_NAME", "nightly"),
        ]);
        let said: Vec<_> = otel.resource.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(said, ["service.name=nightly", "team=qe,platform"]);
    }

    #[test]
    fn what_is_not_understood_is_told_without_its_value() {
        let otel = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "canary"),
            ("TRACEPARENT", "00-00000000000000000000000000000000-b7ad6b7169203331-01"),
        ]);
        assert_eq!((otel.warnings.len(), otel.traceparent), (3, None));
        assert!(!otel.warnings.join("\n").contains("canary"), "{:?}", otel.warnings);
    }
}
