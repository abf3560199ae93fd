//! What a Windows guest answers to a script of PowerShell, statement by statement, as far as it is about a disk that VMs
//! share: its volume, what that is called, and the files on it. What the lab does not know is no cmdlet.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::shell::Answer;
use crate::ports::{GuestProfile, SharedDisk};

/// Statements that change nothing that anybody could see here: disks are online, nothing is held back in memory.
const PLAIN: &[&str] = &[
    "$ErrorActionPreference = ",
    "$ProgressPreference = ",
    "Get-Disk | Where-Object Is",
    "Update-HostStorageCache",
    "Write-VolumeCache ",
    "Set-Disk -Number ",
    "$p = ",
    "if (-not $p.DriveLetter) { ",
    "$root = ",
    "powercfg ",
];

/// The script of `-EncodedCommand`.
pub fn decoded(text: &str) -> Option<String> {
    let bytes = STANDARD.decode(text).ok()?;
    let units: Vec<u16> = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect();
    String::from_utf16(&units).ok()
}

/// Runs it up to the first statement that throws.
pub fn run(guest: &GuestProfile, script: &str) -> Answer {
    let mut all = Answer::default();
    // How many volumes the last look found.
    let mut found = 0;
    for statement in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match told(guest.shared.as_ref(), statement, &mut found) {
            Ok(text) => all.stdout.push_str(&text),
            Err(why) => {
                all.stderr = format!("{why}\r\n    + FullyQualifiedErrorId : {why}\r\n");
                all.code = 1;
                break;
            }
        }
    }
    all
}

/// The text between the first two quotes.
fn quoted(statement: &str) -> &str {
    statement.split('\'').nth(1).unwrap_or_default()
}

fn told(shared: Option<&SharedDisk>, statement: &str, found: &mut usize) -> Result<String, String> {
    let disk = || shared.ok_or_else(|| "Cannot index into a null array.".to_owned());
    let name = || quoted(statement).to_owned();
    match statement.split_whitespace().next().unwrap_or_default() {
        "$v" if statement.contains("FileSystemLabel -eq") => {
            *found = usize::from(shared.is_some_and(|shared| shared.label() == name()));
        }
        "$v" => *found = usize::from(shared.is_some()),
        "if" if statement.starts_with("if ($v.Count -ne 1) { throw ") && *found == 1 => {}
        "if" if statement.starts_with("if ($v.Count -ne 1) { throw ") => {
            let text = statement.split('"').nth(1).unwrap_or_default();
            return Err(text.replace("$($v.Count)", &found.to_string()));
        }
        "Set-Volume" => disk()?.call(quoted(statement)),
        "Get-Content" => {
            let read = disk()?.read().remove(&name());
            return read.map(|text| format!("{text}\r\n")).ok_or(format!("Cannot find path '{}'.", name()));
        }
        "Set-Content" => {
            let mut files = disk()?.read();
            files.insert(name(), statement.split('\'').nth(3).unwrap_or_default().to_owned());
            disk()?.write(files);
        }
        _ if PLAIN.iter().any(|plain| statement.starts_with(plain)) => {}
        other => return Err(format!("The term '{other}' is not recognized as the name of a cmdlet")),
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(shared: Option<SharedDisk>) -> GuestProfile {
        GuestProfile {
            windows: true,
            hostname: "w".to_owned(),
            pretty_name: "Microsoft Windows Server 2019".to_owned(),
            users: Vec::new(),
            nics: Vec::new(),
            files: Default::default(),
            fails: None,
            luks: None,
            shared,
        }
    }

    #[test]
    fn a_volume_that_one_windows_has_named_is_found_by_the_other_that_has_the_disk() {
        let disk = SharedDisk { file: "[ds] a.vmdk".to_owned(), ..SharedDisk::default() };
        let (one, other, stranger) = (guest(Some(disk.clone())), guest(Some(disk)), guest(None));
        let named = "Set-Volume -InputObject $v[0] -NewFileSystemLabel 'MINE'\nSet-Content -LiteralPath ($root + 'a') -Value 'x'";
        assert_eq!(run(&one, named).code, 0);
        let find = "$v = @(Get-Volume | Where-Object FileSystemLabel -eq 'MINE')\nif ($v.Count -ne 1) { throw \"$($v.Count) are called MINE\" }";
        let read = format!("{find}\nGet-Content -LiteralPath ($root + 'a')");
        assert_eq!(run(&other, &read).stdout, "x\r\n");
        let lacks = run(&stranger, &read);
        assert_eq!((lacks.code, lacks.stderr.starts_with("0 are called MINE")), (1, true));
        assert_eq!(run(&one, "Format-Volume").code, 1);
    }
}
