use jiff::{
    Timestamp, ToSpan,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

/// When something comes again and again: minute, hour, day of the month, month, day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both kinds of days are restricted: then either will do.
    either_day: bool,
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The 29th of February may be more than eight years away.
const HORIZON_DAYS: usize = 366 * 9;

impl Cron {
    /// Reads the five fields, or says what is wrong with them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            word if word.starts_with('@') => {
                return Err(format!(
                    "`{word}` is not known: there are @hourly, @daily, @weekly and @monthly"
                ));
            }
            fields => fields,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!(
                "`{text}` has {} field(s), not five: minute, hour, day of the month, month, day of the week",
                fields.len()
            ));
        };
        let sundays = field(weekdays, "a day of the week", 0, 7, WEEKDAYS)?;
        let cron = Self {
            minutes: field(minutes, "a minute", 0, 59, &[])?,
            hours: field(hours, "an hour", 0, 23, &[])?,
            days: field(days, "a day of the month", 1, 31, &[])?,
            months: field(months, "a month", 1, 12, MONTHS)?,
            weekdays: (sundays | sundays >> 7) & 0x7f,
            either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        match cron.next_after(Timestamp::UNIX_EPOCH, &TimeZone::UTC) {
            Some(_) => Ok(cron),
            None => Err(format!("`{text}` never comes: no month of these has such a day")),
        }
    }

    /// The first moment after this one. A local time that is skipped when clocks go forward comes at the
    /// moment they do; one that is there twice comes once, the first time.
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let began = zone.to_datetime(after);
        let mut date = began.date();
        for _ in 0..HORIZON_DAYS {
            if self.has_day(date) {
                for (hour, minute) in self.times() {
                    let local = date.at(hour, minute, 0, 0);
                    if local > began
                        && let Some(at) = moment(local, zone)
                        && at > after
                    {
                        return Some(at);
                    }
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn has_day(&self, date: jiff::civil::Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.either_day { day || weekday } else { day && weekday }
    }

    fn times(&self) -> impl Iterator<Item = (i8, i8)> {
        let hours = (0..24).filter(|it| has(self.hours, *it));
        hours.flat_map(|hour| (0..60).filter(|it| has(self.minutes, *it)).map(move |minute| (hour, minute)))
    }
}

fn has(set: u64, number: i8) -> bool {
    set >> number & 1 == 1
}

fn moment(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            let behind = before.to_timestamp(local).ok()?.checked_add(1.second()).ok()?;
            zone.preceding(behind).next().map(|it| it.timestamp())
        }
    }
}

/// A list of `*`, numbers, names and ranges, each with a step or without. `what`: one of them, with its
/// article.
fn field(text: &str, what: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let number = |text: &str| {
        let name = names.iter().position(|it| it.eq_ignore_ascii_case(text));
        // The first month is 1, the first day of a week 0.
        let named = name.and_then(|at| u32::try_from(at).ok()).map(|at| at + least);
        let digits = || text.bytes().all(|it| it.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        named.or_else(digits).filter(|it| (least..=most).contains(it)).ok_or_else(|| {
            let names = if names.is_empty() { String::new() } else { format!(" or {}", names.join(", ")) };
            format!("`{text}` is not {what}: expected {least} to {most}{names}")
        })
    };
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let good = step.parse::<u32>().ok().filter(|it| (1..=most).contains(it));
                let wrong = || format!("`{step}` is not a step for {what}: expected 1 to {most}");
                (range, Some(good.ok_or_else(wrong)?))
            }
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            None if range == "*" => (least, most),
            // `5/15` goes on to the end, as `5-59/15` does.
            None if step.is_some() => (number(range)?, most),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return Err(format!("`{range}` ends before it begins, as {what}"));
        }
        (from..=to).step_by(step.unwrap_or(1) as usize).for_each(|it| set |= 1 << it);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn next(cron: &str, zone: &str, after: &str) -> String {
        let zone = TimeZone::get(zone).expect("a zone");
        let after = after.parse().expect("a time");
        let cron = Cron::parse(cron).unwrap_or_else(|error| panic!("{cron}: {error}"));
        cron.next_after(after, &zone).expect("a next time").to_string()
    }

    #[test]
    fn fields_say_when_it_comes_next() {
        for (cron, after, expected) in [
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("* * * * *", "2026-01-01T00:00:59.5Z", "2026-01-01T00:01:00Z"),
            ("0 3 * * *", "2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"),
            ("*/20,5 1-2 * * *", "2026-01-01T01:00:00Z", "2026-01-01T01:05:00Z"),
            ("10/25 * * * *", "2026-01-01T01:10:00Z", "2026-01-01T01:35:00Z"),
            ("0 0 29 feb *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"),
            ("0 0 * * Mon-Fri", "2026-01-02T12:00:00Z", "2026-01-05T00:00:00Z"),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
            ("@daily", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ] {
            assert_eq!(next(cron, "UTC", after), expected, "{cron} after {after}");
        }
    }

    #[test]
    fn a_skipped_time_comes_when_clocks_go_forward_and_a_repeated_one_once() {
        let berlin = "Europe/Berlin";
        assert_eq!(next("30 2 * * *", berlin, "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(next("30 2 * * *", berlin, "2026-03-29T01:00:00Z"), "2026-03-30T00:30:00Z");
        assert_eq!(next("30 2 * * *", berlin, "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(next("30 2 * * *", berlin, "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (cron, expected) in [
            ("* * * *", "has 4 field(s)"),
            ("60 * * * *", "`60` is not a minute: expected 0 to 59"),
            ("* * 0 * *", "`0` is not a day of the month"),
            ("* * * foo *", "`foo` is not a month: expected 1 to 12 or jan"),
            ("* 24 * * *", "`24` is not an hour: expected 0 to 23"),
            ("*/0 * * * *", "`0` is not a step for a minute: expected 1 to 59"),
            ("* 5-3 * * *", "`5-3` ends before it begins, as an hour"),
            ("1,, * * * *", "`` is not a minute"),
            ("+1 * * * *", "`+1` is not a minute"),
            ("@yearly", "there are @hourly"),
            ("0 0 30 2 *", "never comes"),
        ] {
            let error = Cron::parse(cron).expect_err(cron);
            assert!(error.contains(expected), "{cron}: {error}");
        }
    }

    proptest! {
        #[test]
        fn the_next_time_is_later_fits_and_nothing_is_between(
            minute in 0..60u32, hour in 0..24u32, second in 1_700_000_000..1_900_000_000i64, berlin: bool,
        ) {
            let zone = TimeZone::get(if berlin { "Europe/Berlin" } else { "UTC" }).expect("a zone");
            let cron = Cron::parse(&format!("{minute} {hour} * * *")).expect("a schedule");
            let after = Timestamp::from_second(second).expect("a time");
            let next = cron.next_after(after, &zone).expect("a next time");
            prop_assert!(next > after);
            prop_assert!(next.duration_since(after).as_hours() <= 25);
            let local = zone.to_datetime(next);
            let fits = (local.hour(), local.minute()) == (hour as i8, minute as i8);
            prop_assert!(fits || berlin && hour == 2 && (local.hour(), local.minute()) == (3, 0), "{local}");
            let before = next.checked_sub(1.second()).expect("a time").max(after);
            prop_assert_eq!(cron.next_after(before, &zone), Some(next));
        }

        #[test]
        fn nothing_that_is_written_breaks_the_reader(text in "[-*/, 0-9a-z@]{0,24}") {
            let _ = Cron::parse(&text);
        }
    }
}
