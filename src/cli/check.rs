use super::{
    Failure,
    output::{print, print_json},
};
use crate::app::{App, Verdict};
use clap::Args;

/// Exit code 0 if nothing is wrong, 1 otherwise.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rowcall check && rowcall run")]
pub(super) struct Arguments {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn execute(arguments: Arguments, app: App) -> Result<(), Failure> {
    let findings = app.check().await?;
    if arguments.json {
        print_json(&findings)?;
    } else {
        let mut text = String::new();
        for finding in &findings {
            let mark = match finding.verdict {
                Verdict::Good => '✓',
                Verdict::Warning => '⚠',
                Verdict::Bad => '✗',
            };
            text.push_str(&format!("{mark} {}\n", finding.what.replace('\n', "\n  ")));
            if let Some(fix) = &finding.fix {
                text.push_str(&format!("  → {fix}\n"));
            }
        }
        print(&text)?;
    }
    if findings.iter().any(|it| it.verdict == Verdict::Bad) { Err(Failure::Said) } else { Ok(()) }
}
