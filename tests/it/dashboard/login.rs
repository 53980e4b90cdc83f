//! Where a token is configured, a browser logs in.

use super::browse::{Browser, served};

const FULL: &str = "full-0123456789abcdef";
const READ: &str = "read-0123456789abcdef";

async fn logged_in(browser: &mut Browser, token: &str) {
    let seen = browser.post("/login", &format!("to=%2Fparked&token={token}")).await;
    assert_eq!((seen.status, seen.leads()), (303, "/parked"), "{}", seen.text);
    let cookie = seen.headers["set-cookie"].to_str().expect("text").to_owned();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict") && !cookie.contains(token), "{cookie}");
    browser.cookie = cookie.split(';').next().map(str::to_owned);
}

#[tokio::test]
async fn who_has_no_token_is_led_to_the_login_and_who_has_may_do_what_it_allows() {
    let live =
        served(&format!("admin: {{ listen: \"127.0.0.1:0\", token: {FULL}, read_token: {READ} }}")).await;
    let service = live.run();
    let mut browser = Browser::of(&service).await;
    for path in ["/", "/parked?route=a%20b", "/configuration", "/do/parked.retry?all=true"] {
        let seen = browser.get(path).await;
        assert_eq!(seen.status, 303, "{path}: {}", seen.text);
        assert!(
            seen.leads().starts_with("/login?to=%2F") && seen.text.is_empty(),
            "{path}: {}",
            seen.leads()
        );
    }
    assert_eq!(browser.get("/live").await.status, 401);
    assert_eq!(browser.get("/api/v1/status").await.status, 401);
    assert!(browser.post("/do/parked.retry", "all=true").await.leads().starts_with("/login"));
    assert_eq!(browser.get("/assets/style.css").await.status, 200);
    browser.get("/login?to=%2Fparked").await.shows(&["type=\"password\"", "value=\"/parked\""]);
    let wrong = browser.post("/login", "token=full-0123456789abcdeg").await;
    assert!(wrong.status == 401 && wrong.text.contains("neither `admin.token`"), "{}", wrong.text);
    let elsewhere =
        browser.post_from(Some("https://elsewhere.example"), "/login", &format!("token={FULL}")).await;
    assert_eq!(elsewhere.status, 403);

    logged_in(&mut browser, READ).await;
    browser.get("/parked").await.shows(&["Nothing is parked", "may only look"]);
    browser.get("/do/parked.retry?all=true").await;
    assert_eq!(browser.post("/do/parked.retry", "all=true").await.status, 403);

    logged_in(&mut browser, FULL).await;
    let shown = browser.get("/configuration").await.shows(&["***", "Log out"]);
    assert!(!shown.contains(FULL) && !shown.contains(READ), "{shown}");
    assert_eq!(browser.post("/do/parked.retry", "all=true").await.status, 303);
    browser.get("/operations").await.shows(&["token from 127.0.0.1"]);
    let out = browser.post("/logout", "").await;
    assert!(out.headers["set-cookie"].to_str().is_ok_and(|it| it.contains("Max-Age=0")));
    browser.cookie = Some("rowcall_session=token.99999999999.00".to_owned());
    assert_eq!(browser.get("/").await.status, 303, "a cookie of one's own making");
}
