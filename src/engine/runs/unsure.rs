//! What an earlier process may have sent of a run, and did not see settled. Pure.
//!
//! Such a row may have been sent as it was then, and its answer may be lost. Where the key has no link
//! that was perhaps a create, and a change of the row that the stream brings again must not create a
//! second one. So before the stream goes on, what is in doubt and has no link is sent again first,
//! under the same call keys; then the changes that are behind the checkpoint, and then everything that
//! was in doubt once more, as it is now: by the stream or by the run, it ends in the newest state.

use super::Cursor;
use crate::capture::KeyValues;

/// Which part of its table a run is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phases {
    /// What is in doubt and has no link, ahead of the stream.
    First(KeyValues),
    /// What is in doubt.
    Again(KeyValues),
    /// What no process has sent.
    Rest,
}

impl Phases {
    pub(super) fn of(cursor: &Cursor) -> Self {
        match &cursor.ahead {
            Some(ahead) if cursor.after.as_ref() != Some(ahead) => Self::First(ahead.clone()),
            _ => Self::Rest,
        }
    }

    /// The stream has to wait.
    pub(super) fn is_first(&self) -> bool {
        matches!(self, Self::First(_))
    }

    /// An earlier process may have sent it.
    pub(super) fn is_suspect(&self) -> bool {
        *self != Self::Rest
    }

    /// The last key of this part.
    pub(super) fn until(&self) -> Option<&KeyValues> {
        match self {
            Self::First(until) | Self::Again(until) => Some(until),
            Self::Rest => None,
        }
    }

    /// Everything of this part is read: the next part, and behind which key it begins. `None` after the
    /// last one.
    pub(super) fn next(self, after: Option<&KeyValues>) -> Option<(Self, Option<KeyValues>)> {
        match self {
            Self::First(until) => Some((Self::Again(until), after.cloned())),
            Self::Again(until) => Some((Self::Rest, Some(until))),
            Self::Rest => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_doubt_is_read_twice_and_the_rest_once() {
        let key = |text: &str| Some(vec![text.to_owned()]);
        let cursor = Cursor { after: key("10"), ahead: key("20"), ..Cursor::default() };
        let first = Phases::of(&cursor);
        assert!(first.is_first() && first.until() == key("20").as_ref());
        let (again, from) = first.next(cursor.after.as_ref()).expect("more");
        assert!(!again.is_first() && again.is_suspect() && again.until() == key("20").as_ref());
        assert_eq!(from, key("10"));
        let (rest, from) = again.next(cursor.after.as_ref()).expect("more");
        assert!(!rest.is_suspect() && rest.until().is_none() && from == key("20"));
        assert_eq!(rest.next(None), None);
    }

    #[test]
    fn nothing_is_in_doubt_at_first_and_after_all_is_settled() {
        let key = Some(vec!["10".to_owned()]);
        assert_eq!(Phases::of(&Cursor::default()), Phases::Rest);
        assert_eq!(Phases::of(&Cursor { after: key.clone(), ahead: key, ..Cursor::default() }), Phases::Rest);
    }
}
