//! TLS verification of the Provider is as configured.

use crate::config::Platform;

use super::{Facts, Judgement, failed, not_judged, part, passed};

/// What MTV makes of `insecureSkipVerify` in a Provider's Secret.
enum Tls {
    /// It connects as told, and says so by the condition `ConnectionInsecure`
    /// (`pkg/controller/provider/validation.go`, 2.9 to 2.12).
    Told,
    /// It connects as told.
    Untold,
    /// There is nothing to verify.
    None,
}

fn tls_of(platform: Platform) -> Tls {
    match platform {
        Platform::Vsphere | Platform::Ovirt | Platform::Hyperv => Tls::Told,
        Platform::Openstack | Platform::Openshift => Tls::Untold,
        Platform::Ova | Platform::Ec2 => Tls::None,
    }
}

/// The Secret says what was configured, and MTV acts on what the Secret says.
pub(super) fn tls(facts: &Facts<'_>) -> Vec<Judgement> {
    let tls = tls_of(facts.platform);
    if matches!(tls, Tls::None) {
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
    if matches!(tls, Tls::Told) {
        let text = |present: bool| if present { "condition present" } else { "condition absent" };
        let (wanted, actual) = (facts.provider.wanted_insecure, facts.provider.connection_insecure);
        let condition = if wanted == actual { passed(text(actual)) } else { failed(text(wanted), text(actual)) };
        judgements.push(part("ConnectionInsecure", condition));
    }
    judgements
}
