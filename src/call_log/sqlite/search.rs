use super::nanos;
use crate::call_log::{CallQuery, CallRecord};
use rusqlite::{Connection, ToSql};

pub(super) fn unreadable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

/// It is named first by a record, or among others.
fn named(what: &str) -> String {
    format!(
        "seq in (select seq from call where {what} = ? union all select seq from further_{what} where {what} = ?)"
    )
}

fn select(query: &CallQuery) -> (String, Vec<Box<dyn ToSql>>) {
    let mut sql = String::from("select record from call where true");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut failures_only = false;
    let mut narrow = |clause: &str, value: Box<dyn ToSql>| {
        values.push(value);
        sql.push_str(" and ");
        sql.push_str(&clause.replace('?', &format!("?{}", values.len())));
    };
    // Those of a key or a change are few, and found by it: no other index is to be tried.
    let by = if query.key.is_some() || query.change.is_some() { "+" } else { "" };
    for (column, text) in [("entity", &query.entity), ("route", &query.route), ("class", &query.class)] {
        if let Some(text) = text {
            narrow(&format!("{by}{column} = ?"), Box::new(text.clone()));
        }
    }
    if let Some(key) = &query.key {
        narrow(&named("key"), Box::new(key.clone()));
    }
    if let Some(change) = &query.change {
        narrow(&named("change"), Box::new(change.clone()));
    }
    if let Some(run) = query.run {
        narrow(&format!("{by}run = ?"), Box::new(run));
    }
    if let Some((from, to)) = query.status {
        narrow(&format!("{by}status >= ?"), Box::new(from));
        narrow(&format!("{by}status <= ?"), Box::new(to));
        failures_only = from >= 300;
    }
    if let Some(since) = query.since {
        narrow(&format!("{by}at >= ?"), Box::new(nanos(since)));
    }
    if let Some(until) = query.until {
        narrow(&format!("{by}at < ?"), Box::new(nanos(until)));
    }
    if let Some((at, id)) = &query.before {
        narrow("at <= ?", Box::new(nanos(*at)));
        let same = values.len();
        values.push(Box::new(id.to_string()));
        sql.push_str(&format!(" and (at < ?{same} or id < ?{})", values.len()));
    }
    if failures_only && by.is_empty() {
        // Or the index of those is not used.
        sql.push_str(" and status >= 300");
    }
    sql.push_str(" order by at desc, id desc");
    (sql, values)
}

pub(super) fn find(connection: &Connection, query: &CallQuery) -> rusqlite::Result<Vec<CallRecord>> {
    let (sql, values) = select(query);
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(&values))?;
    let mut found = Vec::new();
    while found.len() < query.limit
        && let Some(row) = rows.next()?
    {
        let record: CallRecord = serde_json::from_str(row.get_ref(0)?.as_str()?).map_err(unreadable)?;
        // What is searched for in the text is looked at here, the same everywhere.
        if query.text.is_none() || query.matches(&record) {
            found.push(record);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    /// How the file would look for it.
    fn plan(query: &CallQuery) -> String {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(super::super::write::SCHEMA).expect("its tables");
        let (sql, values) = select(query);
        let mut plan = connection.prepare(&format!("explain query plan {sql}")).expect("a plan");
        let steps = plan.query_map(rusqlite::params_from_iter(&values), |row| row.get::<_, String>(3));
        steps.and_then(Iterator::collect::<Result<Vec<_>, _>>).expect("its steps").join("; ")
    }

    #[test]
    fn what_is_asked_of_a_key_or_a_change_is_found_by_it_whatever_else_is_asked() {
        let text = || Some("x".to_owned());
        let whole = || CallQuery {
            entity: text(),
            route: text(),
            since: Some(Timestamp::UNIX_EPOCH),
            status: Some((400, 499)),
            ..CallQuery::default()
        };
        for query in [CallQuery { key: text(), ..whole() }, CallQuery { change: text(), ..whole() }] {
            let all = plan(&query);
            assert!(all.contains("SEARCH call USING INTEGER PRIMARY KEY (rowid=?)"), "{all}");
            let name = if query.key.is_some() { "key" } else { "change" };
            assert!(all.contains(&format!("INDEX call_{name} ({name}=?)")), "{all}");
            assert!(all.contains(&format!("further_{name} USING PRIMARY KEY ({name}=?)")), "{all}");
        }
    }

    #[test]
    fn what_is_rare_is_found_by_an_index_of_its_own() {
        let status = CallQuery { status: Some((400, 599)), ..CallQuery::default() };
        let class = CallQuery { class: Some("timeout".to_owned()), ..CallQuery::default() };
        let run = CallQuery { run: Some(3), ..CallQuery::default() };
        for (query, index) in [(status, "call_status"), (class, "call_class"), (run, "call_run")] {
            let all = plan(&query);
            assert!(all.contains(index), "{index} in {all}");
        }
    }
}
