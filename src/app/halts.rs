//! Pausing and resuming routes and remotes.

use super::{App, AppError, plan::SourcePlan, state::connect};
use crate::{
    model::{Halt, HaltOf},
    postgres,
    state::postgres::{HaltDesk, PostgresStore},
};
use std::time::Duration;
use tokio::{sync::watch, time::sleep};

/// How often a running service looks what is paused.
const LOOK: Duration = Duration::from_secs(1);

/// What is to be paused or resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaltOrder {
    /// What.
    pub what: HaltOf,
    /// Its name.
    pub name: String,
    /// Who orders it.
    pub who: String,
    /// Why.
    pub reason: Option<String>,
    /// Whether it is paused, or resumed.
    pub pause: bool,
}

impl App {
    /// Pauses or resumes, and says how it is, or was, paused.
    pub async fn order_halt(&self, order: &HaltOrder) -> Result<Halt, AppError> {
        let HaltOrder { what, name, who, reason, pause } = order;
        let plans = self.plans()?;
        let concerned = concerned(&plans, *what, name)?;
        let sql = |error| AppError::Unreachable(postgres::explain(&error));
        let (mut told, mut moved) = (None, false);
        // A remote's is in every state database from which something is sent to it.
        for plan in concerned {
            let client = connect(plan).await?;
            let desk = HaltDesk { client: &client };
            if *pause {
                let (halt, new) = desk.pause(*what, name, who, reason.as_deref()).await.map_err(sql)?;
                moved |= new;
                told.get_or_insert(halt);
            } else if let Some(halt) = desk.resume(*what, name).await.map_err(sql)? {
                moved = true;
                told.get_or_insert(halt);
            }
        }
        match told {
            // Sources that share a state database share its row.
            Some(halt) if moved => Ok(halt),
            Some(halt) => Err(AppError::Failed(format!("{halt}, so it is paused already"))),
            None => Err(AppError::Failed(format!("{} `{name}` is not paused", what.name()))),
        }
    }
}

fn concerned<'a>(plans: &'a [SourcePlan], what: HaltOf, name: &str) -> Result<Vec<&'a SourcePlan>, AppError> {
    let mut known = Vec::new();
    let mut found = Vec::new();
    for plan in plans {
        let names = match what {
            HaltOf::Route => plan.all_routes(),
            HaltOf::Remote => plan.all_remotes(),
        };
        if names.iter().any(|it| it == name) {
            found.push(plan);
        }
        known.extend(names.into_iter().filter(|it| !known.contains(it)).collect::<Vec<_>>());
    }
    if found.is_empty() {
        let message =
            format!("there is no {} `{name}` in the configuration: it has {}", what.name(), known.join(", "));
        return Err(AppError::Configuration(vec![message]));
    }
    Ok(found)
}

/// Tells the engine what is paused, until it is over. While that cannot be read it stays as it was.
pub(super) async fn follow(
    store: &PostgresStore,
    told: &watch::Sender<Vec<Halt>>,
    mut over: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = crate::engine::stopped(&mut over) => return,
        }
        match store.halts().await {
            Ok(halts) => {
                told.send_if_modified(|known| {
                    let changed = *known != halts;
                    *known = halts;
                    changed
                });
            }
            Err(error) => tracing::debug!("what is paused cannot be read: {error}"),
        }
    }
}
