//! The command that runs again what did not pass, as it is printed below a red summary.
//!
//! Knows command lines as they were typed, not as they were parsed: what is pasted shall look like what was typed.

use std::path::{Path, PathBuf};

use crate::config::secret::{is_secret, login_of};

/// The command line of this run with `--rerun`. Values of secret settings are not shown again. `build`: of several
/// builds of Forklift the one that this run had.
pub fn command(args: impl Iterator<Item = String>, build: Option<&PathBuf>, dir: &Path) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut args = args.skip(1);
    while let Some(arg) = args.next() {
        let mut value_of = |flag: &str| {
            let rest = arg.strip_prefix(flag).filter(|rest| rest.is_empty() || rest.starts_with('='))?;
            Some(rest.strip_prefix('=').map_or_else(|| args.next().unwrap_or_default(), str::to_owned))
        };
        if value_of("--rerun").or_else(|| value_of("--forklift")).is_some() {
            continue;
        }
        if let Some(value) = value_of("--set") {
            let secret = value.split_once('=').filter(|(key, value)| is_secret(key) || login_of(value).is_some());
            words.push("--set".to_owned());
            words.push(secret.map_or_else(|| value.clone(), |(key, _)| format!("{key}=…")));
        } else {
            words.push(arg);
        }
    }
    for (flag, value) in [("--forklift", build.map(PathBuf::as_path)), ("--rerun", Some(dir))] {
        words.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value.display().to_string()]));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = words.into_iter().map(|word| match word.chars().all(plain) && !word.is_empty() {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    std::iter::once("mtv-matrix".to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(line: &str, build: Option<&str>) -> String {
        let build = build.map(PathBuf::from);
        command(line.split(' ').map(str::to_owned), build.as_ref(), Path::new("results/my run"))
    }

    #[test]
    fn the_command_that_runs_the_rest_is_this_one_with_its_results_and_without_secrets() {
        let line = "mtv run --lab --rerun results/a --set=cluster_password=x1 --set jobs=4 --set \
            metrics_push=https://u:x1@gateway -E tag(cold)";
        assert_eq!(
            again(line, None),
            "mtv-matrix run --lab --set 'cluster_password=…' --set jobs=4 --set 'metrics_push=…' -E 'tag(cold)' \
             --rerun 'results/my run'"
        );
    }

    #[test]
    fn of_several_builds_the_one_that_failed_runs_again() {
        assert_eq!(
            again("mtv run --lab --forklift ./before --forklift=./after", Some("./after")),
            "mtv-matrix run --lab --forklift ./after --rerun 'results/my run'"
        );
    }
}
