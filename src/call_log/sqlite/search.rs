use super::nanos;
use crate::call_log::{CallQuery, CallRecord, Found, RecordId};
use jiff::Timestamp;
use memchr::{memchr_iter, memchr2_iter};
use rusqlite::{Connection, Row, ToSql, params};

pub(super) fn unreadable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

/// It is named first by a record, or among others.
fn named(what: &str) -> String {
    format!(
        "seq in (select seq from call where {what} = ? union all select seq from further_{what} where {what} = ?)"
    )
}

/// What one index finds, in order. The rest is looked at row by row ([`passes`]): so the work is bounded, and
/// it can be told how far it went.
fn select(query: &CallQuery) -> (String, Vec<Box<dyn ToSql>>) {
    let mut sql = String::from("select seq, at, id, entity, route, run, status, class from call where true");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut narrow = |clause: &str, value: Box<dyn ToSql>| {
        values.push(value);
        sql.push_str(" and ");
        sql.push_str(&clause.replace('?', &format!("?{}", values.len())));
    };
    let failures = query.status.filter(|it| it.0 >= 300);
    // With a plus no index is looked for: there is one already that finds fewer.
    let mut at = "at";
    if query.key.is_some() || query.change.is_some() {
        for (what, text) in [("key", &query.key), ("change", &query.change)] {
            if let Some(text) = text {
                narrow(&named(what), Box::new(text.clone()));
            }
        }
        at = "+at";
    } else if let Some(run) = query.run {
        narrow("run = ?", Box::new(run));
    } else if let Some(class) = &query.class {
        narrow("class = ?", Box::new(class.clone()));
    } else if let Some((from, to)) = failures {
        // As it stands there, or the index of those is not used.
        narrow("status >= 300 and status >= ?", Box::new(from));
        narrow("status <= ?", Box::new(to));
        at = "+at";
    }
    if let Some(since) = query.since {
        narrow(&format!("{at} >= ?"), Box::new(nanos(since)));
    }
    if let Some(until) = query.until {
        narrow(&format!("{at} < ?"), Box::new(nanos(until)));
    }
    if let Some((before, id)) = &query.before {
        narrow(&format!("{at} <= ?"), Box::new(nanos(*before)));
        narrow("(at < ? or id < ", Box::new(nanos(*before)));
        sql.push_str(&format!("?{})", values.len() + 1));
        values.push(Box::new(id.to_string()));
    }
    // One more tells whether there are more.
    let most = query.look.map_or(-1, |it| i64::try_from(it).unwrap_or(i64::MAX).saturating_add(1));
    values.push(Box::new(most));
    sql.push_str(&format!(" order by at desc, id desc limit ?{}", values.len()));
    (sql, values)
}

/// Whether a row is asked for, as far as its columns tell.
fn passes(query: &CallQuery, row: &Row<'_>) -> rusqlite::Result<bool> {
    let is = |at: usize, wanted: &Option<String>| {
        let Some(wanted) = wanted else { return Ok(true) };
        Ok::<_, rusqlite::Error>(row.get_ref(at)?.as_str_or_null()?.is_some_and(|it| it == wanted))
    };
    let (run, status): (Option<i64>, Option<u16>) = (row.get("run")?, row.get("status")?);
    Ok(is(3, &query.entity)?
        && is(4, &query.route)?
        && is(7, &query.class)?
        && query.run.is_none_or(|wanted| run == Some(wanted))
        && query.status.is_none_or(|(from, to)| status.is_some_and(|it| (from..=to).contains(&it))))
}

fn place(row: &Row<'_>) -> rusqlite::Result<(Timestamp, RecordId)> {
    let at = Timestamp::from_nanosecond(row.get::<_, i64>(1)?.into()).unwrap_or_default();
    Ok((at, RecordId(row.get_ref(2)?.as_str()?.into())))
}

pub(super) fn find(connection: &Connection, query: &CallQuery) -> rusqlite::Result<Found> {
    let (sql, values) = select(query);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut text = connection.prepare_cached("select record from call where seq = ?")?;
    let mut rows = statement.query(rusqlite::params_from_iter(&values))?;
    let needle = query.text.as_ref().map(|it| it.to_ascii_lowercase());
    let (mut found, mut looked, mut last) = (Vec::new(), 0, None);
    while found.len() < query.limit
        && let Some(row) = rows.next()?
    {
        if query.look == Some(looked) {
            // `last` was the last that may be looked at, and here is another.
            return Ok(match last {
                Some(last) => Found::of(found, query.limit).cut(last, looked),
                None => Found::of(found, query.limit),
            });
        }
        looked += 1;
        if query.look == Some(looked) {
            last = Some(place(row)?);
        }
        if !passes(query, row)? {
            continue;
        }
        let mut records = text.query(params![row.get_ref(0)?.as_i64()?])?;
        // Old records may be forgotten meanwhile.
        let Some(record) = records.next()? else { continue };
        let json = record.get_ref(0)?.as_str()?;
        if needle.as_ref().is_some_and(|it| !may_hold(json.as_bytes(), it)) {
            continue;
        }
        let record: CallRecord = serde_json::from_str(json).map_err(unreadable)?;
        // What is searched for in the text is looked at here, the same everywhere.
        if needle.is_none() || query.matches(&record) {
            found.push(record);
        }
    }
    Ok(Found::of(found, query.limit))
}

/// Whether a text of this JSON may hold the needle, which is in lower case: far cheaper than to read it. Letters
/// and digits stand there as they are, unless some are written as `\u0061`.
fn may_hold(json: &[u8], needle: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | ':' | '#');
    let part = needle.split(|c| !plain(c)).max_by_key(|it| it.len()).unwrap_or_default().as_bytes();
    let Some(first) = part.first() else { return true };
    memchr2_iter(*first, first.to_ascii_uppercase(), json)
        .any(|at| json.get(at..at + part.len()).is_some_and(|it| it.eq_ignore_ascii_case(part)))
        || memchr_iter(b'\\', json).any(|at| json.get(at + 1) == Some(&b'u'))
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
        // However far back one pages.
        let before = Some((Timestamp::UNIX_EPOCH, RecordId("a".into())));
        let deep = CallQuery { before, class: Some("timeout".to_owned()), ..CallQuery::default() };
        let all = plan(&deep);
        assert!(all.contains("call_class (class=? AND at<?)"), "{all}");
        assert!(plan(&CallQuery { class: None, ..deep }).contains("call_at (at<?)"));
    }

    #[test]
    fn a_text_that_is_there_is_never_passed_over() {
        let bodies = ["Needle", "a\"b\\c", "é\u{1}x", "x/y z", "\u{7f}\n\t", "{\"id\": \"L-1.5\"}"];
        for body in bodies {
            let json = serde_json::to_string(&serde_json::json!({ "body": body })).expect("JSON");
            let texts: Vec<char> = body.to_lowercase().chars().collect();
            for from in 0..texts.len() {
                for to in from + 1..=texts.len() {
                    let needle: String = texts[from..to].iter().collect();
                    assert!(may_hold(json.as_bytes(), &needle), "{needle:?} in {json}");
                }
            }
        }
        assert!(!may_hold(b"{\"body\":\"Needle\"}", "noodle") && may_hold(b"\\u004eeedle", "needle"));
    }
}
