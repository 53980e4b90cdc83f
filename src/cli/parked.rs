use super::{
    Failure,
    order::ordered,
    output::{print, print_json, table},
};
use crate::{
    app::App,
    model::{ParkReason, ParkedState, Span},
    postgres::explain,
    state::postgres::{Filter, Listed, Page, ParkedDesk, Shown, Total},
};
use clap::{Args, Subcommand};
use serde_json::json;

/// Works on the state database; a running service notices by itself.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rowcall parked summary\n  rowcall parked list --state dead --older-than 1h\n  rowcall parked retry --route loan --reason refused\n  rowcall parked discard 17"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List parked changes, in order within each key.
    List {
        #[command(flatten)]
        which: Which,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: i64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show everything about one parked change.
    Show {
        /// Its id, as listed.
        id: i64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say how many there are, by route, state and reason, and since when.
    Summary {
        #[command(flatten)]
        which: Which,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Try again now; what queued behind follows in order.
    Retry(Several),
    /// Give up for good: the change is never sent; what queued behind goes on.
    Discard(Several),
}

#[derive(Debug, Args)]
struct Several {
    #[command(flatten)]
    which: Which,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Which {
    /// Ids, as listed.
    ids: Vec<i64>,
    /// Only of this route.
    #[arg(long)]
    route: Option<String>,
    /// Only of this key.
    #[arg(long)]
    key: Option<String>,
    /// Only in this state: retrying, queued, waiting, rejected or dead.
    #[arg(long, value_parser = state)]
    state: Option<ParkedState>,
    /// Only for this reason, such as refused, timeout, invalid or template.
    #[arg(long, value_parser = reason)]
    reason: Option<ParkReason>,
    /// Only what has been parked for longer than this, such as 90s, 15m or 2h.
    #[arg(long)]
    older_than: Option<Span>,
    /// Only what has been parked for no longer than this.
    #[arg(long)]
    newer_than: Option<Span>,
}

fn state(text: &str) -> Result<ParkedState, String> {
    let known = || ParkedState::ALL.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ");
    ParkedState::from_name(text).ok_or_else(|| format!("expected one of {}", known()))
}

fn reason(text: &str) -> Result<ParkReason, String> {
    let known = || ParkReason::ALL.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ");
    ParkReason::from_name(text).ok_or_else(|| format!("expected one of {}", known()))
}

impl From<Which> for Filter {
    fn from(Which { ids, route, key, state, reason, older_than, newer_than }: Which) -> Self {
        let [older_than, newer_than] = [older_than, newer_than].map(|it| it.map(|Span(it)| it));
        Self { ids, route, key, state, reason, older_than, newer_than }
    }
}

pub(super) async fn execute(arguments: Arguments, app: App) -> Result<(), Failure> {
    let mut connections = app.state_connections().await?;
    let mut desks: Vec<ParkedDesk<'_>> =
        connections.iter_mut().map(|it| ParkedDesk { client: &mut it.client }).collect();
    match arguments.what {
        What::List { which, limit, json } => {
            let filter = Filter::from(which);
            let (mut listed, mut count) = (Vec::new(), 0);
            for desk in &desks {
                listed.extend(desk.list(&filter, &Page::First, limit).await.map_err(failed)?);
                count += desk.count(&filter).await.map_err(failed)?;
            }
            if json { print_json(&listed) } else { print(&list(&listed, count)) }
        }
        What::Show { id, json } => {
            for desk in &desks {
                if let Some(shown) = desk.show(id).await.map_err(failed)? {
                    return if json { print_json(&shown) } else { print(&show(&shown)) };
                }
            }
            Err(Failure::Failed(format!("nothing is parked under the id {id}; see `rowcall parked list`")))
        }
        What::Summary { which, json } => {
            let filter = Filter::from(which);
            let mut totals = Vec::new();
            for desk in &desks {
                totals.extend(desk.totals(&filter).await.map_err(failed)?);
            }
            if json { print_json(&totals) } else { print(&summary(&totals)) }
        }
        What::Retry(several) => {
            let act = async |desk: &mut ParkedDesk<'_>, filter: &Filter| desk.retry(filter).await;
            several.act(&app, &mut desks, "parked.retry", "will be tried again", act).await
        }
        What::Discard(several) => {
            let act = async |desk: &mut ParkedDesk<'_>, filter: &Filter| desk.discard(filter).await;
            several.act(&app, &mut desks, "parked.discard", "discarded", act).await
        }
    }
}

fn failed(error: tokio_postgres::Error) -> Failure {
    Failure::Failed(explain(&error))
}

impl Several {
    /// Does something to all of them, and says to how many.
    async fn act(
        self,
        app: &App,
        desks: &mut [ParkedDesk<'_>],
        action: &str,
        what: &str,
        act: impl AsyncFn(&mut ParkedDesk<'_>, &Filter) -> Result<u64, tokio_postgres::Error>,
    ) -> Result<(), Failure> {
        let filter = chosen(self.which, self.all)?;
        unambiguous(desks, &filter).await?;
        let acting = async {
            let mut count = 0;
            for desk in desks {
                count += act(desk, &filter).await.map_err(failed)?;
            }
            Ok(count)
        };
        done(ordered(app, action, acting).await?, what, self.json)
    }
}

/// Nobody means everything by leaving everything out.
fn chosen(which: Which, all: bool) -> Result<Filter, Failure> {
    let filter = Filter::from(which);
    if filter.narrows() || all {
        return Ok(filter);
    }
    Err(Failure::Usage(
        "say which: ids, --route, --key, --state, --reason, --older-than, --newer-than, or --all".to_owned(),
    ))
}

/// Ids count from 1 in each state database: with several of them an id alone may mean two changes.
async fn unambiguous(desks: &[ParkedDesk<'_>], filter: &Filter) -> Result<(), Failure> {
    if filter.ids.is_empty() || desks.len() < 2 {
        return Ok(());
    }
    let mut matching = 0;
    for desk in desks {
        let count = desk.count(filter).await.map_err(failed)?;
        matching += usize::from(count > 0);
    }
    if matching < 2 {
        return Ok(());
    }
    let message = "these ids are in several state databases: add `--route` to say which are meant";
    Err(Failure::Usage(message.to_owned()))
}

fn done(count: u64, what: &str, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&json!({ "count": count }));
    }
    print(&format!("{count} parked {} {what}", if count == 1 { "change" } else { "changes" }))
}

fn summary(totals: &[Total]) -> String {
    if totals.is_empty() {
        return "nothing is parked".to_owned();
    }
    let head = ["route", "state", "reason", "changes", "oldest since"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for it in totals {
        let oldest = format!("{:.0}", it.oldest);
        rows.push(vec![it.route.clone(), it.state.clone(), it.reason.clone(), it.count.to_string(), oldest]);
    }
    table(&rows)
}

fn list(listed: &[Listed], count: i64) -> String {
    if listed.is_empty() {
        return "nothing is parked".to_owned();
    }
    let head = ["id", "route", "key", "op", "state", "reason", "since", "message"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for it in listed {
        let first = it.message.lines().next().unwrap_or_default();
        let message: String = first.chars().take(100).collect();
        rows.push(vec![
            it.id.to_string(),
            it.route.clone(),
            it.key.clone(),
            it.op.clone(),
            it.state.clone(),
            it.reason.clone(),
            format!("{:.0}", it.parked_at),
            message,
        ]);
    }
    let mut text = table(&rows);
    if count > listed.len() as i64 {
        text.push_str(&format!("… and {} more\n", count - listed.len() as i64));
    }
    text
}

fn show(shown: &Shown) -> String {
    let Shown { listed: it, change, answers } = shown;
    let next = it.next_attempt.map_or_else(|| "none".to_owned(), |at| format!("{at:.0}"));
    let pretty = |value: &serde_json::Value| {
        serde_json::to_string_pretty(value).unwrap_or_default().replace('\n', "\n  ")
    };
    format!(
        "parked change {}\n  route {}, key {}, {}, change {}.{}\n  {} ({}), {} attempts, since {:.0}, next attempt {next}\n\n  {}\n\n\
         change:\n  {}\nanswers so far:\n  {}\n",
        it.id,
        it.route,
        it.key,
        it.op,
        it.commit,
        it.ordinal,
        it.state,
        it.reason,
        it.attempts,
        it.parked_at,
        it.message.replace('\n', "\n  "),
        pretty(change),
        pretty(answers),
    )
}
