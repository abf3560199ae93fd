//! Filter expressions: `tag(tier0) and provider(vsphere*) and not tag(warm)`.
//!
//! `not` (`!`) binds tighter than `and` (`&`), `and` tighter than `or` (`|`). Arguments are globs.

use winnow::combinator::{alt, cut_err, delimited, not, peek, repeat, terminated};
use winnow::error::{StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::token::{one_of, take_while};

use super::{Cell, glob};
use crate::config::Scenario;

/// Longer expressions are refused, so that nesting can't exhaust the stack.
const MAX_LENGTH: usize = 1000;

/// Deeper nesting is refused for the same reason.
const MAX_NESTING: usize = 64;

/// What a predicate looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Tag,
    Provider,
    Scenario,
    Platform,
    Storage,
}

const FIELDS: &[(&str, Field)] = &[
    ("tag", Field::Tag),
    ("provider", Field::Provider),
    ("scenario", Field::Scenario),
    ("platform", Field::Platform),
    ("storage", Field::Storage),
];

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    Is(Field, String),
    Not(Box<Filter>),
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
}

/// An expression that can't be read, shown with a caret at the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter: {message}\n  {text}\n  {caret:>width$}", caret = "^", width = column + 1)]
pub struct FilterError {
    pub text: String,
    /// Characters before the place.
    pub column: usize,
    pub message: String,
}

impl Filter {
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let fail = |offset: usize, message: String| FilterError {
            text: text.to_owned(),
            column: text.get(..offset).map_or(0, |head| head.chars().count()),
            message,
        };
        if text.len() > MAX_LENGTH {
            return Err(fail(0, format!("longer than {MAX_LENGTH} characters")));
        }
        let opened = text.chars().filter(|c| *c == '!').count() + text.matches("not").count();
        let mut depth = 0usize;
        for (offset, c) in text.char_indices() {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth + opened > MAX_NESTING {
                return Err(fail(offset, format!("more than {MAX_NESTING} levels of brackets and negations")));
            }
        }
        delimited(space, any_of, space).parse(text).map_err(|error| {
            let offset = error.offset();
            let rest = text.get(offset..).unwrap_or_default().trim_start();
            let word: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
            let place = text.len() - rest.len();
            let expected: Vec<String> = error.inner().context().map(|c| c.to_string()).collect();
            let message = match expected.first() {
                Some(expected) if rest.is_empty() => format!("{expected} at the end"),
                Some(expected) if !word.is_empty() => {
                    let hint = crate::config::nearest(&word, FIELDS.iter().map(|(n, _)| *n))
                        .filter(|n| *n != word)
                        .map(|n| format!("; did you mean `{n}(...)`?"));
                    format!("{expected}{}", hint.unwrap_or_default())
                }
                Some(expected) => expected.clone(),
                None => "expected `and`, `or` or the end".to_owned(),
            };
            fail(place, message)
        })
    }

    /// Whether it asks for this scenario by its name or one of its tags.
    pub fn names(&self, scenario: &Scenario) -> bool {
        match self {
            Self::Is(Field::Tag, p) => scenario.tags.iter().any(|tag| glob::matches(p, tag)),
            Self::Is(Field::Scenario, p) => glob::matches(p, &scenario.name),
            Self::Is(Field::Provider | Field::Platform | Field::Storage, _) | Self::Not(_) => false,
            Self::And(a, b) | Self::Or(a, b) => a.names(scenario) || b.names(scenario),
        }
    }

    pub fn matches(&self, cell: &Cell) -> bool {
        let is = |pattern: &str, name: &str| glob::matches(pattern, name);
        match self {
            Self::Is(Field::Tag, p) => cell.scenario.tags.iter().any(|t| is(p, t)),
            Self::Is(Field::Provider, p) => is(p, &cell.profile.name),
            Self::Is(Field::Scenario, p) => is(p, &cell.scenario.name),
            Self::Is(Field::Platform, p) => is(p, cell.profile.platform.name()),
            Self::Is(Field::Storage, p) => is(p, &cell.storage_class),
            Self::Not(inner) => !inner.matches(cell),
            Self::And(a, b) => a.matches(cell) && b.matches(cell),
            Self::Or(a, b) => a.matches(cell) || b.matches(cell),
        }
    }
}

fn space(input: &mut &str) -> ModalResult<()> {
    take_while(0.., char::is_whitespace).void().parse_next(input)
}

fn word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// `and` but not the head of `android`.
fn keyword<'a>(word: &'static str) -> impl ModalParser<&'a str, (), winnow::error::ContextError> {
    terminated(word, peek(not(one_of(word_char)))).void()
}

fn any_of(input: &mut &str) -> ModalResult<Filter> {
    let first = all_of.parse_next(input)?;
    let operator = delimited(space, alt((keyword("or"), "|".void())), space);
    let more: Vec<Filter> = repeat(0.., winnow::combinator::preceded(operator, cut_err(all_of))).parse_next(input)?;
    Ok(more.into_iter().fold(first, |a, b| Filter::Or(Box::new(a), Box::new(b))))
}

fn all_of(input: &mut &str) -> ModalResult<Filter> {
    let first = one.parse_next(input)?;
    let operator = delimited(space, alt((keyword("and"), "&".void())), space);
    let more: Vec<Filter> = repeat(0.., winnow::combinator::preceded(operator, cut_err(one))).parse_next(input)?;
    Ok(more.into_iter().fold(first, |a, b| Filter::And(Box::new(a), Box::new(b))))
}

fn one(input: &mut &str) -> ModalResult<Filter> {
    space.parse_next(input)?;
    alt((negated, grouped, predicate))
        .context(StrContext::Expected(StrContextValue::Description(
            "tag(...), provider(...), scenario(...), platform(...), storage(...), not or (",
        )))
        .parse_next(input)
}

fn negated(input: &mut &str) -> ModalResult<Filter> {
    alt((keyword("not"), "!".void())).parse_next(input)?;
    cut_err(one).parse_next(input).map(|f| Filter::Not(Box::new(f)))
}

fn close(input: &mut &str) -> ModalResult<()> {
    space.parse_next(input)?;
    cut_err(')'.void()).context(StrContext::Expected(StrContextValue::CharLiteral(')'))).parse_next(input)
}

fn grouped(input: &mut &str) -> ModalResult<Filter> {
    '('.parse_next(input)?;
    let inner = cut_err(any_of).parse_next(input)?;
    close.parse_next(input)?;
    Ok(inner)
}

fn predicate(input: &mut &str) -> ModalResult<Filter> {
    let field = terminated(take_while(1.., word_char), (space, '('))
        .verify_map(|name: &str| FIELDS.iter().find(|(n, _)| *n == name).map(|(_, f)| *f))
        .parse_next(input)?;
    let pattern = cut_err(take_while(0.., |c: char| !matches!(c, '(' | ')')).verify(|t: &str| !t.trim().is_empty()))
        .context(StrContext::Expected(StrContextValue::Description("a name or a glob")))
        .parse_next(input)?;
    close.parse_next(input)?;
    Ok(Filter::Is(field, pattern.trim().to_owned()))
}
