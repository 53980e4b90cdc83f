//! `rowcall pause` and `rowcall resume`.

use super::{
    Failure,
    order::{ordered, who},
    output::{print, print_json},
};
use crate::{
    app::{App, HaltOrder},
    model::{Halt, HaltOf},
};
use clap::Args;

/// Nothing is sent for a route, or to a remote, until it is resumed. What is to be sent waits, as in an
/// outage, and no attempt counts. A running service obeys within seconds; one that is started later does too.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rowcall pause --remote bank --reason 'maintenance until 6'\n  rowcall pause --route loan"
)]
pub(super) struct Pause {
    #[command(flatten)]
    which: Which,
    /// Why; shown wherever the pause is.
    #[arg(long)]
    reason: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What waited is sent, in order.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rowcall resume --remote bank")]
pub(super) struct Resume {
    #[command(flatten)]
    which: Which,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The route, as `rowcall status` names it.
    #[arg(long)]
    route: Option<String>,
    /// The remote.
    #[arg(long)]
    remote: Option<String>,
}

impl Which {
    fn order(self, reason: Option<String>, pause: bool) -> HaltOrder {
        let (what, name) = match self {
            Self { route: Some(route), .. } => (HaltOf::Route, route),
            Self { remote, .. } => (HaltOf::Remote, remote.unwrap_or_default()),
        };
        HaltOrder { what, name, who: who(), reason, pause }
    }
}

async fn order(app: &App, order: &HaltOrder) -> Result<Halt, Failure> {
    let action = format!("{}s.{}", order.what.name(), if order.pause { "pause" } else { "resume" });
    ordered(app, &action, async { Ok(app.order_halt(order).await?) }).await
}

pub(super) async fn pause(arguments: Pause, app: App) -> Result<(), Failure> {
    let halt = order(&app, &arguments.which.order(arguments.reason, true)).await?;
    if arguments.json { print_json(&halt) } else { print(&halt.to_string()) }
}

pub(super) async fn resume(arguments: Resume, app: App) -> Result<(), Failure> {
    let halt = order(&app, &arguments.which.order(None, false)).await?;
    if arguments.json {
        return print_json(&halt);
    }
    print(&format!("{} `{}` is resumed", halt.what.name(), halt.name))
}
