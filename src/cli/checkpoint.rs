use super::{
    Failure,
    order::ordered,
    output::{bytes, print, print_json, seconds, table},
};
use crate::app::{App, CheckpointLine};
use clap::{Args, Subcommand};

/// A checkpoint is a replication slot of its own: the server keeps its log from there on, up to
/// `sources.<name>.replay.max`. Works whether or not a service is running.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rowcall checkpoint create before_import\n  rowcall checkpoint list\n  rowcall checkpoint drop before_import"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a checkpoint where the source's slot stands.
    Create {
        /// Its name: a–z, 0–9 and `_`.
        name: String,
        /// Of which source, if there are several.
        #[arg(long)]
        source: Option<String>,
    },
    /// List checkpoints, and how much log the server keeps for each.
    List {
        /// Only of this source.
        #[arg(long)]
        source: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Drop checkpoints and their slots.
    Drop {
        /// Their names, as listed.
        #[arg(required = true)]
        names: Vec<String>,
        /// Of this source, if several have a checkpoint of that name.
        #[arg(long)]
        source: Option<String>,
    },
}

pub(super) async fn execute(arguments: Arguments, app: App) -> Result<(), Failure> {
    match arguments.what {
        What::Create { name, source } => {
            let made = async { Ok(app.create_checkpoint(&name, source.as_deref()).await?) };
            let mark = ordered(&app, "checkpoints.create", made).await?;
            print(&format!("checkpoint {name} of source {} stands at {}", mark.source, mark.lsn))
        }
        What::List { source, json } => {
            let lines = app.list_checkpoints(source.as_deref()).await?;
            if json { print_json(&lines) } else { print(&list(&lines)) }
        }
        What::Drop { names, source } => {
            // Each by itself: what cannot be done to one is no reason not to do it to the others.
            let mut refused = Vec::new();
            for name in &names {
                let dropped = async { Ok(app.drop_checkpoint(name, source.as_deref()).await?) };
                match ordered(&app, "checkpoints.drop", dropped).await {
                    Ok(source) => print(&format!("checkpoint {name} of source {source} is dropped"))?,
                    Err(Failure::Failed(why)) => refused.push(why),
                    Err(other) => return Err(other),
                }
            }
            if refused.is_empty() { Ok(()) } else { Err(Failure::Failed(refused.join("\n"))) }
        }
    }
}

fn list(lines: &[CheckpointLine]) -> String {
    if lines.is_empty() {
        return "there are no checkpoints; `rowcall checkpoint create NAME` makes one".to_owned();
    }
    let head = ["name", "source", "position", "age", "retained", "wal status"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut problems = String::new();
    for CheckpointLine { mark, age_seconds, retained_bytes, wal_status, problem } in lines {
        rows.push(vec![
            mark.name.clone(),
            mark.source.clone(),
            mark.lsn.to_string(),
            seconds(*age_seconds),
            retained_bytes.map_or_else(|| "nothing".to_owned(), bytes),
            wal_status.clone(),
        ]);
        if let Some(problem) = problem {
            problems.push_str(&format!("\n{}: {problem}\n", mark.name));
        }
    }
    table(&rows) + &problems
}
