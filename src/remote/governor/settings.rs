use crate::model::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{num::NonZeroU32, time::Duration};

/// `remotes.<name>.rate`: how many calls the remote allows.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// So many calls …
    pub limit: NonZeroU32,
    /// … in each of these.
    pub per: Span,
    /// How many of them may go at once after a quiet time; what a tenth of a second brings, and
    /// at least one, unless given.
    #[serde(default)]
    pub burst: Option<NonZeroU32>,
}

/// `remotes.<name>.breaker`: when a remote that fails is left alone.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// It opens after so many failures in a row; 0 for never.
    pub failures: u32,
    /// It also opens when this part of the last 64 calls failed, such as 0.5; at least 16 calls
    /// are needed to tell.
    pub ratio: Option<f64>,
    /// How long nothing is sent before one call tries; it doubles with each try that fails.
    pub open: Span,
    /// The longest of these waits; a minute, or `open` where that is longer, unless given.
    pub max: Option<Span>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 5, ratio: None, open: Span(Duration::from_secs(10)), max: None }
    }
}
