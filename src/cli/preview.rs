use super::{
    Failure,
    output::{print, print_json},
};
use crate::app::{App, Preview};
use clap::Args;

/// Reads the row as it is now and what is known of it at the remote.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rowcall preview loan 4711\n  rowcall preview order 2024,17   # a composite key"
)]
pub(super) struct Arguments {
    /// The entity.
    entity: String,
    /// The row's key; the values of a composite key joined by commas.
    key: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn execute(arguments: Arguments, app: App) -> Result<(), Failure> {
    let previews = app.preview(&arguments.entity, &arguments.key).await?;
    if arguments.json { print_json(&previews) } else { print(&previews.iter().map(text).collect::<String>()) }
}

fn text(preview: &Preview) -> String {
    let link = preview.link.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let mut text = format!("route `{}`, known of the key: {link}\n", preview.route);
    for parent in &preview.parents {
        let how = if parent.linked { "linked" } else { "not at the remote" };
        text.push_str(&format!("  depends on `{}` {}: {how}\n", parent.entity, parent.key));
    }
    for call in &preview.calls {
        text.push_str(&format!("  {}: {} {}\n", call.step, call.method, call.path));
        for (name, value) in &call.headers {
            text.push_str(&format!("    {name}: {value}\n"));
        }
        if let Some(body) = &call.body {
            text.push_str(&format!("    {}\n", body.get()));
        }
        if let Some(body) = &call.text {
            text.push_str(&format!("    {}\n", body.replace('\n', "\n    ")));
        }
    }
    text.push_str(&format!("  {}\n", preview.then.replace('\n', "\n  ")));
    if preview.unchanged {
        text.push_str(
            "  the remote was told the same before: an update that changes nothing else is skipped\n",
        );
    }
    text
}
