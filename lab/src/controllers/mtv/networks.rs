//! Which row of the NetworkMap each NIC of a VM lands by.
//!
//! Source: pkg/controller/plan/adapter/base/network.go at 2.11.7, 2.12.5 and main. Pure.

use super::MtvVersion;
use super::validate::{means, same};
use crate::api::forklift::{NetworkPair, Ref};
use crate::inventory::model::InvNic;

/// What a platform's builder makes of several NICs of a VM on one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// Each takes another NAD of the network's rows.
    Shared,
    /// The first row holds for all of them (OpenShift).
    First,
    /// The first row, and the first NIC alone: others are dropped (OpenStack).
    FirstOfOne,
}

/// Where one NIC lands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Landing<'a> {
    By(&'a NetworkPair),
    /// Its network has rows, and every NAD of theirs is taken by another NIC of this VM.
    UsedUp,
    /// No row names its network.
    Unmapped,
}

/// The maps as they were resolved, and the rule by which they are read.
pub(super) struct Map<'a> {
    pub refs: &'a [Ref],
    pub rows: &'a [NetworkPair],
    pub version: MtvVersion,
}

impl<'a> Map<'a> {
    fn rows_of(&self, nic: &InvNic) -> Vec<&'a NetworkPair> {
        let Some(resolved) = self.refs.iter().find(|r| means(r, &nic.network_id)) else { return Vec::new() };
        self.rows.iter().filter(|row| same(&row.source, resolved)).collect()
    }

    /// As validation and most builders share rows out: a row that is no NAD takes every NIC, a NAD one of each VM.
    /// Main lets a network's only row take all of them; before 2.11 any first row does.
    pub(super) fn shared_out(&self, nics: &[InvNic]) -> Vec<Landing<'a>> {
        let mut taken = Vec::new();
        let mut land = |nic: &InvNic| {
            let rows = self.rows_of(nic);
            let Some(first) = rows.first() else { return Landing::Unmapped };
            if let Some(other) = rows.iter().find(|row| row.destination.type_ != "multus") {
                return Landing::By(other);
            }
            let one_for_all = !self.version.at_least(11) || (self.version.at_least(13) && rows.len() == 1);
            if one_for_all {
                return Landing::By(first);
            }
            match rows.iter().find(|row| !taken.contains(&&row.destination)) {
                Some(free) => {
                    taken.push(&free.destination);
                    Landing::By(free)
                }
                None => Landing::UsedUp,
            }
        };
        nics.iter().map(&mut land).collect()
    }

    /// The row of each NIC that the migrated VM has, by the platform's builder; `None`: it has none.
    pub(super) fn built(&self, nics: &[InvNic], how: Rows) -> Vec<Option<&'a NetworkPair>> {
        let first = |nic: &InvNic| self.rows_of(nic).first().copied();
        match how {
            Rows::Shared => {
                let row = |landing| match landing {
                    Landing::By(row) => Some(row),
                    Landing::UsedUp | Landing::Unmapped => None,
                };
                self.shared_out(nics).into_iter().map(row).collect()
            }
            Rows::First => nics.iter().map(first).collect(),
            Rows::FirstOfOne => {
                let again = |at: usize, nic: &InvNic| nics.iter().take(at).any(|n| n.network_id == nic.network_id);
                nics.iter().enumerate().map(|(at, nic)| first(nic).filter(|_| !again(at, nic))).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::forklift::NetworkDestination;

    /// Where two NICs on network `a` land by rows `a → …`.
    fn two_nics(rows: &[&str], version: &str, how: Rows) -> Vec<String> {
        let refs = [Ref::by_id("a")];
        let row = |name: &&str| NetworkPair {
            source: Ref::by_id("a"),
            destination: NetworkDestination {
                type_: if *name == "pod" { "pod" } else { "multus" }.to_owned(),
                name: Some((*name).to_owned()),
                ..NetworkDestination::default()
            },
        };
        let rows: Vec<NetworkPair> = rows.iter().map(row).collect();
        let nic = || InvNic { network_id: "a".to_owned(), ..InvNic::default() };
        let map = Map { refs: &refs, rows: &rows, version: MtvVersion::parse(version).unwrap() };
        let name =
            |row: Option<&NetworkPair>| row.and_then(|row| row.destination.name.clone()).unwrap_or("none".to_owned());
        map.built(&[nic(), nic()], how).into_iter().map(name).collect()
    }

    #[test]
    fn two_nics_on_one_network_take_two_nads_where_mtv_shares_its_rows_out() {
        for version in ["2.11", "2.12", "2.13"] {
            assert_eq!(two_nics(&["n1", "n2"], version, Rows::Shared), ["n1", "n2"], "{version}");
            assert_eq!(two_nics(&["n1", "pod"], version, Rows::Shared), ["pod", "pod"], "{version}");
        }
        assert_eq!(two_nics(&["n1"], "2.12", Rows::Shared), ["n1", "none"]);
        assert_eq!(two_nics(&["n1"], "2.13", Rows::Shared), ["n1", "n1"]);
        assert_eq!(two_nics(&["n1"], "2.10", Rows::Shared), ["n1", "n1"]);
        assert_eq!(two_nics(&["n1", "n2"], "2.12", Rows::First), ["n1", "n1"]);
        assert_eq!(two_nics(&["n1", "n2"], "2.12", Rows::FirstOfOne), ["n1", "none"]);
    }
}
