//! Steps in words, for people: in `list --explain`, on the console and in every report.

use std::fmt;

use super::{Deletable, Expect, Goal, Kill, Killed, Kind, Moment, Op, Operation, PlanName, Step, VmName, Wait};
use crate::config::duration;

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told(f)?;
        match self.plan() {
            Some(PlanName(plan)) => write!(f, " (Plan {plan})"),
            None => Ok(()),
        }
    }
}

/// Whose guests or VMs: one's, or all.
fn of(vm: Option<&VmName>, one: &str, all: &str) -> String {
    vm.map_or_else(|| all.to_owned(), |vm| format!("{one} {}", vm.0))
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.op, &self.value) {
            (Op::Remove, _) | (_, None) => write!(f, "{} removed", self.path),
            (Op::Add | Op::Replace, Some(value)) => write!(f, "{} set to {value}", self.path),
        }
    }
}

impl Step {
    fn told(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(_) => f.write_str("make the Plan"),
            Self::Validate(validate) => match &validate.condition {
                Some(ready) if ready == "Ready" => f.write_str("the Plan is Ready, whatever speaks against it before"),
                Some(condition) => write!(f, "the Plan gets the condition {condition} and does not become Ready"),
                None => f.write_str("the Plan becomes Ready"),
            },
            Self::Migrate(_) => f.write_str("migrate to the end"),
            Self::Start(start) => {
                f.write_str(if start.again { "start a migration once more" } else { "start the migration" })?;
                start.cutover.map_or(Ok(()), |at| write!(f, ", with its cutover {at}"))
            }
            Self::Wait(wait) => write!(f, "wait until {wait}"),
            Self::Cutover(cutover) => {
                f.write_str("cut over")?;
                if let Some(count) = cutover.after_precopies {
                    write!(f, " after {}", precopies(count))?;
                }
                match cutover.at {
                    Moment::Now => Ok(()),
                    at => write!(f, ", told as {at}"),
                }
            }
            Self::Cancel(cancel) if cancel.vms.is_empty() => f.write_str("cancel all VMs"),
            Self::Cancel(cancel) => {
                let names: Vec<&str> = cancel.vms.iter().map(|vm| vm.0.as_str()).collect();
                write!(f, "cancel {}", names.join(", "))
            }
            Self::Expect(expect) => expected(expect, f),
            Self::Retry(_) => f.write_str("migrate once more, to the end"),
            Self::Resume(_) => f.write_str("convert again what was copied, to the end"),
            Self::Archive(_) => f.write_str("archive the Plan"),
            Self::Delete(delete) => match delete.what {
                Deletable::Plan => f.write_str("delete the Plan"),
                Deletable::Migration => f.write_str("delete the Migration"),
            },
            Self::Power(power) => match &power.vm {
                Some(vm) => write!(f, "switch source VM {} {}", vm.0, power.state.name()),
                None => write!(f, "switch the source VMs {}", power.state.name()),
            },
            Self::Kill(Kill { what: Killed::Controller, .. }) => f.write_str("kill the pod of MTV's controller"),
            Self::Kill(kill) => {
                write!(f, "kill the {} of {}", kill.what.name(), of(kill.vm.as_ref(), "VM", "every VM"))
            }
            Self::Fault(fault) if fault.over => write!(f, "set right again: {}", fault.what.words()),
            Self::Fault(fault) => {
                write!(f, "from now on {}", fault.what.words())?;
                if let Some(vm) = &fault.vm {
                    write!(f, " (VM {})", vm.0)?;
                }
                match fault.lasts {
                    Some(lasts) => write!(f, ", for {}", duration::show(lasts)),
                    None => Ok(()),
                }
            }
            Self::Absent(absent) => {
                let kinds = if absent.kinds.is_empty() { Kind::ALL.to_vec() } else { absent.kinds.clone() };
                let kinds: Vec<&str> = kinds.into_iter().map(Kind::words).collect();
                write!(f, "none of the Plan's {} are left", kinds.join(", "))
            }
            Self::Verify(_) => f.write_str("verify the migrated VMs"),
            Self::Snapshot(step) => {
                write!(f, "make a snapshot of {}", of(step.vm.as_ref(), "source VM", "the source VMs"))
            }
            Self::AddDisk(step) => {
                let whose = of(step.vm.as_ref(), "source VM", "the source VMs");
                write!(f, "add a disk of {} GiB to {whose}", step.size_gb)
            }
            Self::Patch(patch) => {
                let operations: Vec<String> = patch.operations.iter().map(ToString::to_string).collect();
                write!(f, "patch the {}: {}", patch.what.kind(), operations.join(", "))
            }
            Self::WriteMarker(step) => {
                write!(f, "write a marker into {}", of(step.vm.as_ref(), "source VM", "the source VMs"))
            }
            Self::LabelDisk(_) => f.write_str("name the file system on the disk that the VMs share"),
            Self::ShareData(_) => {
                f.write_str("have the migrated VMs read what the others wrote on the disk that they share")
            }
            Self::ReadMarker(step) => {
                write!(f, "read the marker back in {}", of(step.vm.as_ref(), "migrated VM", "the migrated VMs"))?;
                if let Some(command) = &step.command {
                    write!(f, ", or run `{command}`")?;
                    if let Some(windows) = &step.windows {
                        write!(f, " (Windows: `{windows}`)")?;
                    }
                    f.write_str(" where the platform can't write one")?;
                }
                Ok(())
            }
            Self::Run(run) => {
                write!(f, "run `{}` in {}", run.command, of(run.vm.as_ref(), "migrated VM", "the migrated VMs"))?;
                match &run.output {
                    Some(output) => write!(f, "; its output is like `{}`", output.text()),
                    None => Ok(()),
                }
            }
            Self::Shutdown(step) => write!(f, "shut {} down", of(step.vm.as_ref(), "migrated VM", "the migrated VMs")),
            Self::Inspect(inspect) => {
                write!(f, "have MTV inspect {}", of(inspect.vm.as_ref(), "source VM", "the source VMs"))?;
                if !inspect.vddk {
                    f.write_str(" without a VDDK image")?;
                }
                if inspect.cancel {
                    f.write_str(", and cancel that while it looks")?;
                }
                match &inspect.condition {
                    Some(condition) => write!(f, ": the Conversion gets the condition {condition}"),
                    None => Ok(()),
                }
            }
            Self::Upgrade(_) => f.write_str("bring MTV to another release by `upgrade_command`"),
            Self::Boot(_) => f.write_str("boot the migrated VMs, look at their guests, shut them down again"),
        }
    }
}

fn expected(expect: &Expect, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut parts: Vec<String> = Vec::new();
    let whose = expect.vm.as_ref().map_or_else(|| "the migration".to_owned(), |vm| format!("that of VM {}", vm.0));
    if let Some(end) = expect.ended {
        let at = expect.at.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
        let error = expect.error.as_ref().map(|error| format!(" with an error like `{}`", error.text()));
        parts.push(format!("{whose} ends {}{at}{}", end.name(), error.unwrap_or_default()));
    }
    if let Some(condition) = &expect.condition {
        let of = expect.vm.as_ref().map_or_else(|| "the Plan".to_owned(), |vm| format!("VM {}", vm.0));
        parts.push(format!("{of} has the condition {condition}"));
    }
    if !expect.overlap.is_empty() {
        let plans: Vec<&str> = expect.overlap.iter().map(|plan| plan.0.as_str()).collect();
        parts.push(format!("the Plans {} migrated at the same time", plans.join(" and ")));
    }
    if let Some(limit) = expect.in_flight {
        parts.push(format!("at most {limit} VMs of one source host migrated at the same time, and {limit} did"));
    }
    if expect.throttled {
        parts.push("VMs of one source host waited until the disks of others were copied".to_owned());
    }
    if expect.source.is_some() {
        let of =
            expect.vm.as_ref().map_or_else(|| "the source VMs are".to_owned(), |vm| format!("source VM {} is", vm.0));
        parts.push(format!("{of} as before"));
    }
    if let Some(span) = expect.ignored {
        parts.push(format!("for {} MTV does not take up the Migration", duration::show(span)));
    }
    if expect.pvcs.is_some() {
        let whose = expect.vm.as_ref().map_or_else(|| "the VMs have".to_owned(), |vm| format!("VM {} has", vm.0));
        parts.push(format!("{whose} the same claims as before"));
    }
    write!(f, "expect: {}", parts.join("; "))
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vm = self.vm.as_ref().map_or_else(|| "every VM".to_owned(), |vm| format!("VM {}", vm.0));
        match &self.goal {
            Goal::End if self.vm.is_none() => f.write_str("the migration has ended"),
            Goal::End => write!(f, "the migration of {vm} has ended"),
            Goal::Step(step) => write!(f, "{step} of {vm} has begun"),
            Goal::Percent(percent) => write!(f, "{percent} % of the disks of {vm} are copied"),
            Goal::Precopies(count) => write!(f, "{vm} has made {}", precopies(*count)),
            Goal::Phase(phase) => write!(f, "{vm} is in phase {phase}"),
            Goal::Condition(condition) if self.vm.is_none() => write!(f, "the Plan has the condition {condition}"),
            Goal::Condition(condition) => write!(f, "{vm} has the condition {condition}"),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::In(later) => write!(f, "in {}", duration::show(*later)),
            Self::Ago(before) => write!(f, "{} ago", duration::show(*before)),
        }
    }
}

impl Kind {
    /// As they are called.
    pub fn words(self) -> &'static str {
        match self {
            Self::Vms => "VirtualMachines",
            Self::Pods => "Pods",
            Self::Pvcs => "PersistentVolumeClaims",
            Self::DataVolumes => "DataVolumes",
            Self::Secrets => "Secrets",
            Self::Jobs => "Jobs",
        }
    }
}

fn precopies(count: u32) -> String {
    if count == 1 { "1 precopy".to_owned() } else { format!("{count} precopies") }
}
