//! What the pods print that copy disks: CDI's importer (`cmd/cdi-importer`) and Forklift's populators for oVirt and
//! OpenStack (`cmd/ovirt-populator`, `cmd/openstack-populator` at 2.12.5), in klog's form.

use std::fmt::Write as _;

use jiff::Timestamp;

/// Who copies, and off what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Copies {
    /// A file of a VM by VMware's library.
    Vddk {
        file: String,
        url: String,
    },
    /// An image from a web server.
    Http {
        url: String,
    },
    Ovirt {
        disk: String,
    },
    Openstack {
        image: String,
    },
}

/// A log that grows.
#[derive(Debug, Clone)]
pub(super) struct CopyLog {
    copies: Copies,
    bytes: u64,
    text: String,
}

impl CopyLog {
    /// Up to the first byte.
    pub fn begun(copies: Copies, bytes: u64) -> Self {
        let mut log = Self { copies, bytes, text: String::new() };
        match log.copies.clone() {
            Copies::Vddk { file, url } => {
                log.importer_begins();
                log.say("vddk-datasource_amd64.go:246", "Creating VDDK data source");
                log.say("nbdkit.go:310", &format!("Start nbdkit with: ['--foreground' '--readonly' '--exit-with-parent' \
                     '-U' '/tmp/nbd.sock' '--pidfile' '/tmp/nbd.pid' '--filter=retry' 'vddk' \
                     'libdir=/opt/vmware-vix-disklib-distrib' 'server={}' 'user=***' 'password=+/tmp/nbdkit.passwd' \
                     'file={file}' '--verbose']", host(&url)));
                log.say("vddk-datasource_amd64.go:298", "nbdkit: vddk[1]: transport mode: nbdssl");
                log.say("data-processor.go:255", "New phase: TransferDataFile");
            }
            Copies::Http { url } => {
                log.importer_begins();
                log.say("http-datasource.go:265", &format!("Attempting to get object \"{url}\" via http client"));
                log.say("data-processor.go:255", "New phase: Convert");
            }
            Copies::Ovirt { disk } => log.say("ovirt-populator.go:95", &format!(
                "Running command: /usr/bin/ovirt-img download-disk --output json --engine-url=https://engine/ovirt-engine/api \
                 --password-file=/tmp/ovirt.pass -f raw {disk} /dev/block"
            )),
            Copies::Openstack { image } => {
                log.say("openstack-populator.go:193", "Options:");
                log.say("openstack-populator.go:75", &format!("Downloading the image: {image}"));
            }
        }
        log
    }

    fn importer_begins(&mut self) {
        self.say("importer.go:107", "Starting importer");
        self.say("importer.go:182", "begin import process");
        self.say("data-processor.go:348", "Calculating available size");
        self.say("data-processor.go:356", "Checking out block volume size.");
        self.say("data-processor.go:373", &format!("Target size {}.", self.bytes));
    }

    fn say(&mut self, at: &str, message: &str) {
        let time = Timestamp::now().strftime("%m%d %H:%M:%S.%6f");
        let _ = writeln!(self.text, "I{time}       1 {at}] {message}");
    }

    /// So much is copied, of a hundred.
    pub fn copied(&mut self, percent: u32) {
        let done = self.bytes / 100 * u64::from(percent);
        match self.copies {
            Copies::Vddk { .. } | Copies::Http { .. } => self.say("prometheus.go:75", &format!("{percent}.00")),
            Copies::Ovirt { .. } => {
                let told = format!("{{\"transferred\": {done}, \"size\": {}, \"elapsed\": {percent}.0}}", self.bytes);
                self.say("ovirt-populator.go:129", &told);
            }
            Copies::Openstack { .. } => self.say("openstack-populator.go:178", &format!("Progress: {percent}%")),
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The host of a URL.
fn host(url: &str) -> &str {
    url.split("//").last().and_then(|rest| rest.split(['/', ':']).next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_copier_prints_what_its_own_program_does() {
        let of = |copies| {
            let mut log = CopyLog::begun(copies, 16 << 30);
            log.copied(50);
            log.text().to_owned()
        };
        let vddk = of(Copies::Vddk { file: "[ds] a/a.vmdk".to_owned(), url: "https://vc.lab:443/sdk".to_owned() });
        for part in
            ["Starting importer", "Target size 17179869184.", "'server=vc.lab'", "'file=[ds] a/a.vmdk'", "] 50.00\n"]
        {
            assert!(vddk.contains(part), "{part} is missing:\n{vddk}");
        }
        assert!(of(Copies::Ovirt { disk: "d1".to_owned() }).contains("\"transferred\": 8589934550"));
        assert!(of(Copies::Openstack { image: "i1".to_owned() }).ends_with("] Progress: 50%\n"));
        let lines = vddk.lines().all(|line| line.starts_with('I') && line.contains(".go:"));
        assert!(lines, "klog's form: {vddk}");
    }
}
