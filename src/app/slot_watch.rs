//! How much log the slot keeps, and whether the server will go on keeping it: looked at every few
//! seconds, told to the engine, and said loudly when the slot is in danger.

use super::plan::SourcePlan;
use crate::{
    capture::{
        SourceError,
        logical::inspect::{self, Slot},
    },
    engine::KeptLog,
    model::ByteSize,
    postgres::{self, Client},
};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What is said already is said again after this long.
const SAY_AGAIN: Duration = Duration::from_secs(300);

/// Looks at the slot until it is dropped. A server that cannot be asked is nothing to say here: the
/// stream itself says it better.
pub(super) async fn watch_slot(plan: &SourcePlan, kept: &watch::Sender<Option<KeptLog>>) {
    let mut client = None;
    let mut said: Option<(String, Instant)> = None;
    loop {
        match look(plan, &mut client).await {
            Ok(Some(slot)) => {
                let size = |bytes: i64| bytes.unsigned_abs();
                let log = KeptLog { at: slot.at, kept: size(slot.kept_bytes), lag: size(slot.lag_bytes) };
                kept.send_replace(Some(log));
                let unsaid = |(status, at): &(String, Instant)| {
                    *status != slot.wal_status || at.elapsed() >= SAY_AGAIN
                };
                match danger(plan, &slot) {
                    Some(danger) if said.as_ref().is_none_or(unsaid) => {
                        tracing::error!(source = plan.name, slot = plan.slot, "{danger}");
                        said = Some((slot.wal_status, Instant::now()));
                    }
                    Some(_) => {}
                    None => said = None,
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(source = plan.name, %error, "the slot could not be looked at");
                client = None;
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn look(plan: &SourcePlan, client: &mut Option<Client>) -> Result<Option<Slot>, SourceError> {
    if client.is_none() {
        let failed = |error: postgres::ConnectError| SourceError::Connection {
            doing: "looking at the replication slot".to_owned(),
            message: error.to_string(),
        };
        *client = Some(postgres::connect(&plan.target).await.map_err(failed)?);
    }
    match client {
        Some(client) => inspect::slot(client, &plan.slot).await,
        None => Ok(None),
    }
}

/// What threatens the slot, and what to do about it.
pub(super) fn danger(plan: &SourcePlan, slot: &Slot) -> Option<String> {
    let name = &plan.slot;
    let kept = rough(slot.kept_bytes);
    let cure = format!(
        "Raise `max_slot_wal_keep_size` on the server, see in `rowcall status` which remote does not keep up, or lower \
         `sources.{}.wal_guard` so that its changes are put aside earlier",
        plan.name
    );
    let left = slot.safe_bytes.map(rough);
    match (slot.wal_status.as_str(), slot.safe_bytes) {
        ("lost", _) => Some(format!(
            "replication slot `{name}` is lost: the server has removed log that it needs, and changes since the \
             checkpoint cannot be read any more"
        )),
        ("unreserved", _) => Some(format!(
            "replication slot `{name}` is about to be lost: it keeps {kept} of log and the server may remove it at the \
             next checkpoint. {cure}"
        )),
        (_, Some(safe)) if safe < (slot.kept_bytes.max(0) + safe) / 4 => Some(format!(
            "replication slot `{name}` may soon be lost: it keeps {kept} of log, and after another {} the server removes \
             what it needs. {cure}",
            left.unwrap_or(ByteSize(0))
        )),
        ("extended", safe) => {
            let limit = match safe {
                Some(safe) => format!("another {} may be written before it is lost", rough(safe)),
                None => "nothing limits it but the server's disk".to_owned(),
            };
            Some(format!(
                "replication slot `{name}` keeps {kept} of log, more than `max_wal_size`; {limit}. See in `rowcall status` \
                 which remote does not keep up"
            ))
        }
        _ => None,
    }
}

fn rough(bytes: i64) -> ByteSize {
    ByteSize(bytes.max(0).unsigned_abs()).rounded()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_to_what_a_person_reads() {
        for (bytes, text) in [(0, "0B"), (900, "900B"), (20_000, "19KiB"), (1_500_000_000, "1430MiB")] {
            assert_eq!(rough(bytes).to_string(), text);
        }
    }
}
