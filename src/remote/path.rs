//! Which paths may be called: exactly the one that is written, below the remote's own URL.

use super::CallError;

/// Refuses a path that a URL parser would read as another one.
///
/// Parsers resolve `.` and `..` segments (also percent-encoded), take `\` for `/` and cut at `#`;
/// with values from rows in it, such a path could leave the API it was meant for.
pub(super) fn check(path: &str) -> Result<(), CallError> {
    let bad = |message: String| Err(CallError::BadRequest { message });
    let shown = path.split('?').next().unwrap_or_default();
    if !path.starts_with('/') {
        return bad(format!("the path `{shown}` does not start with `/`"));
    }
    let unusable = |b: u8| b == b'\\' || b == b'#' || b.is_ascii_control();
    if let Some(at) = path.bytes().position(unusable) {
        let what = match path.as_bytes()[at] {
            b'#' => "a `#`: write `%23`",
            b'\\' => "a `\\`: write `%5C`",
            _ => "a control character",
        };
        return bad(format!("the path `{}` holds {what}", shown.escape_debug()));
    }
    if shown.split('/').any(is_dots) {
        return bad(format!("the path `{shown}` has a `.` or `..` segment, which would name another path"));
    }
    Ok(())
}

/// `.` or `..`, written plainly or percent-encoded.
fn is_dots(segment: &str) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while !rest.is_empty() {
        rest = match rest.strip_prefix('.') {
            Some(rest) => rest,
            None => match rest.get(..3) {
                Some(coded) if coded.eq_ignore_ascii_case("%2e") => &rest[3..],
                _ => return false,
            },
        };
        dots += 1;
    }
    dots == 1 || dots == 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_that_would_be_read_as_another_is_refused() {
        for fine in ["/", "/loans/7", "/a.b/..c/...", "/a%2Fb", "/a?x=../..&y=.", "/é/%2e%2ea", "/a//b"] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        let wrong = [
            "",
            "loans",
            "/a/../b",
            "/..",
            "/a/./b",
            "/%2E%2e/b",
            "/.%2e",
            "/a\\b",
            "/a#b",
            "/a\nb",
            "/a?x=\r",
        ];
        for wrong in wrong {
            assert!(matches!(check(wrong), Err(CallError::BadRequest { .. })), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_passes_is_parsed_as_below_the_base(path in "/[a-zA-Z0-9./%?#\\\\ eé2:@]{0,24}") {
            if check(&path).is_ok() && let Ok(url) = url::Url::parse(&format!("http://host/v2{path}")) {
                prop_assert!(url.path().starts_with("/v2/"), "{} from {path:?}", url.path());
                prop_assert_eq!(url.host_str(), Some("host"));
            }
        }
    }
}
