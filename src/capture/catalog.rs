//! What the server's catalog says about types and tables.

use crate::model::{Column, Field, Table, TableId, TableName, Type};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use tokio_postgres::{
    Client, Error,
    types::{Kind, Type as BuiltIn},
};

/// Deeper nested types than this are carried as their text.
const DEPTH: usize = 16;

/// The types that are not built in, as the catalog described them when it was asked.
#[derive(Debug, Default)]
pub(super) struct Types {
    described: HashMap<u32, Description>,
}

#[derive(Clone, Debug)]
enum Description {
    Enum,
    Domain(u32),
    Array { element: u32, delimiter: char },
    Range(u32),
    Multirange(u32),
    Composite(Vec<(Arc<str>, u32)>),
    Other,
}

impl Description {
    fn parts(&self) -> Vec<u32> {
        match self {
            Self::Enum | Self::Other => Vec::new(),
            Self::Domain(part) | Self::Range(part) | Self::Multirange(part) => vec![*part],
            Self::Array { element, .. } => vec![*element],
            Self::Composite(fields) => fields.iter().map(|(_, part)| *part).collect(),
        }
    }
}

const DESCRIBE: &str = "
select t.oid, t.typtype::text, t.typbasetype, coalesce(e.oid, 0), coalesce(e.typdelim::text, ','),
       coalesce(r.rngsubtype, m.rngtypid, 0),
       array(select a.attname::text from pg_catalog.pg_attribute a
              where a.attrelid = t.typrelid and t.typrelid <> 0 and a.attnum > 0 and not a.attisdropped
              order by a.attnum),
       array(select a.atttypid from pg_catalog.pg_attribute a
              where a.attrelid = t.typrelid and t.typrelid <> 0 and a.attnum > 0 and not a.attisdropped
              order by a.attnum)
  from pg_catalog.pg_type t
  left join pg_catalog.pg_type e on e.oid = t.typelem
       and t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc
  left join pg_catalog.pg_range r on r.rngtypid = t.oid
  left join pg_catalog.pg_range m on m.rngmultitypid = t.oid
 where t.oid = any($1)";

impl Types {
    /// Forgets types that may have been altered.
    pub(super) fn forget(&mut self) {
        self.described.clear();
    }

    /// Whether every one of these is known without asking.
    pub(super) fn know(&self, oids: impl IntoIterator<Item = u32>) -> bool {
        self.unknown(oids).is_empty()
    }

    fn unknown(&self, oids: impl IntoIterator<Item = u32>) -> HashSet<u32> {
        let unknown = |oid: &u32| built_in(*oid).is_none() && !self.described.contains_key(oid);
        oids.into_iter().filter(unknown).collect()
    }

    /// Reads these types and all they are made of.
    pub(super) async fn read(&mut self, client: &Client, oids: &[u32]) -> Result<(), Error> {
        let mut wanted = self.unknown(oids.iter().copied());
        while !wanted.is_empty() {
            let list: Vec<u32> = wanted.drain().collect();
            for row in client.query(DESCRIBE, &[&list]).await? {
                self.described.insert(row.try_get(0)?, description(&row)?);
            }
            // A type that is gone is carried as its text.
            for oid in &list {
                self.described.entry(*oid).or_insert(Description::Other);
            }
            let parts = list.iter().filter_map(|oid| self.described.get(oid)).flat_map(Description::parts);
            wanted = self.unknown(parts.collect::<Vec<_>>());
        }
        Ok(())
    }

    /// The type, as far as it is known.
    pub(super) fn get(&self, oid: u32) -> Type {
        self.at_depth(oid, DEPTH)
    }

    fn at_depth(&self, oid: u32, depth: usize) -> Type {
        if let Some(ty) = built_in(oid) {
            return ty;
        }
        let Some(depth) = depth.checked_sub(1) else { return Type::Other };
        let part = |oid: u32| self.at_depth(oid, depth);
        match self.described.get(&oid) {
            None | Some(Description::Other) => Type::Other,
            Some(Description::Enum) => Type::Enum,
            Some(Description::Domain(base)) => part(*base),
            Some(Description::Array { element, delimiter }) => {
                Type::Array { element: Arc::new(part(*element)), delimiter: *delimiter }
            }
            Some(Description::Range(bound)) => Type::Range(Arc::new(part(*bound))),
            Some(Description::Multirange(range)) => match part(*range) {
                Type::Range(bound) => Type::Multirange(bound),
                _ => Type::Other,
            },
            Some(Description::Composite(fields)) => {
                let field = |(name, oid): &(Arc<str>, u32)| Field { name: name.clone(), ty: part(*oid) };
                Type::Composite(fields.iter().map(field).collect())
            }
        }
    }
}

fn description(row: &tokio_postgres::Row) -> Result<Description, Error> {
    let kind: &str = row.try_get(1)?;
    let (base, element, delimiter): (u32, u32, &str) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
    let range: u32 = row.try_get(5)?;
    Ok(match kind {
        "e" => Description::Enum,
        "d" => Description::Domain(base),
        "r" => Description::Range(range),
        "m" => Description::Multirange(range),
        "c" => {
            let (names, oids): (Vec<&str>, Vec<u32>) = (row.try_get(6)?, row.try_get(7)?);
            Description::Composite(names.into_iter().map(Arc::from).zip(oids).collect())
        }
        _ if element != 0 => {
            Description::Array { element, delimiter: delimiter.chars().next().unwrap_or(',') }
        }
        _ => Description::Other,
    })
}

/// What Postgres itself brings; their OIDs are the same everywhere.
fn built_in(oid: u32) -> Option<Type> {
    let found = BuiltIn::from_oid(oid)?;
    Some(match found {
        BuiltIn::BOOL => Type::Bool,
        BuiltIn::INT2 | BuiltIn::INT4 | BuiltIn::INT8 | BuiltIn::OID => Type::Int,
        BuiltIn::FLOAT4 | BuiltIn::FLOAT8 => Type::Float,
        BuiltIn::NUMERIC => Type::Numeric,
        BuiltIn::MONEY => Type::Money,
        BuiltIn::TEXT | BuiltIn::VARCHAR | BuiltIn::BPCHAR | BuiltIn::CHAR | BuiltIn::NAME => Type::Text,
        BuiltIn::BYTEA => Type::Bytea,
        BuiltIn::UUID => Type::Uuid,
        BuiltIn::JSON | BuiltIn::JSONB => Type::Json,
        BuiltIn::DATE => Type::Date,
        BuiltIn::TIME => Type::Time,
        BuiltIn::TIMETZ => Type::TimeTz,
        BuiltIn::TIMESTAMP => Type::Timestamp,
        BuiltIn::TIMESTAMPTZ => Type::TimestampTz,
        BuiltIn::INTERVAL => Type::Interval,
        // They are printed with blanks between, not as arrays.
        BuiltIn::INT2_VECTOR | BuiltIn::OID_VECTOR => Type::Other,
        _ => match found.kind() {
            Kind::Array(element) => {
                let delimiter = if *element == BuiltIn::BOX { ';' } else { ',' };
                Type::Array { element: Arc::new(built_in(element.oid())?), delimiter }
            }
            Kind::Range(bound) => Type::Range(Arc::new(built_in(bound.oid())?)),
            Kind::Multirange(bound) => Type::Multirange(Arc::new(built_in(bound.oid())?)),
            _ => Type::Other,
        },
    })
}

/// The names of a table's primary key, in the key's order; empty if it has none.
pub(super) async fn primary_key(client: &Client, table: TableId) -> Result<Vec<String>, Error> {
    let sql = "
select a.attname::text from pg_catalog.pg_index i
  cross join lateral unnest(i.indkey::int2[]) with ordinality as k(attnum, at)
  join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
 where i.indrelid = $1 and i.indisprimary and k.at <= i.indnkeyatts order by k.at";
    client.query(sql, &[&table.0]).await?.iter().map(|row| row.try_get(0)).collect()
}

/// A table as the catalog has it now; `None` if there is none of this name.
pub(super) async fn describe(client: &Client, name: &TableName) -> Result<Option<Table>, Error> {
    let sql = "
select c.oid, c.relreplident::text, a.attname::text, a.atttypid,
       coalesce(a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1]), false)
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_catalog.pg_index i on i.indrelid = c.oid
       and case when c.relreplident = 'i' then i.indisreplident else i.indisprimary end
 where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')
 order by a.attnum";
    let rows = client.query(sql, &[&&*name.schema, &&*name.name]).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let id = TableId(first.try_get(0)?);
    let mut columns: Vec<(Arc<str>, u32, bool)> = Vec::with_capacity(rows.len());
    for row in &rows {
        // A table may have no columns at all.
        if let Some(column) = row.try_get::<_, Option<&str>>(2)? {
            columns.push((column.into(), row.try_get(3)?, row.try_get(4)?));
        }
    }
    let mut types = Types::default();
    types.read(client, &columns.iter().map(|(_, oid, _)| *oid).collect::<Vec<_>>()).await?;
    let column = |(name, oid, identity)| Column { name, ty: types.get(oid), identity };
    Ok(Some(Table { id, name: name.clone(), columns: columns.into_iter().map(column).collect() }))
}
