//! Commands behind a pipe: the few that people put there.

use super::directory::lines;
use super::shell::Answer;

/// What a command makes of its input; nothing: the lab has no such filter.
pub(super) fn filter(words: &[String], input: &str) -> Option<Answer> {
    let (command, rest) = words.split_first()?;
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let option = |letter: char| rest.iter().any(|word| word.starts_with('-') && word.contains(letter));
    let plain: Vec<&str> = rest.iter().copied().filter(|word| !word.starts_with('-')).collect();
    let text = match command.rsplit('/').next().unwrap_or_default() {
        "grep" | "egrep" | "fgrep" => {
            let wanted = plain.first()?;
            let (any_case, other) = (option('i'), option('v'));
            let folded = |text: &str| if any_case { text.to_lowercase() } else { text.to_owned() };
            let patterns: Vec<String> = wanted.split('|').map(|part| folded(part.trim_end_matches('\\'))).collect();
            let kept: Vec<&str> = input
                .split_inclusive('\n')
                .filter(|line| patterns.iter().any(|pattern| matches(&folded(line.trim_end()), pattern)) != other)
                .collect();
            let code = u32::from(kept.is_empty());
            let stdout = if option('c') { format!("{}\n", kept.len()) } else { kept.concat() };
            let stdout = if option('q') { String::new() } else { stdout };
            return Some(Answer { stdout, code, ..Answer::default() });
        }
        name @ ("head" | "tail") => {
            let count = rest.iter().find_map(|word| word.trim_start_matches(['-', 'n']).parse::<usize>().ok());
            lines(input, count.unwrap_or(10), name == "tail")
        }
        "wc" => {
            let counts = [('l', input.lines().count()), ('w', input.split_whitespace().count()), ('c', input.len())];
            let asked: Vec<String> =
                counts.iter().filter(|(letter, _)| option(*letter)).map(|(_, count)| count.to_string()).collect();
            let all = || counts.iter().map(|(_, count)| format!("{count:>7}")).collect::<String>();
            format!("{}\n", if asked.is_empty() { all() } else { asked.join(" ") })
        }
        "sort" => {
            let mut all: Vec<&str> = input.lines().collect();
            all.sort_unstable();
            if option('r') {
                all.reverse();
            }
            if option('u') {
                all.dedup();
            }
            all.iter().map(|line| format!("{line}\n")).collect()
        }
        "cat" | "less" | "more" => input.to_owned(),
        "tee" => {
            let file = plain.first()?;
            return Some(Answer {
                written: [((*file).to_owned(), input.to_owned())].into(),
                ..Answer::out(input.to_owned())
            });
        }
        _ => return None,
    };
    Some(Answer::out(text))
}

/// A pattern without more than its anchors.
fn matches(line: &str, pattern: &str) -> bool {
    match (pattern.strip_prefix('^'), pattern.strip_suffix('$')) {
        (Some(rest), Some(_)) => line == rest.trim_end_matches('$'),
        (Some(rest), None) => line.starts_with(rest),
        (None, Some(rest)) => line.ends_with(rest),
        (None, None) => line.contains(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_filters_keep_what_theirs_would() {
        let of = |line: &str, input: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            filter(&words, input).map(|answer| answer.stdout)
        };
        let text = "b one\na two\nB three\n";
        assert_eq!(of("grep -i ^b", text).as_deref(), Some("b one\nB three\n"));
        assert_eq!(of("grep -v two", text).as_deref(), Some("b one\nB three\n"));
        assert_eq!(of("head -1", text).as_deref(), Some("b one\n"));
        assert_eq!(of("tail -n 1", text).as_deref(), Some("B three\n"));
        assert_eq!(of("wc -l", text).as_deref(), Some("3\n"));
        assert_eq!(of("sort", "b\na\n").as_deref(), Some("a\nb\n"));
        assert_eq!(of("awk {print}", text), None);
    }
}
