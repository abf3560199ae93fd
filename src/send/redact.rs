//! Secrets taken out of a text that leaves the house: by their values where these are known, by the keys that they
//! stand under, and by their shape.
//!
//! Text in, text out. What a run writes should hold none: this is for what others put there (a log line of MTV's, a
//! cloud-init that a VM carries), and for the one secret that a ledger needs.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine as _;
use regex::{Captures, Regex};
use secrecy::{ExposeSecret, SecretString};

/// What stands in the place of a secret.
pub const MASK: &str = "[redacted]";

/// Words that a secret's key ends with, and those after which it is only named, not told (`secretName`).
const KEY: &str = r"(?i:[\w.\-/]*(?:password|passwd|passphrase|token|secret|access_?key|private_?key|api_?key|authorization|cookie|user_?data(?:base64)?|network_?data(?:base64)?|credentials?))";

/// A quote: plain, escaped once or more (JSON in JSON), or as markup has it.
const QUOTE: &str = r#"(?:\\*["']|&#34;|&#39;|&quot;)"#;

/// Why every expression compiles: a test uses each.
#[expect(clippy::expect_used, reason = "constant text, used by tests")]
fn compiled(text: &str) -> Regex {
    Regex::new(text).expect("a constant expression")
}

/// `"password": "x"`, `password=x`, `password: x`, in any quotes. The value ends with the quote that it began with, or
/// with the word; an object or a list is not one value.
static BY_KEY: LazyLock<Regex> = LazyLock::new(|| {
    compiled(&format!(
        r#"(?P<key>\b{KEY})(?P<between>{QUOTE}?[ \t]*[:=][ \t]*)(?:\\{{3}}"(?P<q3>.*?)\\{{3}}"|\\"(?P<q1>.*?)\\"|"(?P<q>(?:[^"\\]|\\.)*)"|'(?P<s>(?:[^'\\]|\\.)*)'|&#34;(?P<m>.*?)&#34;|&quot;(?P<n>.*?)&quot;|(?P<word>[^\s"'\\,;&<>\[\]{{}}|][^\s"'\\,;&<>\]}}]*))"#
    ))
});

/// By shape.
static BY_SHAPE: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let shapes = [
        // Headers.
        r"(?i)\b(?:bearer|basic)[ ]+[A-Za-z0-9._~+/=\-]{8,}",
        // OpenShift's tokens, JSON web tokens, access keys of AWS.
        r"sha256~[A-Za-z0-9_\-]{10,}",
        r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?",
        r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        // Private keys, with line breaks as they are or as JSON has them.
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
        // Hashes of passwords.
        r"\$(?:1|2[abxy]?|5|6|y|7)\$[./A-Za-z0-9=,$]{12,}",
    ];
    shapes.iter().map(|shape| compiled(shape)).collect()
});

/// A YAML key whose value is a block of lines below it.
static BLOCK: LazyLock<Regex> = LazyLock::new(|| {
    compiled(&format!(r#"^(?P<indent>[ \t]*)(?:- )*(?P<key>{QUOTE}?{KEY}{QUOTE}?)[ \t]*:[ \t]*[|>][+\-0-9]*[ \t]*$"#))
});

/// A key that a Secret's values stand below.
static DATA: LazyLock<Regex> = LazyLock::new(|| compiled(r#"^(?P<indent>[ \t]*)(?:- )*(?:data|stringData):[ \t]*$"#));

/// Takes secrets out of texts.
pub struct Redactor {
    known: Vec<String>,
}

impl Redactor {
    /// `secrets`: values that are known. They go in whatever form they may stand in: as they are, as JSON and URLs
    /// write them, in base64.
    pub fn new<'a>(secrets: impl Iterator<Item = &'a SecretString>) -> Self {
        let mut known = Vec::new();
        for secret in secrets.map(|secret| secret.expose_secret()).filter(|secret| !secret.is_empty()) {
            let json = serde_json::to_string(secret).unwrap_or_default();
            let json = json.trim_matches('"').to_owned();
            let standard = base64::engine::general_purpose::STANDARD.encode(secret);
            let unpadded = standard.trim_end_matches('=').to_owned();
            let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret);
            let percent = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string();
            let form = percent.replace("%20", "+");
            known.extend([secret.to_owned(), json, standard, unpadded, url, percent, form]);
        }
        // A secret may hold another.
        known.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        known.dedup();
        Self { known }
    }

    /// The text without secrets, and how many places were masked.
    pub fn text(&self, text: &str) -> (String, usize) {
        let mut places = 0;
        let mut text = text.to_owned();
        for secret in &self.known {
            let found = text.matches(secret.as_str()).count();
            if found > 0 {
                places += found;
                text = text.replace(secret.as_str(), MASK);
            }
        }
        let without = crate::api::text::without_user_info(&text);
        if let Cow::Owned(plain) = without {
            places += 1;
            text = plain;
        }
        for shape in BY_SHAPE.iter() {
            text = replaced(shape, &text, &mut places, |_| Some(MASK.to_owned()));
        }
        text = replaced(&BY_KEY, &text, &mut places, masked);
        let blocks = blocks(&text, &mut places);
        (blocks, places)
    }
}

/// Replaces what `with` has something for.
fn replaced(by: &Regex, text: &str, places: &mut usize, with: impl Fn(&Captures<'_>) -> Option<String>) -> String {
    let new = by.replace_all(text, |found: &Captures<'_>| match with(found) {
        Some(new) => {
            *places += usize::from(new != found[0]);
            new
        }
        None => found[0].to_owned(),
    });
    new.into_owned()
}

/// The key with a mask for its value; `None`: it tells no secret.
fn masked(found: &Captures<'_>) -> Option<String> {
    let told = ["q3", "q1", "q", "s", "m", "n", "word"];
    let value = told.iter().find_map(|name| found.name(name))?;
    let plain = value.as_str();
    // Numbers of tokens, switches, and what is masked already.
    let nothing = plain.is_empty() || plain.contains(MASK) || matches!(plain, "null" | "true" | "false" | "********");
    if nothing || plain.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let (whole, start) = (&found[0], found.get(0)?.start());
    let (head, tail) = (whole.get(..value.start() - start)?, whole.get(value.end() - start..)?);
    Some(format!("{head}{MASK}{tail}"))
}

/// Masks blocks of lines below a secret's key, and what a Secret holds.
fn blocks(text: &str, places: &mut usize) -> String {
    // The document of each line is a Secret's or not.
    let is_secret =
        |document: &str| document.lines().any(|line| line.trim_start_matches("- ").trim() == "kind: Secret");
    let documents: Vec<&str> = text.split_inclusive("\n---").collect();
    let mut out = String::with_capacity(text.len());
    for document in documents {
        let secret = is_secret(document);
        // Lines that are deeper than this are masked: all of it, or the values of keys.
        let mut below: Option<(usize, bool)> = None;
        for line in document.split_inclusive('\n') {
            let bare = line.trim_end_matches('\n');
            let indent = bare.len() - bare.trim_start().len();
            if let Some((depth, whole)) = below {
                if bare.trim().is_empty() || indent > depth {
                    let (head, end) =
                        (bare.get(..indent).unwrap_or_default(), line.get(bare.len()..).unwrap_or_default());
                    match bare.trim_start().split_once(':').filter(|_| !whole) {
                        _ if bare.trim().is_empty() => out.push_str(line),
                        Some((_, value)) if value.trim().is_empty() => out.push_str(line),
                        Some((key, _)) if !key.contains(' ') => {
                            *places += 1;
                            out.push_str(&format!("{head}{key}: {MASK}{end}"));
                        }
                        _ => {
                            *places += 1;
                            out.push_str(&format!("{head}{MASK}{end}"));
                        }
                    }
                    continue;
                }
                below = None;
            }
            if BLOCK.is_match(bare) {
                below = Some((indent, true));
            } else if secret && DATA.is_match(bare) {
                below = Some((indent, false));
            }
            out.push_str(line);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str) -> String {
        let known = [SecretString::from("k\"nown s3cret".to_owned())];
        Redactor::new(known.iter()).text(text).0
    }

    #[test]
    fn a_known_secret_goes_in_every_form() {
        let base64 = base64::engine::general_purpose::STANDARD.encode("k\"nown s3cret");
        for form in ["k\"nown s3cret", "k\\\"nown s3cret", "k%22nown%20s3cret", "k%22nown+s3cret", &base64] {
            let said = redacted(&format!("before {form} after"));
            assert_eq!(said, "before [redacted] after", "{form}");
        }
    }

    #[test]
    fn what_stands_under_a_secrets_key_goes_and_the_rest_stays() {
        for (text, is) in [
            (r#"{"password":"x y","user":"u"}"#, r#"{"password":"[redacted]","user":"u"}"#),
            (
                r#"{"a":"{\"password\":\"x y\",\"user\":\"u\"}"}"#,
                r#"{"a":"{\"password\":\"[redacted]\",\"user\":\"u\"}"}"#,
            ),
            (r#"{"token": "a\"b"}"#, r#"{"token": "[redacted]"}"#),
            ("  vsphere_password: hush # why", "  vsphere_password: [redacted] # why"),
            ("url?access_token=abc&x=1", "url?access_token=[redacted]&x=1"),
            ("password='a b' next", "password='[redacted]' next"),
            ("secretKey: 'x'", "secretKey: 'x'"),
            ("&#34;password&#34;: &#34;hush&#34;,", "&#34;password&#34;: &#34;[redacted]&#34;,"),
            ("secret: {name: mtv-source}", "secret: {name: mtv-source}"),
            ("secretName: mtv-source", "secretName: mtv-source"),
            ("token_count: 17", "token_count: 17"),
            ("secret:\n  name: mtv-source", "secret:\n  name: mtv-source"),
            ("clientToken: ~", "clientToken: [redacted]"),
            ("userDataBase64: I2Nsb3Vk", "userDataBase64: [redacted]"),
        ] {
            assert_eq!(redacted(text), is);
        }
    }

    #[test]
    fn what_has_the_shape_of_a_secret_goes_wherever_it_stands() {
        for (text, is) in [
            ("Authorization: Bearer abcdefghijk next", "Authorization: [redacted] next"),
            ("with sha256~abcdefghijklmnop.", "with [redacted]."),
            ("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2ln", "[redacted]"),
            ("https://u:p@host/x", "https://host/x"),
            ("a\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nb", "a\n[redacted]\nb"),
            ("k: -----BEGIN PRIVATE KEY-----\\nMII\\n-----END PRIVATE KEY-----\\n", "k: [redacted]\\n"),
            ("root:$6$rounds=5000$salt$hashhashhash:1", "root:[redacted]:1"),
            ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
        ] {
            assert_eq!(redacted(text), is);
        }
    }

    #[test]
    fn blocks_of_lines_and_the_data_of_secrets_go() {
        let cloud_init = "spec:\n  userData: |\n    #cloud-config\n    chpasswd: {list: [a]}\n\n    more\n  name: vm\n";
        assert_eq!(
            redacted(cloud_init),
            "spec:\n  userData: |\n    [redacted]\n    [redacted]\n\n    [redacted]\n  name: vm\n"
        );
        let secret = "kind: Secret\ndata:\n  user: cm9vdA==\n  url: aHR0cA==\nmetadata:\n  name: s\n---\nkind: ConfigMap\ndata:\n  user: u\n";
        assert_eq!(
            redacted(secret),
            "kind: Secret\ndata:\n  user: [redacted]\n  url: [redacted]\nmetadata:\n  name: s\n---\nkind: ConfigMap\ndata:\n  user: u\n"
        );
    }
}
