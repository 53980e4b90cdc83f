//! Tells by HTTP: a POST of the notice as JSON.

use super::{Target, courier::Refusal};
use crate::remote::{self, CallError, Clock, HttpRemote, RemoteError};
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};

/// Something that takes notices at a URL.
#[derive(Debug)]
pub(super) struct Webhook {
    remote: HttpRemote,
    /// Below the remote; it may hold a secret.
    path: SecretString,
}

impl Webhook {
    /// Nothing is connected yet; `None` where the target is no URL.
    pub(super) fn new(name: &str, target: &Target, clock: Clock) -> Result<Option<Self>, String> {
        let at = |key: &str| format!("notify.targets.{name}.{key}");
        let Some((settings, path)) = target.remote().map_err(|error| format!("{}: {error}", at("url")))?
        else {
            return Ok(None);
        };
        let remote = HttpRemote::new(name, &settings, clock).map_err(|error| match error {
            RemoteError::Url { message, .. } => format!("{}: {message}", at("url")),
            RemoteError::Wrong { fault, .. } => at(&fault.to_string()),
            RemoteError::Header { source, .. } => format!("{}: {source}", at("headers")),
        })?;
        Ok(Some(Self { remote, path: path.into() }))
    }

    /// Tells it once.
    pub(super) async fn deliver(&self, id: &str, json: Bytes) -> Result<(), Refusal> {
        let answer = match self.remote.post_json(self.path.expose_secret(), json, Some(id)).await {
            Ok(answer) => answer,
            Err(error @ (CallError::BadRequest { .. } | CallError::TooLong { .. })) => {
                return Err(Refusal::Lasting(error.to_string()));
            }
            Err(error) => {
                let heard = !error.is_unheard();
                return Err(Refusal::Passing { why: error.to_string(), after: None, heard });
            }
        };
        let why = format!("it answers {}", answer.status);
        match answer.status {
            200..300 => Ok(()),
            408 | 429 | 500.. => {
                let after = remote::retry_after(&answer.headers);
                Err(Refusal::Passing { why, after, heard: false })
            }
            300..400 => Err(Refusal::Lasting(format!("{why}: write the address that it leads to"))),
            _ => Err(Refusal::Lasting(why)),
        }
    }
}
