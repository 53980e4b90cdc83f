use jiff::Timestamp;
use serde::Serialize;
use std::borrow::Cow;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, but a person should know.
    Warn,
    /// It does not work.
    Fail,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Warn, Self::Fail];

    /// The name used in JSON and in the state database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What, such as `source.main.slot` or `remote.bank`.
    pub name: String,
    /// How it is.
    pub state: State,
    /// Why, or what there is to say about it.
    pub reason: Cow<'static, str>,
    /// Since when it is in this state, as far as this process has seen.
    pub since: Option<Timestamp>,
}

impl Check {
    /// It is so for this reason.
    pub fn new(name: impl Into<String>, state: State, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), state, reason: reason.into(), since: None }
    }
}

/// All that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of them.
    pub state: State,
    /// Each of them.
    pub checks: Vec<Check>,
}

impl Report {
    /// What these come to.
    pub fn of(checks: Vec<Check>) -> Self {
        let state = checks.iter().map(|it| it.state).max().unwrap_or(State::Ok);
        Self { state, checks }
    }

    /// Nothing fails.
    pub fn is_well(&self) -> bool {
        self.state != State::Fail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_as_bad_as_the_worst_in_it() {
        let check = |state| Check::new("it", state, "so");
        let report = |states: &[State]| Report::of(states.iter().copied().map(check).collect());
        assert_eq!((report(&[]).state, report(&[State::Ok]).is_well()), (State::Ok, true));
        assert_eq!(report(&[State::Ok, State::Warn]).state, State::Warn);
        assert!(
            report(&[State::Warn]).is_well() && !report(&[State::Warn, State::Fail, State::Ok]).is_well()
        );
    }
}
