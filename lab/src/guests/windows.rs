//! The answers of a Windows guest, in the layout of an English Windows Server.

use std::net::{IpAddr, Ipv4Addr};

use super::directory;
use super::files::absolute;
use super::machine::Machine;
use super::powershell;
use super::shell::{self, Answer};
use super::view;
use crate::ports::{GuestNic, GuestProfile};

/// Width of the label column of `ipconfig`, before ` : `.
const LABEL_WIDTH: usize = 33;

/// Answers one command of a line.
pub fn answer(guest: &GuestProfile, machine: &Machine, words: &[String]) -> Answer {
    let command = words.first().map(|word| word.to_lowercase()).unwrap_or_default();
    let command = command.rsplit(['\\', '/']).next().unwrap_or_default().trim_end_matches(".exe");
    let rest = words.get(1..).unwrap_or_default();
    match command {
        "powershell" | "pwsh" if encoded(rest).is_some() => {
            encoded(rest).map_or_else(Answer::default, |script| powershell::run(guest, &script))
        }
        "cmd" | "powershell" | "pwsh" => {
            let at = rest.iter().position(|word| matches!(word.to_lowercase().as_str(), "/c" | "-command" | "-c"));
            shell::run_on(guest, machine, &rest.get(at.map_or(0, |at| at + 1)..).unwrap_or_default().join(" "))
        }
        "hostname" => Answer::out(format!("{}\r\n", guest.hostname)),
        "ver" => Answer::out(format!("\r\nMicrosoft Windows [Version {}]\r\n", version(&guest.pretty_name))),
        "echo" | "write-output" => Answer::out(format!("{}\r\n", rest.join(" "))),
        "whoami" => Answer::out(format!("{}\\administrator\r\n", guest.hostname.to_lowercase())),
        "chcp" | "rem" => Answer::default(),
        "exit" => Answer { left: true, ..Answer::default() },
        "cd" | "dir" | "mkdir" | "md" | "del" => directory::answer_windows(guest, machine, command, rest),
        "certutil" => certutil(guest, rest),
        "type" => print(guest, &absolute(guest, &machine.cwd, rest.first().map_or("", String::as_str))),
        "ipconfig" => Answer::out(ipconfig(guest, rest.iter().any(|word| word.eq_ignore_ascii_case("/all")))),
        _ => Answer::failure(
            1,
            format!(
                "'{command}' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n"
            ),
        ),
    }
}

/// The script that a command line has in base64.
fn encoded(words: &[String]) -> Option<String> {
    let at = words.iter().position(|word| word.eq_ignore_ascii_case("-encodedcommand"))?;
    powershell::decoded(words.get(at + 1)?)
}

/// The file of every installation that `type` is tried with.
const WIN_INI: &str = r"C:\Windows\win.ini";
pub(super) const SYSTEM_FILES: &[&str] = &[WIN_INI];

/// `type FILE`. Names of files are the same in either case.
fn print(guest: &GuestProfile, file: &str) -> Answer {
    match file_of(guest, file) {
        Some(text) => Answer::out(text),
        None => Answer::failure(1, "The system cannot find the file specified.\r\n"),
    }
}

/// What stands in a file.
pub(super) fn file_of(guest: &GuestProfile, file: &str) -> Option<String> {
    let of_guest = guest.files.iter().find(|(path, _)| path.eq_ignore_ascii_case(file)).map(|(_, text)| text.clone());
    let of_system = || {
        let text = "; for 16-bit app support\r\n[fonts]\r\n[extensions]\r\n[mci extensions]\r\n[files]\r\n";
        file.eq_ignore_ascii_case(WIN_INI).then(|| text.to_owned())
    };
    of_guest.or_else(of_system)
}

/// `certutil -hashfile FILE SHA256`; no other use of it.
fn certutil(guest: &GuestProfile, words: &[String]) -> Answer {
    let file = words.get(1).map(String::as_str).unwrap_or_default();
    match guest.files.get(file) {
        Some(text) => Answer::out(format!(
            "SHA256 hash of {file}:\r\n{}\r\nCertUtil: -hashfile command completed successfully.\r\n",
            super::linux::sha256(text)
        )),
        None => Answer::failure(
            0x8007_0002,
            "CertUtil: -hashfile command FAILED: 0x80070002 (WIN32: 2 ERROR_FILE_NOT_FOUND)\r\n",
        ),
    }
}

/// The build that goes with a product name.
pub fn version(pretty_name: &str) -> &'static str {
    match () {
        () if pretty_name.contains("2025") => "10.0.26100.1742",
        () if pretty_name.contains("2022") => "10.0.20348.2340",
        () if pretty_name.contains("2016") => "10.0.14393.6709",
        () => "10.0.17763.5576",
    }
}

/// One line: the label, dots at every second place, the value.
fn line(label: &str, value: &str) -> String {
    let mut text = format!("   {label}");
    for at in label.len()..LABEL_WIDTH {
        text.push(if at % 2 == 0 { '.' } else { ' ' });
    }
    format!("{text} : {value}\r\n")
}

/// Further values of the line before.
fn more(value: &str) -> String {
    format!("{:width$}{value}\r\n", "", width = LABEL_WIDTH + 6)
}

fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

fn ipconfig(guest: &GuestProfile, all: bool) -> String {
    let mut text = "\r\nWindows IP Configuration\r\n\r\n".to_owned();
    if all {
        text.push_str(&line("Host Name", &guest.hostname));
        text.push_str(&line("Primary Dns Suffix ", ""));
        text.push_str(&line("Node Type", "Hybrid"));
        text.push_str(&line("IP Routing Enabled", "No"));
        text.push_str(&line("WINS Proxy Enabled", "No"));
    }
    for (index, nic) in guest.nics.iter().enumerate() {
        text.push_str(&adapter(index, nic, all));
    }
    text
}

fn adapter(index: usize, nic: &GuestNic, all: bool) -> String {
    let mut text = format!("\r\nEthernet adapter {}:\r\n\r\n", nic.name);
    text.push_str(&line("Connection-specific DNS Suffix ", ""));
    if all {
        let number = if index == 0 { String::new() } else { format!(" #{}", index + 1) };
        text.push_str(&line("Description", &format!("Red Hat VirtIO Ethernet Adapter{number}")));
        text.push_str(&line("Physical Address", &nic.mac.to_uppercase().replace(':', "-")));
        text.push_str(&line("DHCP Enabled", if nic.is_static { "No" } else { "Yes" }));
        text.push_str(&line("Autoconfiguration Enabled ", "Yes"));
    }
    let preferred = if all { "(Preferred) " } else { "" };
    for (address, prefix) in &nic.addresses {
        match address {
            IpAddr::V4(v4) => {
                text.push_str(&line("IPv4 Address", &format!("{v4}{preferred}")));
                text.push_str(&line("Subnet Mask ", &mask(*prefix).to_string()));
            }
            IpAddr::V6(v6) => text.push_str(&line("IPv6 Address", &format!("{v6}{preferred}"))),
        }
    }
    if all && !nic.is_static {
        text.push_str(&line("Lease Obtained", "Monday, January 5, 2026 8:00:00 AM"));
        text.push_str(&line("Lease Expires ", "Tuesday, January 6, 2026 8:00:00 AM"));
    }
    text.push_str(&line("Default Gateway ", &nic.gateway.map(|gateway| gateway.to_string()).unwrap_or_default()));
    if all {
        if !nic.is_static {
            text.push_str(&line("DHCP Server ", &view::dhcp_server().to_string()));
        }
        for (n, server) in nic.dns.iter().enumerate() {
            let server = server.to_string();
            text.push_str(&if n == 0 { line("DNS Servers ", &server) } else { more(&server) });
        }
        text.push_str(&line("NetBIOS over Tcpip", "Enabled"));
    }
    text
}
