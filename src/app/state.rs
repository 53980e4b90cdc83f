//! The state databases, for commands that only look at them or work on what is parked.

use super::{App, AppError, plan::SourcePlan};
use crate::postgres::{self, Client};

/// A connection to one source's state database.
pub struct StateConnection {
    /// The sources that keep their state there.
    pub sources: Vec<String>,
    /// The connection.
    pub client: Client,
}

impl App {
    /// Connects to every state database, once each.
    pub async fn state_connections(&self) -> Result<Vec<StateConnection>, AppError> {
        let plans = self.plans()?;
        let mut connections: Vec<(String, StateConnection)> = Vec::new();
        for plan in &plans {
            let place = format!("{}/{}", plan.state.place(), plan.state.database);
            if let Some((_, known)) = connections.iter_mut().find(|(at, _)| *at == place) {
                known.sources.push(plan.name.clone());
                continue;
            }
            let client = connect(plan).await?;
            connections.push((place, StateConnection { sources: vec![plan.name.clone()], client }));
        }
        Ok(connections.into_iter().map(|(_, connection)| connection).collect())
    }
}

pub(super) async fn connect(plan: &SourcePlan) -> Result<Client, AppError> {
    let client = postgres::connect(&plan.state).await?;
    check_schema(plan, &client).await?;
    Ok(client)
}

/// The state's schema must be there and as new as this version.
pub(super) async fn check_schema(plan: &SourcePlan, client: &Client) -> Result<(), AppError> {
    match crate::state::postgres::pending_migrations(client).await {
        Ok(pending) if pending.is_empty() => Ok(()),
        Ok(_) => Err(AppError::Failed(format!(
            "schema `rowcall` is missing or older than this version in the state database of source `{}`: run `rowcall init`",
            plan.name
        ))),
        // A server that shuts down is no reason to give up; one that refuses the query is.
        Err(error)
            if error.code().is_none_or(|code| matches!(code.code().get(..2), Some("08" | "53" | "57"))) =>
        {
            Err(AppError::Unreachable(postgres::explain(&error)))
        }
        Err(error) => Err(AppError::Failed(postgres::explain(&error))),
    }
}
