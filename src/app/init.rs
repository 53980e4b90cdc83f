//! `rowcall init`: what must exist before anything can run.

use super::{App, AppError, plan::SourcePlan, session};
use crate::{
    capture::logical::{SLOT_ANEW, inspect, lost_slot, setup},
    postgres,
    state::{
        Checkpoint,
        postgres::{PostgresStore, migrate, migrations_sql, read_checkpoint},
    },
    write_back,
};

/// What `init` did for one source.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Initialised {
    /// The source.
    pub source: String,
    /// The statements that were run; empty if everything was there.
    pub statements: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl App {
    /// Makes schema, publication and slot where they are missing. With `rebind`, the checkpoint is
    /// bound anew to the database and the slot's position, giving up what lies between.
    pub async fn init(&self, rebind: bool) -> Result<Vec<Initialised>, AppError> {
        let mut done = Vec::new();
        for plan in self.plans()? {
            done.push(init(&plan, rebind).await?);
        }
        Ok(done)
    }

    /// The SQL that `init` would run on a fresh server, and the least privileges, per source.
    pub fn init_sql(&self, server_version: u32) -> Result<String, AppError> {
        let mut sql = String::new();
        for plan in self.plans()? {
            let role = &plan.target.user;
            sql.push_str(&format!("-- Source `{}`: least privileges, as an administrator.\n", plan.name));
            for grant in setup::grants(role, &plan.target.database, &plan.tables) {
                sql.push_str(&format!("{grant}\n"));
            }
            let written = plan.planned_destinations();
            if !written.is_empty() {
                sql.push_str("\n-- For `write_back`, as a superuser.\n");
                for grant in write_back::grants(role, &written) {
                    sql.push_str(&format!("{grant}\n"));
                }
                sql.push_str(&format!("{}\n", write_back::create_origin(&plan.origin())));
            }
            sql.push_str("\n-- The publication, as the owner of its tables; the slot, as the role above.\n");
            for statement in setup::statements(wanted(&plan), server_version) {
                sql.push_str(&format!("{statement}\n"));
            }
            sql.push_str("\n-- The state, in the state database, as the role that will write it.\n");
            let owner = plan.state.user.replace('"', "\"\"");
            sql.push_str(&format!("set role \"{owner}\";\n{}reset role;\n", migrations_sql()));
        }
        Ok(sql)
    }
}

fn wanted(plan: &SourcePlan) -> setup::Wanted<'_> {
    setup::Wanted { slot: &plan.slot, publication: &plan.publication, tables: &plan.tables }
}

async fn init(plan: &SourcePlan, rebind: bool) -> Result<Initialised, AppError> {
    let client = postgres::connect(&plan.target).await.map_err(AppError::failed)?;
    let server = inspect::server(&client).await.map_err(AppError::failed)?;
    if server.wal_level != "logical" {
        return Err(AppError::Failed(format!(
            "the server has wal_level = {}: set `wal_level = logical` in postgresql.conf and restart it",
            server.wal_level
        )));
    }
    let mut state = postgres::connect(&plan.state).await.map_err(AppError::failed)?;
    let applied = migrate(&mut state).await.map_err(|error| {
        AppError::Failed(format!(
            "schema `rowcall` cannot be made: {}; an administrator can run `create schema rowcall authorization {}`",
            postgres::explain(&error),
            plan.state.user
        ))
    })?;
    let mut statements: Vec<String> = applied
        .iter()
        .map(|it| format!("-- migration {} ({}) of schema rowcall", it.number, it.name))
        .collect();
    let slot = inspect::slot(&client, &plan.slot).await.map_err(AppError::failed)?;
    if slot.is_some_and(|it| it.wal_status == "lost") {
        if !rebind {
            return Err(AppError::Failed(format!("{}: {SLOT_ANEW}", lost_slot(&plan.slot))));
        }
        statements.push(setup::drop_lost_slot(&client, &plan.slot).await.map_err(AppError::failed)?);
    }
    let made = setup::set_up(&client, wanted(plan)).await.map_err(AppError::failed)?;
    statements.extend(made.statements);
    if !plan.planned_destinations().is_empty() {
        let origin = write_back::set_up(&client, &plan.origin()).await.map_err(|error| {
            AppError::Failed(format!(
                "replication origin `{}`, under which rows are written back, cannot be made: {}; run the statements of \
                 `rowcall init --print` as a superuser",
                plan.origin(),
                postgres::explain(&error)
            ))
        })?;
        statements.extend(origin);
    }
    let mut notes: Vec<String> = made
        .extra
        .iter()
        .map(|table| format!("publication `{}` also has {table}, which no entity needs", plan.publication))
        .collect();
    if rebind {
        notes.push(rebound(plan, &client, &state).await?);
    } else if let Some(checkpoint) = read_checkpoint(&state, &plan.name).await.map_err(sql)? {
        notes.push(format!("the checkpoint stands at {}", checkpoint.lsn));
    }
    Ok(Initialised { source: plan.name.clone(), statements, notes })
}

/// What is parked under positions of another database cannot be put in order with the changes of
/// this one.
async fn refuse_parked(
    plan: &SourcePlan,
    state: &postgres::Client,
    checkpoint: &Checkpoint,
) -> Result<(), AppError> {
    let was = read_checkpoint(state, &plan.name).await.map_err(sql)?;
    let of = |it: &Checkpoint| (it.binding.system_id.clone(), it.binding.timeline);
    if was.is_none_or(|was| of(&was) == of(checkpoint) && was.lsn <= checkpoint.lsn) {
        return Ok(());
    }
    let count = "select count(*) from rowcall.parked where source = $1";
    let parked: i64 = state.query_one(count, &[&plan.name]).await.map_err(sql)?.get(0);
    if parked == 0 {
        return Ok(());
    }
    Err(AppError::Failed(format!(
        "source `{}`: {parked} changes of the former database, timeline or positions are parked, and could overwrite what follows: \
         look at them with `rowcall parked list`, discard them, and bind again",
        plan.name
    )))
}

async fn rebound(
    plan: &SourcePlan,
    client: &postgres::Client,
    state: &postgres::Client,
) -> Result<String, AppError> {
    let store = match PostgresStore::open(&plan.state, &plan.name).await.map_err(AppError::failed)? {
        crate::state::postgres::Lease::Held(store) => store,
        crate::state::postgres::Lease::Taken => {
            let message =
                "an instance is running on this source: stop it before the checkpoint is bound anew";
            return Err(AppError::Failed(message.to_owned()));
        }
    };
    let checkpoint = session::fresh_checkpoint(plan, client).await?;
    refuse_parked(plan, state, &checkpoint).await?;
    crate::state::StateStore::bind(&*store, &checkpoint).await.map_err(AppError::failed)?;
    Ok(format!(
        "the checkpoint is bound to system {} timeline {} at {}; take a snapshot of what changed in between",
        checkpoint.binding.system_id, checkpoint.binding.timeline, checkpoint.lsn
    ))
}

fn sql(error: tokio_postgres::Error) -> AppError {
    AppError::Failed(postgres::explain(&error))
}
