//! Managers that clients ask beside the inventory: performance, licenses, logs, roles and permissions. What they tell is
//! enough for tools not to stumble: figures of performance are made of the object's name and the hour, one license has
//! no key, and the log is the tasks.

use sha2::{Digest as _, Sha256};

use super::super::fault::{Fault, invalid_argument, object_gone};
use super::super::session::reference;
use super::super::value::{Obj, Ref, Val, member, mo, obj, objs, strings, time};
use super::super::xml::Node;
use super::{Scope, host, infra};

/// Methods that are answered here.
pub const METHODS: &[&str] = &[
    "QueryPerfProviderSummary",
    "QueryAvailablePerfMetric",
    "QueryPerfCounter",
    "QueryPerf",
    "QueryDescriptions",
    "BrowseDiagnosticLog",
    "RetrieveEntityPermissions",
    "RetrieveAllPermissions",
    "RetrieveRolePermissions",
    "QueryNetConfig",
    "GetResourceUsage",
];

/// Id, group, name, label, unit, rollup, kind of statistics, greatest value.
type Counter =
    (i32, &'static str, &'static str, &'static str, (&'static str, &'static str), &'static str, &'static str, i64);

const COUNTERS: &[Counter] = &[
    (2, "cpu", "usage", "Usage", ("percent", "%"), "average", "rate", 9000),
    (6, "cpu", "usagemhz", "Usage in MHz", ("megaHertz", "MHz"), "average", "rate", 2600),
    (24, "mem", "usage", "Usage", ("percent", "%"), "average", "absolute", 9000),
    (98, "mem", "consumed", "Consumed", ("kiloBytes", "KB"), "average", "absolute", 8 << 20),
    (125, "disk", "usage", "Usage", ("kiloBytesPerSecond", "KBps"), "average", "rate", 4096),
    (143, "net", "usage", "Usage", ("kiloBytesPerSecond", "KBps"), "average", "rate", 2048),
    (155, "sys", "uptime", "Uptime", ("second", "s"), "latest", "absolute", 1 << 20),
];
/// Seconds between two samples, as a host takes them.
const REAL_TIME: i32 = 20;
/// Id, name, label, summary, of vSphere's own roles.
const ROLES: &[(i32, &str, &str)] = &[
    (-1, "Admin", "Full access rights"),
    (-2, "ReadOnly", "See details of objects, but not make changes"),
    (-3, "View", "Visibility access (cannot be granted)"),
    (-4, "Anonymous", "Not logged-in user (cannot be granted)"),
    (-5, "NoAccess", "Used for restricting granted access"),
];

fn description(kind: &'static str, label: &str, key: &str) -> Obj {
    obj(kind).set("label", label).set("summary", label).set("key", key)
}

fn counter(it: &Counter) -> Obj {
    let (id, group, name, label, (unit, sign), rollup, statistics, _) = *it;
    obj("PerfCounterInfo")
        .set("key", id)
        .set("nameInfo", description("ElementDescription", label, name))
        .set("groupInfo", description("ElementDescription", group, group))
        .set("unitInfo", description("ElementDescription", sign, unit))
        .set("rollupType", member("PerfSummaryType", rollup))
        .set("statsType", member("PerfStatsType", statistics))
        .set("level", 1)
        .set("perDeviceLevel", 3)
}

fn interval(key: i32, seconds: i32, name: &str, days: i32) -> Obj {
    obj("PerfInterval")
        .set("key", key)
        .set("samplingPeriod", seconds)
        .set("name", name)
        .set("length", days * 86_400)
        .set("level", 1)
        .set("enabled", true)
}

fn summarised(kind: &'static str, label: &str, summary: &str) -> Obj {
    obj(kind).set("label", label).set("summary", summary)
}

fn license() -> Obj {
    let property = |key: &str, value: &str| obj("KeyAnyValue").set("key", key).any("value", value);
    obj("LicenseManagerLicenseInfo")
        .set("licenseKey", "00000-00000-00000-00000-00000")
        .set("editionKey", "eval")
        .set("name", "Product Evaluation")
        .set("total", 0)
        .set("used", 0)
        .set("costUnit", "")
        .set("properties", objs("KeyAnyValue", [property("ProductName", "VMware VirtualCenter Server")]))
}

pub(super) fn property(scope: &Scope<'_>, object: &Ref, name: &str) -> Option<Val> {
    Some(match (object.kind.as_str(), name) {
        ("PerformanceManager", "perfCounter") => objs("PerfCounterInfo", COUNTERS.iter().map(counter)),
        ("PerformanceManager", "historicalInterval") => objs(
            "PerfInterval",
            [interval(1, 300, "Past day", 1), interval(2, 1800, "Past week", 7), interval(3, 7200, "Past month", 30)],
        ),
        ("PerformanceManager", "description") => obj("PerformanceDescription").into(),
        ("LicenseManager", "licenses") => objs("LicenseManagerLicenseInfo", [license()]),
        ("LicenseManager", "licensedEdition") => "eval".into(),
        ("LicenseManager", "evaluation") => obj("LicenseManagerEvaluationInfo").into(),
        ("AuthorizationManager", "roleList") => objs(
            "AuthorizationRole",
            ROLES.iter().map(|(id, name, what)| {
                let granted = if *id == -1 { super::service::PRIVILEGES } else { &super::service::PRIVILEGES[..1] };
                obj("AuthorizationRole")
                    .set("roleId", *id)
                    .set("system", true)
                    .set("name", *name)
                    .set("info", summarised("Description", name, what))
                    .set("privilege", strings(granted.iter().map(|privilege| (*privilege).to_owned())))
            }),
        ),
        _ => {
            let _ = scope;
            return None;
        }
    })
}

/// Answers one of [`METHODS`].
pub fn answer(scope: &Scope<'_>, method: &Node) -> Result<Val, Fault> {
    let entity = || -> Result<Ref, Fault> {
        let entity = method.child("entity").map(reference).ok_or_else(|| invalid_argument("entity"))?;
        if scope.exists(&entity) { Ok(entity) } else { Err(object_gone(entity)) }
    };
    Ok(match method.name.as_str() {
        "QueryPerfProviderSummary" => {
            let entity = entity()?;
            let current = measured(scope, &entity);
            obj("PerfProviderSummary")
                .set("entity", entity)
                .set("currentSupported", current)
                .set("summarySupported", true)
                .opt("refreshRate", current.then_some(REAL_TIME))
                .into()
        }
        "QueryAvailablePerfMetric" => {
            let entity = entity()?;
            let there = COUNTERS.iter().filter(|_| measured(scope, &entity));
            objs("PerfMetricId", there.map(|counter| metric(counter.0)))
        }
        "QueryPerfCounter" => {
            let wanted: Vec<i32> = method.all("counterId").filter_map(|node| node.text.trim().parse().ok()).collect();
            objs("PerfCounterInfo", COUNTERS.iter().filter(|it| wanted.contains(&it.0)).map(counter))
        }
        "QueryPerf" => {
            let all: Vec<Obj> = method.all("querySpec").map(|spec| samples(scope, spec)).collect::<Result<_, _>>()?;
            Val::Array("PerfEntityMetricBase", all.into_iter().map(Val::Obj).collect())
        }
        "QueryNetConfig" => {
            let part = method.child("_this").map(reference).ok_or_else(|| invalid_argument("_this"))?;
            let host = host::whose(scope.state, &part).ok_or_else(|| object_gone(part))?;
            let kind = method.text("nicType").unwrap_or_default();
            if !host::TRAFFIC.contains(&kind) {
                return Err(invalid_argument("nicType"));
            }
            host::net_config(host, kind).into()
        }
        "GetResourceUsage" => infra::usage(scope.state).into(),
        "QueryDescriptions" => objs("DiagnosticManagerLogDescriptor", [log_descriptor()]),
        "BrowseDiagnosticLog" => {
            let key = method.text("key").unwrap_or_default();
            if key != LOG {
                return Err(invalid_argument("key"));
            }
            browse(scope, method).into()
        }
        // The administrator, on everything.
        _ => {
            let admin = obj("Permission")
                .set("entity", mo("Folder", "group-d1"))
                .set("principal", "VSPHERE.LOCAL\\Administrator")
                .set("group", false)
                .set("roleId", -1)
                .set("propagate", true);
            let asks_for = method.number::<i32>("roleId");
            objs("Permission", Some(admin).filter(|_| asks_for.is_none_or(|role| role == -1)))
        }
    })
}

/// Hosts are measured, and VMs that run.
fn measured(scope: &Scope<'_>, entity: &Ref) -> bool {
    match entity.kind.as_str() {
        "VirtualMachine" => scope.state.vms.get(&entity.id).is_some_and(|vm| vm.powered_on),
        kind => kind == "HostSystem",
    }
}

fn metric(id: i32) -> Obj {
    obj("PerfMetricId").set("counterId", id).set("instance", "")
}

/// The same figure for the same object, counter and time.
fn figure(entity: &Ref, counter: i32, at: i64, most: i64) -> i64 {
    let digest = Sha256::digest(format!("{}/{counter}/{at}", entity.id).as_bytes());
    i64::from(u16::from_be_bytes([digest[0], digest[1]])) * most / i64::from(u16::MAX)
}

fn samples(scope: &Scope<'_>, spec: &Node) -> Result<Obj, Fault> {
    const MOST: i64 = 180;
    let entity = spec.child("entity").map(reference).ok_or_else(|| invalid_argument("querySpec.entity"))?;
    if !scope.exists(&entity) {
        return Err(object_gone(entity));
    }
    let wanted: Vec<i32> = spec.all("metricId").filter_map(|metric| metric.number("counterId")).collect();
    let seconds = spec.number::<i32>("intervalId").filter(|seconds| *seconds > 0).unwrap_or(REAL_TIME);
    let count = if measured(scope, &entity) { spec.number::<i64>("maxSample").unwrap_or(1).clamp(1, MOST) } else { 0 };
    let step = i64::from(seconds);
    let last = jiff::Timestamp::now().as_second() / step * step;
    let times: Vec<i64> = (0..count).rev().map(|back| last - back * step).collect();
    let stamp = |at: &i64| jiff::Timestamp::from_second(*at).unwrap_or_default().to_string();
    let chosen = COUNTERS.iter().filter(|it| count > 0 && (wanted.is_empty() || wanted.contains(&it.0)));
    let values = |it: &Counter| times.iter().map(|at| figure(&entity, it.0, *at, it.7)).collect::<Vec<i64>>();
    if spec.text("format") == Some("csv") {
        let sample_info = times.iter().map(|at| format!("{seconds},{}", stamp(at))).collect::<Vec<_>>().join(",");
        let series = chosen.map(|it| {
            let all = values(it).iter().map(i64::to_string).collect::<Vec<_>>().join(",");
            obj("PerfMetricSeriesCSV").set("id", metric(it.0)).set("value", all)
        });
        let series: Vec<Val> = series.map(Val::Obj).collect();
        let whole = obj("PerfEntityMetricCSV").set("entity", entity.clone()).set("sampleInfoCSV", sample_info);
        return Ok(whole.list("value", "PerfMetricSeriesCSV", series));
    }
    let sample_info: Vec<Val> = times
        .iter()
        .map(|at| obj("PerfSampleInfo").set("timestamp", time(&stamp(at))).set("interval", seconds).into())
        .collect();
    let series: Vec<Val> = chosen
        .map(|it| {
            let all = values(it).into_iter().map(Val::Long).collect();
            obj("PerfMetricIntSeries").set("id", metric(it.0)).list("value", "long", all).into()
        })
        .collect();
    let whole = obj("PerfEntityMetric").set("entity", entity.clone()).list("sampleInfo", "PerfSampleInfo", sample_info);
    Ok(whole.list("value", "PerfMetricIntSeries", series))
}

const LOG: &str = "vpxd:vpxd.log";

fn log_descriptor() -> Obj {
    obj("DiagnosticManagerLogDescriptor")
        .set("key", LOG)
        .set("fileName", "vpxd.log")
        .set("creator", "vpxd")
        .set("format", "plain")
        .set("mimeType", "text/plain")
        .set("info", summarised("Description", "vpxd.log", "vpxd.log"))
}

/// The tasks that are remembered, a line each.
fn browse(scope: &Scope<'_>, method: &Node) -> Obj {
    let lines: Vec<String> = scope
        .state
        .tasks
        .values()
        .map(|task| {
            format!(
                "{} info vpxd[01234] [Originator@6876 sub=vpxLro opID=lab] [VpxLRO] -- BEGIN {} -- {} -- {} --",
                task.queued, task.id, task.entity.1, task.operation
            )
        })
        .collect();
    let count = i32::try_from(lines.len()).unwrap_or(i32::MAX);
    let start = method.number::<i32>("start").unwrap_or(1).max(1);
    let wanted = method.number::<i32>("lines").unwrap_or(1000).max(0);
    let shown = lines.into_iter().skip(usize::try_from(start - 1).unwrap_or_default());
    let shown: Vec<Val> = shown.take(usize::try_from(wanted).unwrap_or_default()).map(Val::Str).collect();
    obj("DiagnosticManagerLogHeader").set("lineStart", start).set("lineEnd", count).list("lineText", "string", shown)
}
