//! Every name that reaches a cluster or a source platform is built here, with its length rule.
//!
//! Names are a readable head, at least 40 random bits that tell one run from another, and a
//! suffix. One that would be too long keeps its head and ends in a hash of the whole, so that two
//! different long names never become one. Nothing is ever found again by part of its name: that
//! is what [`RUN_LABEL`] and [`CELL_LABEL`] are for.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Label on every Kubernetes object that a run creates; its value is the run id.
pub const RUN_LABEL: &str = "mtv-matrix.io/run-id";
/// Label on every Kubernetes object that a cell creates; its value is [`CellId::slug`].
pub const CELL_LABEL: &str = "mtv-matrix.io/cell";
/// Label that tells people who made an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "mtv-matrix";
/// Annotation with the mark that proves an object to be a run's: made from the run's secret and the
/// object's own kind and name, so that it proves nothing on a copy.
pub const MARK_ANNOTATION: &str = "mtv-matrix.io/mark";
/// Annotation with the creation time (RFC 3339), so that a sweep can tell old from new.
pub const CREATED_ANNOTATION: &str = "mtv-matrix.io/created-at";
/// On a lab's ForkliftController: how many times faster than the wall's its MTV's clock goes.
pub const LAB_CLOCK_SCALE: &str = "lab.mtv-matrix.io/clock-scale";

/// Longest DNS-1123 label: namespaces, VM names, label values.
pub const MAX_LABEL: usize = 63;
/// Longest readable head of a run id; with it, a cell's namespace still has room for half a slug.
pub const MAX_RUN_HEAD: usize = 20;
/// Longest slug of a cell, and the hash at its end.
const MAX_SLUG: usize = 40;
const SLUG_HASH: usize = 6;
/// Random characters of a run id.
const RUN_RANDOM: usize = 10;
/// Longest Linux bridge name that a CNI plugin accepts.
pub const MAX_BRIDGE: usize = 15;

const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// `n` characters of 5 random bits each, safe in DNS names and without look-alikes.
pub fn random_chars(n: usize) -> String {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    let more = uuid::Uuid::new_v4().into_bytes();
    // Bytes 6 and 8 of a version 4 UUID carry fixed bits, so they are left out.
    let random = bytes.iter().chain(more.iter()).enumerate().filter(|(i, _)| !matches!(i % 16, 6 | 8)).map(|(_, b)| b);
    random.take(n).map(|b| char::from(ALPHABET[usize::from(b % 32)])).collect()
}

/// `n` characters that depend on `text` alone.
pub fn hash_chars(text: &str, n: usize) -> String {
    Sha256::digest(text.as_bytes()).iter().take(n).map(|b| char::from(ALPHABET[usize::from(b % 32)])).collect()
}

/// Lower-case DNS-1123 label of at most `max` characters made from any text.
///
/// Other characters become `-`; an over-long or empty result keeps its head and gets a hash.
pub fn dns_label(text: &str, max: usize) -> String {
    let mapped: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    let trimmed = mapped.trim_matches('-');
    if !trimmed.is_empty() && trimmed.len() <= max {
        return trimmed.to_owned();
    }
    let hash = hash_chars(text, 8.min(max));
    let head_room = max.saturating_sub(hash.len() + 1);
    let head = trimmed.get(..head_room.min(trimmed.len())).unwrap_or_default().trim_end_matches('-');
    if head.is_empty() { hash } else { format!("{head}-{hash}") }
}

/// One run: a prefix of at most [`MAX_RUN_HEAD`] characters (`mm`), a dash, and 10 characters of [`ALPHABET`], 50
/// random bits. There is no other shape: what reaches the program from outside is parsed into it or
/// refused, because a run id decides what is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// A text that is no run id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a run id: one looks like mm-abcdefghij, ten of the characters a-z (without l) and 2-9 after the last dash"
)]
pub struct NotARunId(pub String);

impl TryFrom<String> for RunId {
    type Error = NotARunId;
    fn try_from(text: String) -> Result<Self, NotARunId> {
        Self::parse(&text).ok_or(NotARunId(text))
    }
}

impl std::str::FromStr for RunId {
    type Err = NotARunId;
    fn from_str(text: &str) -> Result<Self, NotARunId> {
        Self::parse(text).ok_or_else(|| NotARunId(text.to_owned()))
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.0
    }
}

impl RunId {
    /// Characters behind the last dash.
    const RANDOM: usize = RUN_RANDOM;
    /// Longest prefix.
    pub const MAX_PREFIX: usize = MAX_RUN_HEAD;

    /// A fresh id.
    pub fn random() -> Self {
        Self::random_with("mm")
    }
    /// A fresh id whose head is `prefix`, cut to [`MAX_RUN_HEAD`] characters; everything that the run makes
    /// begins with it. The random part makes it unique, so that a head that is cut stays readable.
    pub fn random_with(prefix: &str) -> Self {
        Self(format!("{}-{}", Self::prefix(prefix), random_chars(Self::RANDOM)))
    }
    /// The same id for the same text, e.g. that of a joined set of shards.
    pub fn of_text(prefix: &str, text: &str) -> Self {
        Self(format!("{}-{}", Self::prefix(prefix), hash_chars(text, Self::RANDOM)))
    }
    /// A readable head: cut, not hashed.
    fn prefix(text: &str) -> String {
        let readable = dns_label(text, usize::MAX);
        let cut = readable.get(..Self::MAX_PREFIX.min(readable.len())).unwrap_or_default();
        let cut = cut.trim_end_matches('-');
        if cut.is_empty() { "mm".to_owned() } else { cut.to_owned() }
    }
    /// An id given from outside; `None` unless it has the one shape of run ids.
    pub fn parse(text: &str) -> Option<Self> {
        let (prefix, random) = text.rsplit_once('-')?;
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let prefix_fits = !prefix.is_empty()
            && prefix.len() <= Self::MAX_PREFIX
            && prefix.chars().all(inner)
            && !prefix.starts_with('-')
            && !prefix.ends_with('-');
        let random_fits = random.len() == Self::RANDOM && random.bytes().all(|b| ALPHABET.contains(&b));
        (prefix_fits && random_fits).then(|| Self(text.to_owned()))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The run's own namespace: Providers and their Secrets live there.
    pub fn namespace(&self) -> String {
        self.0.clone()
    }
    /// A run-wide object, e.g. the Provider of a profile.
    pub fn object(&self, what: &str) -> String {
        dns_label(&format!("{}-{what}", self.0), MAX_LABEL)
    }
    /// A source-side clone of `base` for `cell`. The random end tells attempts apart.
    pub fn clone_name(&self, base: &str) -> String {
        let head = dns_label(&format!("{}-{base}", self.0), MAX_LABEL - 7);
        format!("{head}-{}", random_chars(6))
    }
    /// Likewise, keeping upper-case letters and underscores of `base` (`preserve_name_format`).
    pub fn clone_name_as_written(&self, base: &str) -> String {
        let head: String = format!("{}-{base}", self.0).chars().take(MAX_LABEL - 7).collect();
        format!("{head}-{}", random_chars(6))
    }
    /// What a clone's name was made from (as a label): the part that is the same in every run. A name of another
    /// form is returned whole.
    pub fn base_of<'a>(&self, name: &'a str) -> &'a str {
        let end = |rest: &'a str| rest.rsplit_once('-').filter(|(_, end)| end.len() == 6).map(|(base, _)| base);
        name.strip_prefix(self.0.as_str()).and_then(|rest| rest.strip_prefix('-')).and_then(end).unwrap_or(name)
    }
    /// What every clone of this run begins with, dash included.
    pub fn clone_prefix(&self) -> String {
        format!("{}-", self.0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One provider profile × one scenario (× storage class), e.g. `vsphere/test_sanity_cold_mtv_migration`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CellId(String);

/// It hashes and compares as its text does.
impl std::borrow::Borrow<str> for CellId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl CellId {
    /// The storage class is part of the id only where a run has more than one.
    pub fn new(profile: &str, scenario: &str, storage_class: Option<&str>) -> Self {
        match storage_class {
            Some(class) => Self(format!("{profile}/{scenario}@{class}")),
            None => Self(format!("{profile}/{scenario}")),
        }
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The id as a DNS label, 36 characters at most; a hash keeps it unique.
    pub fn slug(&self) -> String {
        self.slug_within(MAX_SLUG)
    }
    fn slug_within(&self, max: usize) -> String {
        let short = self.0.replace("test_", "").replace("_mtv_migration", "");
        let readable = dns_label(&short, usize::MAX);
        let room = max.saturating_sub(1 + SLUG_HASH);
        let head = readable.get(..room.min(readable.len())).unwrap_or_default().trim_end_matches('-');
        format!("{head}-{}", hash_chars(&self.0, SLUG_HASH))
    }
    /// The cell's namespace in a run; `attempt` counts from 1, so that a retry does not wait for
    /// the namespace of the attempt before it to go.
    pub fn namespace(&self, run: &RunId, attempt: u32) -> String {
        let tail = if attempt > 1 { format!("-r{attempt}") } else { String::new() };
        let room = MAX_LABEL.saturating_sub(run.0.len() + 1 + tail.len());
        format!("{run}-{}{tail}", self.slug_within(MAX_SLUG.min(room)))
    }
    /// A further namespace that the scenario asks for by `name` (`vm_target_namespace`): the name
    /// with the cell's hash, because cells run at the same time.
    pub fn extra_namespace(&self, run: &RunId, name: &str, attempt: u32) -> String {
        let hash = hash_chars(&format!("{run}/{}/{attempt}", self.0), 8);
        format!("{}-{hash}", dns_label(name, MAX_LABEL - 9))
    }
    /// The destination Provider of one attempt, which may stand in a namespace that is not the cell's.
    pub fn destination(&self, run: &RunId, attempt: u32) -> String {
        format!("{run}-local-{}", hash_chars(&format!("{run}/{}/{attempt}", self.0), 8))
    }
    /// A source Provider of the cell's own.
    pub fn source(&self, run: &RunId, attempt: u32) -> String {
        format!("{run}-source-{}", hash_chars(&format!("{run}/{}/{attempt}", self.0), 8))
    }
    /// The Secret of the storage array that copies for one attempt; it stands beside the source Provider.
    pub fn array(&self, run: &RunId, attempt: u32) -> String {
        format!("{run}-array-{}", hash_chars(&format!("{run}/{}/{attempt}", self.0), 8))
    }
    /// The Pod that gathers for one attempt.
    pub fn must_gather(&self, run: &RunId, attempt: u32) -> String {
        format!("{run}-gather-{}", hash_chars(&format!("{run}/{}/{attempt}", self.0), 8))
    }
    /// The `n`th NAD (from 1) and its bridge: at most 15 characters, the limit of a Linux bridge.
    pub fn nad(&self, run: &RunId, attempt: u32, n: usize) -> String {
        format!("mm{}-{n}", hash_chars(&format!("{run}/{}/{attempt}", self.0), 8))
    }
}

impl fmt::Display for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_dns_label(s: &str) -> bool {
        !s.is_empty()
            && s.len() <= MAX_LABEL
            && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !s.starts_with('-')
            && !s.ends_with('-')
    }

    #[test]
    fn a_clone_is_known_by_what_is_the_same_in_every_run() {
        let names =
            [RunId::random(), RunId::random()].map(|run| run.base_of(&run.clone_name("mtv-tests-rhel8")).to_owned());
        assert_eq!(names, ["mtv-tests-rhel8"; 2]);
        let run = RunId::parse("mm-abcdefghij").unwrap();
        assert_eq!(run.base_of("a-strangers-vm-abcdef"), "a-strangers-vm-abcdef");
    }

    proptest! {
        #[test]
        fn every_built_name_is_a_dns_label(
            head in "[a-zA-Z0-9_-]{0,40}", profile in ".{0,80}", scenario in ".{0,120}", attempt in 1u32..200
        ) {
            let run = RunId::random_with(&head);
            prop_assert!(is_dns_label(run.as_str()));
            let cell = CellId::new(&profile, &scenario, None);
            prop_assert!(is_dns_label(&cell.slug()));
            prop_assert!(is_dns_label(&cell.namespace(&run, attempt)));
            prop_assert!(is_dns_label(&cell.extra_namespace(&run, &scenario, attempt)));
            prop_assert!(is_dns_label(&run.clone_name(&scenario)));
            prop_assert!(is_dns_label(&run.object(&profile)));
            prop_assert!(cell.nad(&run, attempt, 9).len() <= MAX_BRIDGE);
        }

        #[test]
        fn long_names_that_differ_stay_different(a in "[a-z]{60,90}", b in "[a-z]{60,90}") {
            prop_assume!(a != b);
            prop_assert_ne!(dns_label(&a, 40), dns_label(&b, 40));
        }
    }

    #[test]
    fn a_run_id_has_one_shape_and_nothing_else_is_one() {
        for fits in ["mm-abcdefghij", "nightlyqe-23456789ab", "a-b-abcdefghij"] {
            assert_eq!(RunId::parse(fits).map(|r| r.to_string()).as_deref(), Some(fits));
        }
        let no = [
            "",
            "mtv",
            "db",
            "true",
            "amd64",
            "mm",
            "mm-",
            "mm-abc",
            "-abcdefghij",
            "mm-abcdefghil",
            "mm-abcdefghi1",
            "MM-abcdefghij",
            "mm-abcdefghijk",
            "mm--abcdefghij",
            "-mm-abcdefghij",
            "twenty-one-characters-abcdefghij",
        ];
        for text in no {
            assert_eq!(RunId::parse(text), None, "{text}");
            assert!(serde_json::from_value::<RunId>(serde_json::json!(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_stays_readable_and_every_attempts_namespace_fits() {
        let cell = CellId::new("vsphere-8-0-3-vddk", &"test_a_very_long_scenario_name_indeed".repeat(3), None);
        for (prefix, head) in [("mtv-nightly", "mtv-nightly-"), ("nightlyqe", "nightlyqe-"), ("Night ly", "night-ly-")]
        {
            let run = RunId::random_with(prefix);
            assert!(run.as_str().starts_with(head), "{run}");
            assert_eq!(RunId::parse(run.as_str()), Some(run.clone()));
            assert!(cell.namespace(&run, 999).len() <= MAX_LABEL);
        }
    }

    #[test]
    fn a_run_id_carries_at_least_forty_random_bits() {
        assert_eq!(RunId::random().as_str().len(), 3 + 10);
        assert_ne!(RunId::random(), RunId::random());
        let own = RunId::random_with("Nightly_QE-team");
        assert_eq!(RunId::parse(own.as_str()), Some(own));
    }

    #[test]
    fn a_head_of_the_users_is_readable_in_every_name_of_every_attempt() {
        let cell = CellId::new("vsphere-8.0", "test_cold_migration_comprehensive", None);
        for head in ["mtv-nightly", "nightlyqe", "openshift-virt-nightly-qe"] {
            let run = RunId::random_with(head);
            let shown = &head[..head.len().min(MAX_RUN_HEAD)];
            for attempt in [1, 2, 101] {
                let namespace = cell.namespace(&run, attempt);
                assert!(is_dns_label(&namespace), "{namespace}");
                assert!(
                    namespace.starts_with(&format!("{shown}-")) && namespace.contains("-vsphere-8-0-"),
                    "{namespace}"
                );
            }
            assert_ne!(cell.namespace(&run, 1), cell.namespace(&run, 2));
        }
    }
}
