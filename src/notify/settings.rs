//! `notify`: who is told, of what, and how.

use super::{names::matches, program};
use crate::{
    health::State,
    model::{HiddenValues, Span},
    remote,
};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// `notify`: who is told when something is not well, and when it is again.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Notify")]
pub struct Settings {
    /// What does not last this long is not told.
    pub after: Span,
    /// Who is told, by name.
    pub targets: BTreeMap<String, Target>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { after: Span(Duration::from_secs(30)), targets: BTreeMap::new() }
    }
}

/// `notify.targets.<name>`: a webhook (`url`) or a program (`exec`).
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "NotifyTarget")]
pub struct Target {
    /// Each notice is sent there by POST, as JSON. HTTPS unless the host is loopback or `allow_http` is set. Such
    /// URLs often hold a secret, so it is never shown.
    #[serde(serialize_with = "crate::model::masked_if_given")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub url: Option<SecretString>,
    /// Headers sent with every notice. They may hold secrets, so their values are never shown.
    #[serde(serialize_with = "crate::model::masked_values")]
    #[schemars(extend("writeOnly" = true))]
    pub headers: HiddenValues,
    /// Whom to trust behind `https`, and how to prove who we are there.
    pub tls: Option<remote::Tls>,
    /// Allow plain HTTP to a host that is not loopback.
    pub allow_http: bool,
    /// A program and its arguments: it reads the notice on its standard input, as JSON. There is no shell between.
    pub exec: Vec<String>,
    /// From which state on it is told.
    pub from: Least,
    /// Only these checks are told: names, in which `*` stands for any run of characters. `run` and `service` are
    /// names too.
    pub only: Vec<String>,
    /// How long one attempt to tell it may take.
    pub timeout: Span,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            url: None,
            headers: HiddenValues::default(),
            tls: None,
            allow_http: false,
            exec: Vec::new(),
            from: Least::Warn,
            only: Vec::new(),
            timeout: Span(Duration::from_secs(10)),
        }
    }
}

/// `notify.targets.<name>.from`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "NotifyFrom")]
pub enum Least {
    /// What works but should be known, and what does not work; and the end of every run.
    #[default]
    Warn,
    /// Only what does not work, and runs that failed.
    Fail,
}

impl Least {
    /// What a state is to whoever is told from here on.
    pub fn of(self, state: State) -> State {
        match (self, state) {
            (Self::Fail, State::Warn) => State::Ok,
            (_, state) => state,
        }
    }
}

impl Target {
    /// What is called, and the path below it; or what is wrong with `url`, which is not repeated.
    pub(super) fn remote(&self) -> Result<Option<(remote::Settings, String)>, String> {
        let Some(url) = &self.url else { return Ok(None) };
        let (base, path) = remote::in_parts(url.expose_secret(), self.allow_http)
            .map_err(|message| message.replace("`auth`", "`headers`"))?;
        let (headers, tls) = (self.headers.clone(), self.tls.clone());
        let settings = remote::Settings::plain(base, headers, tls, self.timeout, self.allow_http);
        Ok(Some((settings, path)))
    }

    /// Looks whether it could be told, which it is not: how, or what is in the way. Of a URL only the host is named.
    pub async fn probe(&self) -> Result<String, String> {
        match self.remote()? {
            Some((settings, _)) => remote::probe(&settings).await,
            None => program::find(&self.exec),
        }
    }
}

/// Something that is wrong with a target.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, below the target.
    pub path: Vec<String>,
    /// What, and what to do.
    pub message: String,
}

/// Judges a target; `known` is what may be told.
pub fn check(name: &str, target: &Target, known: &[String]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut say = |path: &[&str], message: String| {
        faults.push(Fault { path: path.iter().map(|it| (*it).to_owned()).collect(), message });
    };
    match (&target.url, target.exec.first()) {
        (None, None) => say(
            &[],
            format!("notify.targets.{name} tells nobody: give `url` (a webhook) or `exec` (a program)"),
        ),
        (Some(_), Some(_)) => {
            say(&["exec"], format!("notify.targets.{name} has `url` and `exec`; keep one of them"));
        }
        (None, Some(program)) => {
            if program.is_empty() {
                say(&["exec"], "the program in `exec` has no name".to_owned());
            }
            if target.exec.iter().any(|it| it.contains('\0')) {
                say(&["exec"], "an argument cannot hold the character NUL".to_owned());
            }
            for (key, is_given) in [
                ("headers", !target.headers.is_empty()),
                ("tls", target.tls.is_some()),
                ("allow_http", target.allow_http),
            ] {
                if is_given {
                    say(&[key], format!("`{key}` is for a `url`, and this is a program"));
                }
            }
        }
        (Some(_), None) => {
            for key in target.headers.keys() {
                if http::HeaderName::from_bytes(key.as_bytes()).is_err() {
                    say(&["headers", key], format!("`{key}` is not the name of a header"));
                }
            }
            match target.remote() {
                Ok(settings) => {
                    for fault in settings.iter().flat_map(|(it, _)| remote::check(it)) {
                        say(&fault.path, fault.message);
                    }
                }
                Err(message) => say(&["url"], format!("`url`: {message}")),
            }
        }
    }
    if target.timeout.0.is_zero() {
        say(&["timeout"], "`timeout` must be longer than nothing".to_owned());
    }
    for pattern in &target.only {
        if pattern.starts_with("check.") || pattern == "check" {
            say(
                &["only"],
                format!(
                    "`{pattern}` is not told: it is looked at only when somebody asks; `rowcall check` says it"
                ),
            );
        } else if !known.iter().any(|it| matches(pattern, it)) {
            let known: Vec<String> = known.iter().map(|it| format!("`{it}`")).collect();
            say(&["only"], format!("`{pattern}` fits nothing that is told; there are {}", known.join(", ")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{super::names, *};
    use serde_json::{Value, json};

    fn faults(target: Value) -> Vec<(String, String)> {
        let target: Target = serde_json::from_value(target).expect("a target");
        let faults = check("pager", &target, &names(["main"], ["bank"]));
        faults.into_iter().map(|it| (it.path.join("."), it.message)).collect()
    }

    #[test]
    fn a_target_is_a_webhook_or_a_program() {
        let none: Vec<(String, String)> = Vec::new();
        assert_eq!(
            faults(json!({ "url": "https://hooks.example/T0?sig=x", "only": ["remote.*", "run"] })),
            none
        );
        assert_eq!(faults(json!({ "exec": ["/bin/true"], "from": "fail" })), none);
        for (wrong, path) in [
            (json!({}), ""),
            (json!({ "url": "https://hooks.example", "exec": ["x"] }), "exec"),
            (json!({ "exec": [""] }), "exec"),
            (json!({ "exec": ["x"], "headers": { "a": "b" } }), "headers"),
            (json!({ "url": "http://hooks.example/hunter2" }), "url"),
            (json!({ "url": "hunter2" }), "url"),
            (json!({ "url": "https://hooks.example", "headers": { "a b": "hunter2" } }), "headers.a b"),
            (json!({ "url": "https://hooks.example", "timeout": "0s" }), "timeout"),
            (json!({ "exec": ["x"], "only": ["check.remote.bank"] }), "only"),
            (json!({ "exec": ["x"], "only": ["remote.bnk"] }), "only"),
        ] {
            let said = faults(wrong.clone());
            assert_eq!(said.iter().map(|it| &*it.0).collect::<Vec<_>>(), [path], "{wrong}");
            assert!(!said[0].1.contains("hunter2"), "{said:?}");
        }
    }

    #[test]
    fn what_is_shown_holds_neither_the_url_nor_the_headers() {
        let target = json!({ "url": "https://h.example/hunter2", "headers": { "authorization": "hunter2" } });
        let target: Target = serde_json::from_value(target).expect("a target");
        let shown = format!("{target:?} {}", serde_json::to_value(&target).expect("JSON"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn who_is_told_of_failures_alone_takes_a_warning_for_well() {
        let of = |least: Least| State::ALL.map(|it| least.of(it));
        assert_eq!(of(Least::Warn), State::ALL);
        assert_eq!(of(Least::Fail), [State::Ok, State::Ok, State::Fail]);
    }
}
