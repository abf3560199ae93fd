//! Schedules of CronJobs as Kubernetes reads them: the standard parser of github.com/robfig/cron v3, with its words for
//! what it does not take.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

struct Bounds {
    least: u32,
    most: u32,
    /// Words that stand for numbers, from the least one on.
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Minute, hour, day of the month, month, day of the week.
const BOUNDS: [Bounds; 5] = [
    Bounds { least: 0, most: 59, names: &[] },
    Bounds { least: 0, most: 23, names: &[] },
    Bounds { least: 1, most: 31, names: &[] },
    Bounds { least: 1, most: 12, names: MONTHS },
    Bounds { least: 0, most: 6, names: DAYS },
];
/// Days after which a schedule has no time any more (`SpecSchedule.Next` looks five years ahead).
const AHEAD: usize = 5 * 366;

/// A bit for each number, and whether it was a star.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    bits: u64,
    star: bool,
}

impl Field {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits & (1 << number) != 0)
    }
}

/// When something is to happen, again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// In the order of [`BOUNDS`].
    Fields([Field; 5]),
    Every(SignedDuration),
}

impl Schedule {
    /// Reads a schedule; an `Err` is what the real parser says of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other if other.starts_with('@') => return every(other),
            other => other,
        };
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
        };
        let [minutes, hours, days, months, weekdays] = &BOUNDS;
        Ok(Self::Fields([
            field(minute, minutes)?,
            field(hour, hours)?,
            field(day, days)?,
            field(month, months)?,
            field(weekday, weekdays)?,
        ]))
    }

    /// The first time after `since`; `None` when there is none, as on 30 February.
    pub fn next(&self, since: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let fields = match self {
            Self::Fields(fields) => fields,
            Self::Every(delay) => return since.checked_add(*delay).ok(),
        };
        let first = since.to_zoned(zone.clone()).date();
        first.series(1.day()).take(AHEAD).filter(|date| is_day(fields, *date)).find_map(|date| {
            let times = (0..24).filter(|hour| fields[1].has(*hour)).flat_map(|hour| {
                (0..60).filter(|minute| fields[0].has(*minute)).map(move |minute| date.at(hour, minute, 0, 0))
            });
            times.filter_map(|time| Some(time.to_zoned(zone.clone()).ok()?.timestamp())).find(|time| *time > since)
        })
    }
}

/// Either of the two kinds of days is enough, unless one of them is a star.
fn is_day([_, _, day, month, weekday]: &[Field; 5], date: Date) -> bool {
    let (by_month, by_week) = (day.has(date.day()), weekday.has(date.weekday().to_sunday_zero_offset()));
    let right = if day.star || weekday.star { by_month && by_week } else { by_month || by_week };
    month.has(date.month()) && right
}

/// `@every 1h30m`; nothing else with an `@` is left here.
fn every(text: &str) -> Result<Schedule, String> {
    let Some(delay) = text.strip_prefix("@every ") else { return Err(format!("unrecognized descriptor: {text}")) };
    let parsed: Result<SignedDuration, _> = delay.parse();
    match parsed {
        // Less than a second is one.
        Ok(delay) => Ok(Schedule::Every(SignedDuration::from_secs(delay.as_secs().max(1)))),
        Err(_) => Err(format!("failed to parse duration {text}: time: invalid duration \"{delay}\"")),
    }
}

fn field(text: &str, bounds: &Bounds) -> Result<Field, String> {
    let mut all = Field { bits: 0, star: false };
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let one = range(part, bounds)?;
        all = Field { bits: all.bits | one.bits, star: all.star || one.star };
    }
    Ok(all)
}

/// `number`, `number-number`, or a star; each with `/step`.
fn range(text: &str, bounds: &Bounds) -> Result<Field, String> {
    let (steps, parts) = {
        let mut split = text.split('/');
        let head: Vec<&str> = split.next().unwrap_or_default().split('-').collect();
        (split.collect::<Vec<_>>(), head)
    };
    let star = matches!(parts.first(), Some(&"*" | &"?"));
    let (least, mut most) = match parts.as_slice() {
        _ if star => (bounds.least, bounds.most),
        [one] => (number(one, bounds)?, number(one, bounds)?),
        [least, most] => (number(least, bounds)?, number(most, bounds)?),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    let step = match steps.as_slice() {
        [] => 1,
        [step] => {
            if parts.len() == 1 {
                most = bounds.most;
            }
            plain(step)?
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    if least < bounds.least {
        return Err(format!("beginning of range ({least}) below minimum ({}): {text}", bounds.least));
    }
    if most > bounds.most {
        return Err(format!("end of range ({most}) above maximum ({}): {text}", bounds.most));
    }
    if least > most {
        return Err(format!("beginning of range ({least}) beyond end of range ({most}): {text}"));
    }
    let Some(stride) = usize::try_from(step).ok().filter(|step| *step > 0) else {
        return Err(format!("step of range should be a positive number: {text}"));
    };
    let bits = (least..=most).step_by(stride).fold(0, |bits, number| bits | 1 << number);
    // With a step it is a star no longer.
    Ok(Field { bits, star: star && step == 1 })
}

fn number(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let at = bounds.names.iter().position(|name| name.eq_ignore_ascii_case(text));
    match at.and_then(|at| u32::try_from(at).ok()) {
        Some(at) => Ok(bounds.least + at),
        None => plain(text),
    }
}

fn plain(text: &str) -> Result<u32, String> {
    let why = || format!("failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax");
    let number: i64 = text.parse().map_err(|_| why())?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    u32::try_from(number).map_err(|_| why())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, since: &str) -> Option<String> {
        let since: Timestamp = since.parse().unwrap();
        Schedule::parse(schedule).unwrap().next(since, &TimeZone::UTC).map(|time| time.to_string())
    }

    #[test]
    fn nonsense_is_refused_in_the_parsers_words() {
        let why = |text| Schedule::parse(text).unwrap_err();
        assert_eq!(why("nonsense"), "expected exactly 5 fields, found 1: [nonsense]");
        assert_eq!(why("* * *"), "expected exactly 5 fields, found 3: [* * *]");
        assert_eq!(why("60 * * * *"), "end of range (60) above maximum (59): 60");
        assert_eq!(why("5-1 * * * *"), "beginning of range (5) beyond end of range (1): 5-1");
        assert_eq!(why("*/0 * * * *"), "step of range should be a positive number: */0");
        assert_eq!(why("x * * * *"), "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax");
        assert_eq!(why("@never"), "unrecognized descriptor: @never");
    }

    #[test]
    fn a_schedule_has_lists_ranges_steps_and_names() {
        assert_eq!(next("*/15 * * * *", "2026-11-30T10:14:59Z").as_deref(), Some("2026-11-30T10:15:00Z"));
        assert_eq!(next("0,30 8-9 * * *", "2026-11-30T09:30:00Z").as_deref(), Some("2026-12-01T08:00:00Z"));
        assert_eq!(next("0 0 * * MON", "2026-11-30T00:00:00Z").as_deref(), Some("2026-12-07T00:00:00Z"));
        assert_eq!(next("0 0 29 feb *", "2026-11-30T00:00:00Z").as_deref(), Some("2028-02-29T00:00:00Z"));
        assert_eq!(next("0 0 30 2 *", "2026-11-30T00:00:00Z"), None);
        // The day of the month or that of the week: 1 December 2026 is a Tuesday.
        assert_eq!(next("0 0 15 * 2", "2026-11-30T00:00:00Z").as_deref(), Some("2026-12-01T00:00:00Z"));
        assert_eq!(next("@hourly", "2026-11-30T10:00:00Z").as_deref(), Some("2026-11-30T11:00:00Z"));
        assert_eq!(next("@every 90s", "2026-11-30T10:00:00Z").as_deref(), Some("2026-11-30T10:01:30Z"));
    }
}
