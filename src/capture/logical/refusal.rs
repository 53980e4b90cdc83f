//! What the server's errors mean for a stream, and what a person can do about them.

use crate::{capture::SourceError, postgres::ServerError};

/// What the messages talk about.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) slot: String,
    pub(super) publication: String,
}

/// An error that ended the stream or kept it from starting.
pub(super) fn of(error: &ServerError, names: &Names) -> SourceError {
    let Names { slot, publication } = names;
    let message = error.message.as_str();
    match error.code.as_str() {
        // object_in_use: `replication slot "x" is active for PID 123`
        "55006" => {
            let pid = message.rsplit(' ').next().unwrap_or_default();
            SourceError::SlotInUse { slot: slot.clone(), pid: pid.to_owned() }
        }
        "42704" if message.contains("publication") => missing_publication(publication),
        "42704" if message.contains("replication slot") => missing_slot(slot),
        // undefined_file, or the slot was invalidated
        "58P01" | "55000" if message.contains("WAL") || message.contains("slot") => {
            SourceError::Final(format!(
                "the log that replication slot `{slot}` needs is gone ({error}): changes since the checkpoint cannot be \
                 read any more. Drop the slot (`select pg_drop_replication_slot('{slot}')`), make a new one with \
                 `rowcall init`, and bring the remote in step with the tables again"
            ))
        }
        "42501" => SourceError::Final(format!(
            "the role may not read replication slot `{slot}`: {error}; it needs the REPLICATION attribute: `alter role … replication`"
        )),
        _ => SourceError::Connection {
            doing: format!("streaming from replication slot `{slot}`"),
            message: error.to_string(),
        },
    }
}

/// From 18 on, a missing publication is only a warning, and its changes are left out.
pub(super) fn of_notice(notice: &ServerError, names: &Names) -> Option<SourceError> {
    let skips = notice.code == "55000" && notice.message.contains("publication");
    skips.then(|| missing_publication(&names.publication))
}

pub(super) fn missing_publication(publication: &str) -> SourceError {
    SourceError::Final(format!(
        "publication `{publication}` does not exist, or did not yet when the changes to be read were made: if it was \
         dropped, changes since then are not in the stream. Make it with `rowcall init`; if the message stays, drop the \
         slot, run `rowcall init` again, and bring the remote in step with the tables"
    ))
}

pub(super) fn missing_slot(slot: &str) -> SourceError {
    SourceError::Final(format!(
        "replication slot `{slot}` does not exist: if it was never made, `rowcall init` makes it; if it was dropped, or the \
         database was restored or failed over without it, changes since the checkpoint are not in the stream: make it \
         with `rowcall init` and bring the remote in step with the tables"
    ))
}
