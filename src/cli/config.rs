use super::{
    Failure,
    output::{print, print_json},
};
use crate::{
    app::App,
    config::{Loaded, schema, show},
};
use clap::{Args, Subcommand};

/// Works without a database.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rowcall config schema > rowcall.schema.json")]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Print the configuration as it is understood: defaults filled in, secrets masked.
    Show,
}

pub(super) fn execute(
    arguments: Arguments,
    open: impl Fn() -> Result<(App, Loaded), Failure>,
) -> Result<(), Failure> {
    match arguments.what {
        What::Schema => print_json(&schema()),
        What::Show => {
            let (app, loaded) = open()?;
            app.validate()?;
            print(&show(&loaded))
        }
    }
}
