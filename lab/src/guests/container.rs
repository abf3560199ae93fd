//! What answers in a pod's container: a shell on an image of UBI 9, with the pod's name and environment. In virt-launcher's
//! `compute` it knows `virsh list`, `domstate` and `dominfo`, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::gathered;
use super::machine::{Disk, Machine, escaped};
use super::shell::{self, Answer};
use super::tar;
use super::terminal::{self, Shown, Terminal};
use crate::ports::GuestProfile;

/// The disks of a pod's containers, by the container's name.
#[derive(Clone, Default)]
pub struct Pods(Arc<Mutex<BTreeMap<String, Disk>>>);

impl Pods {
    fn of(&self, container: &str) -> Disk {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(container.to_owned()).or_default().clone()
    }
}

/// One container, as one client finds it.
pub struct Container {
    profile: GuestProfile,
    environment: Vec<(String, String)>,
    disk: Disk,
    /// The VM that runs in it, as libvirt calls it.
    domain: Option<String>,
    terminal: Option<Terminal>,
}

const SHELLS: [&str; 2] = ["sh", "bash"];

impl Container {
    /// `laid` is what its image or another container left in it.
    pub fn new(pod: &Value, container: &Value, pods: Pods, laid: BTreeMap<String, String>) -> Self {
        let text = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let name = text(container, "/name");
        let host = text(pod, "/metadata/name");
        let machine = text(pod, "/metadata/labels/vm.kubevirt.io~1name");
        let domain = (!machine.is_empty() && name == "compute")
            .then(|| format!("{}_{machine}", text(pod, "/metadata/namespace")));
        let own =
            container["env"].as_array().into_iter().flatten().map(|var| (text(var, "/name"), text(var, "/value")));
        let usual = [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root")];
        let usual = usual.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter();
        let environment = usual.chain([("HOSTNAME".to_owned(), host.clone())]).chain(own).collect();
        let mut files = laid;
        if text(pod, "/spec/initContainers/0/command/0") == gathered::SCRIPT {
            let image = text(pod, "/spec/initContainers/0/image");
            files.insert(gathered::ARCHIVE.to_owned(), escaped(&gathered::archive(&image)));
        }
        let profile = GuestProfile {
            windows: false,
            hostname: host,
            pretty_name: "Red Hat Enterprise Linux 9.4 (Plow)".to_owned(),
            users: Vec::new(),
            nics: Vec::new(),
            files,
            fails: None,
            luks: None,
            shared: None,
        };
        Self { profile, environment, disk: pods.of(&name), domain, terminal: None }
    }

    /// Whether a command is a shell that is typed into; then it waits for that.
    pub fn shell(&mut self, command: &[String], tty: bool) -> bool {
        let is_shell = match command {
            [one] => SHELLS.contains(&one.rsplit('/').next().unwrap_or_default()),
            [one, flag] => {
                SHELLS.contains(&one.rsplit('/').next().unwrap_or_default()) && matches!(flag.as_str(), "-i" | "-l")
            }
            _ => false,
        };
        if is_shell {
            let (profile, disk) = (self.profile.clone(), self.disk.clone());
            self.terminal = Some(Terminal::shell(profile, Machine::default(), disk, tty));
        }
        is_shell
    }

    pub fn prompt(&self) -> Vec<u8> {
        self.terminal.as_ref().map(Terminal::prompted).unwrap_or_default()
    }

    pub fn type_in(&mut self, bytes: &[u8]) -> Shown {
        self.terminal.as_mut().map(|terminal| terminal.type_in(bytes)).unwrap_or_default()
    }

    pub fn ends(&mut self) -> Shown {
        self.terminal.as_mut().map(Terminal::ends).unwrap_or_default()
    }

    /// Runs a command that is given word by word, with what it reads.
    pub fn run(&mut self, words: &[String], input: &[u8]) -> Answer {
        if let Some(answer) = tar::answer(&self.disk.on(&self.profile), words, input) {
            return terminal::keep(&self.disk, answer);
        }
        let first = words.first().map(|word| word.rsplit('/').next().unwrap_or_default());
        match (first, &self.domain) {
            (Some("env" | "printenv"), _) if words.len() == 1 => {
                Answer::out(self.environment.iter().map(|(key, value)| format!("{key}={value}\n")).collect::<String>())
            }
            (Some("printenv"), _) => {
                let wanted = words.get(1).map(String::as_str).unwrap_or_default();
                let found = self.environment.iter().find(|(key, _)| key == wanted);
                found.map_or_else(|| Answer::failure(1, ""), |(_, value)| Answer::out(format!("{value}\n")))
            }
            (Some("virsh"), Some(domain)) => virsh(domain, words.get(1).map(String::as_str).unwrap_or_default()),
            _ => {
                let answer = shell::run_words(&self.disk.on(&self.profile), &Machine::default(), words);
                terminal::keep(&self.disk, answer)
            }
        }
    }
}

fn virsh(domain: &str, verb: &str) -> Answer {
    match verb {
        "list" => Answer::out(format!(
            " Id   Name{:width$}State\n{}\n 1    {domain}   running\n\n",
            "",
            "-".repeat(domain.len() + 17),
            width = domain.len() - 1
        )),
        "domstate" => Answer::out("running\n\n"),
        "dominfo" => Answer::out(format!(
            "Id:             1\nName:           {domain}\nOS Type:        hvm\nState:          running\n\n"
        )),
        other => Answer::failure(1, format!("error: unknown command: '{other}'\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_answers_with_the_pods_name_and_environment_and_keeps_its_files() {
        let pod = json!({"metadata": {"name": "virt-launcher-erp-x", "namespace": "n", "labels": {"vm.kubevirt.io/name": "erp"}}});
        let compute = json!({"name": "compute", "env": [{"name": "A", "value": "b"}]});
        let pods = Pods::default();
        let run = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Container::new(&pod, &compute, pods.clone(), BTreeMap::new()).run(&words, &[])
        };
        assert_eq!(run(&["hostname"]).stdout, "virt-launcher-erp-x\n");
        assert_eq!(run(&["printenv", "A"]).stdout, "b\n");
        assert_eq!(run(&["sh", "-c", "echo it\\'s > /tmp/a"]).code, 0);
        assert!(run(&["ls", "/tmp"]).stdout.contains('a'));
        assert!(run(&["virsh", "list"]).stdout.contains("n_erp   running"));
        assert_eq!(run(&["tar", "cf", "-", "/tmp/a"]).code, 0);
        assert_eq!(run(&["rsync", "/tmp", "/var"]).code, 127);
        let mut container = Container::new(&pod, &compute, pods.clone(), BTreeMap::new());
        assert!(container.shell(&["/bin/bash".to_owned()], true) && !container.shell(&["ls".to_owned()], true));
    }
}
