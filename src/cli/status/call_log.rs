use crate::{
    app::{CallLogLine, Trouble},
    cli::output::bytes,
};

/// Where records go, what waits, and what is in the way.
pub(super) fn text(line: &CallLogLine) -> String {
    let CallLogLine { source, status } = line;
    let size = |amount: u64| bytes(i64::try_from(amount).unwrap_or(i64::MAX));
    let mut text = format!("call log of source `{source}`: to {}\n", status.goes_to);
    text.push_str(&format!("  {} sent, {} in memory", status.sent, size(status.memory_bytes)));
    if let Some(spool) = &status.spool {
        let records = if spool.records == 1 { "record" } else { "records" };
        let (used, max) = (size(spool.bytes), size(spool.max));
        text.push_str(&format!("; {} {records} in the spool, {used} of {max}", spool.records));
    }
    text.push('\n');
    text.push_str(&trouble("records are not taken", status.trouble.as_ref()));
    let spool = status.spool.as_ref().and_then(|it| it.trouble.as_ref());
    text.push_str(&trouble("the spool does not work", spool));
    if status.held > 0 {
        let wait = if status.held == 1 { "call waits" } else { "calls wait" };
        text.push_str(&format!(
            "  ✗ {} {wait} until there is room for what is recorded of them\n",
            status.held
        ));
    }
    if let Some(keeper) = &status.keeper {
        text.push_str(&format!("  keeper: {} stored in {}", keeper.stored, keeper.stores_in));
        text.push_str(&format!(", {} dead letters\n", keeper.dead));
        text.push_str(&trouble("the keeper cannot work", keeper.trouble.as_ref()));
    }
    if status.dropped > 0 {
        text.push_str(&format!("  ✗ {} records were dropped: there was no room for them\n", status.dropped));
    }
    if status.refused > 0 {
        text.push_str(&format!(
            "  ✗ {} records were left out: the store will never take them\n",
            status.refused
        ));
    }
    text
}

fn trouble(what: &str, trouble: Option<&Trouble>) -> String {
    let Some(Trouble { since, error, .. }) = trouble else { return String::new() };
    let since = since.map(|since| format!(" since {since:.0}")).unwrap_or_default();
    format!("  ✗ {what}{since}: {}\n", error.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_well_is_short_and_what_is_not_is_said() {
        let read = |status| CallLogLine {
            source: "main".to_owned(),
            status: serde_json::from_value(status).expect("a status"),
        };
        let mut status = json!({
            "goes_to": "RabbitMQ, amqp://broker:5672", "written": 8, "sent": 7, "dropped": 0, "refused": 0,
            "memory_bytes": 2048, "spool": { "bytes": 0, "records": 0, "max": 1 << 30 },
            "keeper": { "stores_in": "MongoDB, h, d.c", "stored": 6, "dead": 0 },
        });
        assert_eq!(
            text(&read(status.clone())),
            "call log of source `main`: to RabbitMQ, amqp://broker:5672\n  \
             7 sent, 2.0 KB in memory; 0 records in the spool, 0 B of 1.0 GB\n  \
             keeper: 6 stored in MongoDB, h, d.c, 0 dead letters\n"
        );
        let trouble = json!({ "seconds": 1.0, "since": "1970-01-01T00:00:01Z", "error": "away\nfor long" });
        for at in ["/trouble", "/keeper/trouble", "/spool/trouble"] {
            let (part, _) = at.rsplit_once('/').expect("a slash");
            status.pointer_mut(part).expect("it is there")["trouble"] = trouble.clone();
        }
        (status["dropped"], status["refused"], status["held"]) = (json!(3), json!(1), json!(16));
        let said = text(&read(status));
        for line in [
            "✗ records are not taken since 1970-01-01T00:00:01Z: away\n",
            "✗ the keeper cannot work since 1970-01-01T00:00:01Z: away\n",
            "✗ the spool does not work since 1970-01-01T00:00:01Z: away\n",
            "✗ 16 calls wait until there is room for what is recorded of them\n",
            "✗ 3 records were dropped",
            "✗ 1 records were left out",
        ] {
            assert!(said.contains(line), "{line} in {said}");
        }
    }
}
