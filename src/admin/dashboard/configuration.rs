//! The configuration in effect, as `rowcall config show` prints it.

use super::{layout::Page, visit::Visit};
use crate::admin::problem::Problem;
use maud::html;

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let shown = visit.desk().configuration();
    let body = html! {
        h1 { "Configuration" }
        p.lead { "What is in effect of " code { (shown.file) } ": defaults filled in, secrets masked. It is read at the start; a change of it needs a restart." }
        pre.tall tabindex="0" { code { (shown.yaml) } }
    };
    Ok(Page::still("Configuration", body))
}
