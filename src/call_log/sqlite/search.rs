use super::place;
use crate::call_log::{CallQuery, CallRecord, Found, RecordId};
use jiff::Timestamp;
use memchr::{memchr_iter, memchr2_iter};
use rusqlite::{Connection, Row, ToSql, params, types::FromSqlResult};
use serde::{Deserialize, de::DeserializeOwned};

/// The record in the first column, or what is asked of it.
pub(super) fn read<T: DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<T> {
    parse(row.get_ref(0)?.as_str()?)
}

/// What tells records apart and puts them in order.
#[derive(Deserialize)]
pub(super) struct Begun {
    pub(super) at: Timestamp,
    pub(super) id: RecordId,
}

fn parse<T: DeserializeOwned>(json: &str) -> rusqlite::Result<T> {
    serde_json::from_str(json).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// What one index finds, in order. The rest is looked at row by row ([`passes`]): so the work is bounded, and
/// it can be told how far it went.
fn select(query: &CallQuery) -> (String, Vec<Box<dyn ToSql>>) {
    let mut sql = String::from("select seq, entity, route, run, status, class from call where true");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut narrow = |clause: &str, value: Box<dyn ToSql>| {
        values.push(value);
        sql.push_str(" and ");
        sql.push_str(&clause.replace('?', &format!("?{}", values.len())));
    };
    let failures = query.status.filter(|it| it.0 >= 300);
    // With a plus no index is looked for: there is one already that finds fewer.
    let mut seq = "seq";
    if query.key.is_some() || query.change.is_some() {
        if let Some(key) = &query.key {
            // It is named first by a record, or among others.
            let named = "seq in (select seq from call where key = ? union all select seq from further_key where key = ?)";
            narrow(named, Box::new(key.clone()));
        }
        if let Some(change) = &query.change {
            let spot = place::spot_of_change(change).map_or("null".to_owned(), |it| it.to_string());
            let named = format!(
                "seq in (select seq from call where spot = {spot} union all select seq from further_change where change = ?)"
            );
            narrow(&named, Box::new(change.clone()));
        }
        seq = "+seq";
    } else if let Some(run) = query.run {
        narrow("run = ?", Box::new(run));
    } else if let Some(class) = &query.class {
        narrow("class = ?", Box::new(class.clone()));
    } else if let Some((from, to)) = failures {
        // As it stands there, or the index of those is not used.
        narrow("status >= 300 and status >= ?", Box::new(from));
        narrow("status <= ?", Box::new(to));
    }
    let behind = query.before.as_ref().map(|(at, _)| place::after(*at));
    if let Some(since) = query.since {
        narrow(&format!("{seq} >= ?"), Box::new(place::not_before(since)));
    }
    if let Some(end) = query.until.map(place::until).into_iter().chain(behind).min() {
        narrow(&format!("{seq} < ?"), Box::new(end));
    }
    sql.push_str(" order by seq desc");
    (sql, values)
}

/// Whether a row is asked for, as far as its columns tell.
fn passes(query: &CallQuery, row: &Row<'_>) -> rusqlite::Result<bool> {
    let is = |at: usize, wanted: &Option<String>| -> rusqlite::Result<bool> {
        let Some(wanted) = wanted else { return Ok(true) };
        let text: FromSqlResult<Option<&str>> = row.get_ref(at)?.as_str_or_null();
        Ok(text?.is_some_and(|it| it == wanted))
    };
    let (run, status): (Option<i64>, Option<u16>) = (row.get("run")?, row.get("status")?);
    Ok(is(1, &query.entity)?
        && is(2, &query.route)?
        && is(5, &query.class)?
        && query.run.is_none_or(|wanted| run == Some(wanted))
        && query.status.is_none_or(|(from, to)| status.is_some_and(|it| (from..=to).contains(&it))))
}

pub(super) fn find(connection: &Connection, query: &CallQuery) -> rusqlite::Result<Found> {
    let (sql, values) = select(query);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut text = connection.prepare_cached("select record from call where seq = ?")?;
    let mut rows = statement.query(rusqlite::params_from_iter(&values))?;
    let needle = query.text.as_ref().map(|it| it.to_ascii_lowercase());
    let behind = query.before.as_ref().map(|(at, _)| place::microsecond(*at));
    let (mut found, mut looked, mut at) = (Vec::new(), 0, None);
    // Those of one microsecond come in any order, so all of them are looked at. They begin here.
    let mut together = 0;
    while let Some(row) = rows.next()? {
        let seq = row.get(0)?;
        let moment = place::moment_of(seq);
        if let Some(last) = at.replace(moment).filter(|last| *last != moment) {
            newest_first(&mut found[together..]);
            together = found.len();
            if together >= query.limit {
                break;
            }
            if query.look.is_some_and(|look| looked >= look) {
                let found = Found::of(found, query.limit);
                return Ok(match oldest(connection, last)? {
                    Some(oldest) => found.cut((oldest.at, oldest.id), looked),
                    None => found,
                });
            }
        }
        // Those beside the last one of the page before were looked at then.
        looked += usize::from(behind != Some(moment));
        if !passes(query, row)? {
            continue;
        }
        let mut records = text.query(params![seq])?;
        // Old records may be forgotten meanwhile.
        let Some(record) = records.next()? else { continue };
        let json = record.get_ref(0)?.as_str()?;
        if needle.as_ref().is_some_and(|it| !may_hold(json.as_bytes(), it)) {
            continue;
        }
        let record: CallRecord = parse(json)?;
        // What the file is not asked, or not exactly, is looked at here, the same everywhere.
        if query.matches(&record) {
            found.push(record);
        }
    }
    newest_first(&mut found[together..]);
    found.truncate(query.limit);
    Ok(Found::of(found, query.limit))
}

fn newest_first(some: &mut [CallRecord]) {
    some.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
}

/// The oldest record of a microsecond.
fn oldest(connection: &Connection, moment: i64) -> rusqlite::Result<Option<Begun>> {
    let numbers = place::numbers_of(moment);
    let mut statement = connection.prepare_cached("select record from call where seq >= ? and seq < ?")?;
    let begun = statement.query_map([numbers.start, numbers.end], read::<Begun>)?;
    let begun: Vec<Begun> = begun.collect::<rusqlite::Result<_>>()?;
    Ok(begun.into_iter().min_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id))))
}

pub(super) fn get(connection: &Connection, id: &RecordId) -> rusqlite::Result<Option<CallRecord>> {
    let mut statement = connection.prepare_cached("select record from call where spot = ?")?;
    let mut rows = statement.query(params![place::spot(&id.0)])?;
    while let Some(row) = rows.next()? {
        let record: CallRecord = read(row)?;
        if record.id == *id {
            return Ok(Some(record));
        }
    }
    Ok(None)
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
        let change = Some("0/12AB.3".to_owned());
        for query in [CallQuery { key: text(), ..whole() }, CallQuery { change, ..whole() }] {
            let all = plan(&query);
            assert!(all.contains("SEARCH call USING INTEGER PRIMARY KEY (rowid=?)"), "{all}");
            let (name, column) = if query.key.is_some() { ("key", "key") } else { ("change", "spot") };
            assert!(all.contains(&format!("INDEX call_{column} ({column}=?)")), "{all}");
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
            assert!(all.contains(index) && !all.contains("TEMP B-TREE"), "{index} in {all}");
        }
        // However far back one pages.
        let before = Some((Timestamp::UNIX_EPOCH, RecordId("a".into())));
        let deep = CallQuery { before, class: Some("timeout".to_owned()), ..CallQuery::default() };
        let all = plan(&deep);
        assert!(all.contains("call_class (class=? AND rowid<?)"), "{all}");
        let all = plan(&CallQuery { class: None, ..deep.clone() });
        assert!(all.contains("INTEGER PRIMARY KEY (rowid<?)"), "{all}");
        let all = plan(&CallQuery { class: None, status: Some((400, 499)), ..deep });
        assert!(all.contains("call_status (seq<?)"), "{all}");
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
