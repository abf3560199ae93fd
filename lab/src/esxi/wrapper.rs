//! `secure-vmkfstools-wrapper` on a host, in its own words and forms (vmkfstools_wrapper.sh of Forklift 2.12.5).

use serde_json::{Value, json};

use super::EsxiHost;
use super::shell::Answer;

/// What the populator asks to stand before its key (`RestrictedSSHCommandTemplate`), as sshd has it without its quotes.
pub(super) const RESTRICTED: &str = concat!(
    r#"sh -c 'DS=$(echo "$SSH_ORIGINAL_COMMAND" | sed -n "s/^DS=\\([^;]*\\);.*/\\1/p"); "#,
    r#"CMD=$(echo "$SSH_ORIGINAL_COMMAND" | sed -n "s/^DS=[^;]*;CMD=\\(.*\\)/\\1/p"); "#,
    r#"if [ -z "$DS" ]; then echo "SSH_OK"; else SSH_ORIGINAL_COMMAND="$CMD" exec sh "#,
    r#"/vmfs/volumes/$DS/secure-vmkfstools-wrapper; fi'"#
);

/// The script's file, and what it calls itself.
pub const SCRIPT: &str = "secure-vmkfstools-wrapper";
pub const VERSION: &str = "0.3.3";

/// Looks at a copy until it is done.
const LOOKS: u32 = 4;

/// A copy that the wrapper has begun.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pid: u32,
    source: String,
    looked: u32,
}

/// What the script prints.
fn xml(status: u32, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\" ?>\n<output xmlns=\"http://www.vmware.com/Products/ESX/5.0/esxcli/\">\n    \
         <structure typeName=\"result\">\n        <field name=\"status\"><string>{status}</string></field>\n        \
         <field name=\"message\"><string>{message}</string></field>\n    </structure>\n</output>\n"
    )
}

fn ended(status: u32, message: &str) -> Answer {
    Answer { code: u32::from(status != 0), ..Answer::out(xml(status, message)) }
}

/// The restricted command: `DS=<datastore>;CMD=<command>`.
pub(super) fn restricted(host: &EsxiHost, asked: &str) -> Answer {
    let datastore = asked.strip_prefix("DS=").and_then(|rest| rest.split_once(';')).map_or("", |(name, _)| name);
    if datastore.is_empty() {
        return Answer::out("SSH_OK\n");
    }
    let command = asked.split_once(";CMD=").map_or("", |(_, command)| command);
    let script = format!("/vmfs/volumes/{datastore}/{SCRIPT}");
    if !host.disk().files.contains_key(&script) {
        return Answer {
            code: 127,
            stderr: format!("sh: can't open '{script}': No such file or directory\n"),
            ..Answer::default()
        };
    }
    run(host, datastore, command)
}

fn run(host: &EsxiHost, datastore: &str, command: &str) -> Answer {
    let words: Vec<&str> = command.split_whitespace().collect();
    let value = |names: [&str; 2]| {
        let at = words.iter().position(|word| names.contains(word));
        at.and_then(|at| words.get(at + 1)).copied().unwrap_or_default()
    };
    let id = value(["-i", "--task-id"]);
    match words.first().copied() {
        Some("-v" | "--version") => ended(0, &json!({"version": VERSION}).to_string()),
        Some("--clone") => {
            let (source, target) = (value(["-s", "--source-vmdk"]), value(["-t", "--target-lun"]));
            for path in [source, target] {
                if !path.starts_with("/vmfs/volumes/") && !path.starts_with("/vmfs/devices/disks/") {
                    return ended(1, &format!("Path validation error: Path not in allowed directories: {path}"));
                }
            }
            let mut disk = host.disk();
            let pid = 2_100_000 + u32::try_from(disk.tasks.len()).unwrap_or_default();
            let id = uuid::Uuid::new_v4().to_string();
            disk.tasks.insert(id.clone(), Task { pid, source: source.to_owned(), looked: 0 });
            ended(0, &json!({"taskId": id, "pid": pid, "xcopyUsed": false}).to_string())
        }
        Some("--task-get") => {
            let xcopies = host.xcopies.contains(datastore);
            let mut disk = host.disk();
            let Some(task) = disk.tasks.get_mut(id) else { return unknown(id) };
            task.looked = (task.looked + 1).min(LOOKS);
            let percent = 100 * task.looked / LOOKS;
            let over = if task.looked == LOOKS { "0" } else { "" };
            let told: Value = json!({"taskId": id, "pid": task.pid, "exitCode": over,
                "lastLine": format!("Clone: {percent}% done."), "xcopyUsed": xcopies && !is_delta(&task.source), "stdErr": ""});
            ended(0, &told.to_string())
        }
        Some("--task-clean") => match host.disk().tasks.remove(id) {
            Some(_) => ended(0, ""),
            None => unknown(id),
        },
        other => ended(1, &format!("Unknown option: {}", other.unwrap_or_default())),
    }
}

fn unknown(id: &str) -> Answer {
    let why = format!("Task directory /tmp/vmkfstools-wrapper-{id} not found");
    ended(1, &json!({"taskId": id, "stdErr": why, "xcopyUsed": false}).to_string())
}

/// vmkfstools reads through a chain of snapshots itself: the array has no part in it.
fn is_delta(file: &str) -> bool {
    let stem = file.strip_suffix(".vmdk").unwrap_or(file);
    stem.rsplit_once('-').is_some_and(|(_, number)| number.len() == 6 && number.bytes().all(|b| b.is_ascii_digit()))
}
