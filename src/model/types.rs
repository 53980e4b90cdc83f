use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the text of a column means. Domains are resolved to their base type when the catalog is
/// read, so that mapping never needs to know them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// `boolean`.
    Bool,
    /// `smallint`, `integer`, `bigint`, `oid`.
    Int,
    /// `real`, `double precision`.
    Float,
    /// `numeric`, exact.
    Numeric,
    /// `money`, as the server's locale prints it.
    Money,
    /// `text`, `varchar`, `char`, `name`.
    Text,
    /// `bytea`.
    Bytea,
    /// `uuid`.
    Uuid,
    /// `json` and `jsonb`.
    Json,
    /// `date`.
    Date,
    /// `time`.
    Time,
    /// `time with time zone`.
    TimeTz,
    /// `timestamp`.
    Timestamp,
    /// `timestamp with time zone`.
    TimestampTz,
    /// `interval`.
    Interval,
    /// An array of any number of dimensions.
    Array {
        /// What it holds.
        element: Arc<Type>,
        /// What stands between its elements.
        delimiter: char,
    },
    /// A range of this type.
    Range(Arc<Type>),
    /// A multirange of this type.
    Multirange(Arc<Type>),
    /// A row type.
    Composite(Arc<[Field]>),
    /// An enum, as its label.
    Enum,
    /// Anything else, carried as the text Postgres prints: inet, bit, tsvector, xml, hstore, …
    Other,
}

/// One attribute of a composite type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: Arc<str>,
    /// What its text means.
    pub ty: Type,
}
