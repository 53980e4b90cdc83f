//! What a person reads about a call that failed.

use super::{Failure, governor::quota::is_throttled};
use crate::model::{Answer, Call, one_line};

/// How many characters of a path are shown.
const SHOWN: usize = 300;

/// One line: what was called, what came back, and for some statuses what to do about it.
///
/// The query string is left out: it may carry what must not be shown (invariant 7).
pub fn describe(call: &Call, failure: Failure<'_>) -> String {
    let path = call.path.split('?').next().unwrap_or_default();
    let request = format!("step `{}`: {} {}", call.step, call.method.name(), one_line(path, SHOWN));
    match failure {
        Failure::Error(error) => format!("{request}: {error}"),
        Failure::Answer(answer) => {
            let mut line = format!("{request} was answered with {}", answer.status);
            if let Some(hint) = hint(answer) {
                line.push_str(&hint);
            }
            match answer.excerpt() {
                said if said.is_empty() => line,
                said => format!("{line}: {said}"),
            }
        }
    }
}

fn hint(answer: &Answer) -> Option<String> {
    match answer.status {
        300..=399 => Some(match answer.header("location") {
            Some(to) => {
                let to = to.split('?').next().unwrap_or_default();
                format!(" (a redirect to {}; redirects are not followed: correct the URL)", one_line(to, 200))
            }
            None => " (redirects are not followed: correct the URL)".to_owned(),
        }),
        _ if is_throttled(answer) => None,
        401 | 403 => Some(" (check the remote's `auth` and what it is allowed to do)".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, Method};
    use crate::remote::CallError;
    use bytes::Bytes;

    fn call() -> Call {
        Call {
            step: "create".into(),
            method: Method::Post,
            path: "/loans?token=secret".to_owned(),
            headers: Vec::new(),
            body: Body::Empty,
            handles: Vec::new(),
            accept: Vec::new(),
            lookup: None,
        }
    }

    fn said(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> String {
        let headers = headers.iter().copied().collect();
        let answer = Answer { status, headers, body: Bytes::copy_from_slice(body.as_ref()) };
        describe(&call(), Failure::Answer(&answer))
    }

    #[test]
    fn a_failure_is_one_line_with_what_was_called_and_what_came_back() {
        let line = said(422, &[], "{\n  \"error\":\t\"amount\"\n}\n");
        assert_eq!(line, "step `create`: POST /loans was answered with 422: { \"error\": \"amount\" }");
        assert_eq!(said(500, &[], ""), "step `create`: POST /loans was answered with 500");
        assert!(said(500, &[], [0xff, 0, 1]).ends_with("(3 bytes that are not text)"));
    }

    #[test]
    fn a_long_body_is_cut_at_a_character() {
        let line = said(400, &[], "é".repeat(1_000));
        assert!(line.ends_with(&format!("{}…", "é".repeat(300))), "{line}");
    }

    #[test]
    fn what_to_do_is_said_where_it_is_known_and_no_query_is_shown() {
        let moved = said(301, &[("location", "https://new.example/loans?sig=hidden")], "");
        assert!(moved.contains("a redirect to https://new.example/loans;") && !moved.contains("hidden"));
        assert!(said(401, &[], "").contains("`auth`"));
        let error = CallError::TooLong { remote: "bank".into(), limit: 9 };
        let line = describe(&call(), Failure::Error(&error));
        assert_eq!(line, "step `create`: POST /loans: the answer of bank is longer than 9 bytes");
    }
}
