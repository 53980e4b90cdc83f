use crate::model::{Cron, RunKind};
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor, value},
};
use std::{borrow::Cow, fmt, num::NonZeroU32};

/// `entities.<name>.schedule`: a run that is asked for again and again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// `snapshot` sends rows; `prune` deletes at the remote what has a link and no row any more.
    pub run: ScheduledRun,
    /// When: minute, hour, day of the month, month, day of the week; or `@hourly`, `@daily`,
    /// `@weekly`, `@monthly`.
    pub cron: String,
    /// By the clocks of which time zone.
    #[serde(default = "utc")]
    pub zone: String,
    /// Also rows that would say what was said before.
    #[serde(default)]
    pub force: bool,
    /// Rows a second, at most.
    #[serde(default)]
    pub rate: Option<NonZeroU32>,
    /// Only rows for which this is true, in SQL.
    #[serde(default, rename = "where")]
    pub filter: Option<String>,
}

/// `entities.<name>.schedule[].run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ScheduledRun {
    /// Sends rows.
    Snapshot,
    /// Deletes what has no row any more.
    Prune,
}

impl From<ScheduledRun> for RunKind {
    fn from(run: ScheduledRun) -> Self {
        match run {
            ScheduledRun::Snapshot => Self::Snapshot,
            ScheduledRun::Prune => Self::Prune,
        }
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Schedule {
    /// When it comes, and by which clocks; or the field that is wrong, and why.
    pub fn times(&self) -> Result<(Cron, TimeZone), (&'static str, String)> {
        let cron = Cron::parse(&self.cron).map_err(|why| ("cron", why))?;
        let unknown = |_| {
            let message =
                format!("`{}` is not a time zone: expected a name such as `Europe/Berlin`", self.zone);
            ("zone", message)
        };
        Ok((cron, TimeZone::get(&self.zone).map_err(unknown)?))
    }

    /// What is wrong with it: the field, and why.
    pub fn complaint(&self) -> Option<(&'static str, String)> {
        let prunes = self.run == ScheduledRun::Prune;
        match self.times() {
            Err(complaint) => Some(complaint),
            Ok(_) if prunes && self.filter.is_some() => {
                Some(("where", "a prune goes through all linked keys: leave `where` out".to_owned()))
            }
            Ok(_) if prunes && self.force => {
                Some(("force", "a prune sends no rows: leave `force` out".to_owned()))
            }
            Ok(_) => None,
        }
    }

    /// Tells it from others of its entity, and from what it was before somebody changed when it comes.
    pub fn name(&self, entity: &str) -> String {
        let Self { cron, zone, filter, .. } = self;
        let filter = filter.as_ref().map(|it| format!(" where {it}")).unwrap_or_default();
        format!("{entity} {} {cron} {zone}{filter}", RunKind::from(self.run).name())
    }
}

/// One or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedules(pub Vec<Schedule>);

impl<'de> Deserialize<'de> for Schedules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrSeveral;
        impl<'de> Visitor<'de> for OneOrSeveral {
            type Value = Schedules;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a schedule or a list of them")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Schedules, A::Error> {
                let one = Schedule::deserialize(value::MapAccessDeserializer::new(map))?;
                Ok(Schedules(vec![one]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Schedules, A::Error> {
                Vec::deserialize(value::SeqAccessDeserializer::new(items)).map(Schedules)
            }
        }
        deserializer.deserialize_any(OneOrSeveral)
    }
}

impl Serialize for Schedules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for Schedules {
    fn schema_name() -> Cow<'static, str> {
        "Schedules".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Schedule>();
        json_schema!({
            "description": "One schedule, or a list of them.",
            "anyOf": [one, { "type": "array", "items": one }],
        })
    }
}
