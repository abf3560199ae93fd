//! What a populator's log tells of its copy: klog's structured text.
//!
//! `I1129 07:00:00.000000       1 file.go:12] "message" logger="copy-offload.xcopy.clone" key="value" other=1`. Messages and
//! keys are those of `cmd/vsphere-copy-offload-populator` (2.11.7, 2.12.5, main); a line of another form tells nothing.

use std::collections::BTreeMap;

/// What one log told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// `vib`, `ssh`, `rdm`, `vvol`.
    pub method: Option<String>,
    /// The ESXi host, as it names itself.
    pub host: Option<String>,
    pub source: Option<String>,
    /// As it was said last.
    pub xcopy_used: Option<bool>,
    pub finished: bool,
    /// What it said of a failure.
    pub failed: Option<String>,
}

/// Message, and values by key.
fn line(text: &str) -> Option<(String, BTreeMap<String, String>)> {
    let (head, rest) = text.split_once("] ")?;
    if !head.starts_with(['I', 'W', 'E', 'F']) {
        return None;
    }
    let (message, mut rest) = quoted(rest).unwrap_or((rest.to_owned(), ""));
    let mut values = BTreeMap::new();
    while let Some((key, value)) = rest.trim_start().split_once('=') {
        let (value, after) = match quoted(value) {
            Some(found) => found,
            None => {
                let end = value.find(' ').unwrap_or(value.len());
                (value[..end].to_owned(), &value[end..])
            }
        };
        values.insert(key.to_owned(), value);
        rest = after;
    }
    Some((message, values))
}

/// A text between quotes as Go writes it, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut out = String::new();
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => {
                out.push(if c == 'n' { '\n' } else { c });
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return inner.get(at + 1..).map(|rest| (out, rest)),
            c => out.push(c),
        }
    }
    None
}

/// Reads a whole log.
pub(super) fn read(log: &str) -> Told {
    let mut told = Told::default();
    for (message, mut values) in log.lines().filter_map(line) {
        match message.as_str() {
            "VMDK/Xcopy populate started" => {
                told.method = values.remove("method");
                told.source = values.remove("source");
            }
            "RDM copy started" => {
                told.method = Some("rdm".to_owned());
                told.source = values.remove("source");
                // `RDMPopulator` says so of every copy, and to the metrics alone.
                told.xcopy_used.get_or_insert(false);
            }
            "VVol copy started" => told.method = Some("vvol".to_owned()),
            "ESXi host" => told.host = values.remove("host"),
            "xcopy" => told.xcopy_used = values.get("xcopyUsed").map(|used| used == "1"),
            "copy-offload finished" | "copy-offload finished, waiting for metrics scrape" => told.finished = true,
            "copy-offload failed" => {
                let why = values.remove("err").unwrap_or_else(|| "no error was told".to_owned());
                told.failed = Some(why);
            }
            _ => {}
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "I1129 07:00:00.000000       1 populate.go:114] \"VMDK/Xcopy populate started\" logger=\"copy-offload.xcopy.setup\" method=\"vib\" source=\"[ds 1] a/a.vmdk\" target=\"pvc-1\"
I1129 07:00:00.100000       1 remote_esxcli.go:119] \"ESXi host\" logger=\"copy-offload.xcopy.setup\" host=\"HostSystem:host-21 @ /DC/host/c/esxi-1\"
I1129 07:00:00.200000       1 main.go:258] \"xcopy\" logger=\"copy-offload.xcopy.clone\" pvc=\"pvc-a\" source_vmdk=\"[ds 1] a/a.vmdk\" xcopyUsed=0
some line of another program
I1129 07:00:05.200000       1 main.go:258] \"xcopy\" logger=\"copy-offload.xcopy.clone\" pvc=\"pvc-a\" source_vmdk=\"[ds 1] a/a.vmdk\" xcopyUsed=1
I1129 07:00:09.200000       1 main.go:290] \"copy-offload finished, waiting for metrics scrape\" logger=\"copy-offload\" duration=\"9s\"
";

    #[test]
    fn the_last_word_on_xcopy_counts_and_other_lines_tell_nothing() {
        let told = read(LOG);
        assert_eq!((told.method.as_deref(), told.xcopy_used, told.finished), (Some("vib"), Some(true), true));
        assert_eq!(told.source.as_deref(), Some("[ds 1] a/a.vmdk"));
        assert!(told.host.is_some_and(|host| host.contains("host-21")));
    }

    #[test]
    fn a_failure_is_told_in_its_own_words_and_a_log_that_was_cut_has_no_end() {
        let cut = LOG.split_inclusive('\n').take(3).collect::<String>();
        assert!(!read(&cut).finished);
        let failed = "E1129 07:00:09.200000       1 main.go:270] \"copy-offload failed\" err=\"clone task failed with exit code 1, stderr: \\\"no space\\\"\" logger=\"copy-offload\"";
        let why = read(failed).failed.unwrap();
        assert_eq!(why, "clone task failed with exit code 1, stderr: \"no space\"");
    }
}
