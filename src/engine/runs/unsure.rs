//! What an earlier process may have sent of a run, and did not see settled. Pure.
//!
//! Such a row may have been sent as it was then, and its answer may be lost. It is read and sent again
//! under the same call keys, so a remote that honours them creates nothing twice. But if the row has
//! changed since, the stream brings that change before, and where the key has no link, it would create
//! the object under a key of its own. So such a change goes out twice: first under the call keys of the
//! run, as the row that may have been sent, and then as itself.

use super::Cursor;
use crate::capture::KeyValues;

/// Which part of its table a run is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phases {
    /// The keys of what is in doubt are read, before the stream.
    Keys(KeyValues),
    /// What is in doubt.
    Again(KeyValues),
    /// What no process has sent.
    Rest,
}

impl Phases {
    pub(super) fn of(cursor: &Cursor) -> Self {
        match &cursor.ahead {
            Some(ahead) if cursor.after.as_ref() != Some(ahead) => Self::Keys(ahead.clone()),
            _ => Self::Rest,
        }
    }

    /// The stream has to wait.
    pub(super) fn holds_stream(&self) -> bool {
        matches!(self, Self::Keys(_))
    }

    /// An earlier process may have sent it.
    pub(super) fn is_suspect(&self) -> bool {
        *self != Self::Rest
    }

    /// The last key of this part.
    pub(super) fn until(&self) -> Option<&KeyValues> {
        match self {
            Self::Keys(until) | Self::Again(until) => Some(until),
            Self::Rest => None,
        }
    }

    /// Everything of this part is read: the next part, and behind which key it begins. `None` after the
    /// last one.
    pub(super) fn next(self, after: Option<&KeyValues>) -> Option<(Self, Option<KeyValues>)> {
        match self {
            Self::Keys(until) => Some((Self::Again(until), after.cloned())),
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
        assert!(first.holds_stream() && first.until() == key("20").as_ref());
        let (again, from) = first.next(cursor.after.as_ref()).expect("more");
        assert!(!again.holds_stream() && again.is_suspect() && again.until() == key("20").as_ref());
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
