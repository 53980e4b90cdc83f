//! Keeps in the state database what was told, so that a restart neither repeats a problem nor forgets its end.

use crate::{
    app::{plan::SourcePlan, state},
    config::Config,
    health::State,
    notify::{Notifier, Told, names},
    postgres::{self, Client},
    state::postgres::{NoticeDesk, ToldNotice},
};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// How often it is looked what other instances have told, and how soon it is tried again.
const LOOK: Duration = Duration::from_secs(5);
/// A look that takes longer has failed.
const WITHIN: Duration = Duration::from_secs(10);

/// Between the notifier and the state database of the first source.
pub(super) struct Keeper {
    plan: SourcePlan,
    notifier: Notifier,
    /// What may be told.
    names: Vec<String>,
    client: Option<Client>,
}

impl Keeper {
    pub(super) fn new(plan: SourcePlan, config: &Config, notifier: Notifier) -> Self {
        let keys = |it| String::as_str(it);
        let names = names(config.sources.keys().map(keys), config.remotes.keys().map(keys));
        Self { plan, notifier, names, client: None }
    }

    /// Until `over`, and once more then; whoever asked is answered once the state database was looked at since. While
    /// it is away what was told is known here alone.
    pub(super) async fn run(
        mut self,
        mut asked: watch::Receiver<u64>,
        answers: watch::Sender<u64>,
        mut over: watch::Receiver<bool>,
    ) {
        let mut away = false;
        loop {
            let question = *asked.borrow_and_update();
            let late = |_| Err(format!("no answer within {} s", WITHIN.as_secs()));
            let ends = *over.borrow();
            match timeout(WITHIN, self.look()).await.unwrap_or_else(late) {
                Ok(()) => {
                    away = false;
                    answers.send_replace(question);
                }
                Err(error) => {
                    self.client = None;
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(
                            "which notices were told cannot be kept in the state database for now: {}",
                            error.lines().next().unwrap_or_default()
                        );
                    }
                }
            }
            if ends {
                return;
            }
            tokio::select! {
                _ = over.wait_for(|it| *it) => {}
                () = self.notifier.told(), if !away => {}
                Ok(()) = asked.changed(), if !away => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), String> {
        let is_new = self.client.is_none();
        let client = match self.client.take() {
            Some(client) => client,
            None => state::connect(&self.plan).await.map_err(|error| error.to_string())?,
        };
        let desk = NoticeDesk { client: &*self.client.insert(client) };
        let failed = |error: tokio_postgres::Error| postgres::explain(&error);
        if is_new {
            desk.keep_only(&self.notifier.targets(), &self.names).await.map_err(failed)?;
        }
        let unsaved = self.notifier.unsaved();
        let rows: Vec<ToldNotice> = unsaved.iter().map(row).collect();
        desk.tell(&rows).await.map_err(failed)?;
        self.notifier.saved(&unsaved);
        let told: Vec<Told> = desk.told().await.map_err(failed)?.into_iter().filter_map(told).collect();
        self.notifier.learn(&told);
        Ok(())
    }
}

fn row(told: &Told) -> ToldNotice {
    let Told { target, name, state, since, at } = told.clone();
    ToldNotice { target, name, state: state.name().to_owned(), since, told_at: at }
}

/// What is counted since the start begins anew with the process, and so does what is told of it.
fn told(row: ToldNotice) -> Option<Told> {
    let ToldNotice { target, name, state, since, told_at } = row;
    let state = State::ALL.into_iter().find(|it| it.name() == state)?;
    (name != "call_log.dropped").then_some(Told { target, name, state, since, at: told_at })
}
