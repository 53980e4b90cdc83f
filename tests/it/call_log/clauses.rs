//! What every `CallLogStore` promises. Each clause is given a store with nothing in it.

use super::record;
use crate::harness::MongoDb;
use jiff::Timestamp;
use rowcall::call_log::{
    CallLogStore, CallQuery, CallRecord, Content, Exchange, MemoryCallLog, Passage, RecordId, Spot,
    SqliteCallLog, Trail, lineage,
    mongodb::{MongoCallLog, MongoDbSettings},
};
use std::{collections::BTreeSet, pin::Pin};

type Clause = for<'a> fn(&'a dyn CallLogStore) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

macro_rules! clauses {
    ($(async fn $name:ident($store:ident: &dyn CallLogStore) $body:block)+) => {
        $(async fn $name($store: &dyn CallLogStore) $body)+

        const CLAUSES: &[(&str, Clause)] = &[$((stringify!($name), |store| Box::pin($name(store)))),+];

        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&super::MemoryCallLog::default()).await;
            })+
        }
    };
}

/// Runs every clause, each on a store of its own.
async fn all(mut open: impl AsyncFnMut(usize) -> Box<dyn CallLogStore>) {
    for (number, (name, clause)) in CLAUSES.iter().enumerate() {
        eprintln!("clause: {name}");
        clause(&*open(number).await).await;
    }
}

#[tokio::test]
async fn mongodb_keeps_every_clause() {
    let mongodb = MongoDb::start().await;
    all(async |number| {
        let collection = format!("c{number}");
        let settings = MongoDbSettings { collection, ..MongoDbSettings::at(mongodb.url().into()) };
        let store: Box<dyn CallLogStore> = Box::new(MongoCallLog::new(&settings).expect("a store"));
        store
    })
    .await;
}

#[tokio::test]
async fn sqlite_keeps_every_clause() {
    let folder = tempfile::tempdir().expect("a folder");
    all(async |number| {
        let path = folder.path().join(format!("c{number}.db"));
        let store: Box<dyn CallLogStore> = Box::new(SqliteCallLog::open(&path).expect("a store"));
        store
    })
    .await;
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// For all that there are.
fn all_of(query: CallQuery) -> CallQuery {
    CallQuery { limit: 1_000, ..query }
}

async fn ids(store: &dyn CallLogStore, query: CallQuery) -> Vec<String> {
    let found = store.find(&query).await.expect("an answer");
    found.iter().map(|it| it.id.to_string()).collect()
}

async fn put(store: &dyn CallLogStore, records: &[CallRecord]) {
    store.store(records).await.expect("to store");
}

/// What a store without a fault would find.
fn expected(records: &[CallRecord], query: &CallQuery) -> Vec<String> {
    let mut found: Vec<&CallRecord> = records.iter().filter(|it| query.matches(it)).collect();
    found.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
    found.iter().take(query.limit).map(|it| it.id.to_string()).collect()
}

/// Records that share some of everything.
fn mixed() -> Vec<CallRecord> {
    let times = [
        "2024-05-06T07:08:09Z",
        "2024-05-06T07:08:09.000000001Z",
        "2024-05-06T07:08:09.001Z",
        "1969-12-31T23:59:59.9999Z",
    ];
    let statuses = [None, Some(200), Some(404), Some(503)];
    let make = |n: u32| {
        let pick = n as usize;
        CallRecord {
            at: time(times[pick % 4]),
            entity: ["loan", "customer", "Loan"][pick % 3].into(),
            route: ["a", "b"][pick % 2].into(),
            keys: [(n % 5).to_string().into(), format!("k{}", n % 2).into()].into(),
            changes: [format!("0/{}-0", n % 6).into()].into(),
            run: [None, Some(7), Some(8)][pick / 2 % 3],
            response: statuses[pick / 3 % 4].map(|status| Exchange { status, content: Content::default() }),
            class: [None, Some("timeout".into()), Some("refused".into())][pick / 4 % 3].clone(),
            error: n.is_multiple_of(7).then(|| "Connection REFUSED".to_owned()),
            ..record(n)
        }
    };
    (0..60).map(make).collect()
}

clauses! {
    async fn a_record_is_there_once_however_often_it_comes(store: &dyn CallLogStore) {
        put(store, &[]).await;
        put(store, &[record(1), record(1), record(2)]).await;
        // What comes later under the same id changes nothing, and takes no other with it.
        let other = CallRecord { outcome: "parked".into(), ..record(2) };
        put(store, &[other, record(3), record(1), record(4)]).await;
        put(store, &[record(4)]).await;
        assert_eq!(ids(store, all_of(CallQuery::default())).await.len(), 4);
        let kept = store.get(&record(2).id).await.expect("an answer").expect("a record");
        assert_eq!(&*kept.outcome, "answered");
    }

    async fn several_may_store_the_same_at_once(store: &dyn CallLogStore) {
        let records: Vec<CallRecord> = (0..200).map(record).collect();
        let parts = [&records[..150], &records[50..], &records[..], &records[100..]];
        let storing = parts.map(|part| store.store(part));
        for stored in futures_util::future::join_all(storing).await {
            stored.expect("to store");
        }
        let found: BTreeSet<String> = ids(store, all_of(CallQuery::default())).await.into_iter().collect();
        assert_eq!(found, records.iter().map(|it| it.id.to_string()).collect());
    }

    async fn a_record_comes_back_as_it_was(store: &dyn CallLogStore) {
        let text = "é\u{1F600}\0\"\\\u{7f}\u{2028}$.a";
        let full = CallRecord {
            at: time("2024-02-29T23:59:59.999999999Z"),
            took_us: u64::from(u32::MAX) + 7,
            keys: ["1".into(), "2".into(), "1".into()].into(),
            changes: ["0/1-0".into(), "0/1-1".into(), "0/1-0".into()].into(),
            run: Some(i64::MAX),
            attempt: u32::MAX,
            request: Content {
                headers: [("a", "1"), ("b", ""), ("a", text), ("$x.y", "2"), ("", "")].into(),
                body: text.into(),
                size: 1 << 40,
                base64: false,
            },
            response: Some(Exchange {
                status: u16::MAX,
                content: Content { body: "AAEC".into(), size: 3, base64: true, headers: [].into() },
            }),
            class: Some("refused".into()),
            error: Some(text.to_owned()),
            ..record(1)
        };
        let bare = CallRecord { response: None, keys: [].into(), changes: [].into(), ..record(2) };
        let early = CallRecord { at: time("1969-12-31T23:59:59.999999999Z"), run: Some(-1), ..record(3) };
        let records = [full, bare, early];
        put(store, &records).await;
        for record in &records {
            assert_eq!(store.get(&record.id).await.expect("an answer").as_ref(), Some(record));
        }
        let [full, bare, early] = records;
        let found = store.find(&all_of(CallQuery::default())).await.expect("an answer");
        assert_eq!(found, [bare, full, early]);
        assert_eq!(store.get(&RecordId("unknown".into())).await.expect("an answer"), None);
    }

    async fn exotic_keys_are_found_as_they_are(store: &dyn CallLogStore) {
        let long = "x".repeat(5_000);
        let keys = ["", "$", "$gt", "a.b", "a", "A", "\0", "a\0", "é", "e\u{301}", "\u{1F600}", "{\"$ne\":1}", "'; --", "%", "_", &long];
        let of = |(n, key): (usize, &&str)| CallRecord {
            id: RecordId::new(key, None, n as u32),
            keys: ["shared".into(), (*key).into()].into(),
            changes: [(*key).into()].into(),
            entity: (*key).to_owned().into(),
            ..record(n as u32)
        };
        let records: Vec<CallRecord> = keys.iter().enumerate().map(of).collect();
        put(store, &records).await;
        for (key, record) in keys.iter().zip(&records) {
            let text = || Some((*key).to_owned());
            for query in [
                CallQuery { key: text(), ..CallQuery::default() },
                CallQuery { change: text(), ..CallQuery::default() },
                CallQuery { entity: text(), key: text(), ..CallQuery::default() },
            ] {
                assert_eq!(ids(store, all_of(query)).await, [record.id.to_string()], "{key:?}");
            }
            assert_eq!(store.get(&record.id).await.expect("an answer").as_ref(), Some(record), "{key:?}");
        }
        let shared = CallQuery { key: Some("shared".to_owned()), ..CallQuery::default() };
        assert_eq!(ids(store, all_of(shared)).await.len(), keys.len());
    }

    async fn every_field_narrows_what_is_found_alone_and_with_others(store: &dyn CallLogStore) {
        let mut records = mixed();
        records.reverse();
        records.rotate_left(17);
        put(store, &records).await;
        let edge = time("2024-05-06T07:08:09.000000001Z");
        let fields: [fn(&mut CallQuery, Timestamp); 13] = [
            |it, _| it.entity = Some("loan".to_owned()),
            |it, _| it.route = Some("b".to_owned()),
            |it, _| it.key = Some("3".to_owned()),
            |it, _| it.change = Some("0/1-0".to_owned()),
            |it, _| it.run = Some(7),
            |it, _| it.status = Some((200, 404)),
            |it, _| it.class = Some("timeout".to_owned()),
            |it, at| it.since = Some(at),
            |it, at| it.until = Some(at),
            |it, _| it.until = Some("1970-01-01T00:00:00Z".parse().expect("a time")),
            |it, _| it.text = Some("refused".to_owned()),
            |it, at| it.before = Some((at, record(25).id)),
            |it, _| it.limit = 3,
        ];
        let mut asked = 0;
        let mut found = 0;
        // Every choice of three fields at most; the same one twice is fewer.
        for a in 0..fields.len() {
            for b in a..fields.len() {
                for c in b..fields.len() {
                    let mut query = all_of(CallQuery::default());
                    for field in [a, b, c] {
                        fields[field](&mut query, edge);
                    }
                    let expected = expected(&records, &query);
                    assert_eq!(ids(store, query.clone()).await, expected, "{query:?}");
                    asked += 1;
                    found += usize::from(!expected.is_empty());
                }
            }
        }
        assert!(found * 2 > asked, "most of these find nothing: they show nothing");
        for limit in [0, 1, 59, 60, usize::MAX] {
            let query = CallQuery { limit, ..CallQuery::default() };
            assert_eq!(ids(store, query.clone()).await, expected(&records, &query), "{limit}");
        }
    }

    async fn a_status_is_in_a_range(store: &dyn CallLogStore) {
        let of = |(n, status): (u32, Option<u16>)| {
            let response = status.map(|status| Exchange { status, content: Content::default() });
            CallRecord { response, ..record(n) }
        };
        let records: Vec<CallRecord> = (0..).zip([None, Some(0), Some(399), Some(400), Some(499), Some(500), Some(65_535)]).map(of).collect();
        put(store, &records).await;
        for status in [(400, 499), (400, 400), (0, u16::MAX), (500, 400), (0, 0)] {
            let query = all_of(CallQuery { status: Some(status), ..CallQuery::default() });
            assert_eq!(ids(store, query.clone()).await, expected(&records, &query), "{status:?}");
        }
    }

    async fn a_text_is_looked_for_as_it_is_but_for_the_case_of_ascii(store: &dyn CallLogStore) {
        let body = |text: &str| Content { body: text.into(), ..Content::default() };
        let mut records: Vec<CallRecord> = [r"a.b*c[d]", "É", "é", "50% off_", "x\0y", "K", "\u{212a}", "two\nlines", r"\x41 $1 ^", "sealed:zz"]
            .iter()
            .zip(0..)
            .map(|(text, n)| CallRecord { request: body(text), ..record(n) })
            .collect();
        let response = Some(Exchange { status: 200, content: body("Needle") });
        records.push(CallRecord { response, ..record(100) });
        records.push(CallRecord { error: Some("a NEEDLE".to_owned()), ..record(101) });
        records.push(CallRecord { url: "https://x/needle?q=1".to_owned(), ..record(102) });
        let headers = [("needle", "needle")].into();
        records.push(CallRecord { request: Content { headers, ..Content::default() }, ..record(103) });
        records.push(CallRecord { step: "needle".into(), keys: ["needle".into()].into(), ..record(104) });
        put(store, &records).await;
        let texts = [
            "needle", "nEEdle", "a.b", "A.B*C[D]", "axb", ".", "*", "[d", "]", "É", "é", "k", "\u{212a}", "%", "f_", "_", "x\0Y", "\0",
            "two\nl", "two.l", r"\x41", r"\", "$1 ^", "^", "$", "", "sealed", "A", "(", "?q",
        ];
        for text in texts {
            let query = all_of(CallQuery { text: Some(text.to_owned()), ..CallQuery::default() });
            assert_eq!(ids(store, query.clone()).await, expected(&records, &query), "{text:?}");
        }
        let needles = all_of(CallQuery { text: Some("needle".to_owned()), ..CallQuery::default() });
        assert_eq!(ids(store, needles).await.len(), 3);
    }

    async fn pages_have_no_gap_and_no_repetition(store: &dyn CallLogStore) {
        let records = mixed();
        put(store, &records).await;
        let (route, text) = (Some("a".to_owned()), Some("refused".to_owned()));
        let failures = CallQuery { status: Some((400, 599)), ..CallQuery::default() };
        for whole in [
            CallQuery::default(),
            CallQuery { route: route.clone(), ..CallQuery::default() },
            CallQuery { text: text.clone(), ..CallQuery::default() },
            CallQuery { route, text, ..failures },
        ] {
            for (limit, look) in [(1, None), (7, None), (30, Some(1)), (60, Some(13)), (7, Some(13)), (1, Some(500))] {
                let whole = all_of(whole.clone());
                let mut paged = Vec::new();
                let mut query = CallQuery { limit, look, ..whole.clone() };
                loop {
                    let page = store.search(&query).await.expect("a page");
                    assert!(page.calls.len() <= limit);
                    paged.extend(page.calls.iter().map(|it| it.id.to_string()));
                    let Some(more) = page.more else { break };
                    query.before = Some(more);
                }
                assert_eq!(paged, expected(&records, &whole), "{limit} {look:?} {whole:?}");
            }
        }
    }

    async fn large_bodies_are_kept(store: &dyn CallLogStore) {
        let body = |bytes: usize| Content { body: "é".repeat(bytes / 2).into(), size: bytes as u64, ..Content::default() };
        let large = CallRecord { request: body(5 << 20), ..record(1) };
        let response = Some(Exchange { status: 200, content: body(20 << 20) });
        let beyond = CallRecord { request: body(1 << 20), response, ..record(2) };
        put(store, &[large.clone(), beyond.clone(), record(3)]).await;
        let get = async |it: &CallRecord| store.get(&it.id).await.expect("an answer").expect("a record");
        assert!(get(&large).await == large);
        // What a place cannot hold it may leave out, but says so, and keeps the rest.
        let kept = get(&beyond).await;
        assert!(kept.request == beyond.request);
        let (kept, whole) = (kept.response.expect("one").content, beyond.response.expect("one").content);
        assert_eq!(kept.size, whole.size);
        assert!(kept == whole || kept.is_cut());
        assert_eq!(ids(store, all_of(CallQuery::default())).await.len(), 3);
    }

    async fn what_is_old_is_forgotten_to_the_nanosecond(store: &dyn CallLogStore) {
        let records = mixed();
        put(store, &records).await;
        let edge = time("2024-05-06T07:08:09.000000001Z");
        let (kept, old): (Vec<_>, Vec<_>) = records.iter().cloned().partition(|it| it.at >= edge);
        assert_eq!(store.expire(edge).await.expect("an answer"), old.len() as u64);
        assert_eq!(store.expire(edge).await.expect("an answer"), 0);
        let all = all_of(CallQuery::default());
        assert_eq!(ids(store, all.clone()).await, expected(&kept, &all));
        // And may come again.
        put(store, &old).await;
        assert_eq!(ids(store, all).await.len(), records.len());
    }
    async fn a_change_and_a_key_lead_to_their_calls_in_order(store: &dyn CallLogStore) {
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        let of = |n: u32, second: i64, pairs: &[(&str, &str)]| CallRecord {
            at: at(second),
            keys: pairs.iter().map(|it| it.0.into()).collect(),
            changes: pairs.iter().map(|it| it.1.into()).collect(),
            ..record(n)
        };
        let elsewhere = CallRecord { route: "loan@other".into(), ..of(6, 6, &[("1", "c1")]) };
        let batch = [("2", "c2"), ("1", "c3"), ("1", "c4")];
        put(store, &[of(5, 5, &batch), of(2, 2, &[("1", "c1")]), of(1, 1, &[("1", "c1")]), of(3, 3, &[("2", "c1")]), elsewhere, of(7, 7, &[("1", "c1")])]).await;
        let told = |trail: &Trail| {
            let passage = |it: &Passage| {
                format!("{}:{}", it.change, it.calls.iter().map(|it| it.at.as_second().to_string()).collect::<String>())
            };
            let more = if trail.more { "…" } else { "" };
            format!("{} {} {}{more}", trail.route, trail.key, trail.changes.iter().map(passage).collect::<Vec<_>>().join(" "))
        };
        let trails = lineage::of_change(store, "c1", 100).await.expect("an answer");
        assert_eq!(trails.iter().map(told).collect::<Vec<_>>(), ["loan@lender 1 c1:127", "loan@lender 2 c1:3", "loan@other 1 c1:6"]);
        let trails = lineage::of_change(store, "c4", 100).await.expect("an answer");
        assert_eq!(trails.iter().map(told).collect::<Vec<_>>(), ["loan@lender 1 c4:5"]);
        assert_eq!(lineage::of_change(store, "c", 100).await, Ok(Vec::new()));
        let spot = Spot { entity: "loan".into(), route: "loan@lender".into(), key: "1".into() };
        let told_of = async |limit| told(&lineage::of_key(store, &spot, limit).await.expect("an answer"));
        assert_eq!(told_of(100).await, "loan@lender 1 c1:127 c3:5 c4:5");
        assert_eq!(told_of(2).await, "loan@lender 1 c3:5 c4:5 c1:7…");
    }

    async fn what_a_remote_calls_it_leads_back_to_its_key(store: &dyn CallLogStore) {
        let answered = |n: u32, body: &str| {
            let content = Content { body: body.into(), ..Content::default() };
            CallRecord { response: Some(Exchange { status: 200, content }), ..record(n) }
        };
        let sent = Content { body: r#"{"loan":"L169"}"#.into(), ..Content::default() };
        put(store, &[
            answered(1, r#"{"id":"L169"}"#),
            CallRecord { url: "https://x/loans/L169/schedule".to_owned(), keys: ["1".into()].into(), ..record(2) },
            answered(3, r#"{"id":"L1690"}"#),
            // Another's, sent along.
            CallRecord { request: sent, ..record(4) },
            CallRecord { entity: "fee".into(), ..answered(5, "L169") },
            CallRecord { keys: ["6".into(), "7".into()].into(), changes: ["a".into(), "b".into()].into(), ..answered(6, "L169") },
            CallRecord { at: time("2020-01-01T00:00:00Z"), ..answered(8, "L169") },
        ]).await;
        let found = async |id: &str, entity: Option<&str>, since: &str| {
            let spots = lineage::spots_of(store, id, entity, time(since), 100, None).await.expect("an answer").0;
            spots.iter().map(|it| format!("{} {}", it.entity, it.key)).collect::<Vec<_>>()
        };
        assert_eq!(found("L169", None, "2024-01-01T00:00:00Z").await, ["fee 5", "loan 1"]);
        assert_eq!(found("L169", Some("loan"), "2019-01-01T00:00:00Z").await, ["loan 1", "loan 8"]);
        assert_eq!(found("L16", None, "2019-01-01T00:00:00Z").await, [""; 0]);
    }
}
