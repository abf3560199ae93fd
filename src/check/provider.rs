//! TLS verification of the Provider is as configured.

use super::platform::{self, Tls};
use super::{Facts, Judgement, failed, not_judged, part, passed};

/// The Secret says what was configured, and MTV acts on what the Secret says.
pub(super) fn tls(facts: &Facts<'_>) -> Vec<Judgement> {
    let tls = platform::of(facts.platform).tls;
    if tls == Tls::None {
        return Vec::new();
    }
    let stored = match &facts.provider.insecure_skip_verify {
        Ok(value) => value.trim(),
        Err(why) => return vec![(None, not_judged(format!("insecureSkipVerify could not be read: {why}")))],
    };
    let wanted = facts.provider.wanted_insecure.to_string();
    if stored != wanted {
        return vec![part(
            "insecureSkipVerify",
            failed(format!("insecureSkipVerify \"{wanted}\""), format!("insecureSkipVerify \"{stored}\"")),
        )];
    }
    let mut judgements = vec![part("insecureSkipVerify", passed(format!("\"{stored}\"")))];
    if tls == Tls::Told {
        let text = |present: bool| if present { "condition present" } else { "condition absent" };
        let (wanted, actual) = (facts.provider.wanted_insecure, facts.provider.connection_insecure);
        let condition = if wanted == actual { passed(text(actual)) } else { failed(text(wanted), text(actual)) };
        judgements.push(part("ConnectionInsecure", condition));
    }
    judgements
}
