//! What proves an object of a cluster to be the run's: its label, its mark, its uid. Pure.
//!
//! The judgement of what lies on a source platform is [`Claim::judge`]'s; both know the same three answers.

use kube::ResourceExt;
use kube::api::DynamicObject;

use crate::api::names::{MARK_ANNOTATION, RUN_LABEL, RunId};
use crate::cluster::apply::place;
use crate::ledger::mark::Marker;
pub use crate::ledger::mark::{Claim, Consent, Judgement};

/// Whose the object of this kind is.
pub(super) fn of_object(there: &DynamicObject, kind: &str, run: &RunId, marker: Option<&Marker>) -> Judgement {
    match there.labels().get(RUN_LABEL).map(String::as_str) {
        Some(label) if label == run.as_str() => {}
        Some(other) => return Judgement::Foreign(format!("its label {RUN_LABEL} says `{other}`")),
        None => return Judgement::Foreign(format!("it has no label {RUN_LABEL}={run}")),
    }
    let Some(marker) = marker else {
        return Judgement::Unproven("it has the run's label, but the run's secret is not known".to_owned());
    };
    let wanted = marker.by_id(kind, &place(there.namespace().as_deref(), &there.name_any()));
    match there.annotations().get(MARK_ANNOTATION) {
        Some(mark) if *mark == wanted => Judgement::Ours,
        Some(_) => Judgement::Foreign("its mark is not the run's: somebody else wrote it, or it is a copy".to_owned()),
        None => Judgement::Foreign("it has the run's label, which anybody can write, and no mark".to_owned()),
    }
}
