//! Who is told: each by a webhook or a program, and of something that there is.

use super::Check;
use crate::{config::Config, notify};

impl Check<'_> {
    pub(super) fn notify(&mut self, config: &Config) {
        let names = |block: &str| self.tree.names(&[block]);
        let known = notify::names(names("sources"), names("remotes"));
        for (name, target) in &config.notify.targets {
            for fault in notify::check(name, target, &known) {
                let below: Vec<&str> = fault.path.iter().map(String::as_str).collect();
                self.say(&[&["notify", "targets", name][..], &below].concat(), fault.message);
            }
        }
    }
}
