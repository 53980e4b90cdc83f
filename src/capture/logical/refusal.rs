//! What the server's errors mean for a stream, and what a person can do about them.

use crate::{capture::SourceError, postgres::ServerError};

/// What the messages talk about.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) slot: String,
    pub(super) publication: String,
}

/// What a person does about a slot that is lost or was dropped.
pub const SLOT_ANEW: &str = "run `rowcall init --rebind`, which makes it anew and goes on from there; what changed in \
                             between is not sent: bring it over yourself, for example by touching the rows";

/// What has happened to a slot whose `wal_status` is `lost`.
pub fn lost_slot(slot: &str) -> String {
    format!(
        "replication slot `{slot}` is lost: the server removed log that it still needed (`max_slot_wal_keep_size`), so \
         changes since the checkpoint cannot be read any more"
    )
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
            SourceError::Final(format!("{} ({error}): {SLOT_ANEW}", lost_slot(slot)))
        }
        "42501" => SourceError::Final(format!(
            "the role may not read replication slot `{slot}`: {error}; it needs the REPLICATION attribute: `alter role … replication`"
        )),
        // What the server does not allow, does not know or cannot do, it will not tomorrow.
        code if matches!(code.get(..2), Some("0A" | "22" | "42" | "55")) => {
            SourceError::Final(format!("replication slot `{slot}` cannot be read: {error}"))
        }
        _ => SourceError::Connection {
            doing: format!("streaming from replication slot `{slot}`"),
            message: error.to_string(),
        },
    }
}

/// From 18 on, a missing publication is only a warning, and its changes are left out. Nothing else
/// gives one with this SQLSTATE while we stream; the words may be in any language.
pub(super) fn of_notice(notice: &ServerError, names: &Names) -> Option<SourceError> {
    (notice.code == "55000").then(|| missing_publication(&names.publication))
}

pub(super) fn missing_publication(publication: &str) -> SourceError {
    SourceError::Final(format!(
        "publication `{publication}` does not exist, or did not yet when the changes to be read were made: if it was \
         dropped, changes since then are not in the stream. To make it, run `rowcall init`; if the message stays, drop the \
         slot, run `rowcall init --rebind`, and bring the remote in step with the tables"
    ))
}

pub(super) fn missing_slot(slot: &str) -> SourceError {
    SourceError::Final(format!(
        "replication slot `{slot}` does not exist: if it was never made, `rowcall init` makes it; if it was dropped, or the \
         database was restored or failed over without it, changes since the checkpoint are in no slot any more: {SLOT_ANEW}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, message: &str) -> SourceError {
        let names = Names { slot: "s".to_owned(), publication: "p".to_owned() };
        let error =
            ServerError { code: code.to_owned(), message: message.to_owned(), ..ServerError::default() };
        of(&error, &names)
    }

    #[test]
    fn what_a_person_must_repair_is_final_and_says_how() {
        for (code, message, advice) in [
            ("42704", "publication \"p\" does not exist", "rowcall init"),
            ("42704", "replication slot \"s\" does not exist", "rowcall init"),
            ("58P01", "requested WAL segment 00 has already been removed", SLOT_ANEW),
            ("55000", "can no longer get changes from replication slot \"s\"", SLOT_ANEW),
            ("42501", "permission denied", "REPLICATION"),
            ("42704", "in einer anderen Sprache", "Sprache"),
        ] {
            let error = refused(code, message);
            assert!(error.is_final() && error.to_string().contains(advice), "{error}");
        }
    }

    #[test]
    fn what_passes_is_tried_again() {
        for code in ["57P01", "57P03", "53300", "58030", "XX000"] {
            assert!(!refused(code, "it stops").is_final(), "{code}");
        }
        match refused("55006", "replication slot \"s\" is active for PID 4711") {
            SourceError::SlotInUse { pid, .. } => assert_eq!(pid, "4711"),
            other => panic!("{other}"),
        }
    }
}
