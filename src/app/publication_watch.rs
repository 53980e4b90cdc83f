//! Whether the publication still has every table that is needed. A table that is dropped leaves it, and one
//! that is made anew under its name is not in it: its changes would be skipped in silence (invariant 8).

use super::{
    plan::SourcePlan,
    slot_watch::{SAY_AGAIN, in_time},
};
use crate::{capture::logical::inspect, postgres::Client};
use tokio::time::Instant;

/// Looks at a source's publication, and remembers what was said of it.
#[derive(Debug, Default)]
pub(super) struct PublicationWatch {
    /// What it lacked, and when that was said.
    said: Option<(String, Instant)>,
}

impl PublicationWatch {
    /// One look. What fails is tried at the next, and a publication that is gone ends the stream.
    pub(super) async fn look(&mut self, plan: &SourcePlan, client: &Client) {
        let mut lacks = None;
        let look = in_time(async {
            let found = inspect::publication(client, &plan.publication).await;
            if let Some(found) = found.map_err(|error| error.to_string())? {
                let missing = plan.tables.iter().filter(|table| !found.tables.contains(table));
                lacks = Some(missing.map(ToString::to_string).collect::<Vec<_>>().join(", "));
            }
            Ok(())
        });
        if look.await.is_err() {
            return;
        }
        let Some(lacks) = lacks else { return };
        if lacks.is_empty() {
            self.said = None;
        } else if !self.said.as_ref().is_some_and(|(said, at)| *said == lacks && at.elapsed() < SAY_AGAIN) {
            tracing::error!(
                source = plan.name,
                "publication `{}` does not have {lacks} any more: what is written there is not captured. Run `rowcall \
                 init`, and bring over what was written until then yourself, for example by touching the rows",
                plan.publication
            );
            self.said = Some((lacks, Instant::now()));
        }
    }
}
