//! What a remote may be asked for, and who goes first.

use super::Check;
use crate::remote;

impl Check<'_> {
    pub(super) fn limits(&mut self, name: &str, remote: &remote::Settings) {
        let at = |block: &'static str, key: &'static str| ["remotes", name, block, key];
        if remote.rate.as_ref().is_some_and(|rate| rate.per.0.is_zero()) {
            self.say(&at("rate", "per"), "`per` must be longer than nothing: `limit` calls in each of it");
        }
        let breaker = &remote.breaker;
        if breaker.open.0.is_zero() {
            self.say(
                &at("breaker", "open"),
                "`open` must be longer than nothing; `failures: 0` turns the breaker off",
            );
        }
        if let Some(max) = breaker.max
            && breaker.open > max
        {
            let message = format!("`open` ({}) is longer than `max` ({max})", breaker.open);
            self.say(&at("breaker", "max"), message);
        }
        if let Some(ratio) = breaker.ratio
            && !(ratio > 0.0 && ratio <= 1.0)
        {
            let message = format!("`{ratio}` is no part of the calls: expected more than 0 and at most 1");
            self.say(&at("breaker", "ratio"), message);
        }
    }
}
