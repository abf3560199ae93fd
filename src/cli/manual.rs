//! `mtv-matrix completions` and `man`: what shells and manuals know of the command line, made from its one definition.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Args;
use super::{Stop, exit};

const NAME: &str = "mtv-matrix";

pub fn completions(shell: Shell) -> Result<u8, Stop> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), NAME, &mut text);
    super::print_text(&String::from_utf8_lossy(&text));
    Ok(exit::PASSED)
}

/// Prints the page of the program, or writes a page for each command: `mtv-matrix.1`, `mtv-matrix-run.1` …
pub fn pages(dir: Option<&Path>) -> Result<u8, Stop> {
    match dir {
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Args::command()).render(&mut text).map_err(Stop::environment)?;
            super::print_text(&String::from_utf8_lossy(&text));
        }
        Some(dir) => {
            let failed = |error| Stop::environment(format!("failed to write the pages to {}: {error}", dir.display()));
            std::fs::create_dir_all(dir).map_err(failed)?;
            clap_mangen::generate_to(Args::command(), dir).map_err(failed)?;
        }
    }
    Ok(exit::PASSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_what_is_hidden_has_none() {
        let dir = tempfile::tempdir().unwrap();
        pages(Some(dir.path())).unwrap();
        let page = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        for name in ["mtv-matrix.1", "mtv-matrix-run.1", "mtv-matrix-config-schema.1"] {
            assert!(page(name).contains(".SH SYNOPSIS"), "{name}");
        }
        assert!(page("mtv-matrix-run.1").contains("fail\\-fast"), "{}", page("mtv-matrix-run.1"));
        assert_eq!(page("mtv-matrix-forklift-supervisor.1"), "");
        let refused = pages(Some(&dir.path().join("mtv-matrix.1"))).unwrap_err();
        assert!(refused.message.contains("mtv-matrix.1"), "{}", refused.message);
    }
}
