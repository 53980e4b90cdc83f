//! Random histories of a database that holds its foreign keys, with a service that is killed.

use super::*;
use proptest::prelude::*;

/// One statement of a database that holds its foreign keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum Statement {
    Put {
        table: usize,
        id: u8,
        parent: u8,
    },
    Delete {
        table: usize,
        id: u8,
    },
    /// Its key changes, and its children go along: `on update cascade`.
    Move {
        table: usize,
        id: u8,
        to: u8,
    },
}

fn statements() -> impl Strategy<Value = Vec<Vec<Statement>>> {
    let put =
        (0usize..3, 0u8..4, 0u8..5).prop_map(|(table, id, parent)| Statement::Put { table, id, parent });
    let delete = (0usize..3, 0u8..4).prop_map(|(table, id)| Statement::Delete { table, id });
    let rename = (0usize..3, 0u8..4, 0u8..4).prop_map(|(table, id, to)| Statement::Move { table, id, to });
    let statement = prop_oneof![4 => put, 2 => delete, 3 => rename];
    prop::collection::vec(prop::collection::vec(statement, 1..6), 1..12)
}

/// The rows there are: per table and id, the parent.
pub(super) type Present = BTreeMap<(usize, u8), Option<u8>>;

/// The rows that depend on this one.
fn below(present: &Present, table: usize, id: u8) -> Vec<(usize, u8)> {
    let child = if table == 0 { 1 } else { table };
    let below = present.iter().filter(|((at, _), parent)| table != 1 && *at == child && **parent == Some(id));
    below.map(|(row, _)| *row).collect()
}

/// Writes a statement and what follows from it by foreign keys, as the log has it: a parent's delete
/// comes before its children's.
pub(super) fn write(mut rows: Rows, present: &mut Present, statement: Statement, v: &str) -> Rows {
    let above = |table: usize| if table == 1 { 0 } else { table };
    match statement {
        Statement::Put { table, id, parent } => {
            let parent = (table > 0 && parent < 4).then_some(parent);
            let exists = |it: &u8| *it == id && table == 2 || present.contains_key(&(above(table), *it));
            let parent = parent.filter(exists);
            // No circles, which no remote could be told of.
            let mut up = parent.filter(|it| table == 2 && *it != id);
            while let Some(at) = up {
                if at == id {
                    return rows;
                }
                up = present.get(&(2, at)).copied().flatten().filter(|next| *next != at);
            }
            let (id_text, parent_text) = (id.to_string(), parent.map(|it| it.to_string()));
            rows = match present.insert((table, id), parent) {
                None => rows.put(table, &id_text, parent_text.as_deref(), v),
                Some(_) => rows.update(table, &id_text, parent_text.as_deref(), v),
            };
        }
        Statement::Delete { table, id } => {
            if present.remove(&(table, id)).is_none() {
                return rows;
            }
            rows = rows.delete(table, &id.to_string());
            for (child, id) in below(present, table, id) {
                rows = write(rows, present, Statement::Delete { table: child, id }, v);
            }
        }
        Statement::Move { table, id, to } => {
            if present.contains_key(&(table, to)) {
                return rows;
            }
            let Some(parent) = present.remove(&(table, id)) else { return rows };
            let parent_text = parent.map(|it| it.to_string());
            present.insert((table, to), parent);
            rows = rows.rename_below(table, (&id.to_string(), &to.to_string()), parent_text.as_deref(), v);
            for child in below(present, table, id) {
                rows = rows.update(child.0, &child.1.to_string(), Some(&to.to_string()), v);
                present.insert(child, Some(to));
            }
        }
    }
    rows
}

/// Each case is a world of its own.
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig { cases: given.cases / 4, ..given }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever a database with foreign keys writes, the remote never sees a child without its
    /// parent, nothing is left behind, and the end is the same on both sides.
    #[test]
    fn a_remote_with_foreign_keys_never_has_to_refuse(
        transactions in statements(),
        concurrency in 1u32..5,
        coalesce in any::<bool>(),
        stumbles in prop::collection::vec(0u8..4, 0..20),
        kills in prop::collection::vec((1usize..12, 0u64..12), 0..4),
        pace in prop_oneof![Just(0u64), Just(3), Just(400)],
        fetches in prop::bool::weighted(0.2),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let mut family = Family::new();
            family.rig.governor = governor(concurrency, None);
            family.rig.coalesce = coalesce;
            family.rig.attempts = 100;
            family.fetches = fetches;
            let stumbles = Mutex::new(stumbles);
            let held = Arc::clone(&family.held);
            let seen = Mutex::new(BTreeMap::new());
            family.rig.remote = Arc::new(FakeRemote::answering(move |call, key| {
                if stumbles.lock().expect("whole").pop() == Some(0) {
                    return status(503);
                }
                let mut seen = seen.lock().expect("whole");
                let status = *seen.entry(key.to_string()).or_insert_with(|| held.lock().expect("whole").answer(call));
                let body = json!({ "id": 1 }).to_string();
                Ok(Answer { status, headers: [].into(), body: body.into() })
            }));
            let (mut rows, mut present) = (Rows::new(), Present::new());
            for (number, transaction) in transactions.iter().enumerate() {
                for statement in transaction {
                    rows = write(rows, &mut present, *statement, &number.to_string());
                }
                rows = rows.commit();
            }
            family.pace = Duration::from_millis(pace);
            let mut written = 100;
            for (calls, transactions) in kills {
                written = rows.commit.min(written + 100 * transactions);
                family.run_until_killed(&mut rows, calls, Lsn::new(written)).await;
            }
            family.run(rows).await;
            prop_assert_eq!(family.refused(), [""; 0]);
            prop_assert_eq!(family.parked(), [""; 0]);
            let expected: BTreeSet<String> =
                present.keys().map(|(table, id)| format!("/{}/{id}", ROUTES[*table])).collect();
            prop_assert_eq!(family.objects(), expected.into_iter().collect::<Vec<_>>());
            Ok(())
        })?;
    }
}
