//! A marker: a small file with a checksum that is written before a migration and read back after it. Pure.
//!
//! Disks of the right number and size may hold anything; this says whether they hold what they held.

use sha2::{Digest, Sha256};

use crate::api::names::random_chars;
use crate::api::vm::GuestOs;
use crate::config::steps::Pattern;
use crate::event::Outcome;
use crate::migration::inside::Ran;

/// Characters of the text that nobody else writes.
const LENGTH: usize = 24;

/// What was written into one guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    text: String,
    windows: bool,
}

impl Marker {
    pub(super) fn new(os: GuestOs) -> Self {
        Self { text: random_chars(LENGTH), windows: os == GuestOs::Windows }
    }

    /// A place that outlives a reboot and that every login may write to.
    fn path(&self) -> &'static str {
        if self.windows { r"C:\Users\Public\mtv-matrix-marker.txt" } else { "/var/tmp/mtv-matrix-marker" }
    }

    /// Program and arguments that write it.
    pub(super) fn writing(&self) -> (&'static str, String) {
        let (text, path) = (&self.text, self.path());
        if self.windows {
            (r"C:\Windows\System32\cmd.exe", format!("/c \"echo {text}>{path}\""))
        } else {
            ("/bin/sh", format!("-c 'printf %s {text} > {path} && sync'"))
        }
    }

    /// The command line that prints its checksum.
    pub(super) fn reading(&self) -> String {
        let path = self.path();
        if self.windows { format!("certutil -hashfile {path} SHA256") } else { format!("sha256sum {path}") }
    }

    /// As hex, of what stands in the file: `echo` ends its line.
    fn checksum(&self) -> String {
        let text = if self.windows { format!("{}\r\n", self.text) } else { self.text.clone() };
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the answer to [`Marker::reading`] means.
    pub(super) fn judge(&self, ran: Ran) -> Outcome {
        let wanted = self.checksum();
        let expected = format!("SHA-256 {wanted} of {}", self.path());
        match ran {
            Ran::Said(text) => match checksum_in(&text) {
                Some(found) if found == wanted => Outcome::Passed { actual: format!("{} reads {found}", self.path()) },
                Some(found) => Outcome::Failed { expected, actual: found },
                None => Outcome::Failed { expected, actual: "no checksum".to_owned() },
            },
            Ran::Failed(actual) => Outcome::Failed { expected, actual },
            Ran::NotTried(because) => Outcome::NotJudged { because },
        }
    }
}

/// The checksum in the output; Windows of before 2016 puts blanks between its bytes.
fn checksum_in(text: &str) -> Option<String> {
    let hex = |word: &str| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
    let words = text.split_whitespace().find(|word| hex(word)).map(str::to_owned);
    let lines =
        || text.lines().map(|line| line.replace(' ', "")).map(|line| line.trim().to_owned()).find(|line| hex(line));
    words.or_else(lines).map(|found| found.to_lowercase())
}

/// What a command of the scenario's own means, that stands for a marker.
pub(super) fn judge_own(command: &str, output: Option<&Pattern>, ran: Ran) -> Outcome {
    let like = output.map(|output| format!(" with an output like `{}`", output.text())).unwrap_or_default();
    let expected = format!("`{command}` succeeds{like}");
    match ran {
        Ran::Said(text) if output.is_none_or(|output| output.matches(&text)) => {
            Outcome::Passed { actual: format!("`{command}` succeeded{like}") }
        }
        Ran::Said(text) => Outcome::Failed { expected, actual: shortened(&text) },
        Ran::Failed(actual) => Outcome::Failed { expected, actual },
        Ran::NotTried(because) => Outcome::NotJudged { because },
    }
}

/// The first of what a guest printed: it may print anything.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 300;
    text.trim().chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_by_its_checksum_however_the_guest_prints_it() {
        for os in [GuestOs::Linux, GuestOs::Windows] {
            let marker = Marker::new(os);
            let sum = marker.checksum();
            let spaced: Vec<String> =
                sum.as_bytes().chunks(2).map(|two| String::from_utf8_lossy(two).into_owned()).collect();
            for text in [
                format!("{sum}  /var/tmp/mtv-matrix-marker\n"),
                format!("SHA256 hash of x:\r\n{}\r\nCertUtil: done.\r\n", sum.to_uppercase()),
                format!("SHA256 hash of file x:\r\n{}\r\n", spaced.join(" ")),
            ] {
                assert!(matches!(marker.judge(Ran::Said(text.clone())), Outcome::Passed { .. }), "{text}");
            }
            let other = Marker::new(os).checksum();
            assert!(
                matches!(marker.judge(Ran::Said(other.clone())), Outcome::Failed { actual, .. } if actual == other)
            );
            assert!(matches!(marker.judge(Ran::Failed("no such file".into())), Outcome::Failed { .. }));
            assert!(matches!(marker.judge(Ran::NotTried("no login".into())), Outcome::NotJudged { .. }));
        }
    }

    #[test]
    fn a_command_of_the_scenarios_own_stands_for_a_marker() {
        let release = Pattern::try_from("release 8".to_owned()).unwrap();
        let judged = |text: &str| judge_own("cat /etc/redhat-release", Some(&release), Ran::Said(text.to_owned()));
        assert!(matches!(judged("RHEL release 8.10\n"), Outcome::Passed { .. }));
        assert!(matches!(judged("RHEL release 9.4\n"), Outcome::Failed { actual, .. } if actual == "RHEL release 9.4"));
    }
}
