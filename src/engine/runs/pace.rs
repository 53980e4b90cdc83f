//! How much to read at once: as much as takes a moment. Pure.

use std::time::Duration;

/// Rows of the next piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    rows: usize,
}

const FIRST: usize = 500;
const FEWEST: usize = 16;
const MOST: usize = 20_000;
/// A piece that is read faster than this may be larger.
const BRISK: Duration = Duration::from_millis(100);
/// One that takes longer than this is too large.
const SLUGGISH: Duration = Duration::from_millis(500);

impl Default for Pace {
    fn default() -> Self {
        Self { rows: FIRST }
    }
}

impl Pace {
    pub(super) fn rows(self) -> usize {
        self.rows
    }

    /// A piece of so many rows was read in this time. `whole`: its bytes were not the limit.
    pub(super) fn took(&mut self, time: Duration, rows: usize, whole: bool) {
        if time > SLUGGISH || !whole {
            self.rows = (self.rows / 2).max(FEWEST);
        } else if time < BRISK && rows >= self.rows {
            self.rows = (self.rows * 2).min(MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_while_they_are_read_quickly_and_shrink_when_they_are_not() {
        let mut pace = Pace::default();
        pace.took(Duration::from_millis(5), FIRST, true);
        assert_eq!(pace.rows(), 2 * FIRST);
        pace.took(Duration::from_millis(5), 3, true);
        assert_eq!(pace.rows(), 2 * FIRST, "a short piece proves nothing");
        pace.took(Duration::from_secs(1), 2 * FIRST, true);
        assert_eq!(pace.rows(), FIRST);
        pace.took(Duration::from_millis(5), 20, false);
        assert_eq!(pace.rows(), FIRST / 2, "large rows");
        (0..20).for_each(|_| pace.took(Duration::from_secs(9), 1, true));
        assert_eq!(pace.rows(), FEWEST);
        (0..20).for_each(|_| pace.took(Duration::ZERO, MOST, true));
        assert_eq!(pace.rows(), MOST);
    }
}
