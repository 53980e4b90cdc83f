//! Follows the runs of a source that end, whoever ended them: what is over and was not told is told.

use crate::{
    app::plan::SourcePlan,
    audit, health,
    model::{RunId, RunKind},
    notify::{EndedRun, Notifier},
    postgres::Client,
    state::{Run, postgres::NoticeDesk},
};
use std::{convert::Infallible, future::pending, time::Duration};
use tokio::time::sleep;

const LOOK: Duration = Duration::from_secs(1);

/// For as long as the source's lease is held.
pub(in crate::app) async fn follow_ends(
    plan: &SourcePlan,
    client: &Client,
    notifier: Option<&Notifier>,
) -> Infallible {
    let Some(notifier) = notifier else { return pending().await };
    let (desk, targets) = (NoticeDesk { client }, notifier.targets_of_runs());
    let (mut follows, mut unwanted) = (false, Vec::new());
    loop {
        let look = async {
            if !follows {
                desk.follow_runs(&plan.name, &targets).await?;
                follows = true;
            }
            look(&plan.name, &desk, &targets, notifier, &mut unwanted).await
        };
        if let Err(error) = look.await {
            // Whether the connection lives is watched elsewhere.
            tracing::debug!(source = plan.name, "runs that ended cannot be looked at: {error}");
        }
        if targets.is_empty() && follows {
            return pending().await;
        }
        sleep(LOOK).await;
    }
}

async fn look(
    source: &str,
    desk: &NoticeDesk<'_>,
    targets: &[String],
    notifier: &Notifier,
    unwanted: &mut Vec<(String, RunId)>,
) -> Result<(), tokio_postgres::Error> {
    let told = notifier.unsaved_runs(source);
    let done: Vec<_> = told.iter().chain(&*unwanted).cloned().collect();
    if !done.is_empty() {
        desk.tell_runs(source, &done).await?;
        notifier.saved_runs(source, &told);
        unwanted.clear();
    }
    for (target, run) in desk.ended_runs(source, targets).await? {
        let run = ended(run);
        if notifier.wants_run(&target, &run) {
            notifier.run_ended(&target, run);
        } else {
            unwanted.push((target, run.id));
        }
    }
    Ok(())
}

fn ended(run: Run) -> EndedRun {
    let report = run.report.filter(|_| run.kind == RunKind::Audit);
    let report = report.and_then(|it| serde_json::from_value::<audit::Report>(it).ok());
    EndedRun {
        id: run.id,
        source: run.source,
        kind: run.kind,
        entity: run.entity,
        end: run.state,
        why: run.error.map(|it| without_key(health::plain(&it))),
        counts: run.counts,
        findings: report.map(|it| it.total()),
        finished_at: run.finished_at,
    }
}

/// Why a run failed may name a key that a person asked for, which is theirs alone (invariant 7).
fn without_key(why: &str) -> String {
    let Some((before, rest)) = why.split_once("key `") else { return why.to_owned() };
    let behind = rest.split_once('`').map_or("", |(_, behind)| behind);
    format!("{before}key{behind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_run_failed_names_no_key() {
        let why = "key `DE12,7` has 2 value(s), but the key of table loans has 1 column(s): id";
        assert_eq!(without_key(why), "key has 2 value(s), but the key of table loans has 1 column(s): id");
        assert_eq!(without_key("no table"), "no table");
    }
}
