use crate::state::postgres::RemoteStatus;

/// A remote that takes everything is one short line.
pub(super) fn text(status: &RemoteStatus) -> String {
    let RemoteStatus { remote, source, gate, since, until, why, .. } = status;
    let RemoteStatus { quota_limit, quota_left, width, concurrency, in_flight, waiting, .. } = status;
    let stands = match gate.as_str() {
        "open" => "the breaker is open, nothing is sent",
        "half_open" => "the breaker is half open, one call tries",
        "paused" => "paused",
        other => other,
    };
    let mut line = format!("remote `{remote}` for source `{source}`: {stands}");
    if let Some(since) = since {
        line.push_str(&format!(", since {since:.0}"));
    }
    if let Some(until) = until {
        line.push_str(&format!(", until {until:.0}"));
    }
    line.push_str(&format!("\n  {in_flight} under way of {width} at once"));
    if width < concurrency {
        line.push_str(&format!(" (of {concurrency}: it throttles or is slow)"));
    }
    line.push_str(&format!(", {waiting} waiting"));
    match (quota_left, quota_limit) {
        (Some(left), Some(limit)) => line.push_str(&format!("; {left} of its quota of {limit} left")),
        (Some(left), None) => line.push_str(&format!("; {left} of its quota left")),
        (None, _) => {}
    }
    line.push('\n');
    if let Some(since) = status.token_since {
        let until = status.token_until.map_or_else(String::new, |it| format!(", good until {it:.0}"));
        line.push_str(&format!("  token of {since:.0}{until}\n"));
    }
    if let Some(why) = why {
        line.push_str(&format!("  ✗ {}\n", why.lines().next().unwrap_or_default()));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> RemoteStatus {
        RemoteStatus {
            remote: "bank".to_owned(),
            source: "main".to_owned(),
            gate: "ready".to_owned(),
            since: None,
            until: None,
            why: None,
            quota_limit: None,
            quota_left: None,
            width: 16,
            concurrency: 16,
            in_flight: 3,
            waiting: 0,
            token_since: None,
            token_until: None,
        }
    }

    #[test]
    fn a_remote_is_shown_with_what_keeps_it_from_taking_more() {
        let line = text(&ready());
        assert_eq!(line, "remote `bank` for source `main`: ready\n  3 under way of 16 at once, 0 waiting\n");
        let at = |second: i64| jiff::Timestamp::from_second(second).ok();
        let open = RemoteStatus {
            gate: "open".to_owned(),
            since: at(0),
            until: at(10),
            why: Some("step `put`: PUT /x was answered with 503\nmore".to_owned()),
            width: 2,
            waiting: 7,
            quota_limit: Some(60),
            quota_left: Some(4),
            token_since: at(3),
            token_until: at(3603),
            ..ready()
        };
        assert_eq!(
            text(&open),
            "remote `bank` for source `main`: the breaker is open, nothing is sent, \
             since 1970-01-01T00:00:00Z, until 1970-01-01T00:00:10Z\n  \
             3 under way of 2 at once (of 16: it throttles or is slow), 7 waiting; 4 of its quota of 60 left\n  \
             token of 1970-01-01T00:00:03Z, good until 1970-01-01T01:00:03Z\n  \
             ✗ step `put`: PUT /x was answered with 503\n"
        );
    }
}
