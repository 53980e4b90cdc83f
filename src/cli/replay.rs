use super::{
    Failure,
    order::ordered,
    output::print_json,
    runs::{ended, follow, serve_until_over},
};
use crate::{
    app::{App, BadPoint, Point, ReplayRequest},
    config::Log,
    model::{RunId, RunState},
    state::postgres::RunDesk,
};
use clap::Args;
use std::io::Write;

/// Changes are sent again in their order, up to what is settled now: under the same call keys where an
/// entity sends each of its changes, else under keys of their own. A running service does it, beside what
/// it does anyway; without one this command does it, and replicates until it is done.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rowcall checkpoint create before_import\n  rowcall replay --from before_import --wait\n  rowcall replay --from 30m --entity loan --key 17\n  rowcall replay --from 0/16B3748 --to 2026-01-31T12:00:00Z --new-keys"
)]
pub(super) struct Arguments {
    /// The first change: a checkpoint's name, a position such as 0/16B3748, a time such as
    /// 2026-01-31T12:00:00Z, or a length of time before now such as 30m.
    #[arg(long, value_name = "NAME|LSN|TIME", value_parser = point)]
    from: Point,
    /// Where it ends, likewise; at what is settled now, if left out.
    #[arg(long, value_name = "NAME|LSN|TIME", value_parser = point)]
    to: Option<Point>,
    /// Only of this entity; may be given several times.
    #[arg(long = "entity", value_name = "ENTITY")]
    entities: Vec<String>,
    /// Only of this key; may be given several times. Values of a key of several columns are joined by
    /// commas.
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Call keys of its own for every change, for a remote that remembers calls and has lost what they did.
    #[arg(long)]
    new_keys: bool,
    /// Of which source, if there are several.
    #[arg(long)]
    source: Option<String>,
    /// Wait until it is done, when a running service does it; exits with 1 if it fails.
    #[arg(long)]
    wait: bool,
    /// Print the run as JSON.
    #[arg(long)]
    json: bool,
}

fn point(text: &str) -> Result<Point, BadPoint> {
    text.parse()
}

pub(super) async fn execute(arguments: Arguments, app: App, log: &Log) -> Result<(), Failure> {
    let Arguments { from, to, entities, keys, new_keys, source, wait, json } = arguments;
    let request = ReplayRequest { source, from, to, entities, keys, new_keys };
    let asked = async { Ok(app.request_replay(&request).await?) };
    let (source, id) = ordered(&app, "runs.replay", asked).await?;
    let over = async {
        if json { told(&app, source.clone(), id).await } else { follow(&app, [(source.clone(), id)]).await }
    };
    if !app.is_served(&[&source]).await? {
        return serve_until_over(&app, log, over).await;
    }
    if wait {
        return over.await;
    }
    if json {
        let client = app.state_of(&source).await?;
        let run = RunDesk { client: &client }.show(id).await;
        return print_json(&run.map_err(|error| Failure::Failed(crate::postgres::explain(&error)))?);
    }
    writeln!(std::io::stdout(), "asked for: `rowcall runs follow {id}` shows how it comes on")?;
    Ok(())
}

/// Waits, and then prints how it ended.
async fn told(app: &App, source: String, id: RunId) -> Result<(), Failure> {
    let run = ended(app, source, id).await?;
    print_json(&run)?;
    if run.state == RunState::Done { Ok(()) } else { Err(Failure::Said) }
}
