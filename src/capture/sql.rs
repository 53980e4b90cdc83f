//! What SQL errors mean for a source.

use super::SourceError;
use tokio_postgres::{
    error::SqlState,
    types::{Format, IsNull, ToSql, Type, to_sql_checked},
};

/// Another try may help when the server or the connection was at fault, not when the statement was.
pub(super) fn failed(doing: impl Into<String>, error: &tokio_postgres::Error) -> SourceError {
    let message = crate::postgres::explain(error);
    let doing = doing.into();
    if error.as_db_error().is_some_and(|error| !passes(error.code())) {
        SourceError::Final(format!("{doing}: {message}"))
    } else {
        SourceError::Connection { doing, message }
    }
}

/// Connection, resources, operator intervention, rollbacks and locks come and go.
fn passes(code: &SqlState) -> bool {
    matches!(code.code().get(..2), Some("08" | "53" | "57" | "58" | "40"))
        || *code == SqlState::LOCK_NOT_AVAILABLE
}

/// A connection that could not be had from the pool.
pub(super) fn no_connection(error: deadpool_postgres::PoolError) -> SourceError {
    let message = match error {
        deadpool_postgres::PoolError::Backend(error) => crate::postgres::explain(&error),
        error => error.to_string(),
    };
    SourceError::Connection { doing: "connecting to read rows".to_owned(), message }
}

/// A parameter given as text, whatever its type: the server's own input function reads it.
#[derive(Debug)]
pub(super) struct AsText<'a>(pub(super) &'a str);

impl ToSql for AsText<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// `parameters` as a statement takes them.
pub(super) fn references<'a>(parameters: &'a [AsText<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.iter().map(|it| it as &(dyn ToSql + Sync)).collect()
}

/// A query as a message shows it.
pub(super) fn shortened(sql: &str) -> String {
    let words: Vec<_> = sql.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(80) {
        Some((end, _)) => format!("`{}…`", &line[..end]),
        None => format!("`{line}`"),
    }
}
