//! The keys that every profile has, and what a platform's file offers.
//!
//! Knows no platform. No `Debug`: passwords.

use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer};

use super::{Credentials, GuestCredentials, Platform, PlatformConfig};

/// Keys of every type.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Common {
    /// Version of the platform, for people.
    #[serde(deserialize_with = "text_or_number")]
    #[schemars(with = "Option<TextOrNumber>")]
    pub version: Option<String>,
    /// Host of the endpoint; the host of `api_url` where unset.
    pub fqdn: Option<String>,
    /// The user in migrated Linux guests; without user and password, what needs a login is *not judged*.
    pub guest_vm_linux_user: Option<String>,
    /// The password of `guest_vm_linux_user`.
    #[schemars(with = "Option<String>")]
    pub guest_vm_linux_password: Option<SecretString>,
    /// The user in migrated Windows guests; without user and password, what needs a login is *not judged*.
    pub guest_vm_win_user: Option<String>,
    /// The password of `guest_vm_win_user`.
    #[schemars(with = "Option<String>")]
    pub guest_vm_win_password: Option<SecretString>,
    /// Cells of this profile at once; the setting of that name where unset, 1 for Hyper-V and EC2.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_concurrent: Option<usize>,
    /// CA of the endpoint, PEM; unset: trusted on first use, or not at all (settings).
    pub ca_pem: Option<String>,
    /// A file that holds the CA; beats `ca_pem`.
    pub ca_file: Option<String>,
}

impl Common {
    pub fn guest(&mut self) -> GuestCredentials {
        GuestCredentials {
            linux: pair(self.guest_vm_linux_user.clone(), self.guest_vm_linux_password.take()),
            windows: pair(self.guest_vm_win_user.clone(), self.guest_vm_win_password.take()),
        }
    }

    /// The pinned CA.
    pub fn ca(&mut self, check: &mut Check) -> Option<String> {
        let mut pem = given(self.ca_pem.take());
        if let Some(path) = given(self.ca_file.take()) {
            match std::fs::read_to_string(&path) {
                Ok(text) => pem = Some(text),
                Err(error) => check.complain("ca_file", format!("`ca_file` {path} can't be read: {error}")),
            }
        }
        if pem.as_ref().is_some_and(|pem| !pem.contains("-----BEGIN CERTIFICATE-----")) {
            check.complain("ca_pem", "the CA is not a PEM certificate");
        }
        pem
    }
}

/// The raw keys of one platform; its file has the only implementation.
pub(super) trait Keys: DeserializeOwned + Default + JsonSchema {
    /// Keys that are read and have no effect, beside [`IDLE`].
    const IDLE: &'static [&'static str];

    fn profile(self, common: &Common, check: &mut Check) -> Parts;
}

/// What a platform's keys say.
pub(super) struct Parts {
    /// `spec.url` of the Provider.
    pub api_url: String,
    pub login: Credentials,
    pub vms: std::collections::BTreeMap<String, String>,
    /// Cells share source VMs, which MTV powers off: one at a time unless told otherwise.
    pub one_at_a_time: bool,
    pub config: PlatformConfig,
}

/// Keys of the Python suite, older and newer, that no platform here has a use for (peer.md §1.4).
pub(super) const IDLE: &[&str] = &[
    "admin_username",
    "admin_password",
    "non_admin_username",
    "non_admin_password",
    "cluster_name",
    "default",
    "host_list",
    "networks",
    "storages",
    "vm_folder",
];

/// What is wrong: the key it is about, and a sentence without values.
pub(crate) type Complaint = (String, String);

/// Gathers what there is to say about one profile.
pub(crate) struct Check {
    pub platform: Platform,
    pub complaints: Vec<Complaint>,
    pub warnings: Vec<Complaint>,
}

impl Check {
    pub fn new(platform: Platform) -> Self {
        Self { platform, complaints: Vec::new(), warnings: Vec::new() }
    }

    pub fn complain(&mut self, key: &str, text: impl Into<String>) {
        self.complaints.push((key.to_owned(), text.into()));
    }

    pub fn warn(&mut self, key: &str, text: impl Into<String>) {
        self.warnings.push((key.to_owned(), text.into()));
    }

    fn missing(&mut self, key: &str) {
        let text = format!("`{key}` is required for a profile of type {}", self.platform);
        self.complain(key, text);
    }

    /// The text; a complaint and an empty one where there is none.
    pub fn required(&mut self, key: &str, value: Option<String>) -> String {
        self.required_if(true, key, value)
    }

    pub fn required_if(&mut self, needed: bool, key: &str, value: Option<String>) -> String {
        let value = given(value);
        if needed && value.is_none() {
            self.missing(key);
        }
        value.unwrap_or_default()
    }

    pub fn required_secret(&mut self, key: &str, value: Option<SecretString>) -> SecretString {
        let value = given_secret(value);
        if value.is_none() {
            self.missing(key);
        }
        value.unwrap_or_default()
    }

    /// A login that must be there.
    pub fn login(&mut self, username: Option<String>, password: Option<SecretString>) -> Credentials {
        Credentials {
            username: self.required("username", username),
            password: self.required_secret("password", password),
        }
    }

    /// A required `api_url` of a platform that is spoken to over HTTPS. `path`: what stands behind the host
    /// where nothing is written.
    pub fn https(&mut self, value: Option<String>, path: &str) -> String {
        let written = self.required("api_url", value);
        if written.is_empty() {
            return written;
        }
        let mut text = written.clone();
        if !text.contains("://") {
            text = format!("https://{text}");
        }
        let Ok(mut url) = url::Url::parse(&text) else {
            self.complain("api_url", format!("`api_url` is not a URL such as https://host.example.com{path}"));
            return written;
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.complain("api_url", "`api_url` holds a login; write it as `username` and `password`");
            return String::new();
        }
        match url.scheme() {
            "https" => {}
            "http" => self.warn("api_url", "`api_url` is http://, without TLS: the password is sent in the clear"),
            other => {
                self.complain("api_url", format!("`api_url` begins with {other}://; https:// was expected"));
                return written;
            }
        }
        let no_path = matches!(url.path(), "" | "/");
        if no_path && path.len() > 1 {
            url.set_path(path);
            text = url.to_string();
        }
        if text != written {
            self.warn("api_url", format!("`api_url` `{written}` is taken as {text}"));
        }
        text
    }
}

pub(super) fn given(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.trim().is_empty())
}

pub(super) fn given_secret(text: Option<SecretString>) -> Option<SecretString> {
    text.filter(|t| !t.expose_secret().trim().is_empty())
}

/// A login where both halves are there.
pub(super) fn pair(user: Option<String>, password: Option<SecretString>) -> Option<Credentials> {
    Some(Credentials { username: given(user)?, password: given_secret(password)? })
}

/// Host of a URL, or what stands before the first `:` or `/` (NFS shares).
pub(super) fn host_of(url: &str) -> String {
    let parsed = url::Url::parse(url).ok().and_then(|u| u.host_str().map(str::to_owned));
    parsed.unwrap_or_else(|| url.trim_start_matches('/').split([':', '/']).next().unwrap_or_default().to_owned())
}

/// For the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum TextOrNumber {
    Text(String),
    Number(f64),
}

/// A text that people also write as a number: `8.0`, `17`.
pub(super) fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Option::<serde_json::Value>::deserialize(deserializer)? {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(text)) => Some(text),
        Some(serde_json::Value::Number(number)) => Some(number.to_string()),
        Some(_) => return Err(de::Error::custom("expected a text")),
    })
}
