//! What the bank's journal says of order, loss and repetition.

use super::Written;
use reqwest::Method;
use rowcall::demo::{Bank, Effect, Entry, OutOfOrder};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One write of a row that the bank applied: which call of its sequence, and the version it carried.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Applied {
    pub object: String,
    pub step: &'static str,
    pub version: i64,
}

/// The row writes in the order they were applied, loans by their own ids instead of the bank's.
pub fn applied(journal: &[Entry]) -> Vec<Applied> {
    let mut loans = HashMap::new();
    let mut writes = Vec::new();
    for entry in journal.iter().filter(|entry| entry.effect == Effect::Applied && &*entry.method != "DELETE")
    {
        let body = entry.body();
        let (object, step) = match entry.path.split('/').collect::<Vec<_>>()[..] {
            ["", "loans"] => {
                loans.insert(entry.object.clone(), body["ref"].clone());
                (format!("loan {}", body["ref"]), "put")
            }
            ["", "loans", _] => (format!("loan {}", loans[&entry.object]), "put"),
            ["", "loans", _, "schedule"] => (format!("loan {}", loans[&entry.object]), "schedule"),
            ["", "customers", id] => (format!("customer {id}"), "put"),
            ["", "objects", kind, id] => (format!("{kind} {id}"), "put"),
            _ => panic!("who wrote {}?", entry.path),
        };
        let version = body["version"].as_i64().unwrap_or_else(|| panic!("no version in {entry:?}"));
        writes.push(Applied { object, step, version });
    }
    writes
}

/// What of an object's versions came after a newer one.
pub fn out_of_order(writes: &[Applied]) -> Vec<String> {
    let mut newest: HashMap<&str, i64> = HashMap::new();
    let mut wrong = Vec::new();
    for write in writes {
        let newest = newest.entry(&write.object).or_insert(write.version);
        if *newest > write.version {
            wrong.push(format!("{write:?} was applied after version {newest}"));
        }
        *newest = write.version.max(*newest);
    }
    wrong
}

/// Which calls of committed versions were not made exactly once, or of versions never committed.
pub fn not_once(writes: &[Applied], history: &[Written]) -> Vec<String> {
    let mut times: BTreeMap<Applied, u32> = BTreeMap::new();
    for write in writes {
        *times.entry(write.clone()).or_default() += 1;
    }
    let mut wrong = Vec::new();
    for (object, version) in history {
        let steps: &[&str] = if object.starts_with("loan") { &["put", "schedule"] } else { &["put"] };
        for step in steps {
            let expected = Applied { object: object.clone(), step, version: *version };
            let times = times.remove(&expected).unwrap_or(0);
            if times != 1 {
                wrong.push(format!("{expected:?} was applied {times} times"));
            }
        }
    }
    wrong.extend(times.keys().map(|write| format!("{write:?} was never committed")));
    wrong
}

/// Which call keys had an effect twice, or came again for something else.
pub fn keys_not_once(journal: &[Entry]) -> Vec<String> {
    let mut applied: HashMap<Option<&str>, &Entry> = HashMap::new();
    let mut wrong = Vec::new();
    for entry in journal {
        let key = entry.key.as_deref();
        match (entry.effect, applied.get(&key)) {
            (Effect::Applied, None) => drop(applied.insert(key, entry)),
            (Effect::Applied, Some(_)) => wrong.push(format!("twice under one key: {entry:?}")),
            (Effect::Duplicate, None) => wrong.push(format!("never applied: {entry:?}")),
            (Effect::Duplicate, Some(first))
                if (&first.method, &first.path) != (&entry.method, &entry.path) =>
            {
                wrong.push(format!("under the key of {first:?}: {entry:?}"));
            }
            (Effect::Duplicate, Some(_)) => {}
        }
    }
    wrong
}

/// What was refused out of order, and not since the answer to an effect on the other object was lost: such a call
/// is made again, and answered from memory.
pub fn unexplained(broken: &[OutOfOrder], journal: &[Entry]) -> Vec<OutOfOrder> {
    let explained = |it: &&OutOfOrder| {
        let (before, since) = journal.split_at(journal.partition_point(|entry| entry.sequence < it.after));
        let effects =
            before.iter().filter(|entry| *entry.object == *it.other && entry.effect == Effect::Applied);
        let keys: BTreeSet<_> = effects.filter_map(|entry| entry.key.as_deref()).collect();
        since.iter().any(|entry| entry.key.as_deref().is_some_and(|key| keys.contains(key)))
    };
    broken.iter().filter(|it| !explained(it)).cloned().collect()
}

/// What carried a version that was never committed.
pub fn never_committed(writes: &[Applied], history: &BTreeSet<Written>) -> Vec<String> {
    let unknown = |it: &&Applied| !history.contains(&(it.object.clone(), it.version));
    writes.iter().filter(unknown).map(|it| format!("{it:?} was never committed")).collect()
}

#[test]
fn the_oracle_sees_what_is_repeated_reordered_lost_or_invented() {
    let write = |object: &str, step, version| Applied { object: object.to_owned(), step, version };
    let history = [("customer 1", 1), ("loan 7", 2), ("customer 1", 3)];
    let history = history.map(|(object, version)| (object.to_owned(), version));
    let good = [
        write("loan 7", "put", 2),
        write("customer 1", "put", 1),
        write("customer 1", "put", 3),
        write("loan 7", "schedule", 2),
    ];
    assert!(out_of_order(&good).is_empty() && not_once(&good, &history).is_empty());
    let mut swapped = good.clone();
    swapped.swap(1, 2);
    assert_eq!(out_of_order(&swapped).len(), 1);
    assert_eq!(not_once(&good[1..], &history).len(), 1, "lost");
    assert_eq!(not_once(&[&good[..], &good[..1]].concat(), &history).len(), 1, "repeated");
    assert_eq!(not_once(&good, &history[..2]).len(), 1, "invented");
    let committed = history[..2].iter().cloned().collect();
    assert_eq!(never_committed(&good, &committed).len(), 1, "invented");
}

#[tokio::test]
async fn a_refusal_is_explained_only_by_an_effect_that_is_asked_for_again() {
    let bank = Bank::start("127.0.0.1:0").await.expect("a bank");
    bank.relate("/loans", "customer", "/customers");
    let client = reqwest::Client::new();
    let call = async |method: Method, path: &str, key: &str| {
        let request =
            client.request(method.clone(), format!("{}{path}", bank.url())).header("idempotency-key", key);
        let body = if method == Method::DELETE { "" } else { r#"{"customer": 1}"# };
        let answer = request.body(body).send().await;
        answer.expect("an answer").status().as_u16()
    };
    assert_eq!(call(Method::POST, "/loans", "too early").await, 422);
    assert_eq!(call(Method::PUT, "/customers/1", "put").await, 201);
    assert_eq!(call(Method::POST, "/loans", "loan").await, 201);
    assert_eq!(call(Method::DELETE, "/customers/1", "too early as well").await, 409);
    assert_eq!(call(Method::DELETE, "/loans/L1", "close").await, 204);
    assert_eq!(call(Method::DELETE, "/customers/1", "delete").await, 204);
    assert_eq!(call(Method::POST, "/loans", "late").await, 422);
    let left = || unexplained(&bank.out_of_order(), &bank.journal()).into_iter().map(|it| it.request);
    let all = ["POST /loans too early", "DELETE /customers/1 too early as well", "POST /loans late"];
    assert_eq!(left().collect::<Vec<_>>(), all);
    assert_eq!(call(Method::DELETE, "/customers/1", "delete").await, 204);
    assert_eq!(left().collect::<Vec<_>>(), all[..2]);
    assert_eq!(call(Method::POST, "/loans", "loan").await, 201);
    assert_eq!(left().collect::<Vec<_>>(), all[..1]);
}
