//! The call log: patterns and paths that can be read, keys of the right length, a size that holds something.

use super::Check;
use crate::{
    call_log::{Redaction, Seal},
    config::Config,
    model::Redact,
};

impl Check<'_> {
    pub(super) fn call_log(&mut self, config: &Config) {
        let log = &config.call_log;
        self.redact(&["call_log", "redact"], &log.redact);
        for (name, remote) in &config.remotes {
            if let Some(redact) = &remote.redact {
                self.redact(&["remotes", name, "redact"], redact);
            }
        }
        if log.spool.as_ref().is_some_and(|it| it.max.0 < 1 << 20) {
            self.say(&["call_log", "spool", "max"], "`call_log.spool.max` must be at least 1MiB");
        }
        if let Some(encrypt) = &log.encrypt {
            if let Err(message) = Seal::new([&encrypt.key]) {
                self.say(&["call_log", "encrypt", "key"], format!("`call_log.encrypt.key`: {message}"));
            }
            if let Err(message) = Seal::new(&encrypt.former) {
                self.say(&["call_log", "encrypt", "former"], format!("`call_log.encrypt.former`: {message}"));
            }
        }
    }

    fn redact(&mut self, path: &[&str], redact: &Redact) {
        if let Err(error) = Redaction::new([redact]) {
            let path: Vec<&str> = path.iter().copied().chain([error.list]).collect();
            self.say(&path, format!("`{}`: {error}", path.join(".")));
        }
    }
}
