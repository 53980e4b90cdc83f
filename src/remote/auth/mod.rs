//! How a request proves who we are: one file a scheme, and the table of them in [`Scheme::new`].

mod api_key;
mod basic;
mod bearer;
mod hmac;
mod keeper;
mod oauth2;
mod settings;
mod token;

pub use self::settings::{Oauth2, Placement};
pub(super) use basic::pair as basic_pair;
pub(super) use token::Token;
pub use token::Trouble;

use self::{hmac::Signer, keeper::Keeper, oauth2::TokenEndpoint};
use super::{Auth, CallError, Settings, TokenLife, http::client::Request};
use crate::model::MASK;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use std::{fmt::Display, sync::Arc};

/// What is wrong with a remote's settings, and below which of its keys. The message never shows a
/// value that may be a secret (invariant 7).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}: {message}", path.join("."))]
pub struct Fault {
    /// The keys below `remotes.<name>`.
    pub path: Vec<&'static str>,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Fault {
    pub(super) fn new(path: &[&'static str], message: impl Into<String>) -> Self {
        Self { path: path.to_vec(), message: message.into() }
    }
}

/// A header that cannot be sent. It never shows the value, which may be a secret.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadHeader {
    /// Not a header name.
    #[error("`{0}` is not a header name: letters, digits and `-`")]
    Name(String),
    /// Not a header value.
    #[error("the value of header `{0}` holds a line break or another character that a header cannot carry")]
    Value(String),
    /// One that Rowcall or the protocol sets.
    #[error("the header `{0}` is set by rowcall itself: leave it out")]
    Ours(String),
    /// The credentials' own header.
    #[error("the header `{0}` is what `auth` sends: write it in one of the two places")]
    Twice(String),
}

/// What a scheme comes down to.
#[derive(Debug)]
pub(super) enum Scheme {
    None,
    /// The same header with every request.
    Header(HeaderName, HeaderValue),
    /// The same query parameter with every request.
    Query(api_key::Parameter),
    /// A signature of each request.
    Signature(Signer),
    /// A token that has to be asked for.
    Token(Keeper),
}

impl Scheme {
    /// The visible table.
    pub(super) fn new(remote: &str, settings: &Settings) -> Result<Self, super::RemoteError> {
        let wrong = |fault| super::RemoteError::wrong(remote, fault);
        Ok(match &settings.auth {
            Auth::None => Self::None,
            Auth::Bearer { token } => {
                let (name, value) = bearer::header(token).map_err(wrong)?;
                Self::Header(name, value)
            }
            Auth::Basic { username, password } => {
                let (name, value) = basic::header(username, password).map_err(wrong)?;
                Self::Header(name, value)
            }
            Auth::ApiKey { header, query, value } => {
                api_key::scheme(header.as_deref(), query.as_deref(), value).map_err(wrong)?
            }
            Auth::Oauth2(oauth2) => {
                Self::Token(Keeper::new(Box::new(TokenEndpoint::new(remote, oauth2, settings)?)))
            }
            Auth::Hmac { secrets } => Self::Signature(Signer::new(secrets).map_err(wrong)?),
        })
    }

    /// The headers that only the scheme may set.
    pub(super) fn headers(&self) -> Vec<HeaderName> {
        match self {
            Self::None | Self::Query(_) => Vec::new(),
            Self::Header(name, _) => vec![name.clone()],
            Self::Signature(_) => hmac::HEADERS.to_vec(),
            Self::Token(_) => vec![AUTHORIZATION],
        }
    }

    /// Puts the proof on a request; `id` names the call, and is the same on every attempt. Gives
    /// the token that was used, if there is one.
    pub(super) async fn prove(
        &self,
        request: &mut Request,
        id: &(dyn Display + Sync),
        clock: super::Clock,
    ) -> Result<Option<Arc<Token>>, CallError> {
        match self {
            Self::None => {}
            Self::Header(name, value) => drop(request.headers_mut().insert(name, value.clone())),
            Self::Query(parameter) => parameter.put_on(request)?,
            Self::Signature(signer) => signer.sign(request, id, clock())?,
            Self::Token(keeper) => {
                let token = keeper.token().await?;
                request.headers_mut().insert(AUTHORIZATION, token.header().clone());
                return Ok(Some(token));
            }
        }
        Ok(None)
    }

    /// How long there has been the token that is used, and how long it is good for.
    pub(super) fn token_life(&self) -> Option<TokenLife> {
        if let Self::Token(keeper) = self { keeper.token_life() } else { None }
    }

    /// The URL with what proves there who we are, without showing it.
    pub(super) fn masked_on(&self, url: String) -> String {
        let Self::Query(parameter) = self else { return url };
        let mark = if url.contains('?') { '&' } else { '?' };
        format!("{url}{mark}{}={MASK}", parameter.name())
    }

    /// What to do about a 401 with this token: whether there is another one now, so that the call
    /// is worth making again.
    pub(super) async fn renew(&self, refused: &Token) -> Result<bool, CallError> {
        match self {
            Self::Token(keeper) => keeper.renew(refused).await,
            Self::None | Self::Header(..) | Self::Query(_) | Self::Signature(_) => Ok(false),
        }
    }

    /// Proves the scheme at its token endpoint, if it has one: what was found, in one line.
    pub(super) async fn try_out(&self) -> Option<Result<String, String>> {
        match self {
            Self::Token(keeper) => Some(keeper.try_out().await),
            Self::None | Self::Header(..) | Self::Query(_) | Self::Signature(_) => None,
        }
    }
}

/// What of the settings can be judged without reading anything but them.
pub(super) fn check(settings: &Settings) -> Vec<Fault> {
    let checked = match &settings.auth {
        Auth::None => Ok(()),
        Auth::Bearer { token } => bearer::header(token).map(drop),
        Auth::Basic { username, password } => basic::header(username, password).map(drop),
        Auth::ApiKey { header, query, value } => {
            api_key::scheme(header.as_deref(), query.as_deref(), value).map(drop)
        }
        Auth::Oauth2(oauth2) => return oauth2::check(oauth2, settings.allow_http),
        Auth::Hmac { secrets } => Signer::new(secrets).map(drop),
    };
    checked.err().into_iter().collect()
}

/// What the protocol or the client decides: saying otherwise would break the call.
const OURS: &[&str] = &[
    "idempotency-key",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "user-agent",
    "te",
    "upgrade",
    "expect",
    // Nothing is decompressed.
    "accept-encoding",
];

/// The name of a header that may be set by configuration.
pub(super) fn header_name(name: &str) -> Result<HeaderName, BadHeader> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| BadHeader::Name(name.to_owned()))?;
    if OURS.contains(&parsed.as_str()) {
        return Err(BadHeader::Ours(name.to_owned()));
    }
    Ok(parsed)
}

pub(super) fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue, BadHeader> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| BadHeader::Value(name.to_string()))
}

/// A value of a header that nothing prints (invariant 7).
fn secret_value(name: &HeaderName, value: &str) -> Result<HeaderValue, BadHeader> {
    let mut value = header_value(name, value)?;
    value.set_sensitive(true);
    Ok(value)
}

fn present<'a>(path: &[&'static str], value: &'a str) -> Result<&'a str, Fault> {
    if value.trim().is_empty() {
        let what = path.last().copied().unwrap_or_default();
        let message = format!("the {what} is empty: is the environment variable or file behind it set?");
        return Err(Fault::new(path, message));
    }
    Ok(value)
}

#[cfg(test)]
mod tests;
