use super::{CallRecord, RecordId};
use crate::model::Span;
use jiff::{SignedDuration, Timestamp};

/// Which records; what is `None` is not looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallQuery {
    /// Of this entity.
    pub entity: Option<String>,
    /// Of this route.
    pub route: Option<String>,
    /// That carried this key, alone or with others.
    pub key: Option<String>,
    /// That this change caused, alone or with others.
    pub change: Option<String>,
    /// That belong to this run.
    pub run: Option<i64>,
    /// Answered with a status from the first to the last.
    pub status: Option<(u16, u16)>,
    /// Which failed like this.
    pub class: Option<String>,
    /// Begun at this time or later.
    pub since: Option<Timestamp>,
    /// Begun before this time.
    pub until: Option<Timestamp>,
    /// With this text in the URL, a body, or the error; the case of ASCII letters does not count.
    pub text: Option<String>,
    /// Behind this one: the last of the page before.
    pub before: Option<(Timestamp, RecordId)>,
    /// So many at most.
    pub limit: usize,
    /// No more than about so many records are looked at, where what is asked for cannot be found by an
    /// index; without it all of them.
    pub look: Option<usize>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The newest first.
    pub calls: Vec<CallRecord>,
    /// Where to go on: nothing was looked at behind this one. `None` if there is nothing more.
    pub more: Option<(Timestamp, RecordId)>,
    /// How many records were looked at, where that is why it ended here.
    pub looked: Option<usize>,
}

impl Found {
    /// Those that were asked for; if there are that many, more may follow.
    pub fn of(calls: Vec<CallRecord>, limit: usize) -> Self {
        let more = calls.last().filter(|_| calls.len() >= limit).map(|it| (it.at, it.id.clone()));
        Self { calls, more, looked: None }
    }

    /// The same where the look ended with this record.
    #[must_use]
    pub fn cut(self, last: (Timestamp, RecordId), looked: usize) -> Self {
        if self.more.is_some() { self } else { Self { more: Some(last), looked: Some(looked), ..self } }
    }
}

impl CallQuery {
    /// Whether a record is among those asked for. The limit is not looked at.
    pub fn matches(&self, record: &CallRecord) -> bool {
        let is = |wanted: &Option<String>, it: &str| wanted.as_deref().is_none_or(|wanted| wanted == it);
        let status = record.response.as_ref().map(|it| it.status);
        is(&self.entity, &record.entity)
            && is(&self.route, &record.route)
            && self.key.as_ref().is_none_or(|key| record.keys.iter().any(|it| **it == **key))
            && self.change.as_ref().is_none_or(|change| record.changes.iter().any(|it| **it == **change))
            && self.run.is_none_or(|run| record.run == Some(run))
            && self.status.is_none_or(|(from, to)| status.is_some_and(|it| (from..=to).contains(&it)))
            && self.class.as_deref().is_none_or(|class| record.class.as_deref() == Some(class))
            && self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at < until)
            && self.text.as_ref().is_none_or(|text| holds(record, &text.to_ascii_lowercase()))
            && self.before.as_ref().is_none_or(|(at, id)| (record.at, &record.id) < (*at, id))
    }
}

fn holds(record: &CallRecord, text: &str) -> bool {
    let response = record.response.iter().map(|it| it.content.body.as_str());
    let texts = [record.url.as_str(), record.request.body.as_str()].into_iter().chain(response);
    texts.chain(record.error.as_deref()).any(|it| it.to_ascii_lowercase().contains(text))
}

/// A status as a person names it: `404`, `4xx` or `500-504`; the first and the last.
pub fn status_range(text: &str) -> Result<(u16, u16), String> {
    let wrong = || "expected a status such as `404`, `4xx` or `500-504`".to_owned();
    let number = |text: &str| text.parse().map_err(|_| wrong());
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = number(class)?;
        return if (1..=5).contains(&class) { Ok((class * 100, class * 100 + 99)) } else { Err(wrong()) };
    }
    match text.split_once('-') {
        Some((from, to)) => Ok((number(from)?, number(to)?)),
        None => number(text).map(|it| (it, it)),
    }
}

/// A time as a person names it: the time itself, or how long ago that was.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let ago = |span: Span| now.checked_sub(SignedDuration::try_from(span.0).ok()?).ok();
    let read = text.parse().ok().or_else(|| text.parse().ok().and_then(ago));
    read.ok_or_else(|| {
        format!("`{text}` is no time: write `2026-01-31T12:00:00Z`, or how long ago, such as `15m` or `7d`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_a_class_or_a_range() {
        assert_eq!(status_range("404"), Ok((404, 404)));
        assert_eq!(status_range("4xx"), Ok((400, 499)));
        assert_eq!(status_range("500-504"), Ok((500, 504)));
        for wrong in ["", "x", "9xx", "4x", "a-b"] {
            assert!(status_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_moment_is_a_time_or_how_long_ago_that_was() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
        let at = |text: &str| moment(text, now).map(|it| it.to_string()).unwrap_or_default();
        assert_eq!(at("15m"), "2026-01-31T11:45:00Z");
        assert_eq!(at("2025-01-31T12:00:00Z"), "2025-01-31T12:00:00Z");
        assert_eq!(at("soon"), "");
    }
}
