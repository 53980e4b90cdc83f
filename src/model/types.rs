use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the text of a column means. Domains are resolved to their base type when the catalog is
/// read, so that mapping never needs to know them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    Bool,
    /// `smallint`, `integer`, `bigint`, `oid`.
    Int,
    /// `real`, `double precision`.
    Float,
    Numeric,
    Money,
    /// `text`, `varchar`, `char`, `name`.
    Text,
    Bytea,
    Uuid,
    /// `json` and `jsonb`.
    Json,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Array {
        element: Arc<Type>,
        delimiter: char,
    },
    Range(Arc<Type>),
    Multirange(Arc<Type>),
    Composite(Arc<[Field]>),
    Enum,
    /// Anything else, carried as the text Postgres prints: inet, bit, tsvector, xml, hstore, …
    Other,
}

/// One attribute of a composite type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub name: Arc<str>,
    pub ty: Type,
}
