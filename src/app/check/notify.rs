//! Whether whoever is to be told can be: the program is there, the webhook's server can be reached. What either says
//! to a notice is `rowcall notify test`'s.

use super::Findings;
use crate::notify::Target;

pub(super) async fn check(name: &str, target: &Target, findings: &mut Findings) {
    match target.probe().await {
        Ok(how) => findings.good(format!("notify `{name}`: {how}")),
        Err(problem) => findings.bad(
            format!("notify `{name}`: {problem}"),
            format!("correct `notify.targets.{name}`; `rowcall notify test {name}` tries it"),
        ),
    }
}
