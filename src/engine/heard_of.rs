//! Which keys the state may have heard of: all others need not be asked about before their first call.
//!
//! Upholds invariant 3 only if no key that has a link or a parked change is ever taken for a new one. So what
//! has an outcome while the filter is being read counts as known too, and without a filter every key does.

use crate::state::{KeyFilter, KeyHash};

/// Begun before the first outcome of this process.
#[derive(Debug)]
pub(super) enum HeardOf {
    /// The filter is being read; these had an outcome meanwhile.
    Reading(Vec<KeyHash>),
    Read(KeyFilter),
    /// There are too many, or they could not be read.
    Unknown,
}

impl HeardOf {
    /// What has an outcome will have a link, or be parked.
    pub(super) fn note(&mut self, key: KeyHash) {
        match self {
            Self::Reading(meanwhile) => meanwhile.push(key),
            Self::Read(filter) => filter.add(key),
            Self::Unknown => {}
        }
    }

    /// It was read; `None`: there is none.
    pub(super) fn read(&mut self, filter: Option<KeyFilter>) {
        let Self::Reading(meanwhile) = self else { return };
        let meanwhile = std::mem::take(meanwhile);
        *self = filter.map_or(Self::Unknown, Self::Read);
        meanwhile.into_iter().for_each(|key| self.note(key));
    }

    /// The state knows nothing of this key.
    pub(super) fn is_new(&self, key: KeyHash) -> bool {
        matches!(self, Self::Read(filter) if !filter.may_know(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> KeyHash {
        KeyHash::new("t", &number.to_string())
    }

    #[test]
    fn what_came_while_it_was_read_is_known_and_before_that_all_are() {
        let mut heard = HeardOf::Reading(Vec::new());
        heard.note(key(1));
        assert!(!heard.is_new(key(4)));
        let mut filter = KeyFilter::with_room(100);
        filter.add(key(2));
        heard.read(Some(filter));
        heard.note(key(3));
        assert_eq!([1, 2, 3, 4].map(|it| heard.is_new(key(it))), [false, false, false, true]);
    }

    #[test]
    fn where_there_is_none_all_are_known() {
        let mut heard = HeardOf::Reading(Vec::new());
        heard.note(key(1));
        heard.read(None);
        heard.note(key(1));
        assert!(!heard.is_new(key(2)));
    }
}
