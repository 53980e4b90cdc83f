//! Every page on a phone and on a desktop: nothing makes it scroll sideways, and the browser has nothing to
//! complain about. With `ROWCALL_SCREENSHOTS=DIR` the pictures are kept there, to be looked at.

use super::at;
use crate::harness::{Live, Version, admin::ADMIN, eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};
use std::{env, fs, path::PathBuf};

const TABLES: &str = "
    create table customers (id text primary key, name text);
    create table loans (id text primary key, customer text, amount numeric(12, 2), note text)";
const ENTITIES: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
    delete: [{ name: delete, delete: '/objects/c/{{ row.id }}' }]
    schedule: { run: snapshot, cron: '0 3 * * *' }
  loan:
    table: loans
    upsert: [{ name: create, put: '/objects/l/{{ row.id }}', body: { customer: '{{ row.customer }}', amount: '{{ row.amount }}', note: '{{ row.note }}' } }]
    delete: [{ name: delete, delete: '/objects/l/{{ row.id }}' }]";
/// Keys, texts and errors have no end that a page could count on.
const ROWS: &[&str] = &[
    "insert into customers select n, 'Customer ' || n from generate_series(1, 40) n",
    "insert into customers values ('key-' || repeat('0123456789', 12), repeat('wide', 60))",
    "insert into loans select n, n % 40 + 1, n * 12.5, repeat('a long note ', 20) from generate_series(1, 30) n",
    "insert into loans values ('loan/' || repeat('9', 90), '7', 1, repeat('x', 300))",
    "update loans set amount = amount + 1 where id = '7'",
];

/// A table scrolls by itself, but what is in one cell must be seen at once.
const WIDEST: &str = "
  const cells = [...document.querySelectorAll('tbody > tr > *')].map(it => [it.offsetWidth, it.innerText]);
  return cells.reduce((most, it) => it[0] > most[0] ? it : most, [0, ''])";
const SIZES: [(u32, u32); 2] = [(390, 844), (1280, 800)];

/// Something is well, something is not, and there is something of everything.
async fn world() -> Live {
    let live = Live::new(Version::V16, TABLES, ENTITIES).await;
    live.reconfigure(|yaml| yaml.replace("admin: { listen: off }", ADMIN.trim_end()));
    live.bank.faults().add(Rule::new(Fault::Status(422)).path("/objects/l/"));
    live
}

#[tokio::test]
async fn every_page_fits_a_phone_and_a_desktop_and_the_browser_has_nothing_to_say_against_it() {
    let live = world().await;
    let service = live.run();
    live.after(ROWS).await;
    for command in
        [&["snapshot", "--entity", "customer", "--force"][..], &["checkpoint", "create", "before_the_move"]]
    {
        live.rowcall.command(command).await.expect_code(0);
    }
    let (browser, base) = at(&service, "/calls?entity=loan").await;
    let link = |css: &str| {
        format!("return document.querySelector('{css}')?.getAttribute('href') ?? location.reload()")
    };
    let call = browser.until("a call", &link("td a[href^=\"/calls/\"]"), |it| it.is_string()).await;
    browser.goto(&format!("{base}/parked")).await;
    let parked = browser.until("a parked change", &link("#chosen th a"), |it| it.is_string()).await;
    browser.goto(&format!("{base}{}", parked.as_str().expect("text"))).await;
    let lineage = browser.until("its change", &link("dd a[href^=\"/lineage\"]"), |it| it.is_string()).await;
    eventually("the snapshot is over", LONG, async || {
        let done = live.postgres.text("select state from rowcall.run where id = 1").await;
        if done.as_deref() == Some("done") { Ok(()) } else { Err(done) }
    })
    .await;
    let pause = ["pause", "--remote", "bank", "--reason", "the bank moves to another house"];
    live.rowcall.command(&pause).await.expect_code(0);
    let text = |it: &serde_json::Value| it.as_str().expect("text").to_owned();
    let pages = [
        ("overview", "/".to_owned()),
        ("routes", "/routes".to_owned()),
        ("route", "/routes/loan".to_owned()),
        ("parked", "/parked".to_owned()),
        ("parked-change", text(&parked)),
        ("calls", "/calls".to_owned()),
        ("call", text(&call)),
        ("lineage", text(&lineage)),
        ("runs", "/runs".to_owned()),
        ("run", "/runs/1".to_owned()),
        ("remotes", "/remotes".to_owned()),
        ("schedule", "/schedule".to_owned()),
        ("operations", "/operations".to_owned()),
        ("configuration", "/configuration".to_owned()),
        ("confirm", "/do/parked.discard?route=loan".to_owned()),
    ];
    let folder = env::var_os("ROWCALL_SCREENSHOTS").map(PathBuf::from);
    if let Some(folder) = &folder {
        fs::create_dir_all(folder).expect("the folder of pictures");
    }
    let mut wrong = Vec::new();
    for (width, height) in SIZES {
        browser.resize(width, height).await;
        for (name, path) in &pages {
            browser.goto(&format!("{base}{path}")).await;
            let wide = browser.script("return document.documentElement.scrollWidth").await;
            if wide.as_u64().is_none_or(|it| it > width.into()) {
                wrong.push(format!("{name} is {wide} wide at {width}"));
            }
            let cell = browser.script(WIDEST).await;
            if cell[0].as_u64().is_none_or(|it| it > u64::from(width).min(700)) {
                wrong.push(format!("a cell of {name} is {cell} wide at {width}"));
            }
            let heading = browser.script("return document.querySelector('main h1')?.innerText ?? ''").await;
            if heading == "" {
                wrong.push(format!("{name} has no heading: {}", browser.text().await));
            }
            wrong.extend(browser.complaints().await.into_iter().map(|it| format!("{name} at {width}: {it}")));
            let picture = browser.picture().await;
            assert!(picture.starts_with(b"\x89PNG"), "{name} at {width}");
            if let Some(folder) = &folder {
                fs::write(folder.join(format!("{name}-{width}.png")), picture).expect("to keep the picture");
            }
        }
    }
    if let Some(folder) = &folder {
        browser.dark(true).await;
        for name in ["overview", "parked"] {
            let path = &pages.iter().find(|it| it.0 == name).expect("a page").1;
            browser.goto(&format!("{base}{path}")).await;
            fs::write(folder.join(format!("{name}-dark.png")), browser.picture().await).expect("to keep it");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
