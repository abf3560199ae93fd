//! Guest operations: programs that run inside a VM through its tools (`GuestProcessManager`).
//!
//! A program is over before its start is answered; what it wrote stays on the VM's disks. Clients ask for its exit
//! code as they would of one that takes its time.

use std::sync::{Mutex, PoisonError};

use super::dispatch::{Answer, Service};
use super::fault::{Fault, fault, invalid_argument};
use super::session::reference;
use super::value::{Val, obj, objs, time};
use super::xml::Node;
use crate::guests::shell;
use crate::world::{WorldError, profile};

/// What a guest calls a program that it has run.
#[derive(Debug, Clone)]
struct Process {
    vm: String,
    pid: i64,
    command: String,
    owner: String,
    ended: String,
    code: u32,
}

/// Every program that was run in a guest.
#[derive(Debug, Default)]
pub(super) struct Processes(Mutex<Vec<Process>>);

/// The first pid that a guest gives.
const FIRST_PID: i64 = 1000;

impl Service {
    /// `StartProgramInGuest` and `ListProcessesInGuest`.
    pub(super) fn in_guest(&self, method: &Node) -> Result<Answer, Fault> {
        let vm = method.child("vm").map(reference).ok_or_else(|| invalid_argument("vm"))?.id;
        let auth = method.child("auth").ok_or_else(|| invalid_argument("auth"))?;
        let user = auth.text("username").unwrap_or_default().to_owned();
        let password = auth.child("password").map_or("", |node| node.text.as_str());
        let guest = self.world.read(|state| {
            let found = state.vm(&vm)?;
            if !found.powered_on {
                let (vm, requested) = (found.name.clone(), "poweredOn");
                return Err(Fault::from(WorldError::WrongPower { vm, requested, existing: "poweredOff" }));
            }
            if !found.tools_running {
                let text = "The guest operations agent could not be contacted.";
                return Err(fault("GuestOperationsUnavailable", text));
            }
            Ok(profile(state, found))
        })?;
        if !guest.users.iter().any(|(name, secret)| name.eq_ignore_ascii_case(&user) && secret == password) {
            return Err(fault("InvalidGuestLogin", "Failed to authenticate with the guest operating system."));
        }
        let mut processes = self.processes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if method.name == "ListProcessesInGuest" {
            let asked: Vec<i64> = method.all("pids").filter_map(|pid| pid.text.trim().parse().ok()).collect();
            let shown = processes.iter().filter(|one| one.vm == vm && (asked.is_empty() || asked.contains(&one.pid)));
            return Ok(objs("GuestProcessInfo", shown.map(info)).into());
        }
        let spec = method.child("spec").ok_or_else(|| invalid_argument("spec"))?;
        let program = spec.text("programPath").unwrap_or_default();
        let command = format!("{program} {}", spec.text("arguments").unwrap_or_default());
        let ran = shell::run(&guest, &command);
        if ran.code == NOT_FOUND {
            return Err(fault("FileNotFound", format!("File {program} was not found")));
        }
        self.world.change(|state| state.files.entry(vm.clone()).or_default().extend(ran.written));
        let pid = FIRST_PID + i64::try_from(processes.len()).unwrap_or_default();
        let ended = jiff::Timestamp::now().to_string();
        processes.push(Process { vm, pid, command, owner: user, ended, code: ran.code });
        Ok(Val::Long(pid).into())
    }
}

/// A shell's exit code for a command that it does not know.
const NOT_FOUND: u32 = 127;

fn info(process: &Process) -> super::value::Obj {
    let name = process.command.split_whitespace().next().unwrap_or_default();
    obj("GuestProcessInfo")
        .set("name", name.rsplit(['/', '\\']).next().unwrap_or_default())
        .set("pid", process.pid)
        .set("owner", &process.owner)
        .set("cmdLine", &process.command)
        .set("startTime", time(&process.ended))
        .set("endTime", time(&process.ended))
        .set("exitCode", i32::try_from(process.code).unwrap_or(-1))
}
