//! What the server says of a record in a batch, and whether it will ever say anything else.

use crate::{call_log::Refused, model::one_line};
use ::mongodb::error::{Error, ErrorKind, IndexedWriteError};

const LONGEST_REASON: usize = 300;

/// What becomes of a record that the server did not take.
pub(super) enum Verdict {
    /// It has it.
    IsThere,
    /// It will never take it.
    Refuses,
    /// It may another time, and until then the batch is not stored.
    Fails,
}

/// Only what is known to be about the document alone counts as a refusal: a record that is held is
/// still there tomorrow.
pub(super) fn of(error: &IndexedWriteError) -> Verdict {
    match error.code {
        11_000 if error.message.contains(" index: _id_ ") => Verdict::IsThere,
        // Of a unique index that somebody else made.
        11_000 => Verdict::Refuses,
        // BadValue, FailedToParse, InvalidBSON, names of fields, InvalidIdField, DocumentValidationFailure,
        // CannotIndexParallelArrays, too large, and what an index of somebody else's cannot hold.
        2 | 9 | 22 | 52 | 53 | 56 | 57 | 121 | 171 | 10_334 | 16_755 | 16_756 | 17_280 | 17_419 => {
            Verdict::Refuses
        }
        _ => Verdict::Fails,
    }
}

/// Those that are refused, if nothing else went wrong.
pub(super) fn all(error: &Error) -> Option<Vec<Refused>> {
    let ErrorKind::InsertMany(failed) = &*error.kind else { return None };
    if failed.write_concern_error.is_some() {
        return None;
    }
    let mut refused = Vec::new();
    for error in failed.write_errors.as_ref()? {
        match of(error) {
            Verdict::IsThere => {}
            Verdict::Refuses => {
                let reason = format!("{} (code {})", one_line(&error.message, LONGEST_REASON), error.code);
                refused.push(Refused { at: error.index, reason });
            }
            Verdict::Fails => return None,
        }
    }
    Some(refused)
}
