//! The 29 Sprig functions that Forklift allows in templates, and Go's own that people use.
//!
//! The piped value comes last, as in Sprig. Indices count bytes in Go; names here are ASCII, and
//! text that a cut would split inside a character is an error rather than a broken string.

use super::template_value::{TemplateError, Value};

/// Longest result of `repeat`: a PVC name has 63 characters.
const MAX_REPEAT: usize = 4096;

type Result<T> = std::result::Result<T, TemplateError>;

struct Args<'a> {
    function: &'a str,
    values: &'a [Value],
}

impl Args<'_> {
    fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(TemplateError::Function { function: self.function.to_owned(), message: message.into() })
    }
    fn exactly(&self, n: usize) -> Result<()> {
        if self.values.len() == n {
            return Ok(());
        }
        self.fail(format!("wrong number of args: want {n} got {}", self.values.len()))
    }
    fn at_least(&self, n: usize) -> Result<()> {
        if self.values.len() >= n {
            return Ok(());
        }
        self.fail(format!("wrong number of args: want at least {n} got {}", self.values.len()))
    }
    fn text(&self, i: usize) -> Result<&str> {
        match self.values.get(i) {
            Some(Value::Str(text)) => Ok(text),
            other => self.fail(format!("wrong type for argument {}: {other:?} is no string", i + 1)),
        }
    }
    fn index(&self, i: usize) -> Result<i64> {
        match self.values.get(i) {
            Some(Value::Int(n)) => Ok(*n),
            other => self.fail(format!("wrong type for argument {}: {other:?} is no int", i + 1)),
        }
    }
    /// Sprig casts: text that is a number counts, any other is 0.
    fn int(&self, i: usize) -> i64 {
        match self.values.get(i) {
            Some(Value::Int(n)) => *n,
            #[expect(clippy::cast_possible_truncation, reason = "Go truncates as well")]
            Some(Value::Float(n)) => *n as i64,
            Some(Value::Bool(b)) => i64::from(*b),
            Some(Value::Str(text)) => text.trim().parse().unwrap_or(0),
            None => 0,
        }
    }
    fn float(&self, i: usize) -> f64 {
        match self.values.get(i) {
            #[expect(clippy::cast_precision_loss, reason = "Go converts the same way")]
            Some(Value::Int(n)) => *n as f64,
            Some(Value::Float(n)) => *n,
            Some(Value::Bool(b)) => f64::from(u8::from(*b)),
            Some(Value::Str(text)) => text.trim().parse().unwrap_or(0.0),
            None => 0.0,
        }
    }
    fn ints(&self) -> impl Iterator<Item = i64> {
        (0..self.values.len()).map(|i| self.int(i))
    }
}

/// Calls `function`; the piped value, if any, is the last of `values`.
pub(super) fn call(function: &str, values: &[Value]) -> Result<Value> {
    let args = Args { function, values };
    if let Some(value) = text_function(&args)? {
        return Ok(value);
    }
    if let Some(value) = number_function(&args)? {
        return Ok(value);
    }
    match go_function(&args)? {
        Some(value) => Ok(value),
        None => Err(TemplateError::Syntax(format!("function {function:?} not defined"))),
    }
}

fn text_function(args: &Args<'_>) -> Result<Option<Value>> {
    let one = || args.exactly(1).and_then(|()| args.text(0));
    let two = || args.exactly(2).and_then(|()| Ok((args.text(0)?, args.text(1)?)));
    let text = |text: String| Ok(Some(Value::Str(text)));
    match args.function {
        "lower" => text(one()?.to_lowercase()),
        "upper" => text(one()?.to_uppercase()),
        "trim" => text(one()?.trim().to_owned()),
        "title" => text(title(one()?)),
        "untitle" => text(words_first(one()?, |c| c.to_lowercase().collect())),
        "nospace" => text(one()?.split_whitespace().collect()),
        "initials" => text(one()?.split_whitespace().filter_map(|word| word.chars().next()).collect()),
        "contains" => two().map(|(part, whole)| Some(Value::Bool(whole.contains(part)))),
        "hasPrefix" => two().map(|(part, whole)| Some(Value::Bool(whole.starts_with(part)))),
        "hasSuffix" => two().map(|(part, whole)| Some(Value::Bool(whole.ends_with(part)))),
        "trimAll" => two().and_then(|(set, whole)| text(whole.trim_matches(|c| set.contains(c)).to_owned())),
        "trimSuffix" => two().and_then(|(part, whole)| text(whole.strip_suffix(part).unwrap_or(whole).to_owned())),
        "trimPrefix" => two().and_then(|(part, whole)| text(whole.strip_prefix(part).unwrap_or(whole).to_owned())),
        "replace" => {
            args.exactly(3)?;
            text(args.text(2)?.replace(args.text(0)?, args.text(1)?))
        }
        "repeat" => {
            args.exactly(2)?;
            let (n, part) = (args.index(0)?, args.text(1)?);
            match usize::try_from(n) {
                Ok(n) if n.saturating_mul(part.len()) <= MAX_REPEAT => text(part.repeat(n)),
                Ok(_) => args.fail("the result is too long"),
                Err(_) => args.fail("negative repeat count"),
            }
        }
        "trunc" => {
            args.exactly(2)?;
            text(trunc(args, args.index(0)?, args.text(1)?)?)
        }
        "substr" => {
            args.exactly(3)?;
            let (start, end, whole) = (args.index(0)?, args.index(1)?, args.text(2)?);
            let length = i64::try_from(whole.len()).unwrap_or(i64::MAX);
            text(match (start, end) {
                (start, end) if start < 0 => slice(args, whole, 0, end)?,
                (start, end) if end < 0 || end > length => slice(args, whole, start, length)?,
                (start, end) => slice(args, whole, start, end)?,
            })
        }
        "mustRegexReplaceAll" => {
            args.exactly(3)?;
            match regex::Regex::new(args.text(0)?) {
                Ok(regex) => text(regex.replace_all(args.text(1)?, args.text(2)?).into_owned()),
                Err(error) => args.fail(format!("bad regular expression: {error}")),
            }
        }
        _ => Ok(None),
    }
}

fn slice(args: &Args<'_>, text: &str, from: i64, to: i64) -> Result<String> {
    let part = usize::try_from(from).ok().zip(usize::try_from(to).ok()).and_then(|(from, to)| text.get(from..to));
    match part {
        Some(part) => Ok(part.to_owned()),
        None => args.fail("slice bounds out of range"),
    }
}

fn trunc(args: &Args<'_>, n: i64, text: &str) -> Result<String> {
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    match n {
        n if n < 0 && length.saturating_add(n) > 0 => slice(args, text, length.saturating_add(n), length),
        n if n >= 0 && length > n => slice(args, text, 0, n),
        _ => Ok(text.to_owned()),
    }
}

/// Go's `strings.Title`: a word begins after anything that is no letter, digit or underscore.
fn title(text: &str) -> String {
    let mut inside = false;
    text.chars()
        .flat_map(|c| {
            let first = !inside;
            inside = c.is_alphanumeric() || c == '_';
            if first { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect()
}

/// Changes the first character of each word; words are parted by blanks.
fn words_first(text: &str, change: impl Fn(char) -> String) -> String {
    let mut inside = false;
    text.chars()
        .map(|c| {
            let first = !inside && !c.is_whitespace();
            inside = !c.is_whitespace();
            if first { change(c) } else { c.to_string() }
        })
        .collect()
}

fn number_function(args: &Args<'_>) -> Result<Option<Value>> {
    let int = |n: i64| Ok(Some(Value::Int(n)));
    let divide = |with: fn(i64, i64) -> Option<i64>| {
        args.exactly(2)?;
        match with(args.int(0), args.int(1)) {
            Some(n) => int(n),
            None => args.fail("integer divide by zero"),
        }
    };
    match args.function {
        "add" => int(args.ints().fold(0, i64::wrapping_add)),
        "add1" => args.exactly(1).and_then(|()| int(args.int(0).wrapping_add(1))),
        "sub" => args.exactly(2).and_then(|()| int(args.int(0).wrapping_sub(args.int(1)))),
        "mul" => args.at_least(1).and_then(|()| int(args.ints().fold(1, i64::wrapping_mul))),
        "div" => divide(i64::checked_div),
        "mod" => divide(i64::checked_rem),
        "max" => args.at_least(1).and_then(|()| int(args.ints().max().unwrap_or_default())),
        "min" => args.at_least(1).and_then(|()| int(args.ints().min().unwrap_or_default())),
        "floor" => args.exactly(1).map(|()| Some(Value::Float(args.float(0).floor()))),
        "ceil" => args.exactly(1).map(|()| Some(Value::Float(args.float(0).ceil()))),
        "round" => {
            args.at_least(2)?;
            let on = if args.values.len() > 2 { args.float(2) } else { 0.5 };
            let scale = 10f64.powi(i32::try_from(args.int(1)).unwrap_or_default());
            let digit = scale * args.float(0);
            let up = digit.fract() >= on;
            Ok(Some(Value::Float(if up { digit.ceil() } else { digit.floor() } / scale)))
        }
        _ => Ok(None),
    }
}

fn go_function(args: &Args<'_>) -> Result<Option<Value>> {
    use std::cmp::Ordering;
    let truth = |b: bool| Ok(Some(Value::Bool(b)));
    let compare = |fits: fn(Ordering) -> bool| {
        args.exactly(2)?;
        match (args.values.first(), args.values.get(1)) {
            (Some(Value::Int(a)), Some(Value::Int(b))) => truth(fits(a.cmp(b))),
            (Some(Value::Str(a)), Some(Value::Str(b))) => truth(fits(a.cmp(b))),
            (Some(Value::Float(a)), Some(Value::Float(b))) => truth(a.partial_cmp(b).is_some_and(fits)),
            _ => args.fail("incompatible types for comparison"),
        }
    };
    match args.function {
        "eq" => {
            args.at_least(2)?;
            let first = args.values.first();
            if args.values.iter().any(|v| first.map(std::mem::discriminant) != Some(std::mem::discriminant(v))) {
                return args.fail("incompatible types for comparison");
            }
            truth(args.values.iter().skip(1).any(|value| Some(value) == first))
        }
        "ne" => {
            args.exactly(2)?;
            let (first, second) = (args.values.first(), args.values.get(1));
            if first.map(std::mem::discriminant) != second.map(std::mem::discriminant) {
                return args.fail("incompatible types for comparison");
            }
            truth(first != second)
        }
        "lt" => compare(Ordering::is_lt),
        "le" => compare(Ordering::is_le),
        "gt" => compare(Ordering::is_gt),
        "ge" => compare(Ordering::is_ge),
        "not" => args.exactly(1).and_then(|()| truth(!args.values.iter().all(Value::truth))),
        "and" | "or" => {
            args.at_least(1)?;
            let stop_at = args.function == "or";
            let chosen = args.values.iter().find(|value| value.truth() == stop_at).or(args.values.last());
            Ok(chosen.cloned())
        }
        "len" => {
            args.exactly(1)?;
            Ok(Some(Value::Int(i64::try_from(args.text(0)?.len()).unwrap_or(i64::MAX))))
        }
        "print" => Ok(Some(Value::Str(print(args.values)))),
        "printf" => printf(args).map(|text| Some(Value::Str(text))),
        _ => Ok(None),
    }
}

/// Go's `Sprint`: a blank between two of which none is a text.
fn print(values: &[Value]) -> String {
    let (mut out, mut before_is_text) = (String::new(), true);
    for value in values {
        let is_text = matches!(value, Value::Str(_));
        if !is_text && !before_is_text {
            out.push(' ');
        }
        out.push_str(&value.to_string());
        before_is_text = is_text;
    }
    out
}

/// `%s`, `%v`, `%d` with a zero or blank width, `%q` and `%%`.
fn printf(args: &Args<'_>) -> Result<String> {
    args.at_least(1)?;
    let mut values = args.values.iter().skip(1);
    let mut out = String::new();
    let mut chars = args.text(0)?.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let zero = chars.next_if_eq(&'0').is_some();
        let mut width = String::new();
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            width.push(digit);
        }
        let width = width.parse::<usize>().unwrap_or(0).min(MAX_REPEAT);
        let verb = chars.next();
        if verb == Some('%') {
            out.push('%');
            continue;
        }
        let text = match (verb, values.next()) {
            (Some('s'), Some(Value::Str(text))) => text.clone(),
            (Some('v'), Some(value)) => value.to_string(),
            (Some('d'), Some(Value::Int(n))) => n.to_string(),
            (Some('q'), Some(Value::Str(text))) => format!("{text:?}"),
            (verb, value) => return args.fail(format!("verb {verb:?} does not fit {value:?}")),
        };
        for _ in text.chars().count()..width {
            out.push(if zero { '0' } else { ' ' });
        }
        out.push_str(&text);
    }
    if values.next().is_some() { args.fail("more arguments than verbs") } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Value;
    use crate::check::template::render;

    /// What Go itself makes of more than two thousand templates, by `conformance/templates`.
    const VECTORS: &str = include_str!("template_vectors.jsonl");

    #[derive(serde::Deserialize)]
    struct Vector {
        template: String,
        /// Not there: an error.
        text: Option<String>,
    }

    /// What Go renders and this does not: its checks say *not judged*.
    const NOT_SPOKEN: [&str; 7] = [
        "{{ 'a' }}",
        "{{ with .VmName }}{{ . }}{{ end }}",
        "{{ $x := 1 }}{{ $x }}",
        "{{ 0x10 }}",
        "{{ .VmName | }}",
        r#"{{ printf "%x" .DiskIndex }}"#,
        r#"{{ printf "%x" .VmName }}"#,
    ];

    #[test]
    fn every_template_renders_as_go_and_sprig_render_it() {
        let text = |text: &str| Value::Str(text.to_owned());
        let fields = BTreeMap::from([
            ("VmName", text("My VM_01")),
            ("DiskIndex", Value::Int(2)),
            ("RootDiskIndex", Value::Int(0)),
            ("Shared", Value::Bool(false)),
            ("WinDriveLetter", text("c")),
            ("Empty", text("")),
        ]);
        let (mut wrong, mut not_spoken) = (Vec::new(), Vec::new());
        for line in VECTORS.lines() {
            let vector: Vector = serde_json::from_str(line).unwrap();
            match (render(&vector.template, &fields), vector.text) {
                (Ok(ours), Some(theirs)) if ours == theirs => {}
                (Err(_), None) => {}
                // Go's way to say that a verb and its value do not fit; no name has it.
                (Err(_), Some(theirs)) if theirs.contains("%!") => {}
                (Err(_), Some(_)) if NOT_SPOKEN.contains(&vector.template.as_str()) => not_spoken.push(vector.template),
                (ours, theirs) => wrong.push(format!("{}: {ours:?}, Go: {theirs:?}", vector.template)),
            }
        }
        let shown: Vec<&str> = wrong.iter().take(200).map(String::as_str).collect();
        assert!(wrong.is_empty(), "{} templates render otherwise than in Go:\n{}", wrong.len(), shown.join("\n"));
        assert_eq!(not_spoken.len(), NOT_SPOKEN.len(), "only these: {not_spoken:?}");
    }

    #[test]
    fn each_allowed_function_does_what_sprig_does() {
        for (expression, text) in [
            (r#"lower "AbC""#, "abc"),
            (r#"upper "abc""#, "ABC"),
            (r#"contains "cat" "catch""#, "true"),
            (r#""I Am" | replace " " "-""#, "I-Am"),
            (r#"trim "  hello ""#, "hello"),
            (r#"trimAll "$" "$5.00$""#, "5.00"),
            (r#"trimSuffix "-" "hello-""#, "hello"),
            (r#"trimPrefix "-" "-hello""#, "hello"),
            (r#"title "hello wide-world""#, "Hello Wide-World"),
            (r#"untitle "Hello World""#, "hello world"),
            (r#"repeat 3 "ab""#, "ababab"),
            (r#"substr 0 5 "hello world""#, "hello"),
            (r#"substr 6 -1 "hello world""#, "world"),
            (r#"substr -1 5 "hello world""#, "hello"),
            (r#"nospace "h e l l o""#, "hello"),
            (r#"trunc 5 "hello world""#, "hello"),
            (r#"trunc -5 "hello world""#, "world"),
            (r#"trunc -20 "short""#, "short"),
            (r#"initials "First Try""#, "FT"),
            (r#"hasPrefix "cat" "catch""#, "true"),
            (r#"hasSuffix "cat" "catch""#, "false"),
            (r#"mustRegexReplaceAll "a(x*)b" "-ab-axxb-" "${1}W""#, "-W-xxW-"),
            ("add 1 2 3", "6"),
            (r#"add 1 "2""#, "3"),
            ("add1 3", "4"),
            ("sub 3 1", "2"),
            ("div 7 2", "3"),
            ("mod -7 3", "-1"),
            ("mul 2 3 4", "24"),
            ("max 1 3 2", "3"),
            ("min 4 3 5", "3"),
            ("floor 123.9", "123"),
            ("ceil 123.1", "124"),
            ("round 123.555555 3", "123.556"),
        ] {
            let rendered = render(&format!("{{{{ {expression} }}}}"), &BTreeMap::new());
            assert_eq!(rendered.as_deref(), Ok(text), "{expression}");
        }
    }
}
