//! The dashboard in a browser, as whoever operates Rowcall sees and uses it.

mod pictures;

use crate::harness::{
    Chromium, Live, Service, Version,
    admin::{ADMIN, Admin},
    proxy::{Proxy, Way},
};
use rowcall::demo::{Fault, Rule};

const TABLE: &str = "create table customers (id text primary key, name text)";
const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
    delete: [{ name: delete, delete: '/objects/c/{{ row.id }}' }]";

/// What a page is read by: the row of a route, and the word, the class and the colour of its state.
const ROUTE: &str = "
  const row = [...document.querySelectorAll('#live tbody tr')].find(it => it.querySelector('th')?.textContent === 'customer');
  const state = row?.querySelector('.state');
  return row && state && [state.textContent, state.className, getComputedStyle(state).color,
    row.querySelector('.why').innerText, row.querySelector('.number').textContent]";
/// The first of them as the style sheet has them.
const GREEN: &str = "rgb(32, 112, 60)";
const AMBER: &str = "rgb(138, 83, 0)";
const RED: &str = "rgb(179, 38, 30)";

async fn live(table: &str, remote: &str) -> Live {
    let live = Live::new(Version::V16, table, ENTITY).await;
    live.reconfigure(|yaml| {
        let yaml = yaml.replace("admin: { listen: off }", ADMIN.trim_end());
        yaml.replace("breaker: { failures: 0 }, retry: { attempts: 3, base: 10ms, max: 200ms }", remote)
    });
    live
}

/// A browser that has this page open, and where the pages are.
async fn at(service: &Service, path: &str) -> (Chromium, String) {
    let (admin, browser) = tokio::join!(Admin::of(service), Chromium::start());
    let base = format!("http://{}", admin.address());
    browser.goto(&format!("{base}{path}")).await;
    (browser, base)
}

/// Waits until the open page has the route like this: the word, the class, the colour, this in the reason,
/// and how many changes were applied.
async fn route_is(browser: &Chromium, expected: [&str; 5]) {
    let [word, class, colour, why, applied] = expected;
    browser
        .until(&format!("the route is {expected:?}"), ROUTE, |it| {
            it[0] == word
                && it[1] == format!("state {class}")
                && it[2] == colour
                && it[3].as_str().is_some_and(|it| it.contains(why))
                && it[4] == applied
        })
        .await;
}

/// What a page that is loaded anew does not have any more.
async fn mark(browser: &Chromium) {
    browser.script("window.marked = true").await;
}

async fn is_marked(browser: &Chromium) {
    assert_eq!(browser.script("return window.marked === true").await, true, "the page was loaded anew");
}

#[tokio::test]
async fn the_overview_goes_live_and_an_outage_turns_its_route_amber_with_the_reason_until_it_is_over() {
    let live =
        live(TABLE, "breaker: { failures: 0 }, retry: { attempts: 1000, base: 200ms, max: 500ms }").await;
    let service = live.run();
    live.after(&["insert into customers values ('1', 'a')"]).await;
    let (browser, _) = at(&service, "/").await;
    browser.shows("Everything is in step").await;
    browser.until("it is live", "return document.getElementById('pulse').innerText", |it| it == "live").await;
    mark(&browser).await;
    route_is(&browser, ["in step", "well", GREEN, "", "1"]).await;
    live.after(&["insert into customers values ('2', 'b'), ('3', 'c')"]).await;
    route_is(&browser, ["in step", "well", GREEN, "", "3"]).await;

    live.bank.faults().add(Rule::new(Fault::Status(503)));
    live.postgres.execute("update customers set name = 'd' where id = '1'").await;
    let why = "1 change waits for another attempt";
    route_is(&browser, ["behind", "behind", AMBER, why, "3"]).await;
    browser.shows("1 route is behind: customer").await;
    let reason = browser.script("return document.querySelector('.troubles .reason').innerText").await;
    assert!(reason.as_str().is_some_and(|it| it.contains("503")), "{reason}");

    live.bank.faults().clear();
    route_is(&browser, ["in step", "well", GREEN, "", "4"]).await;
    browser.shows("Everything is in step").await;
    is_marked(&browser).await;
}

#[tokio::test]
async fn a_remote_that_is_gone_is_said_to_be_why_nothing_comes_and_it_goes_on_by_itself() {
    let live = live(
        TABLE,
        "breaker: { failures: 2, open: 1s, max: 1s }, retry: { attempts: 1000, base: 50ms, max: 500ms }",
    )
    .await;
    let proxy = Proxy::before(live.bank.addr().port()).await;
    live.reconfigure(|yaml| yaml.replace(&live.bank.url(), &format!("http://127.0.0.1:{}", proxy.port())));
    let service = live.run();
    live.after(&["insert into customers values ('1', 'a')"]).await;
    let (browser, _) = at(&service, "/").await;
    route_is(&browser, ["in step", "well", GREEN, "", "1"]).await;
    mark(&browser).await;
    proxy.set(Way::Refused);
    live.postgres.execute("insert into customers values ('2', 'b')").await;
    route_is(&browser, ["stuck", "stuck", RED, "Blocked by the breaker of bank", "1"]).await;
    browser.shows("1 remote is stuck: bank").await;
    browser.press("See the remote").await;
    browser.shows("Connection refused").await;
    browser.press("Overview").await;
    proxy.set(Way::Open);
    route_is(&browser, ["in step", "well", GREEN, "", "2"]).await;
    assert_eq!(live.bank.dump().len(), 2);
}

#[tokio::test]
async fn a_parked_change_is_found_shown_and_retried_to_success() {
    let live = live(TABLE, "breaker: { failures: 0 }").await;
    live.bank.faults().add(Rule::new(Fault::Status(422)));
    let service = live.run();
    live.after(&["insert into customers values ('1', 'a')", "insert into customers values ('2<b>', 'b')"])
        .await;
    let (browser, _) = at(&service, "/").await;
    browser.shows("2 changes wait for a person: 2 rejected").await;
    browser.press("See what is parked").await;
    browser.shows("2 changes are parked").await;
    browser.fill("form[role=search] input[name=key]", "2<b>").await;
    browser.press("Find").await;
    browser.shows("1 change is parked, as asked for").await;
    browser.click("#chosen tbody th a").await;
    browser.shows("mend the data, the mapping or the remote").await;
    // Records come a moment later than what they are about.
    let attempt = "return document.querySelectorAll('td .state')[0]?.innerText ?? location.reload()";
    browser.until("its attempt is shown", attempt, |it| it == "422").await;

    live.bank.faults().clear();
    browser.press("Try again now").await;
    browser.shows("1 parked change will be tried again now.").await;
    browser.press("Try again").await;
    browser.shows("Tried again now: 1 parked change.").await;
    browser.shows("1 change is parked\n").await;
    assert_eq!(live.calls(), [r#"PUT /objects/c/2%3Cb%3E {"name":"b"}"#]);

    // The other one: it is ticked, with the one tick for all.
    browser.press("All").await;
    browser.click("#chosen thead input").await;
    browser.shows("With the 1 that are ticked").await;
    browser.click("#chosen button:not([formaction])").await;
    browser.press("Try again").await;
    browser.shows("Nothing is parked").await;
    assert_eq!(live.bank.dump().len(), 2);
}

#[tokio::test]
async fn the_bar_of_a_snapshot_moves_to_the_end() {
    let rows = "insert into customers select n, 'x' from generate_series(1, 3000) n; analyze customers";
    let live = live(&format!("{TABLE}; {rows}"), "breaker: { failures: 0 }").await;
    let service = live.run();
    let (browser, _) = at(&service, "/runs").await;
    browser.press("Snapshot").await;
    browser.fill("form[action='/do/runs.snapshot'] input[name=rate]", "250").await;
    browser.click("form[action='/do/runs.snapshot'] button").await;
    browser.shows("The rows of every entity will be sent").await;
    browser.press("Start").await;
    browser.shows("Asked for: 1 run.").await;
    browser.press("1 snapshot customer").await;
    browser.shows("Run 1, snapshot customer").await;
    mark(&browser).await;
    let bar = "return document.querySelector('progress')?.value ?? null";
    let mut seen: Vec<u64> = Vec::new();
    browser
        .until("the bar moves to the end", bar, |it| {
            // Whatever is drawn is a whole percent.
            let percent = it.as_f64().map_or(0, |it| it as u64);
            let new = seen.last() != Some(&percent);
            seen.extend(new.then_some(percent));
            percent == 100
        })
        .await;
    assert!(seen.len() >= 3 && seen.is_sorted(), "{seen:?}");
    browser.shows("Run 1, snapshot customer: done").await;
    is_marked(&browser).await;
    assert_eq!(live.bank.dump().len(), 3_000);
}
