//! The engine's query language, as far as clients of this field use it.

use std::collections::BTreeMap;

/// Characters that make a query illegal.
const FORBIDDEN: &[char] = &['<', '>', '&', '^', '!', '\''];

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    /// Lower case, `Vms.id` → `vms.id`.
    field: String,
    value: String,
}

/// A query: any of groups of conditions that must all hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Search {
    any: Vec<Vec<Condition>>,
    /// From 1.
    pub page: usize,
}

impl Search {
    /// `None`: an illegal query, which finds nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let mut search = Self { any: vec![Vec::new()], page: 1 };
        let mut words = words(text)?.into_iter().peekable();
        while let Some(word) = words.next() {
            match word.to_lowercase().as_str() {
                "and" => {}
                "or" => search.any.push(Vec::new()),
                "page" => search.page = words.next()?.parse().ok().filter(|page| *page > 0)?,
                "sortby" => {
                    words.next()?;
                    words.next_if(|w| w.eq_ignore_ascii_case("asc") || w.eq_ignore_ascii_case("desc"));
                }
                field => {
                    if words.next()? != "=" {
                        return None;
                    }
                    let value = words.next()?;
                    if value.contains(FORBIDDEN) {
                        return None;
                    }
                    search.any.last_mut()?.push(Condition { field: field.to_owned(), value });
                }
            }
        }
        search.any.retain(|group| !group.is_empty());
        Some(search)
    }

    /// Whether an object with these fields is meant.
    pub fn fits(&self, fields: &BTreeMap<&str, String>, case_sensitive: bool) -> bool {
        let holds = |c: &Condition| fields.get(c.field.as_str()).is_some_and(|v| like(&c.value, v, case_sensitive));
        self.any.is_empty() || self.any.iter().any(|group| group.iter().all(holds))
    }
}

/// Words, `=` on its own, quoted values without their quotes.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' => {}
            '=' => words.push("=".to_owned()),
            '"' => {
                let mut word = String::new();
                loop {
                    match chars.next()? {
                        '"' => break,
                        inner => word.push(inner),
                    }
                }
                words.push(word);
            }
            first => {
                let mut word = String::from(first);
                while let Some(next) = chars.next_if(|c| !matches!(c, ' ' | '=' | '"')) {
                    word.push(next);
                }
                words.push(word);
            }
        }
    }
    Some(words)
}

/// `ILIKE` with `*` as the only wildcard, over the whole text.
fn like(pattern: &str, text: &str, case_sensitive: bool) -> bool {
    let fold = |s: &str| if case_sensitive { s.to_owned() } else { s.to_lowercase() };
    let (pattern, text) = (fold(pattern), fold(text));
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(query: &str, name: &str) -> bool {
        let fields = BTreeMap::from([("name", name.to_owned()), ("cluster", "Default".to_owned())]);
        Search::parse(query).is_some_and(|search| search.fits(&fields, false))
    }

    #[test]
    fn a_search_is_a_like_without_case_over_the_whole_text() {
        assert!(found("name=ABC", "abc"));
        assert!(!found("name=ab", "abc"));
        assert!(found("name=a*", "abc") && found("name = *b*", "abc") && !found("name=b*", "abc"));
        assert!(!found("name=a_c", "abc"), "an underscore is no wildcard");
        assert!(found("name=\"my vm\"", "My VM"));
    }

    #[test]
    fn conditions_side_by_side_all_hold_and_or_is_either() {
        assert!(found("name=abc cluster=Default", "abc") && !found("name=abc cluster=other", "abc"));
        assert!(found("name=x or name=abc and cluster=default", "abc"));
        assert!(found("", "abc") && found("page 2", "abc") && found("sortby name asc", "abc"));
        assert_eq!(Search::parse("name=a page 3").unwrap().page, 3);
    }

    #[test]
    fn an_illegal_query_finds_nothing() {
        assert!(!found("name=it's", "it's") && !found("name", "name") && !found("name=\"open", "open"));
    }
}
