use super::{
    Failure,
    output::{print, print_json},
};
use crate::app::App;
use clap::Args;

/// Example: `rowcall init`, or `rowcall init --print > init.sql` for an administrator.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rowcall init --print > init.sql   # for an administrator to read and run"
)]
pub(super) struct Arguments {
    /// Print the SQL instead of running it, with the least privileges that are needed.
    #[arg(long)]
    print: bool,
    /// The server's major version, for `--print`.
    #[arg(long, default_value_t = 17, requires = "print")]
    server_version: u32,
    /// Bind the checkpoint to this database and its slot's present position, giving up the changes
    /// in between: after a restore, a failover or a lost slot.
    #[arg(long, conflicts_with = "print")]
    rebind: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn execute(arguments: Arguments, app: App) -> Result<(), Failure> {
    if arguments.print {
        return print(&app.init_sql(arguments.server_version)?);
    }
    let done = app.init(arguments.rebind).await?;
    if arguments.json {
        return print_json(&done);
    }
    for source in done {
        let mut text = format!("source `{}`\n", source.source);
        if source.statements.is_empty() {
            text.push_str("  everything is there already\n");
        }
        for statement in &source.statements {
            text.push_str(&format!("  {statement}\n"));
        }
        for note in &source.notes {
            text.push_str(&format!("  {note}\n"));
        }
        print(&text)?;
    }
    print("Next: `rowcall check`, then `rowcall run`.")
}
