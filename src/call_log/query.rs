use super::{CallRecord, RecordId};
use jiff::Timestamp;

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
