//! Tables as reads know them, and how their values are printed: exactly as the stream does.

use super::{
    SourceError, catalog,
    sql::{failed, no_connection},
};
use crate::{
    model::{Table, TableName, Type},
    postgres::Pool,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio_postgres::types::Type as BuiltIn;

/// Tables as they were last described. Every read checks that they still look like that.
#[derive(Debug, Default)]
pub(super) struct Tables(Mutex<HashMap<TableName, Arc<Described>>>);

#[derive(Debug)]
pub(super) struct Described {
    pub(super) table: Arc<Table>,
    /// What [`Self::signature_now`] gives as long as the table looks like this.
    pub(super) signature: Arc<str>,
    columns: HashMap<String, InSql>,
}

/// What SQL needs to know of a column.
#[derive(Debug)]
struct InSql {
    oid: u32,
    ty: String,
}

/// Changes when a column is added, dropped, renamed or gets another type.
const SIGNATURE: &str = "(select pg_catalog.md5(pg_catalog.string_agg(\
    a.attname || ':' || a.atttypid || ':' || a.attnum, ',' order by a.attnum)) \
    from pg_catalog.pg_attribute a where a.attrelid = $REL and a.attnum > 0 and not a.attisdropped)";

const COLUMNS: &str = "select c.oid, \
    array(select a.attname::text from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 \
          and not a.attisdropped order by a.attnum), \
    array(select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 \
          and not a.attisdropped order by a.attnum), \
    array(select pg_catalog.format_type(a.atttypid, -1) from pg_catalog.pg_attribute a where a.attrelid = c.oid \
          and a.attnum > 0 and not a.attisdropped order by a.attnum), \
    $SIGNATURE \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')";

impl Tables {
    /// The table as it is known, or as the catalog has it now; `None` if there is none.
    pub(super) async fn get(
        &self,
        pool: &Pool,
        name: &TableName,
    ) -> Result<Option<Arc<Described>>, SourceError> {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned() {
            return Ok(Some(known));
        }
        let client = pool.get().await.map_err(no_connection)?;
        let failed = |error| failed(format!("reading the description of table {name}"), &error);
        // The signature first: if the table is altered meanwhile, the next read notices.
        let sql = COLUMNS.replace("$SIGNATURE", &SIGNATURE.replace("$REL", "c.oid"));
        let found = client.query_opt(&sql, &[&&*name.schema, &&*name.name]).await.map_err(failed)?;
        let Some(found) = found else { return Ok(None) };
        let names: Vec<String> = found.try_get(1).map_err(failed)?;
        let oids: Vec<u32> = found.try_get(2).map_err(failed)?;
        let types: Vec<String> = found.try_get(3).map_err(failed)?;
        let signature: Option<&str> = found.try_get(4).map_err(failed)?;
        let columns = oids.into_iter().zip(types).map(|(oid, ty)| InSql { oid, ty });
        let Some(table) = catalog::describe(&client, name).await.map_err(failed)? else { return Ok(None) };
        let described = Arc::new(Described {
            table: Arc::new(table),
            signature: signature.unwrap_or_default().into(),
            columns: names.into_iter().zip(columns).collect(),
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), described.clone());
        Ok(Some(described))
    }

    pub(super) fn forget(&self, name: &TableName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl Described {
    /// With the type's OID and its name in SQL for each column.
    #[cfg(test)]
    pub(super) fn of(table: Table, signature: &str, columns: &[(&str, u32, &str)]) -> Self {
        let column = |(name, oid, ty): &(&str, u32, &str)| {
            ((*name).to_owned(), InSql { oid: *oid, ty: (*ty).to_owned() })
        };
        let columns = columns.iter().map(column).collect();
        Self { table: Arc::new(table), signature: signature.into(), columns }
    }

    /// SQL for the signature of the table as it is when it is read. It holds the known one too, so that
    /// a statement prepared for another shape, with parameters of other types, is not used again.
    pub(super) fn signature_now(&self) -> String {
        format!("/* {} */ {}", self.signature, SIGNATURE.replace("$REL", &self.table.id.0.to_string()))
    }

    /// Adds all columns' values as text, each behind a comma.
    pub(super) fn print_columns(&self, sql: &mut String) {
        self.print(self.table.columns.iter().map(|it| &it.name), sql);
    }

    /// Adds the values of these columns.
    pub(super) fn print<S: AsRef<str>>(&self, columns: impl IntoIterator<Item = S>, sql: &mut String) {
        for column in columns {
            let name = quoted(column.as_ref());
            let oid = self.columns.get(column.as_ref()).map_or(0, |it| it.oid);
            if casts_as_it_prints(oid) {
                sql.push_str(&format!(", {name}::pg_catalog.text"));
            } else {
                // `concat` prints by the type's own output function, whatever casts there are. A row of
                // nulls `is null` without being null.
                sql.push_str(&format!(
                    ", case when {name} is distinct from null then pg_catalog.concat({name}) end"
                ));
            }
        }
    }

    /// A column's type as SQL names it, for any of its values.
    pub(super) fn sql_type(&self, column: &str) -> &str {
        self.columns.get(column).map_or("text", |it| &it.ty)
    }

    /// A condition that leaves nulls of this column out.
    pub(super) fn not_null(&self, column: &str) -> String {
        let word = if self.is_composite(column) { "is distinct from null" } else { "is not null" };
        format!("{} {word}", quoted(column))
    }

    /// Its type is a row type.
    pub(super) fn is_composite(&self, column: &str) -> bool {
        let found = self.table.columns.iter().find(|it| &*it.name == column);
        found.is_some_and(|it| matches!(it.ty, Type::Composite(_)))
    }
}

/// Types that Postgres itself turns into text by their output function, or that are text; not those
/// with a cast of their own, which prints otherwise (`true` for `t`, or without blanks at the end).
fn casts_as_it_prints(oid: u32) -> bool {
    const THESE: [BuiltIn; 19] = [
        BuiltIn::INT2,
        BuiltIn::INT4,
        BuiltIn::INT8,
        BuiltIn::OID,
        BuiltIn::FLOAT4,
        BuiltIn::FLOAT8,
        BuiltIn::NUMERIC,
        BuiltIn::TEXT,
        BuiltIn::VARCHAR,
        BuiltIn::UUID,
        BuiltIn::JSON,
        BuiltIn::JSONB,
        BuiltIn::DATE,
        BuiltIn::TIME,
        BuiltIn::TIMETZ,
        BuiltIn::TIMESTAMP,
        BuiltIn::TIMESTAMPTZ,
        BuiltIn::INTERVAL,
        BuiltIn::BYTEA,
    ];
    THESE.iter().any(|it| it.oid() == oid)
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
