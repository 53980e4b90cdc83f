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
    /// `snapshot` sends rows; `query` sends the rows whose keys a statement yields; `prune` deletes at the
    /// remote what has a link and no row any more; `audit` compares what the remote holds with the rows.
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
    /// Rows a second, at most; of an audit, objects that are asked for.
    #[serde(default)]
    pub rate: Option<NonZeroU32>,
    /// Only rows for which this is true, in SQL.
    #[serde(default, rename = "where")]
    pub filter: Option<String>,
    /// For `run: query`: a statement in SQL that yields the columns of the entity's key, in their order.
    #[serde(default)]
    pub query: Option<String>,
    /// For `run: audit`: only so many rows, by chance, and no links.
    #[serde(default)]
    pub sample: Option<NonZeroU32>,
    /// For `run: audit`: whether what is missing or different is sent again, and what is extra deleted.
    #[serde(default)]
    pub repair: bool,
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
    /// Sends the rows that a statement names.
    Query,
    /// Compares what the remote holds with the rows.
    Audit,
}

impl ScheduledRun {
    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Prune => "prune",
            Self::Query => "query",
            Self::Audit => "audit",
        }
    }
}

impl From<ScheduledRun> for RunKind {
    fn from(run: ScheduledRun) -> Self {
        match run {
            ScheduledRun::Snapshot | ScheduledRun::Query => Self::Snapshot,
            ScheduledRun::Prune => Self::Prune,
            ScheduledRun::Audit => Self::Audit,
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
        self.times().err().or_else(|| self.out_of_place().map(|(field, why)| (field, why.to_owned())))
    }

    /// What this kind of run has no use for, or lacks.
    fn out_of_place(&self) -> Option<(&'static str, &'static str)> {
        use ScheduledRun::{Audit, Prune, Query, Snapshot};
        let query = self.query.as_deref().map(str::trim);
        match self.run {
            Prune if self.filter.is_some() => {
                Some(("where", "a prune goes through all linked keys: leave `where` out"))
            }
            Prune if self.force => Some(("force", "a prune sends no rows: leave `force` out")),
            Audit if self.filter.is_some() => Some((
                "where",
                "an audit goes through all rows: leave `where` out, or look at a `sample` of them",
            )),
            Audit if self.force => Some(("force", "an audit sends no rows: leave `force` out")),
            Query if self.filter.is_some() => {
                Some(("where", "`query` says which rows are sent: leave `where` out"))
            }
            Query if query.is_none() => Some((
                "run",
                "`run: query` needs a `query`, a statement that yields the columns of the entity's key in their order",
            )),
            Query if query == Some("") => Some((
                "query",
                "the statement is empty: expected one that yields the columns of the entity's key in their order",
            )),
            Snapshot | Prune | Audit if query.is_some() => {
                Some(("query", "`query` is for `run: query`: leave it out, or change `run`"))
            }
            Snapshot | Prune | Query if self.sample.is_some() => {
                Some(("sample", "`sample` is for `run: audit`: leave it out"))
            }
            Snapshot | Prune | Query if self.repair => {
                Some(("repair", "`repair` is for `run: audit`: leave it out"))
            }
            _ => None,
        }
    }

    /// Tells it from others of its entity, and from what it was before somebody changed when it comes.
    pub fn name(&self, entity: &str) -> String {
        let Self { run, cron, zone, filter, query, .. } = self;
        let rows = filter.as_ref().map(|it| format!(" where {it}"));
        let rows = rows.or_else(|| query.as_ref().map(|it| format!(" {it}"))).unwrap_or_default();
        format!("{entity} {} {cron} {zone}{rows}", run.name())
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
