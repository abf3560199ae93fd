//! What is done with the results of runs: a history of ten nights, a run followed from outside and by the keys of a
//! terminal, what old runs leave behind, one run for support.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::{LabServer, Place, RUN, Running};
use serde_json::Value;

const PLAIN: &str = "vsphere/test_sanity_cold_mtv_migration";
/// Two disks: seen by `lost-disk` alone.
const DISKS: &str = "vsphere/test_mtv_migration_warm_2disks2nics";
/// Labels of its own: seen by `lost-label` alone.
const LABELS: &str = "vsphere/labels";
/// Made on the last night, and wrong from the start.
const FRESH: &str = "vsphere/fresh";

const OWN: &str = "labels:\n  virtual_machines:\n    - name: mtv-tests-rhel8\n  target_labels: {owner: qe}\n";
const OWN_LATER: &str = "fresh:\n  virtual_machines:\n    - name: mtv-tests-rhel8\n  expected_migration_result: fail\n";

/// One night: MTV's version, the defects of that night's lab, whether the first attempt at `PLAIN` is disturbed, and
/// where the three cells stand then.
type Night = (&'static str, &'static [&'static str], bool, [&'static str; 3]);

const NIGHTS: [Night; 10] = [
    //                                                      PLAIN               DISKS           LABELS
    ("2.10", &[], false, ["passing 1", "passing 1", "passing 1"]),
    ("2.10", &["lost-disk"], false, ["passing 2", "new", "passing 2"]),
    ("2.10", &[], false, ["passing 3", "fixed 1", "passing 3"]),
    ("2.11", &[], true, ["passing 4", "passing 2", "passing 4"]),
    ("2.11", &["lost-label"], false, ["passing 5", "passing 3", "new"]),
    ("2.11", &["lost-disk", "lost-label"], false, ["passing 6", "new", "known 2"]),
    ("2.11", &["lost-disk"], false, ["passing 7", "known 2", "fixed 2"]),
    ("2.12", &["lost-disk"], false, ["passing 8", "known 3", "passing 2"]),
    ("2.12", &["lost-disk"], true, ["passing 9", "known 4", "passing 3"]),
    ("2.12", &["lost-disk", "lost-label"], false, ["passing 10", "known 5", "new"]),
];

/// Runs a night and gives its own word of what is new and known.
fn night(place: &Place, number: usize, night: &Night) -> String {
    let (version, defects, disturbed, _) = night;
    let last = number == NIGHTS.len();
    // The last one is slow: simulated time passes at a twentieth of the usual pace.
    let scale = match (last, disturbed) {
        (true, _) => 60,
        (_, true) => 300,
        _ => 1200,
    };
    let defects: String = defects.iter().map(|defect| format!(" --defect {defect}")).collect();
    let lab = LabServer::start(place, &format!("--mtv-version {version} --clock-scale {scale}{defects}"));
    let fresh = if last { "-s fresh" } else { "" };
    let args = format!(
        "run -c own -p vsphere -s test_sanity_cold_mtv_migration -s test_*_2disks2nics -s labels {fresh} --retries 1 \
         --retries-on failed -j 4 --results results"
    );
    let mut run = Running::start(&mut lab.command(place, &args));
    if *disturbed {
        let mut told = |what: &str| loop {
            let line = run.until(PLAIN);
            if line.contains(what) {
                return line;
            }
        };
        let namespace = told("attempt 1 in namespace ").rsplit(' ').next().unwrap().to_owned();
        told("migrate …");
        lab.delete(&format!("apis/forklift.konveyor.io/v1beta1/namespaces/{namespace}/plans"));
    }
    let ended = run.end();
    lab.ends_clean();
    let told = ended.out.lines().find_map(|line| line.strip_prefix("beside the runs before it: "));
    told.unwrap_or_default().to_owned()
}

fn standing(cell: &Value) -> String {
    let number = ["nights", "after", "streak"].iter().find_map(|key| cell[*key].as_u64());
    let word = cell["standing"].as_str().unwrap();
    number.map_or_else(|| word.to_owned(), |number| format!("{word} {number}"))
}

#[test]
fn ten_nights_with_defects_on_some_of_them_tell_who_is_new_known_fixed_flaky_and_slow() {
    let place = Place::new();
    place.write("own/scenarios/own.yaml", OWN);
    let history =
        || -> Value { serde_json::from_str(&place.run("history --results results -o json").exits(0).out).unwrap() };
    let mut told = String::new();
    for (number, one) in (1..).zip(&NIGHTS) {
        if number == NIGHTS.len() {
            place.write("own/scenarios/later.yaml", OWN_LATER);
        }
        told = night(&place, number, one);
        let said = history();
        let cells: BTreeMap<&str, &Value> =
            said["cells"].as_array().unwrap().iter().map(|cell| (cell["id"].as_str().unwrap(), cell)).collect();
        let stand = [PLAIN, DISKS, LABELS].map(|id| standing(cells[id]));
        assert_eq!(stand, one.3, "night {number}: {said:#}");
    }
    let said = history();
    let cell = |id: &str| said["cells"].as_array().unwrap().iter().find(|cell| cell["id"] == id).unwrap().clone();
    // Two of ten passes needed a second attempt.
    assert_eq!(cell(PLAIN)["flaky_rate"], 0.2);
    assert!(cell(PLAIN)["slower"][0].as_i64() > cell(PLAIN)["slower"][1].as_i64(), "{:#}", cell(PLAIN));
    assert_eq!((standing(&cell(FRESH)), &cell(FRESH)["ran_before"]), ("new".to_owned(), &Value::from(false)));
    assert_eq!(cell(LABELS)["ran_before"], true);
    // The run itself says it, too: `labels` and `fresh`; the disks since the sixth night.
    let since = said["runs"][5]["started"].as_str().unwrap()[..10].to_owned();
    assert_eq!(told, format!("2 new, 1 known since {since}"));
    let report = place.results().text("report.html");
    assert!(report.contains(&format!("2 new, 1 known since {since}")), "the report's headline");

    let index = fs::read_to_string(place.path("results/index.html")).unwrap();
    for (version, nights) in [("MTV 2.10", 3), ("MTV 2.11", 4), ("MTV 2.12", 3)] {
        assert_eq!(index.matches(version).count(), nights, "a column a night, with its MTV: {version}");
    }
    let order: Vec<usize> =
        [FRESH, LABELS, DISKS, PLAIN].map(|id| index.find(&format!("<th scope=\"row\">{id}</th>")).unwrap()).to_vec();
    assert!(order.is_sorted(), "new before known before passing");
    let row =
        |id: &str| index.split(&format!("<th scope=\"row\">{id}</th>")).nth(1).unwrap().split("</tr>").next().unwrap();
    assert_eq!(row(PLAIN).matches("class=\"mark flaky\"").count(), 2);
    assert_eq!(row(DISKS).matches("class=\"mark failed\"").count(), 6);
    assert!(row(PLAIN).contains("slower than usual"));

    let wide = place.run("history --results results -o wide").exits(0).out;
    let line = |id: &str| wide.lines().find(|line| line.starts_with(id)).unwrap();
    for (id, signs) in [(PLAIN, "...f....f."), (DISKS, ".F...FFFFF"), (LABELS, "....FF...F"), (FRESH, "---------F")] {
        assert!(line(id).contains(&format!(" {signs} ")), "{id}: {wide}");
    }
    let names = place.run("history --results results --last 2 -o name").exits(0).out;
    assert_eq!(names.lines().collect::<Vec<_>>(), [FRESH, LABELS, DISKS, PLAIN]);
}

const COLD: &str = "test_sanity_cold_mtv_migration";

#[test]
fn a_run_is_followed_from_outside_to_its_exit_code_and_one_that_was_killed_is_said_to_have_died() {
    let place = Place::new();
    let args = format!("run --lab -p vsphere --lab-clock-scale 300 --results results -s {COLD}");
    let mut run = Running::start(&mut place.command(&format!("{args} --defect wrong-cpu")));
    run.until("migrate …");
    // Begun in the middle; what was before is told, too.
    let watch = Running::start(&mut place.command("watch results"));
    let (run, watch) = (run.end().exits(1), watch.end().exits(1));
    let lines =
        |out: &str| -> Vec<String> { out.lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect() };
    assert_eq!(lines(&watch.out), lines(&run.out), "the same lines");
    assert!(watch.out.contains("1 cell in "), "and the summary: {}", watch.out);

    let mut run = Running::start(&mut place.command(&args));
    run.until("migrate …");
    let mut watch = Running::start(&mut place.command("watch results"));
    watch.until("migrate …");
    run.signal("KILL");
    let died = watch.end().exits(3).says("the run died: its log has no end").says("mtv-matrix clean --results ");
    assert!(died.out.contains("interrupted"), "{}", died.out);
    place.run("watch nowhere").exits(2).says("which run?");
}

/// A process on a terminal of its own.
struct OnTerminal {
    process: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl OnTerminal {
    /// Runs a line of the shell; `script` makes the terminal.
    fn start(place: &Place, line: &str) -> Self {
        let mut command = Command::new("script");
        command.args(["-qec", line, "/dev/null"]).current_dir(place.path("")).env_clear();
        command.env("HOME", place.path("")).env("TERM", "xterm").env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh");
        command.env("MTV_SOURCE_PROVIDER", "vsphere");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (keys, mut out) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = out.read(&mut bytes) {
                shown.lock().unwrap().extend_from_slice(&bytes[..read]);
            }
        });
        Self { process, keys, screen }
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    fn until(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while !self.screen().contains(text) {
            assert!(Instant::now() < deadline, "`{text}` never came:\n{}", self.screen().replace('\r', "\n"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn press(&mut self, key: &str) {
        self.keys.write_all(key.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn keys_tell_what_is_waited_for_and_end_the_run_and_the_terminal_is_as_it_was() {
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_mtv-matrix");
    let run = format!("{program} run --lab -p vsphere --lab-clock-scale 60 --results results -s {COLD}");
    let modes = |word: &str| format!("echo {word}: $(stty -a | tr ';' ' ')");
    let line = format!("{}; {run}; echo ended with $?; {}", modes("before"), modes("after"));
    let mut terminal = OnTerminal::start(&place, &line);
    terminal.until("keys: t tells");
    terminal.until("DiskTransfer");
    // Pasted text is no key; what is read together counts as pasted.
    terminal.press("quit ");
    std::thread::sleep(Duration::from_millis(500));
    terminal.press("t");
    terminal.until("1 cell at work");
    terminal.until("waiting for Plan ");
    terminal.press("q");
    terminal.until("interrupted by SIGINT");
    terminal.until("ended with 130");
    terminal.until("after: ");
    std::thread::sleep(Duration::from_millis(200));
    let screen = terminal.screen();
    let modes = |word: &str| -> Vec<String> {
        let line = screen.lines().find_map(|line| line.split(word).nth(1)).unwrap().to_owned();
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert!(modes("before: ").contains(&"icanon".to_owned()), "{screen}");
    assert_eq!(modes("after: "), modes("before: "));
}

#[test]
fn old_results_go_when_a_run_begins_but_not_those_with_something_left_to_undo() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let run = |more: &str| {
        let args = format!("run -p vsphere {RUN} --results results -s {COLD} {more}");
        Running::start(&mut lab.command(&place, &args)).end().exits(0)
    };
    let name = || place.results().run_id();
    run("--keep always");
    let kept = name();
    run("");
    let old = name();
    fs::create_dir(place.path("results/notes")).unwrap();
    run("");
    let ended = run("--set results_keep=1");
    assert!(!place.path(&format!("results/{old}")).exists());
    for there in [kept.as_str(), "notes", &name()] {
        assert!(place.path(&format!("results/{there}")).exists(), "{there}");
    }
    ended.says("results of an earlier run removed").says(&old).says(&format!("results of {kept} stay: its ledger"));
    Running::start(&mut lab.command(&place, "clean --results results")).end().exits(0);
    run("--set results_keep=1").says(&kept);
    assert!(!place.path(&format!("results/{kept}")).exists());
    lab.ends_clean();
}

#[test]
fn a_bundle_holds_a_run_and_none_of_the_secrets_that_were_planted_in_it() {
    let place = Place::new();
    place
        .run(&format!("run --lab -p vsphere --lab-clock-scale 1500 --defect wrong-cpu --results results -s {COLD}"))
        .exits(1);
    let results = place.results();
    // As MTV or a guest might tell it: by value alone, and by key.
    let artifacts = results.dir.join("artifacts");
    fs::write(artifacts.join("pod.log"), "logging in with pl4nted-by-value\nvcenter: password=pl4nted-by-key\n")
        .unwrap();
    place.write("secret/cluster_password", "pl4nted-by-value");
    let ledger = results.lines("ledger.jsonl");
    let mark = ledger[0]["secret"].as_str().unwrap().to_owned();
    let said = place.run("report bundle results/latest --out bundle.tar.gz --secrets secret").exits(0);
    let packed = fs::File::open(place.path("bundle.tar.gz")).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let name = entry.path().unwrap().display().to_string();
        for secret in ["pl4nted", mark.as_str()] {
            assert!(!text.contains(secret), "{name} tells {secret}");
        }
        names.push(name);
    }
    let run = results.run_id();
    for file in ["events.jsonl", "ledger.jsonl", "report.html", "junit.xml", "artifacts/pod.log", "BUNDLE.txt"] {
        assert!(names.contains(&format!("{run}/{file}")), "{file}: {names:?}");
    }
    let plan = |name: &&String| name.contains("/forklift.konveyor.io/plans/");
    assert!(names.iter().any(|name| plan(&name)), "{names:?}");
    said.says("places masked: ");
    place.run("report bundle results/latest --out bundle.tar.gz").exits(2).says("exists already");
}

/// Every object of a kind, as `omc get ALIAS -A` finds it: the definitions in the folder tell group, plural and scope; Kubernetes'
/// own kinds it knows by itself.
fn omc_get(root: &Path, alias: &str) -> Vec<Value> {
    let parsed = |path: &Path| -> Value { serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap() };
    let entries = |path: &Path| -> Vec<PathBuf> {
        let listed = fs::read_dir(path).into_iter().flatten();
        listed.map(|entry| entry.unwrap().path()).collect()
    };
    let definitions = root.join("cluster-scoped-resources/apiextensions.k8s.io/customresourcedefinitions");
    let known = entries(&definitions).iter().map(|path| parsed(path)).find_map(|definition| {
        let spec = &definition["spec"];
        let named = |key: &str| spec["names"][key].as_str().unwrap_or_default().to_lowercase();
        let meant = [named("plural"), named("singular"), named("kind")].iter().any(|name| name == alias);
        let group = spec["group"].as_str().unwrap_or_default().to_owned();
        meant.then(|| (group, named("plural"), spec["scope"] == "Namespaced"))
    });
    let (group, plural, namespaced) = known.unwrap_or_else(|| match alias {
        // The lab's API server has these without a definition.
        "virtualmachines" => ("kubevirt.io".to_owned(), alias.to_owned(), true),
        "clusterserviceversions" => ("operators.coreos.com".to_owned(), alias.to_owned(), true),
        "jobs" => ("batch".to_owned(), alias.to_owned(), true),
        "deployments" => ("apps".to_owned(), alias.to_owned(), true),
        "nodes" => ("core".to_owned(), alias.to_owned(), false),
        "storageclasses" => ("storage.k8s.io".to_owned(), alias.to_owned(), false),
        _ => ("core".to_owned(), alias.to_owned(), true),
    });
    let places =
        if namespaced { entries(&root.join("namespaces")) } else { vec![root.join("cluster-scoped-resources")] };
    let mut all = Vec::new();
    for place in places {
        let list = place.join(format!("{group}/{plural}.yaml"));
        if list.is_file() {
            all.extend(parsed(&list)["items"].as_array().unwrap().clone());
        } else {
            all.extend(entries(&place.join(format!("{group}/{plural}"))).iter().map(|path| parsed(path)));
        }
    }
    all
}

#[test]
fn what_a_failed_cell_leaves_is_a_must_gather_that_tells_of_mtv_and_the_cluster_too_and_no_secret() {
    let place = Place::new();
    place
        .run(&format!("run --lab -p vsphere --lab-clock-scale 1500 --defect wrong-cpu --results results -s {COLD}"))
        .exits(1);
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    let cell = results.cell(&format!("vsphere/{COLD}"));
    let told: Vec<&str> = cell["artifacts"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    let root = told.iter().find_map(|path| path.strip_suffix("/cluster-scoped-resources")).unwrap();
    let root = results.dir.join(root);
    let one = |alias: &str| {
        let all = omc_get(&root, alias);
        assert!(!all.is_empty(), "no {alias} in {}", root.display());
        all[0].clone()
    };
    for alias in ["plans", "migration", "storagemaps", "networkmaps", "virtualmachines", "persistentvolumeclaims"] {
        assert!(one(alias)["metadata"]["name"].is_string(), "{alias}");
    }
    assert_eq!(one("clusterserviceversions")["kind"], "ClusterServiceVersion");
    assert!(one("forkliftcontrollers")["spec"].is_object() && one("deployments")["spec"].is_object());
    assert!(one("nodes")["metadata"]["name"].is_string() && one("storageclasses")["provisioner"].is_string());
    assert!(omc_get(&root, "providers").iter().any(|provider| provider["metadata"]["name"] == "host"));
    assert!(omc_get(&root, "secrets").is_empty() && omc_get(&root, "configmaps").is_empty());
    let version: Value = serde_json::from_str(&fs::read_to_string(root.join("versions.json")).unwrap()).unwrap();
    assert!(version["mtv"].as_str().is_some_and(|mtv| mtv.starts_with("2.11")), "{version}");
    let version = root.join("cluster-scoped-resources/config.openshift.io/clusterversions/version.yaml");
    assert!(fs::read_to_string(version).unwrap().contains("state: Completed"));
}
