//! A disk that Windows VMs share: its NTFS gets a name of the run's in the source, and is found by that name after the
//! migration. Scripts of PowerShell, in base64, because nobody knows which shell quotes them on the way.
//!
//! NTFS bears one writer at a time: who has read or written takes the disk offline again, which also forgets what Windows
//! remembers of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::Failure;
use super::actor::Actor;
use crate::api::names::random_chars;
use crate::api::vm::GuestOs;
use crate::event::Level;

const POWERSHELL: &str = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe";
/// NTFS bears 32.
const LABEL_CHARS: usize = 16;

/// Before each script: the first error ends it, nothing but results is printed, disks that came offline are taken up.
const BEGINS: &str = "$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
Get-Disk | Where-Object IsOffline | Set-Disk -IsOffline $false
Get-Disk | Where-Object IsReadOnly | Set-Disk -IsReadOnly $false
Update-HostStorageCache
";

/// Names the one NTFS that is on no disk of the system's. Without Fast Startup a shutdown leaves nothing open on the disk.
fn naming(label: &str) -> String {
    format!(
        "{BEGINS}$v = @(Get-Disk | Where-Object {{ -not $_.IsBoot -and -not $_.IsSystem }} | Get-Partition | Get-Volume | \
         Where-Object FileSystem -eq 'NTFS')
if ($v.Count -ne 1) {{ throw \"$($v.Count) volumes could be meant\" }}
Set-Volume -InputObject $v[0] -NewFileSystemLabel '{label}'
Write-VolumeCache -InputObject $v[0]
powercfg /hibernate off
"
    )
}

/// Finds the volume of that name, prints these files of it, writes one, and lets go of the disk.
pub(super) fn sharing(label: &str, read: &[usize], write: Option<(usize, &str)>) -> String {
    let mut script = format!(
        "{BEGINS}$v = @(Get-Volume | Where-Object FileSystemLabel -eq '{label}')
if ($v.Count -ne 1) {{ throw \"$($v.Count) volumes are called {label}\" }}
$p = $v[0] | Get-Partition
if (-not $p.DriveLetter) {{ $p | Add-PartitionAccessPath -AssignDriveLetter }}
$p = Get-Partition -DiskNumber $p.DiskNumber -PartitionNumber $p.PartitionNumber
$root = \"$($p.DriveLetter):\\\"
"
    );
    for number in read {
        script.push_str(&format!("Get-Content -LiteralPath ($root + '{}')\n", file(*number)));
    }
    if let Some((number, text)) = write {
        script.push_str(&format!("Set-Content -LiteralPath ($root + '{}') -Value '{text}'\n", file(number)));
        script.push_str("Write-VolumeCache -InputObject $v[0]\n");
    }
    script.push_str("Set-Disk -Number $p.DiskNumber -IsOffline $true\n");
    script
}

fn file(number: usize) -> String {
    format!("mtv-matrix-{number}.txt")
}

fn arguments(script: &str) -> String {
    let bytes: Vec<u8> = script.encode_utf16().flat_map(u16::to_le_bytes).collect();
    format!("-NoProfile -NonInteractive -EncodedCommand {}", STANDARD.encode(bytes))
}

/// As a command line.
pub(super) fn line(script: &str) -> String {
    format!("powershell {}", arguments(script))
}

impl Actor<'_> {
    /// Where it comes to nothing the log says so, and `share-data` judges nothing.
    pub(super) async fn label_disk(&mut self) -> Result<(), Failure> {
        let owner = self.prepared.vms.iter().find(|vm| vm.wanted.migrate_shared_disks == Some(true)).cloned();
        let Some(owner) = owner.filter(|owner| self.looks() && owner.before.os == GuestOs::Windows) else {
            return Ok(());
        };
        let name = &owner.reference.name;
        let label = format!("MTV{}", random_chars(LABEL_CHARS).to_uppercase());
        let driver = self.prepared.open.access.driver().filter(|driver| driver.reaches_guests()).cloned();
        let named = match driver {
            Some(driver) => {
                let program = (POWERSHELL, arguments(&naming(&label)));
                self.in_source(driver.as_ref(), &owner, "the name of its shared disk", program).await?
            }
            None => Err("nobody here can run anything in guests of its platform".to_owned()),
        };
        match &named {
            Ok(()) => self.note(Level::Info, format!("source VM {name}: its shared disk is called {label}")),
            Err(why) => self.note(Level::Warning, format!("the shared disk of {name} has no name: {why}")),
        }
        self.told.label = Some(named.map(|()| label));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_goes_as_base64_of_utf_16_and_fits_a_command_line_of_cmd() {
        assert_eq!(arguments("dir"), "-NoProfile -NonInteractive -EncodedCommand ZABpAHIA");
        let longest = sharing(&"M".repeat(19), &[1, 2, 3], Some((0, &"x".repeat(24))));
        let line = line(&longest);
        assert!(line.len() < 8191, "{}", line.len());
    }

    #[test]
    fn a_disk_is_let_go_of_after_each_script() {
        for script in [sharing("L", &[], None), sharing("L", &[0], Some((1, "text")))] {
            assert!(script.ends_with("Set-Disk -Number $p.DiskNumber -IsOffline $true\n"), "{script}");
        }
        assert!(naming("L").contains("-NewFileSystemLabel 'L'\n"));
    }
}
