//! What there is to be told of, and which of it a target wants.

/// The name that the end of a run is told by.
pub const RUN: &str = "run";
/// The name that the end of the service is told by.
pub const SERVICE: &str = "service";

/// Everything that may be told with these sources and remotes: checks, runs and the service itself.
pub fn names<'a>(
    sources: impl IntoIterator<Item = &'a str>,
    remotes: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    const OF_SOURCE: [&str; 6] = ["stream", "loop", "database", "slot", "lag", "parked"];
    const OF_LOG: [&str; 4] = ["call_log", "call_log.spool", "call_log.dropped", "call_log.keeper"];
    let mut names = Vec::new();
    for source in sources {
        names.extend(OF_SOURCE.map(|it| format!("source.{source}.{it}")));
    }
    names.extend(remotes.into_iter().map(|it| format!("remote.{it}")));
    names.extend(OF_LOG.map(str::to_owned));
    names.extend([RUN, SERVICE].map(str::to_owned));
    names
}

/// Whether the pattern, in which `*` stands for any run of characters, is true of the name.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    // `split` gives at least one.
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}

/// Whether one of the patterns is true of the name; where there are none, everything is wanted.
pub(super) fn wanted(only: &[String], name: &str) -> bool {
    only.is_empty() || only.iter().any(|it| matches(it, name))
}

/// Where the runbook says what to do about it.
pub(super) fn runbook(name: &str, is_fail: bool) -> Option<&'static str> {
    let of_source = name.strip_prefix("source.").and_then(|it| it.rsplit_once('.')).map(|(_, it)| it);
    Some(match (name, of_source) {
        (_, Some("stream" | "database")) => "docs/runbook.md#nobody-streams",
        (_, Some("loop")) => "docs/runbook.md#loop-stuck",
        (_, Some("slot")) => "docs/runbook.md#slot-near-loss",
        (_, Some("lag")) => "docs/runbook.md#lag",
        (_, Some("parked")) => "docs/runbook.md#parked-growing",
        ("call_log.dropped", _) => "docs/runbook.md#call-log-dropping",
        ("call_log" | "call_log.spool" | "call_log.keeper", _) => "docs/runbook.md#spool-filling",
        (SERVICE, _) => "docs/runbook.md#rowcall-down",
        (remote, _) if remote.starts_with("remote.") && is_fail => "docs/runbook.md#breaker-open",
        (remote, _) if remote.starts_with("remote.") => "docs/runbook.md#remote-paused",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("remote.bank", "remote.bank", true),
            ("remote.bank", "remote.bank2", false),
            ("remote.*", "remote.bank", true),
            ("source.*.slot", "source.main.slot", true),
            ("source.*.slot", "source.main.lag", false),
            ("source.*.slot", "source.slot", false),
            ("*", "", true),
            ("*lag*", "source.main.lag", true),
            ("call_log*", "call_log", true),
            ("a*a", "a", false),
            ("**b", "ab", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn each_name_that_has_a_row_in_the_runbook_leads_to_it() {
        let page = std::fs::read_to_string("docs/runbook.md").expect("the page");
        let rows = page.lines().filter_map(|it| it.strip_prefix("## "));
        let rows: Vec<_> = rows.map(|it| it.to_lowercase().replace(' ', "-")).collect();
        for name in names(["main"], ["bank"]) {
            for is_fail in [false, true] {
                let Some(row) = runbook(&name, is_fail) else {
                    assert_eq!(name, RUN);
                    continue;
                };
                let anchor = row.strip_prefix("docs/runbook.md#").expect("it is in the runbook");
                assert!(rows.iter().any(|it| it == anchor), "{name}: {row}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_pattern_is_what_its_regular_expression_is(pattern in "[ab*]{0,6}", name in "[ab]{0,8}") {
            let expression = format!("^{}$", pattern.replace('*', ".*"));
            let expected = regex::Regex::new(&expression).expect("an expression").is_match(&name);
            prop_assert_eq!(matches(&pattern, &name), expected);
        }
    }
}
