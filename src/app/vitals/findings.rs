//! What `rowcall check` finds, looked at anew every few minutes while somebody asks for it: it connects to
//! everything, which is too much for every question.

use crate::{
    admin::view::{Finding, Verdict},
    app::App,
    health::{self, Check, State},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

/// What was found last, and a bell to have it looked at again.
#[derive(Debug)]
pub(in crate::app) struct Findings {
    wanted: Notify,
    found: watch::Sender<Option<(Instant, Vec<Check>)>>,
}

/// What was found longer ago is looked at again.
const STALE: Duration = Duration::from_secs(300);
/// Who asks first waits no longer for it.
const PATIENCE: Duration = Duration::from_secs(3);

impl Default for Findings {
    fn default() -> Self {
        Self { wanted: Notify::new(), found: watch::Sender::new(None) }
    }
}

impl Findings {
    /// What was found last; it is looked at again if that was long ago.
    pub(super) async fn newest(&self) -> Vec<Check> {
        let mut found = self.found.subscribe();
        let is_fresh =
            |it: &Option<(Instant, Vec<Check>)>| it.as_ref().is_some_and(|(at, _)| at.elapsed() < STALE);
        if !is_fresh(&found.borrow()) {
            self.wanted.notify_one();
        }
        let _ = timeout(PATIENCE, found.wait_for(Option::is_some)).await;
        let found = found.borrow().as_ref().map(|(_, checks)| checks.clone());
        found.unwrap_or_else(|| {
            vec![Check::new("check", State::Ok, "everything is being looked at for the first time")]
        })
    }

    /// Looks whenever somebody wants to know, for as long as it is let.
    pub(in crate::app) async fn keep(&self, app: &App) {
        loop {
            self.wanted.notified().await;
            let checks = match app.check().await {
                Ok(findings) => by_subject(&findings),
                Err(error) => {
                    let reason = health::plain(&error.to_string()).to_owned();
                    vec![Check::new("check", State::Fail, reason)]
                }
            };
            self.found.send_replace(Some((Instant::now(), checks)));
        }
    }
}

/// One check for each subject, as bad as the worst that was found of it.
fn by_subject(findings: &[Finding]) -> Vec<Check> {
    let mut subjects: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        subjects.entry(&finding.about).or_default().push(finding);
    }
    let check = |(about, found): (&str, Vec<&Finding>)| {
        let name = format!("check.{about}");
        let of = |verdict| found.iter().filter(move |it| it.verdict == verdict);
        let say = |it: &&Finding| match &it.fix {
            Some(fix) => format!("{}: {fix}", health::plain(&it.what)),
            None => health::plain(&it.what).to_owned(),
        };
        let said = |verdict| of(verdict).map(say).collect::<Vec<_>>().join("; ");
        if of(Verdict::Bad).next().is_some() {
            return Check::new(name, State::Fail, said(Verdict::Bad));
        }
        if of(Verdict::Warning).next().is_some() {
            return Check::new(name, State::Warn, said(Verdict::Warning));
        }
        Check::new(name, State::Ok, format!("{} looked at, nothing is wrong", found.len()))
    };
    subjects.into_iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_as_bad_as_the_worst_that_was_found() {
        let finding = |about: &str, verdict, what: &str, fix: Option<&str>| Finding {
            about: about.to_owned(),
            verdict,
            what: what.to_owned(),
            fix: fix.map(str::to_owned),
        };
        let found = [
            finding("source.main", Verdict::Good, "connected", None),
            finding("source.main", Verdict::Bad, "no slot; detail: 7", Some("make one")),
            finding("call_log", Verdict::Good, "there", None),
        ];
        let told: Vec<_> =
            by_subject(&found).into_iter().map(|it| (it.name, it.state, it.reason.into_owned())).collect();
        let expected = [
            ("check.call_log", State::Ok, "1 looked at, nothing is wrong"),
            ("check.source.main", State::Fail, "no slot: make one"),
        ];
        assert_eq!(told, expected.map(|(name, state, reason)| (name.to_owned(), state, reason.to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_the_first_look() {
        let found = Findings::default().newest().await;
        assert_eq!((found.len(), found[0].state), (1, State::Ok));
    }
}
