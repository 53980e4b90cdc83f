//! Someone is woken at night: what is stuck, why, and the button that cures it.

use super::browse::{Browser, served};
use crate::harness::{eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};

#[tokio::test]
async fn a_parked_change_is_found_shown_and_retried_to_success_and_another_discarded() {
    let live = served("admin: { listen: \"127.0.0.1:0\" }").await;
    live.bank.faults().add(Rule::new(Fault::Status(422)));
    let service = live.run();
    let browser = Browser::of(&service).await;
    live.after(&["insert into customers values ('1<b>', 'a')", "insert into customers values ('2', 'b')"])
        .await;
    eventually("the overview says what is behind", LONG, async || {
        let text = browser.get("/").await.text;
        let said =
            text.contains("1 route is behind: customer") && text.contains("2 changes wait for a person");
        if said && text.contains("href=\"/parked?route=customer\"") { Ok(()) } else { Err(text) }
    })
    .await;
    let list =
        browser.get("/parked?route=customer").await.shows(&["2 changes are parked", "1&lt;b&gt;", "422"]);
    let ids: Vec<&str> =
        list.split("name=\"ids\" value=\"").skip(1).filter_map(|it| it.split('"').next()).collect();
    let [one, other] = ids[..] else { panic!("{list}") };
    eventually("its attempt is in the log", LONG, async || {
        let text = browser.get(&format!("/parked/{one}?route=customer")).await.text;
        let said = ["mend the data", "Answers so far", "1&lt;b&gt;", "PUT /objects/c/1%3Cb%3E"];
        if said.iter().all(|it| text.contains(it)) { Ok(()) } else { Err(text) }
    })
    .await;

    live.bank.faults().clear();
    let which = format!("ids={one}&route=customer");
    let asked = browser.get(&format!("/do/parked.retry?{which}")).await;
    asked.shows(&["<strong>1 parked change</strong> will be tried again now."]);
    let done = browser.post("/do/parked.retry", &which).await;
    assert_eq!((done.status, done.leads()), (303, "/parked?done=parked.retry&count=1"));
    eventually("it is applied", LONG, async || {
        let text = browser.get("/parked").await.text;
        if text.contains("1 change is parked") { Ok(()) } else { Err(text) }
    })
    .await;
    assert_eq!(live.calls().len(), 1);

    let which = format!("ids={other}");
    browser
        .get(&format!("/do/parked.discard?{which}"))
        .await
        .shows(&["cannot be undone", "name=\"why\" required"]);
    assert_eq!(browser.post("/do/parked.discard", &which).await.status, 400, "without a reason");
    let done = browser.post("/do/parked.discard", &format!("{which}&why=it+is+there")).await;
    browser.get(done.leads()).await.shows(&["Given up for good: 1 parked change.", "Nothing is parked"]);
    browser.get("/operations").await.shows(&["parked.discard", "it is there", "refused"]);
}

#[tokio::test]
async fn a_form_from_elsewhere_does_nothing() {
    let live = served("admin: { listen: \"127.0.0.1:0\" }").await;
    let service = live.run();
    let browser = Browser::of(&service).await;
    for origin in [Some("https://elsewhere.example"), Some("null"), None] {
        let seen = browser.post_from(origin, "/do/parked.retry", "all=true").await;
        assert_eq!(seen.status, 403, "{origin:?}: {}", seen.text);
    }
    browser.get("/operations").await.shows(&["Nobody has changed anything yet"]);
    assert_eq!(browser.post("/do/parked.retry", "all=true").await.status, 303);
    assert_eq!(browser.post("/do/parked.retry", "").await.status, 400, "nobody means everything by nothing");
}
