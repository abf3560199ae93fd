//! The mark by which a run knows its own things, and the judgement whether a thing bears it.
//!
//! A mark is made from a secret of the run and from *what the thing is*: its kind and name while it has
//! no id yet, its id afterwards. So a label that somebody copies, a user's clone of our clone, and an
//! entry that somebody wrote into a ledger prove nothing. Pure: reads nothing, asks nobody.

use secrecy::{ExposeSecret, SecretString};

use crate::api::names::{CellId, RunId, hash_chars, random_chars};

/// 120 random bits.
const SECRET_CHARS: usize = 24;
/// 100 bits of a SHA-256.
const MARK_CHARS: usize = 20;
/// The words of a note, before and after the run's id.
const NOTE: &str = "mtv-matrix run";
const WORD: &str = "mark";

/// Makes and knows the marks of one run.
#[derive(Debug, Clone)]
pub struct Marker {
    run: RunId,
    secret: SecretString,
}

impl Marker {
    /// Of a new run.
    pub fn random(run: &RunId) -> Self {
        Self::new(run, SecretString::from(random_chars(SECRET_CHARS)))
    }

    /// Of a run whose secret was kept.
    pub fn new(run: &RunId, secret: SecretString) -> Self {
        Self { run: run.clone(), secret }
    }

    pub fn secret(&self) -> &SecretString {
        &self.secret
    }

    fn mark(&self, parts: &[&str]) -> String {
        // Lengths keep two different lists from becoming one text.
        let texts: Vec<String> = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
        hash_chars(&format!("{}/{}/{}", self.secret.expose_secret(), self.run, texts.join("/")), MARK_CHARS)
    }

    /// The mark of a thing known by kind and name alone: it has no id yet, or none that is ours to set.
    pub fn by_name(&self, kind: &str, name: &str) -> String {
        self.mark(&["name", kind, name])
    }

    /// The mark of a thing with this id.
    pub fn by_id(&self, kind: &str, id: &str) -> String {
        self.mark(&["id", kind, id])
    }

    /// What stands in a thing's notes, for people and for [`Claim::judge`]. At most 140 characters: some
    /// platforms' texts are short.
    pub fn note(&self, cell: &CellId, mark: &str) -> String {
        format!("{NOTE} {} cell {} {WORD} {mark}", self.run, cell.slug())
    }
}

/// The note of a thing whose platform keeps run and mark in fields of their own.
pub fn note_of(run: Option<&str>, mark: Option<&str>) -> Option<String> {
    let run = run.filter(|run| !run.is_empty())?;
    Some(match mark.filter(|mark| !mark.is_empty()) {
        Some(mark) => format!("{NOTE} {run} {WORD} {mark}"),
        None => format!("{NOTE} {run}"),
    })
}

/// The note of a run whose ledger has no secret.
pub fn plain_note(run: &RunId, cell: &CellId) -> String {
    format!("{NOTE} {run} cell {}", cell.slug())
}

/// Run id and mark that a note tells.
fn said(note: &str) -> Option<(RunId, Option<&str>)> {
    let (_, rest) = note.split_once(NOTE)?;
    let mut words = rest.split_whitespace();
    let run = RunId::parse(words.next()?)?;
    let mark = words.skip_while(|word| *word != WORD).nth(1);
    Some((run, mark))
}

/// Whose a thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    Ours,
    /// It names the run, but there is no mark to check: made by version 0.1, or the run's secret is lost.
    Unproven(String),
    /// Not the run's. Never touched.
    Foreign(String),
}

/// What a person allowed beyond proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consent {
    /// Only what is proven.
    #[default]
    Proven,
    /// Also what names the run and can't be proven (`--yes`).
    Unproven,
}

/// A thing that the run says it made.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub run: &'a RunId,
    /// `None`: the run's secret is not known.
    pub marker: Option<&'a Marker>,
    /// Exact name.
    pub name: &'a str,
    /// The id in the run's ledger; `None` where the create was never answered, and in a sweep.
    pub id: Option<&'a str>,
    /// From a ledger of this run, not from a sweep.
    pub written: bool,
    pub consent: Consent,
}

/// A thing as it is now, read right before it would be deleted.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    pub kind: &'a str,
    pub name: &'a str,
    pub id: &'a str,
    /// Its notes, description or metadata.
    pub note: Option<&'a str>,
}

impl Claim<'_> {
    /// Whose the thing is.
    pub fn judge(&self, shown: Shown<'_>) -> Judgement {
        let Shown { kind, name, id, note } = shown;
        let foreign = |why: &str| Judgement::Foreign(why.to_owned());
        if !name.starts_with(&self.run.clone_prefix()) {
            return foreign("its name is none that the run gives");
        }
        let Some((run, mark)) = note.and_then(said) else { return foreign("it carries no mark of a run") };
        if run != *self.run {
            return Judgement::Foreign(format!("it carries the mark of run {run}"));
        }
        let Some(marker) = self.marker else {
            return Judgement::Unproven("the run's secret is not known, so its mark can't be checked".to_owned());
        };
        let Some(mark) = mark else {
            return Judgement::Unproven("its note names the run, but holds no mark".to_owned());
        };
        if mark == marker.by_id(kind, id) {
            return Judgement::Ours;
        }
        if mark != marker.by_name(kind, name) {
            return foreign("its mark is that of another thing: it is a copy");
        }
        match self.id {
            Some(known) if known == id => Judgement::Ours,
            Some(_) => foreign("it has the name of the run's own, but another id: it is a copy"),
            // The answer to the create was lost, or the run was killed before it.
            None if self.written => Judgement::Ours,
            None => Judgement::Unproven("it was marked before it had an id, and no ledger knows that id".to_owned()),
        }
    }

    /// Whether it may be deleted now; else why not.
    pub fn permits(&self, shown: Shown<'_>) -> Result<(), Judgement> {
        match self.judge(shown) {
            Judgement::Ours => Ok(()),
            Judgement::Unproven(_) if self.consent == Consent::Unproven => Ok(()),
            other => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunId {
        RunId::parse("mm-abcdefghij").unwrap()
    }

    fn judge(marker: Option<&Marker>, id: Option<&str>, shown: Shown<'_>) -> Judgement {
        let run = run();
        Claim { run: &run, marker, name: shown.name, id, written: true, consent: Consent::Proven }.judge(shown)
    }

    const NAME: &str = "mm-abcdefghij-rhel8-x";

    #[test]
    fn a_thing_is_ours_by_name_and_mark_together_and_never_by_one_alone() {
        let (marker, cell) = (Marker::random(&run()), CellId::new("p", "s", None));
        let early = marker.note(&cell, &marker.by_name("VM", NAME));
        let late = marker.note(&cell, &marker.by_id("VM", "vm-1"));
        let shown = |name, id, note| Shown { kind: "VM", name, id, note };
        let judged = |id, shown| judge(Some(&marker), id, shown);
        assert_eq!(judged(None, shown(NAME, "vm-1", Some(&early))), Judgement::Ours);
        assert_eq!(judged(Some("vm-1"), shown(NAME, "vm-1", Some(&late))), Judgement::Ours);
        let among_others = format!("mine\n{late}\nand more");
        assert_eq!(judged(None, shown(NAME, "vm-1", Some(&among_others))), Judgement::Ours);
        for (id, shown) in [
            (Some("vm-9"), shown(NAME, "vm-9", None)),
            (Some("vm-9"), shown("db-prod", "vm-9", Some(&late))),
            // A user's clone of our clone has our notes.
            (Some("vm-1"), shown(NAME, "vm-2", Some(&late))),
            (Some("vm-1"), shown(NAME, "vm-2", Some(&early))),
            (None, shown("mm-abcdefghij-copy", "vm-2", Some(&early))),
            (None, shown(NAME, "vm-1", Some("mtv-matrix run mm-23456789ab cell p/s mark x"))),
        ] {
            assert!(matches!(judged(id, shown), Judgement::Foreign(_)), "{shown:?}");
        }
        let other = Marker::random(&run());
        assert!(matches!(judge(Some(&other), None, shown(NAME, "vm-1", Some(&late))), Judgement::Foreign(_)));
    }

    #[test]
    fn what_names_the_run_without_a_mark_needs_a_persons_yes() {
        let old = Shown { kind: "VM", name: NAME, id: "vm-1", note: Some("mtv-matrix run mm-abcdefghij cell p/s") };
        assert!(matches!(judge(None, Some("vm-1"), old), Judgement::Unproven(_)));
        let run = run();
        let claim = Claim { run: &run, marker: None, name: NAME, id: None, written: false, consent: Consent::Unproven };
        assert_eq!(claim.permits(old), Ok(()));
        let strangers = Shown { note: Some("mine"), ..old };
        assert!(matches!(claim.permits(strangers), Err(Judgement::Foreign(_))), "not even then");
    }
}
