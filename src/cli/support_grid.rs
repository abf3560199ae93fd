//! `mtv-matrix list --support`: what each platform can do, as a grid for people and as JSON.

use serde_json::{Value, json};

use crate::matrix::support::{PLATFORMS, Support, TABLE};

/// A grid with numbered notes below it.
pub fn table() -> String {
    let mut notes: Vec<String> = Vec::new();
    let mut rows: Vec<Vec<String>> =
        vec![std::iter::once("CAPABILITY").chain(PLATFORMS.iter().map(|p| p.name())).map(str::to_owned).collect()];
    for capability in TABLE {
        let mut row = vec![capability.name.to_owned()];
        for platform in PLATFORMS {
            let support = capability.on(platform);
            let number = support.why().map(|why| match notes.iter().position(|known| *known == why) {
                Some(known) => known + 1,
                None => {
                    notes.push(why);
                    notes.len()
                }
            });
            row.push(number.map_or_else(|| support.word(), |number| format!("{} [{number}]", support.word())));
        }
        rows.push(row);
    }
    let widths: Vec<usize> = (0..=PLATFORMS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut out = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out.push_str(
        "\nyes: supported · 2.10+: from this MTV on · gate: hangs on a flag of the cluster · lost: migrates, but MTV does\n\
         not carry it over, and its check is not judged · as is: judged when the VM is read · no: the cell is skipped\n",
    );
    for (number, note) in notes.iter().enumerate() {
        out.push_str(&format!("[{}] {note}\n", number + 1));
    }
    out
}

/// The capabilities, a line each.
pub fn names() -> String {
    TABLE.iter().map(|capability| format!("{}\n", capability.name)).collect()
}

/// The same for programs; fields are only ever added.
pub fn json() -> String {
    let rows: Vec<Value> = TABLE
        .iter()
        .map(|capability| {
            let by: serde_json::Map<String, Value> =
                PLATFORMS.iter().map(|platform| (platform.name().to_owned(), cell(capability.on(*platform)))).collect();
            json!({"capability": capability.name, "platforms": by})
        })
        .collect();
    format!("{:#}\n", json!({"version": 1, "support": rows}))
}

fn cell(support: Support) -> Value {
    let (kind, since, gate) = match support {
        Support::Yes => ("yes", None, None),
        Support::Since(since) => ("yes", Some(since), None),
        Support::Gated(since, gate) => ("gated", Some(since), Some(gate)),
        Support::Lost(_) => ("lost", None, None),
        Support::LostBefore(since, _) => ("lost", Some(since), None),
        Support::AsItIs(_) => ("as-is", None, None),
        Support::No(_) => ("no", None, None),
    };
    json!({
        "support": kind, "since_mtv": since, "gate": gate.map(|gate| gate.key),
        "gate_on_by_default_since_mtv": gate.map(|gate| gate.on_since), "why": support.why(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_of_the_grid_is_explained_below_it() {
        let grid = table();
        let (above, below) = grid.split_once("\n\n").unwrap();
        let numbers = above.split('[').skip(1).filter_map(|rest| rest.split(']').next()?.parse::<usize>().ok());
        let most = numbers.max().unwrap();
        for number in 1..=most {
            assert!(below.contains(&format!("\n[{number}] ")), "note {number}: {grid}");
        }
        assert!(grid.lines().all(|line| line.chars().count() <= 160), "{grid}");
    }

    #[test]
    fn the_json_names_every_gate_and_version() {
        let value: Value = serde_json::from_str(&json()).unwrap();
        let warm =
            value["support"].as_array().unwrap().iter().find(|row| row["capability"] == "warm migration").unwrap();
        assert_eq!(warm["platforms"]["ovirt"]["gate"], "controller_ovirt_warm_migration");
        assert_eq!(warm["platforms"]["ova"]["support"], "no");
    }
}
