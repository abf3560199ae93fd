//! What virt-v2v's pod prints, in short: Forklift's own lines (`cmd/virt-v2v`, `cmd/virt-v2v-monitor` at 2.12.5) around
//! virt-v2v's messages, without the debug output of `-v -x`. Seconds in brackets are simulated ones.

use std::fmt::Write as _;

/// What is converted.
pub(in crate::controllers) struct Job<'a> {
    pub vm: &'a str,
    /// e.g. `Red Hat Enterprise Linux 8.10 (Ootpa)`; empty: virt-v2v finds no system that it knows.
    pub system: &'a str,
    pub disks: usize,
    /// The disks were copied by others.
    pub in_place: bool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::controllers) enum Until<'a> {
    Begun,
    /// The error that ended it.
    Failed(&'a str),
    Done,
}

impl Job<'_> {
    pub(in crate::controllers) fn log(&self, until: Until<'_>) -> String {
        let mut log = String::new();
        let mut say = |line: &str| {
            let _ = writeln!(log, "{line}");
        };
        let program = if self.in_place { "virt-v2v-in-place" } else { "virt-v2v" };
        if self.in_place {
            say("Building command: virt-v2v-in-place [-v -x -i libvirtxml --root first /var/tmp/v2v/input.xml]");
            say("[   0.0] Setting up the source: -i libvirtxml /var/tmp/v2v/input.xml");
        } else {
            let vm = self.vm;
            say(&format!(
                "Building command: virt-v2v [-v -x -o kubevirt -os /var/tmp/v2v -on {vm} --root first -i libvirt -- {vm}]"
            ));
            say("Building command: /usr/local/bin/virt-v2v-monitor []");
            say("virt-v2v monitoring: Setting up prometheus endpoint :2112/metrics");
            say("virt-v2v monitoring: Prometheus progress counter registered.");
            say(&format!("[   0.0] Setting up the source: -i libvirt {vm}"));
        }
        say("[   1.1] Opening the source");
        say("[  12.4] Inspecting the source");
        if until == Until::Begun {
            return log;
        }
        if let Until::Failed(error) = until {
            say(&format!("{program}: error: {error}"));
            say("");
            say("If reporting bugs, run virt-v2v with debugging enabled and include the ");
            say("complete output:");
            say("");
            say(&format!("  {program} -v -x [...]"));
            say(&format!("Failed to execute virt-v2v command {error}"));
            return log;
        }
        say("[  24.9] Checking for sufficient free disk space in the guest");
        say(&format!("[  24.9] Converting {} to run on KVM", self.system));
        say(&format!("{program}: The QEMU Guest Agent will be installed for this guest at first boot."));
        say(&format!("{program}: This guest has virtio drivers installed."));
        say("[ 141.7] Mapping filesystem data to avoid copying unused and blank areas");
        say("[ 143.0] Closing the overlay");
        say("[ 143.2] Assigning disks to buses");
        say("[ 143.2] Checking if the guest needs BIOS or UEFI to boot");
        if !self.in_place {
            say("[ 143.2] Setting up the destination: -o kubevirt -os /var/tmp/v2v");
            for disk in 1..=self.disks {
                let of = self.disks;
                say(&format!("[ {}.3] Copying disk {disk}/{of}", 144 + 420 * (disk - 1) / of));
                say(&format!("virt-v2v monitoring: Copying disk {disk} out of {of}"));
                for percent in [25, 50, 75, 100] {
                    let done = "*".repeat(percent * 40 / 100) + &"-".repeat(40 - percent * 40 / 100);
                    say(&format!("█ {percent}% [{done}]"));
                    say(&format!("virt-v2v monitoring: Progress update, completed {percent} %"));
                    say(&format!("virt-v2v monitoring: Progress changed for disk {disk} about 25"));
                }
            }
            say("[ 564.8] Creating output metadata");
        }
        say(if self.in_place { "[ 143.9] Finishing off" } else { "[ 564.9] Finishing off" });
        if !self.in_place {
            say("virt-v2v monitoring: Finished");
        }
        say("Building command: virt-v2v-inspector [-v -x -if raw -i disk -O /var/tmp/v2v/inspection.xml --root first]");
        say("Starting server on :8080");
        say("Shutdown request received. Shutting down server.");
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_reads_as_forklifts_monitor_and_parsers_of_virt_v2v_expect() {
        let job = Job { vm: "erp", system: "Red Hat Enterprise Linux 9.4 (Plow)", disks: 2, in_place: false };
        let done = job.log(Until::Done);
        for line in ["] Copying disk 1/2", "] Copying disk 2/2", "█ 100% [***", "[ 564.9] Finishing off"] {
            assert!(done.contains(line), "{line} is missing:\n{done}");
        }
        assert!(done.contains("Converting Red Hat Enterprise Linux 9.4 (Plow) to run on KVM"));
        assert!(!job.log(Until::Begun).contains("Converting"));
        let failed = job.log(Until::Failed("inspection could not detect the source guest"));
        assert!(failed.contains("virt-v2v: error: inspection could not detect") && !failed.contains("Finishing off"));
        let in_place = Job { in_place: true, ..job }.log(Until::Done);
        assert!(in_place.contains("virt-v2v-in-place") && !in_place.contains("Copying disk"), "{in_place}");
    }
}
