//! The populator's log, in its own words and klog's form (`cmd/vsphere-copy-offload-populator` at 2.12.5, verbosity 0).

use jiff::Timestamp;

/// A log that is being written.
pub(in crate::controllers) struct Log {
    text: String,
    /// What every line of main says.
    own: String,
}

/// A value as klog writes it: texts in quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

impl Log {
    pub(in crate::controllers) fn new(claim: &str, source: &str) -> Self {
        Self { text: String::new(), own: format!("pvc={} source_vmdk={}", quoted(claim), quoted(source)) }
    }

    pub(in crate::controllers) fn text(&self) -> &str {
        &self.text
    }

    /// `logger`: below `copy-offload`.
    fn write(&mut self, level: char, file: &str, message: &str, fields: &[String]) {
        let at = Timestamp::now().strftime("%m%d %H:%M:%S.%6f").to_string();
        let line = format!("{level}{at}       1 {file}] {}", quoted(message));
        let fields: String = fields.iter().filter(|field| !field.is_empty()).map(|field| format!(" {field}")).collect();
        self.text.push_str(&format!("{line}{fields}\n"));
    }

    /// A line without fields of its own kind, as `klog.Infof` writes it.
    pub(in crate::controllers) fn plain(&mut self, file: &str, message: &str) {
        let at = Timestamp::now().strftime("%m%d %H:%M:%S.%6f").to_string();
        self.text.push_str(&format!("I{at}       1 {file}] {message}\n"));
    }

    /// A line of a part of the populator.
    pub(in crate::controllers) fn say(&mut self, file: &str, logger: &str, message: &str, fields: &[(&str, String)]) {
        let mut all = vec![format!("logger={}", quoted(&format!("copy-offload.{logger}")))];
        all.extend(fields.iter().map(|(key, value)| format!("{key}={}", quoted(value))));
        self.write('I', file, message, &all);
    }

    /// A line of main's, which names the claim and the disk.
    pub(in crate::controllers) fn main(&mut self, logger: &str, message: &str, field: &str) {
        let name = if logger.is_empty() { "copy-offload".to_owned() } else { format!("copy-offload.{logger}") };
        let own = self.own.clone();
        self.write('I', FILE, message, &[format!("logger={}", quoted(&name)), own, field.to_owned()]);
    }

    /// The end of a failed copy: told, and then fatal.
    pub(in crate::controllers) fn fails(&mut self, error: &str) {
        let own = self.own.clone();
        self.write(
            'E',
            FILE,
            "copy-offload failed",
            &[format!("err={}", quoted(error)), "logger=\"copy-offload\"".to_owned(), own],
        );
        self.fatal(error);
    }

    /// The program ends on the spot.
    pub(in crate::controllers) fn fatal(&mut self, error: &str) {
        let at = Timestamp::now().strftime("%m%d %H:%M:%S.%6f").to_string();
        self.text.push_str(&format!("F{at}       1 {FILE}] {error}\n"));
    }

    /// What the arguments lack, one line each; the program ends without a further word.
    pub(in crate::controllers) fn refuses(&mut self, why: &str) {
        let at = Timestamp::now().strftime("%m%d %H:%M:%S.%6f").to_string();
        for line in why.lines() {
            self.text.push_str(&format!("E{at}       1 {FILE}] {line}\n"));
        }
    }
}

/// What a populator knows when it begins.
pub(in crate::controllers) struct Begun<'a> {
    /// `vib` or `ssh`.
    pub method: &'a str,
    pub file: &'a str,
    /// The claim's volume.
    pub volume: &'a str,
    /// The UID of the claim.
    pub claim: &'a str,
    pub host_id: &'a str,
    pub host_name: &'a str,
}

impl Log {
    /// Up to the copy itself.
    pub(in crate::controllers) fn begins(&mut self, begun: &Begun<'_>) {
        let Begun { method, file, volume, claim, host_id, host_name } = *begun;
        let (setup, map) = ("xcopy.setup", "xcopy.map-volume");
        self.say(
            "remote_esxcli.go:114",
            setup,
            "VMDK/Xcopy populate started",
            &[("method", method.to_owned()), ("source", file.to_owned()), ("target", volume.to_owned())],
        );
        let shown = format!("HostSystem:{host_id} @ /DC/host/cluster/{host_name}");
        self.say("remote_esxcli.go:119", setup, "ESXi host", &[("host", shown.clone())]);
        if method == "vib" {
            let version = || "1.0.0".to_owned();
            let told = [("host", host_name.to_owned()), ("installed", version()), ("required", version())];
            self.say("vib.go:63", setup, "VIB version validated", &told);
        }
        let id = shown.to_lowercase().replace(':', "-");
        let group = format!("xcopy-{id}");
        let device = device(claim);
        let lun = device.rsplit('/').next().unwrap_or_default().to_owned();
        let grouped = |key: &'static str, value: &str| [("initiator_group", group.clone()), (key, value.to_owned())];
        self.say("remote_esxcli.go:131", setup, "initiator group", &[("group", group.clone())]);
        self.say("remote_esxcli.go:162", setup, "resolving PV to LUN", &[("pv", volume.to_owned())]);
        self.say("remote_esxcli.go:199", map, "mapping volume to initiator group", &grouped("lun", volume));
        self.say("remote_esxcli.go:206", map, "volume mapped to initiator group", &grouped("device", &device));
        self.say("remote_esxcli.go:209", "xcopy.rescan", "rescanning host for device", &[("device", lun)]);
        self.say("host_lease.go:209", "lease", "lease acquired", &[("slot", "0".to_owned()), ("host", id)]);
        self.say("remote_esxcli.go:218", "xcopy.rescan", "device visible on ESXi", &[("device", device)]);
    }

    /// The populator's way to the host by SSH: its key is there. `uploads`: the script had to be brought.
    pub(in crate::controllers) fn reaches(&mut self, host: &str, script: (&str, &str), datastore: &str, uploads: bool) {
        let at = || [("host", host.to_owned())];
        self.say("ssh_client.go:163", "ssh", "enabling SSH access on ESXi host", &at());
        self.say("ssh_client.go:175", "ssh", "ESXi version detected", &[("version", ESXI.to_owned())]);
        self.say("ssh_client.go:184", "ssh", "SSH connectivity test passed, keys already configured", &[]);
        self.say("secure_script.go:61", "secure-script", "ensuring secure script on ESXi", &at());
        let (name, version) = script;
        let path = format!("/vmfs/volumes/{datastore}/{name}");
        if uploads {
            let (brings, brought) = ("uploading embedded script to datastore", "uploaded embedded script to datastore");
            self.say("secure_script.go:116", "secure-script", brings, &[("script", name.to_owned())]);
            self.say("secure_script.go:126", "secure-script", brought, &[("path", path.clone())]);
            let told = [("host", host.to_owned()), ("path", path)];
            self.say("secure_script.go:88", "secure-script", "uploaded secure script to ESXi", &told);
        } else {
            let told = [("version", version.to_owned())];
            self.say("secure_script.go:69", "secure-script", "script version matches, skipping upload", &told);
        }
        self.say("ssh_client.go:73", "xcopy.setup.ssh", "connected to SSH server", &at());
    }

    /// Nobody has put its key there: what a person is to do.
    pub(in crate::controllers) fn lacks_key(&mut self, host: &str, public_key: &str) {
        let instructions = format!(
            "Manual SSH key installation required. Add this line to /etc/ssh/keys-root/authorized_keys on the ESXi \
             host:\n\n  {public_key}\n\nSteps:\n1. SSH to the ESXi host: ssh root@{host}"
        );
        self.say("ssh_client.go:163", "ssh", "enabling SSH access on ESXi host", &[("host", host.to_owned())]);
        let told = [
            "err=\"manual SSH key configuration required\"".to_owned(),
            "logger=\"copy-offload.ssh\"".to_owned(),
            format!("instructions={}", quoted(&instructions)),
        ];
        self.write('E', "ssh_client.go:200", "SSH key setup", &told);
    }

    /// The copy begins.
    pub(in crate::controllers) fn clones(&mut self, source: &str, device: &str, task: &str) {
        let ends = [("source", source.to_owned()), ("target", device.to_owned())];
        self.say("task_executor.go:89", "xcopy.clone", "starting clone task", &ends);
        self.say("task_executor.go:95", "xcopy.clone", "clone task started", &[("task_id", task.to_owned())]);
    }

    /// One look at the copy.
    pub(in crate::controllers) fn looks(&mut self, percent: u32, used: bool) {
        self.main("xcopy.clone", "clone progress", &format!("progress={percent}"));
        self.main("xcopy.clone", "xcopy", &format!("xcopyUsed={}", u8::from(used)));
    }

    /// The copy is done, and the device is given back.
    pub(in crate::controllers) fn gives_back(&mut self) {
        self.say("task_executor.go:128", "xcopy.clone", "clone task finished", &[]);
        self.say("remote_esxcli.go:231", "xcopy.cleanup", "cleanup started: unmap and remove device", &[]);
        self.say("remote_esxcli.go:269", "xcopy.cleanup", "cleanup finished", &[]);
    }

    /// The end; from 2.12 on after the last reading of its metrics.
    pub(in crate::controllers) fn ends(&mut self, scraped: bool) {
        if !scraped {
            return self.main("", "copy-offload finished", "");
        }
        self.main("", "copy-offload finished, waiting for metrics scrape", "duration=\"1m45s\"");
        self.main("", "metrics scraped after completion, exiting", "");
    }
}

/// The release of the lab's hosts.
pub(in crate::controllers) const ESXI: &str = "8.0.3";

/// The device that an array gives a host for a claim.
pub(in crate::controllers) fn device(claim: &str) -> String {
    format!("/vmfs/devices/disks/naa.600a0980{}", claim.replace('-', ""))
}

/// Where main says it; the line's number is no part of what anybody reads.
const FILE: &str = "vsphere-copy-offload-populator.go:258";
