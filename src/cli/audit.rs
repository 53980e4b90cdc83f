use super::{Failure, order::ordered, output::print};
use crate::{
    app::{App, AppError, Audit},
    audit::{Finding, Kind, Pacing, Summary, tally},
    model::RunKind,
};
use clap::Args;
use serde_json::Value;
use std::{collections::BTreeMap, num::NonZeroU32};

/// So many keys are repaired by one run.
const REPAIRED: usize = 1_000;

/// Asks the remote for the object of each row, by the entity's `read`, and says which are missing, which
/// differ and in what, and which are there although their row is gone. Exits with 1 if anything is.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rowcall audit --entity loan\n  rowcall audit --entity loan --sample 1000 --csv > loans.csv\n  rowcall audit --repair"
)]
pub(super) struct Arguments {
    /// The entity to audit; may be given several times. Every one that has a `read`, if left out.
    #[arg(long = "entity", value_name = "ENTITY")]
    entities: Vec<String>,
    /// Only so many rows of each entity, by chance; objects without a row are not looked for.
    #[arg(long, value_name = "ROWS")]
    sample: Option<NonZeroU32>,
    /// Ask for runs that send what is missing or different again, and delete what is extra.
    #[arg(long)]
    repair: bool,
    /// Ask for so many objects a second, at most.
    #[arg(long, value_name = "OBJECTS")]
    rate: Option<NonZeroU32>,
    /// Print a JSON object for each finding, one a line; the summary goes to stderr.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV, a line for each differing field; the summary goes to stderr.
    #[arg(long)]
    csv: bool,
}

/// By source, entity and kind of run.
type ToRepair = BTreeMap<(String, String, &'static str), Vec<String>>;

pub(super) async fn execute(arguments: Arguments, app: App) -> Result<(), Failure> {
    let pacing = Pacing { sample: arguments.sample, rate: arguments.rate, ..Pacing::default() };
    let mut audit = app.audit(&arguments.entities, pacing).await?;
    let looked = look(&arguments, &app, &mut audit).await;
    audit.close().await;
    looked
}

async fn look(arguments: &Arguments, app: &App, audit: &mut Audit) -> Result<(), Failure> {
    for source in &audit.unserved {
        eprintln!(
            "no service is at work on source `{source}`: what it has not been told of yet counts as different"
        );
    }
    if arguments.csv {
        print("entity,route,key,finding,field,here,there,message")?;
    }
    let (mut summary, mut counts, mut runs) = (Summary::default(), BTreeMap::new(), Vec::new());
    for mut auditor in std::mem::take(&mut audit.auditors) {
        let mut repairs = ToRepair::new();
        while let Some(findings) = auditor.next().await.map_err(AppError::from)? {
            for finding in findings {
                *counts.entry(finding.finding).or_insert(0_u64) += 1;
                print_finding(arguments, &finding)?;
                if arguments.repair
                    && let Some(kind) = finding.finding.repair()
                {
                    let to = (finding.source, finding.entity, kind.name());
                    repairs.entry(to).or_default().push(finding.key);
                }
            }
            ask_for(app, &mut repairs, REPAIRED, &mut runs).await?;
        }
        ask_for(app, &mut repairs, 1, &mut runs).await?;
        summary.add(auditor.summary);
    }
    let text = summarised(&summary, &counts);
    if arguments.json || arguments.csv {
        eprintln!("{text}")
    } else {
        print(&text)?
    }
    if !runs.is_empty() {
        let (ids, served) = (runs.join(" "), audit.unserved.is_empty());
        let who = if served { "" } else { "; they are carried out once `rowcall run` is at work" };
        eprintln!("asked for repair: `rowcall runs follow {ids}` shows how it comes on{who}");
    }
    if summary.findings == 0 { Ok(()) } else { Err(Failure::Said) }
}

/// Asks for runs where so many keys have come together.
async fn ask_for(
    app: &App,
    repairs: &mut ToRepair,
    least: usize,
    runs: &mut Vec<String>,
) -> Result<(), Failure> {
    for ((source, entity, kind), keys) in repairs.iter_mut().filter(|(_, keys)| keys.len() >= least) {
        let kind = if *kind == RunKind::Prune.name() { RunKind::Prune } else { RunKind::Snapshot };
        let keys = std::mem::take(keys);
        let asked = async { Ok(app.request_repair(source, entity, kind, &keys).await?) };
        runs.push(ordered(app, &format!("runs.{}", kind.name()), asked).await?.to_string());
    }
    Ok(())
}

fn print_finding(arguments: &Arguments, finding: &Finding) -> Result<(), Failure> {
    if arguments.json {
        let line = serde_json::to_string(finding).map_err(|error| Failure::Failed(error.to_string()))?;
        return print(&line);
    }
    let Finding { entity, route, key, finding: kind, fields, message, .. } = finding;
    let message = message.as_deref().unwrap_or_default();
    let mut text = String::new();
    if arguments.csv {
        let head = [entity, route, key, kind.name()];
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut line = |field: &str, here: &str, there: &str| {
            let cells = head.into_iter().chain([field, here, there, message]).map(csv);
            text.push_str(&cells.collect::<Vec<_>>().join(","));
            text.push('\n');
        };
        if fields.is_empty() {
            line("", "", "");
        }
        fields.iter().for_each(|it| line(&it.field, &plain(&it.here), &plain(&it.there)));
        return print(&text);
    }
    text.push_str(&format!("{route} {key}: {}", kind.name()));
    if !message.is_empty() {
        text.push_str(&format!(": {message}"));
    }
    for it in fields {
        text.push_str(&format!("\n  {}: here {}, there {}", it.field, it.here, it.there));
    }
    print(&text)
}

/// A cell of a CSV file, quoted where it must be.
fn csv(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn summarised(summary: &Summary, counts: &BTreeMap<Kind, u64>) -> String {
    let Summary { rows, skipped, changing, links, .. } = summary;
    let mut text = format!("{rows} rows and {links} links looked at: {}", tally(counts));
    for (count, what) in [(skipped, "not to be sent"), (changing, "kept changing")] {
        if *count > 0 {
            text.push_str(&format!("; {count} {what}"));
        }
    }
    text
}
