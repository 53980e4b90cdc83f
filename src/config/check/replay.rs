//! How much log is kept for replays.

use super::Check;
use crate::capture::Settings;

impl Check<'_> {
    pub(super) fn replay(&mut self, name: &str, source: &Settings) {
        let at = |key: &'static str| ["sources", name, "replay", key];
        if source.replay.max.0 == 0 {
            let message = "`max` must be more than nothing, or every checkpoint would be dropped at once; leave it out for 4GiB, \
                           and make no checkpoints if no log is to be kept";
            self.say(&at("max"), message);
        }
        if source.replay.keep.is_some_and(|keep| keep.0.is_zero()) {
            self.say(
                &at("keep"),
                "`keep` must be longer than nothing; leave it out to keep checkpoints only",
            );
        }
    }
}
