//! Whether the collector of `log.otlp` can be reached. Nothing waits for it, so it is no fault.

use super::Findings;
use crate::{remote, telemetry::Settings};

pub(super) async fn check(settings: &Settings, findings: &mut Findings) {
    match remote::probe(&settings.remote()).await {
        Ok(how) => findings.good(format!("log.otlp: {how}")),
        Err(problem) => findings.warning(
            format!("log.otlp: {problem}"),
            "check `log.otlp.endpoint`, the certificates and the network; what cannot be sent is dropped",
        ),
    }
}
