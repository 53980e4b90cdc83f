use super::*;
use http::Request;

const FULL: &str = "full-0123456789abcdef";
const READ: &str = "read-0123456789abcdef";

fn guard(with_tokens: bool) -> Guard {
    let secret = |it: &str| with_tokens.then(|| SecretString::from(it.to_owned()));
    Guard::new(&Settings { token: secret(FULL), read_token: secret(READ), ..Settings::default() })
}

fn ask(guard: &Guard, method: &str, headers: &[(&str, &str)]) -> Result<Role, String> {
    let mut request = Request::builder().method(method).uri("/api/v1/status");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let admitted = guard.admit(&parts, IpAddr::from([127, 0, 0, 1]), Timestamp::UNIX_EPOCH);
    admitted.map(|it| it.role).map_err(|problem| problem.detail().to_owned())
}

#[test]
fn whoever_shows_a_token_is_believed() {
    let guard = guard(true);
    let shown = |it: &str| ask(&guard, "GET", &[("authorization", it)]);
    assert_eq!(shown(&format!("Bearer {FULL}")), Ok(Role::Token));
    assert_eq!(shown(&format!("bearer  {READ} ")), Ok(Role::ReadToken));
    for wrong in ["", "Bearer", "Bearer ", "Basic x", "Bearer full-0123456789abcdeg", FULL] {
        let said = shown(wrong).expect_err(wrong);
        assert!(said.contains("`Authorization: Bearer`") && !said.contains("abcde"), "{said}");
    }
    assert!(ask(&guard, "GET", &[]).expect_err("nothing").contains("no token was shown"));
}

#[test]
fn the_read_token_only_looks() {
    let guard = guard(true);
    let json = ("content-type", "application/json; charset=utf-8");
    let (full, read) = (format!("Bearer {FULL}"), format!("Bearer {READ}"));
    assert_eq!(ask(&guard, "POST", &[("authorization", &full), json]), Ok(Role::Token));
    let said = ask(&guard, "POST", &[("authorization", &read), json]).expect_err("only looks");
    assert!(said.contains("may only look"), "{said}");
}

#[test]
fn without_tokens_only_names_of_this_machine_are_answered() {
    let guard = guard(false);
    for good in ["localhost", "LOCALHOST:8087", "127.0.0.1:8087", "127.1.2.3", "[::1]:8087", "[::1]"] {
        assert_eq!(ask(&guard, "GET", &[("host", good)]), Ok(Role::Local), "{good}");
    }
    for bad in ["", "evil.example:8087", "192.168.0.1", "localhost.evil.example", "[::2]:8087", "::1.evil"] {
        assert!(ask(&guard, "GET", &[("host", bad)]).is_err(), "{bad}");
    }
}

#[test]
fn a_page_elsewhere_cannot_have_a_browser_change_something() {
    let guard = guard(false);
    let (host, json) = (("host", "localhost:8087"), ("content-type", "application/json"));
    let ok = Ok(Role::Local);
    assert_eq!(ask(&guard, "POST", &[host, json]), ok);
    assert_eq!(ask(&guard, "DELETE", &[host, ("x-rowcall", "1")]), ok);
    let here = ("origin", "http://localhost:8087");
    assert_eq!(ask(&guard, "POST", &[host, json, here, ("sec-fetch-site", "same-origin")]), ok);
    for wrong in [
        vec![host],
        vec![host, ("content-type", "text/plain")],
        vec![host, ("content-type", "application/x-www-form-urlencoded")],
        vec![host, json, ("origin", "https://evil.example")],
        vec![host, json, ("origin", "http://localhost:9000")],
        vec![host, json, ("origin", "null")],
        vec![host, json, ("sec-fetch-site", "cross-site")],
        vec![host, json, ("sec-fetch-site", "same-site")],
    ] {
        assert!(ask(&guard, "POST", &wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(ask(&guard, "GET", &[host, ("sec-fetch-site", "cross-site")]), ok, "looking changes nothing");
}
