/// How the calls of a remote have gone, in numbers. Pure.
///
/// A remote that throttles or fails does so to everyone, and none of its changes is to give up for
/// that. But a change that is refused while nearly everyone else is served has itself to blame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    well: u64,
    ill: u64,
}

/// What a change remembers from one failure to the next: how the calls of its remote had gone when
/// it was last found to have itself to blame, or first failed. Its own failures are left out.
#[derive(Clone, Copy, Debug)]
pub struct Suspicion(Tally);

/// So many calls of others have to go well for each that does not, and as many once more.
const WELL_FOR_EACH: u64 = 8;

impl Tally {
    /// A call went well, or at least was answered by a remote that is well.
    pub(super) fn well(&mut self) {
        self.well += 1;
    }

    /// A call failed as it would if the remote were to blame. Says whether the change is.
    pub(super) fn ill(&mut self, suspicion: &mut Option<Suspicion>) -> bool {
        self.ill += 1;
        let Some(Suspicion(since)) = suspicion else {
            *suspicion = Some(Suspicion(*self));
            return false;
        };
        since.ill += 1;
        let (well, ill) = (self.well - since.well, self.ill - since.ill);
        let guilty = well >= WELL_FOR_EACH * (ill + 1);
        if guilty {
            *since = *self;
        }
        guilty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_to_blame_once_enough_others_are_served_while_it_is_not() {
        let (mut tally, mut own) = (Tally::default(), None);
        (0..100).for_each(|_| tally.well());
        assert!(!tally.ill(&mut own), "what was before its first failure does not count");
        for _ in 0..3 {
            (0..4).for_each(|_| tally.well());
            assert!(!tally.ill(&mut own));
            (0..4).for_each(|_| tally.well());
            assert!(tally.ill(&mut own), "however often it was tried in between");
        }
    }

    #[test]
    fn where_others_fail_too_the_remote_is_to_blame() {
        let (mut tally, mut own) = (Tally::default(), None);
        for _ in 0..1_000 {
            assert!(!tally.ill(&mut own));
            (0..4).for_each(|_| tally.well());
            assert!(!tally.ill(&mut None));
        }
    }

    #[test]
    fn alone_it_is_never_to_blame() {
        let (mut tally, mut own) = (Tally::default(), None);
        assert!((0..1_000).all(|_| !tally.ill(&mut own)));
    }
}
