//! Who may log in to a guest besides those that were installed with it: what KubeVirt's `accessCredentials` and cloud-init
//! put there, and the keys that somebody has written into its `authorized_keys`.

use russh::keys::PublicKey;
use serde_json::Value;

use super::files;
use super::machine::Disk;
use crate::ports::GuestProfile;

/// The user that cloud-init makes on Red Hat's images where none is named.
const DEFAULT_USER: &str = "cloud-user";

/// Logins and keys that were put into a guest from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// User and password; without a password only a key helps.
    pub users: Vec<(String, Option<String>)>,
    /// Lines of `authorized_keys`.
    pub keys: Vec<String>,
}

impl Access {
    /// What a secret of `accessCredentials` holds: each of its values is a file of keys.
    pub fn add_keys(&mut self, text: &str) {
        self.keys.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }

    /// What cloud-init does with a `#cloud-config`, as far as logins go.
    pub fn add_user_data(&mut self, text: &str) {
        let Ok(config) = serde_saphyr::from_str::<Value>(text) else { return };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let keys = |value: &Value| value["ssh_authorized_keys"].as_array().cloned().unwrap_or_default();
        self.keys.extend(keys(&config).iter().filter_map(text));
        let own = text(&config["user"]).unwrap_or_else(|| DEFAULT_USER.to_owned());
        self.users.push((own, text(&config["password"])));
        for user in config["users"].as_array().into_iter().flatten() {
            self.keys.extend(keys(user).iter().filter_map(text));
            if let Some(name) = text(&user["name"]) {
                self.users.push((name, text(&user["plain_text_passwd"])));
            }
        }
    }

    /// The guest, when all this was done to it.
    pub fn on(&self, mut guest: GuestProfile) -> GuestProfile {
        for (user, password) in &self.users {
            let known = guest.users.iter().any(|(name, _)| name == user);
            match password {
                Some(password) => guest.users.push((user.clone(), password.clone())),
                // Nobody can type this.
                None if !known => guest.users.push((user.clone(), "\0".to_owned())),
                None => {}
            }
        }
        if !self.keys.is_empty() {
            let file = guest.files.entry(authorized_keys(&guest)).or_default();
            for key in &self.keys {
                file.push_str(&format!("{key}\n"));
            }
        }
        guest
    }
}

fn authorized_keys(guest: &GuestProfile) -> String {
    files::absolute(guest, "", if guest.windows { r"~\.ssh\authorized_keys" } else { "~/.ssh/authorized_keys" })
}

/// Whether a guest lets in whoever has this key.
pub(super) fn opens(guest: &GuestProfile, disk: &Disk, key: &PublicKey) -> bool {
    let path = authorized_keys(guest);
    let written = disk.on(guest);
    let lines = [guest, &written].into_iter().filter_map(|guest| guest.files.get(&path)).flat_map(|text| text.lines());
    // Options may stand before a key.
    let keys = lines.filter_map(|line| {
        let from = line.find("ssh-").or_else(|| line.find("ecdsa-")).or_else(|| line.find("sk-"))?;
        PublicKey::from_openssh(line.get(from..)?).ok()
    });
    keys.into_iter().any(|known| known.key_data() == key.key_data())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_init_makes_users_with_passwords_and_keys() {
        let mut access = Access::default();
        access.add_user_data(
            "#cloud-config\npassword: secret\nssh_authorized_keys: [ssh-ed25519 AAAA one]\n\
             users:\n- {name: erp, ssh_authorized_keys: [ssh-ed25519 BBBB two]}\n",
        );
        assert_eq!(access.keys, ["ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"]);
        assert_eq!(access.users, [("cloud-user".to_owned(), Some("secret".to_owned())), ("erp".to_owned(), None)]);
        access.add_user_data("no: [yaml");
        assert_eq!(access.users.len(), 2);
    }
}
