//! A terminal on a guest: what is typed is echoed and edited, a line is run when it is sent. By SSH with or without a PTY,
//! and on the serial console, which asks who is there first.

use super::files;
use super::machine::{Disk, Machine, escaped, raw};
use super::shell;
use crate::ports::GuestProfile;

/// Characters of one line; what comes behind is not taken.
const LINE: usize = 4096;
/// Lines that the arrow up finds.
const HISTORY: usize = 50;

/// Who sits there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// The console's `login:`.
    Name,
    Password(String),
    Shell,
}

/// Where an escape sequence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    Began,
    Inside,
}

/// One session.
pub struct Terminal {
    guest: GuestProfile,
    machine: Machine,
    disk: Disk,
    stage: Stage,
    /// Whether what is typed is shown.
    echoes: bool,
    line: String,
    history: Vec<String>,
    /// How far back in it the line is.
    back: usize,
    escape: Escape,
    /// The last sign was a carriage return: a line feed behind it belongs to it.
    returned: bool,
    /// Bytes of a sign that has not come whole.
    rest: Vec<u8>,
    code: u32,
}

/// What a terminal makes of what was typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub bytes: Vec<u8>,
    /// The session is over, with this code.
    pub left: Option<u32>,
}

impl Terminal {
    /// A shell of somebody who has logged in.
    pub fn shell(guest: GuestProfile, machine: Machine, disk: Disk, echoes: bool) -> Self {
        Self {
            guest,
            machine,
            disk,
            stage: Stage::Shell,
            echoes,
            line: String::new(),
            history: Vec::new(),
            back: 0,
            escape: Escape::None,
            returned: false,
            rest: Vec::new(),
            code: 0,
        }
    }

    /// The serial console, where nobody has.
    pub fn console(guest: GuestProfile, machine: Machine, disk: Disk) -> Self {
        let stage = if guest.windows { Stage::Shell } else { Stage::Name };
        Self { stage, ..Self::shell(guest, machine, disk, true) }
    }

    /// The console asks again who is there.
    pub fn log_out(&mut self) {
        self.stage = if self.guest.windows { Stage::Shell } else { Stage::Name };
        self.machine.cwd.clear();
    }

    /// What stands there before anything is typed.
    pub fn greeting(&self) -> Vec<u8> {
        if !self.echoes {
            return Vec::new();
        }
        let head = match (&self.stage, self.guest.windows) {
            (Stage::Shell, true) => {
                "Microsoft Windows\r\n(c) Microsoft Corporation. All rights reserved.\r\n\r\n".to_owned()
            }
            (Stage::Shell, false) => {
                "Activate the web console with: systemctl enable --now cockpit.socket\r\n\r\n".to_owned()
            }
            _ => format!("\r\n{}\r\nKernel {} on an x86_64\r\n\r\n", self.guest.pretty_name, super::linux::KERNEL),
        };
        format!("{head}{}", self.prompt()).into_bytes()
    }

    /// The prompt alone.
    pub fn prompted(&self) -> Vec<u8> {
        self.prompt().into_bytes()
    }

    fn prompt(&self) -> String {
        let host = self.guest.hostname.split('.').next().unwrap_or_default();
        match &self.stage {
            _ if !self.echoes => String::new(),
            Stage::Name => format!("{host} login: "),
            Stage::Password(_) => "Password: ".to_owned(),
            Stage::Shell => {
                let here = files::absolute(&self.guest, &self.machine.cwd, ".");
                if self.guest.windows {
                    return format!("{here}>");
                }
                let name = if here == files::home(&self.guest) { "~" } else { here.rsplit('/').next().unwrap_or("/") };
                format!("[root@{host} {}]# ", if name.is_empty() { "/" } else { name })
            }
        }
    }

    /// The other end has no more to say.
    pub fn ends(&mut self) -> Shown {
        let mut shown = if self.echoes || self.line.is_empty() { Shown::default() } else { self.type_in(b"\n") };
        shown.left.get_or_insert(self.code);
        shown
    }

    pub fn type_in(&mut self, bytes: &[u8]) -> Shown {
        let mut shown = Shown::default();
        self.rest.extend_from_slice(bytes);
        let taken = std::mem::take(&mut self.rest);
        let text = match std::str::from_utf8(&taken) {
            Ok(text) => text.to_owned(),
            Err(error) if error.error_len().is_none() => {
                let (whole, part) = taken.split_at(error.valid_up_to());
                self.rest = part.to_vec();
                escaped(whole)
            }
            Err(_) => escaped(&taken),
        };
        for c in text.chars() {
            self.sign(c, &mut shown);
            if shown.left.is_some() {
                break;
            }
        }
        shown
    }

    fn show(&self, shown: &mut Shown, text: &str) {
        if self.echoes {
            shown.bytes.extend_from_slice(text.as_bytes());
        }
    }

    fn sign(&mut self, c: char, shown: &mut Shown) {
        let after_return = std::mem::take(&mut self.returned);
        match (self.escape, c) {
            (Escape::Began, '[' | 'O') => return self.escape = Escape::Inside,
            (Escape::Inside, '@'..='~') => {
                self.escape = Escape::None;
                return self.arrow(c, shown);
            }
            (Escape::Inside, _) => return,
            _ => self.escape = Escape::None,
        }
        match c {
            '\n' if after_return => {}
            '\r' | '\n' => {
                self.returned = c == '\r';
                self.show(shown, "\r\n");
                self.send(shown);
            }
            '\u{1b}' => self.escape = Escape::Began,
            '\u{7f}' | '\u{8}' => self.erase(shown),
            // ^C, ^U, ^L, ^D.
            '\u{3}' => {
                self.line.clear();
                let text = format!("^C\r\n{}", self.prompt());
                self.show(shown, &text);
            }
            '\u{15}' => self.replace(String::new(), shown),
            '\u{c}' => {
                let text = format!("\u{1b}[H\u{1b}[2J{}{}", self.prompt(), self.line);
                self.show(shown, &text);
            }
            '\u{4}' if self.echoes && self.line.is_empty() && self.stage == Stage::Shell => {
                self.leave("logout\r\n", shown)
            }
            c if c.is_control() => {}
            c if self.line.len() < LINE => {
                self.line.push(c);
                if !matches!(self.stage, Stage::Password(_)) {
                    self.show(shown, c.encode_utf8(&mut [0; 4]));
                }
            }
            _ => {}
        }
    }

    fn erase(&mut self, shown: &mut Shown) {
        if self.line.pop().is_some() && !matches!(self.stage, Stage::Password(_)) {
            self.show(shown, "\u{8} \u{8}");
        }
    }

    /// Up and down lead through what was typed before.
    fn arrow(&mut self, c: char, shown: &mut Shown) {
        self.back = match c {
            'A' if self.back < self.history.len() => self.back + 1,
            'B' if self.back > 0 => self.back - 1,
            _ => return,
        };
        let line = self.history.len().checked_sub(self.back).and_then(|at| self.history.get(at)).cloned();
        self.replace(line.unwrap_or_default(), shown);
    }

    fn replace(&mut self, line: String, shown: &mut Shown) {
        let gone = "\u{8} \u{8}".repeat(self.line.chars().count());
        self.show(shown, &format!("{gone}{line}"));
        self.line = line;
    }

    fn leave(&mut self, text: &str, shown: &mut Shown) {
        self.show(shown, text);
        shown.left = Some(self.code);
    }

    fn send(&mut self, shown: &mut Shown) {
        let line = std::mem::take(&mut self.line);
        match std::mem::replace(&mut self.stage, Stage::Shell) {
            Stage::Name if line.trim().is_empty() => self.stage = Stage::Name,
            Stage::Name => self.stage = Stage::Password(line.trim().to_owned()),
            Stage::Password(name) => {
                if !self.guest.users.iter().any(|(own, password)| *own == name && *password == line) {
                    self.stage = Stage::Name;
                    self.show(shown, "\r\nLogin incorrect\r\n\r\n");
                }
            }
            Stage::Shell => self.run(&line, shown),
        }
        if shown.left.is_none() {
            let prompt = self.prompt();
            self.show(shown, &prompt);
        }
    }

    fn run(&mut self, line: &str, shown: &mut Shown) {
        if line.trim().is_empty() {
            return;
        }
        self.back = 0;
        if self.history.last().is_none_or(|last| last != line) {
            self.history.push(line.to_owned());
            let extra = self.history.len().saturating_sub(HISTORY);
            self.history.drain(..extra);
        }
        let answer = run(&self.guest, &mut self.machine, &self.disk, line);
        self.code = answer.code;
        for text in [&answer.stdout, &answer.stderr] {
            // A terminal begins a line on the left by a carriage return of its own.
            let text = if self.echoes { text.replace("\r\n", "\n").replace('\n', "\r\n") } else { text.clone() };
            shown.bytes.extend(raw(&text));
        }
        if answer.left {
            self.leave("logout\r\n", shown);
        }
    }
}

/// Runs one line on a guest's disk, and leaves there what it wrote.
pub fn run(guest: &GuestProfile, machine: &mut Machine, disk: &Disk, line: &str) -> shell::Answer {
    let answer = keep(disk, shell::run_on(&disk.on(guest), machine, line));
    if let Some(cwd) = &answer.cwd {
        machine.cwd.clone_from(cwd);
    }
    answer
}

/// Leaves on a disk what a command wrote, and takes away what it took away.
pub fn keep(disk: &Disk, mut answer: shell::Answer) -> shell::Answer {
    for path in &answer.removed {
        disk.remove(path);
    }
    for (path, text) in &answer.written {
        if !disk.write(path, text.clone()) {
            answer.stderr.push_str(&format!("{path}: No space left on device\n"));
            answer.code = 1;
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest() -> GuestProfile {
        GuestProfile {
            windows: false,
            hostname: "erp.lab".to_owned(),
            pretty_name: "Red Hat Enterprise Linux 9.4 (Plow)".to_owned(),
            users: vec![("root".to_owned(), "lab-linux".to_owned())],
            nics: Vec::new(),
            files: Default::default(),
            fails: None,
            luks: None,
            shared: None,
        }
    }

    fn typed(terminal: &mut Terminal, text: &str) -> String {
        String::from_utf8(terminal.type_in(text.as_bytes()).bytes).unwrap()
    }

    #[test]
    fn what_is_typed_is_echoed_edited_and_run_where_the_session_stands() {
        let disk = Disk::default();
        let mut terminal = Terminal::shell(guest(), Machine::default(), disk.clone(), true);
        assert!(String::from_utf8(terminal.greeting()).unwrap().ends_with("[root@erp ~]# "));
        assert_eq!(typed(&mut terminal, "hostnamx\u{7f}e\r"), "hostnamx\u{8} \u{8}e\r\nerp.lab\r\n[root@erp ~]# ");
        assert_eq!(typed(&mut terminal, "cd /var/tmp\r\n"), "cd /var/tmp\r\n[root@erp tmp]# ");
        typed(&mut terminal, "echo hi > note\r");
        let up = typed(&mut terminal, "\u{1b}[A");
        assert_eq!(up, "echo hi > note");
        assert_eq!(typed(&mut terminal, "\u{3}"), "^C\r\n[root@erp tmp]# ");
        assert!(typed(&mut terminal, "cat note\r").contains("\r\nhi\r\n"));
        assert_eq!(disk.on(&guest()).files.get("/var/tmp/note").map(String::as_str), Some("hi\n"));
        assert_eq!(terminal.type_in(b"exit 3\r").left, Some(3));
    }

    #[test]
    fn the_console_asks_who_is_there_and_shows_no_password() {
        let mut terminal = Terminal::console(guest(), Machine::default(), Disk::default());
        assert!(String::from_utf8(terminal.greeting()).unwrap().ends_with("erp login: "));
        assert_eq!(
            typed(&mut terminal, "root\rwrong\r"),
            "root\r\nPassword: \r\n\r\nLogin incorrect\r\n\r\nerp login: "
        );
        assert_eq!(typed(&mut terminal, "root\rlab-linux\r"), "root\r\nPassword: \r\n[root@erp ~]# ");
    }

    #[test]
    fn lines_that_no_terminal_typed_are_run_without_an_echo() {
        let mut terminal = Terminal::shell(guest(), Machine::default(), Disk::default(), false);
        assert!(terminal.greeting().is_empty());
        assert_eq!(typed(&mut terminal, "hostname\nfalse\nhost"), "erp.lab\n");
        let end = terminal.ends();
        assert_eq!(end.left, Some(127));
    }
}
