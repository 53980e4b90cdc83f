//! What is parked and which runs are open, in numbers.

use tokio_postgres::{Client, Error};

/// Numbers of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// How many changes of a route are parked in a state.
    pub parked: Vec<(String, String, u64)>,
    /// The runs that are not over, by kind and state.
    pub runs: Vec<RunTally>,
}

/// The runs of one kind in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTally {
    /// What they do.
    pub kind: String,
    /// How they stand.
    pub state: String,
    /// How many there are.
    pub count: u64,
    /// What they have looked at.
    pub read: u64,
    /// What they will have looked at, about; `None` if that is known of none of them.
    pub expected: Option<u64>,
}

impl Tallies {
    /// How many changes are parked in a state.
    pub fn parked_as(&self, state: &str) -> u64 {
        self.parked.iter().filter(|(_, it, _)| it == state).map(|(.., count)| count).sum()
    }

    /// What the open runs of each kind have looked at, and will have.
    pub fn by_kind(&self) -> Vec<(&str, u64, Option<u64>)> {
        let mut kinds: Vec<(&str, u64, Option<u64>)> = Vec::new();
        for run in &self.runs {
            match kinds.iter_mut().find(|(kind, ..)| *kind == run.kind) {
                Some((_, read, expected)) => {
                    *read += run.read;
                    *expected = expected
                        .zip(run.expected)
                        .map(|(one, other)| one + other)
                        .or(*expected)
                        .or(run.expected);
                }
                None => kinds.push((&run.kind, run.read, run.expected)),
            }
        }
        kinds
    }
}

const PARKED: &str = "\
select route, state, count(*) from rowcall.parked where source = $1 group by route, state order by route, state";

const RUNS: &str = "\
select kind, state, count(*), coalesce(sum(read), 0)::bigint, sum(expected)::bigint from rowcall.run
where source = $1 and state in ('requested', 'running', 'paused') group by kind, state order by kind, state";

/// Counts.
pub async fn read_tallies(client: &Client, source: &str) -> Result<Tallies, Error> {
    let count = |it: i64| it.max(0).unsigned_abs();
    let parked = client.query(PARKED, &[&source]).await?;
    let parked = parked.iter().map(|row| (row.get(0), row.get(1), count(row.get(2)))).collect();
    let runs = client.query(RUNS, &[&source]).await?;
    let run = |row: &tokio_postgres::Row| RunTally {
        kind: row.get(0),
        state: row.get(1),
        count: count(row.get(2)),
        read: count(row.get(3)),
        expected: row.get::<_, Option<i64>>(4).map(count),
    };
    Ok(Tallies { parked, runs: runs.iter().map(run).collect() })
}
