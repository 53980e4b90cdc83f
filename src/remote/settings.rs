use super::{
    Oauth2, Tls,
    governor::{Breaker, Rate},
};
use crate::model::{DataRules, HiddenValues, Redact, Span};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::{num::NonZeroU32, time::Duration};

/// `remotes.<name>`: a target API.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Remote")]
pub struct Settings {
    /// The base URL; step paths are appended to it. HTTPS unless the host is loopback or
    /// `allow_http` is set.
    pub url: String,
    /// How a request proves who we are.
    #[serde(default)]
    pub auth: Auth,
    /// Whom to trust behind `https`, and how to prove who we are there.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Headers sent with every call. They may hold secrets, so their values are never shown.
    #[serde(default, serialize_with = "crate::model::masked_values")]
    #[schemars(extend("writeOnly" = true))]
    pub headers: HiddenValues,
    /// How long one attempt may take as a whole.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// How long connecting may take.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
    /// How many calls may be under way at once.
    #[serde(default = "concurrency")]
    pub concurrency: NonZeroU32,
    /// How many calls the remote allows in a time; as many as come, unless given.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// When a remote that does nothing but fail is left alone.
    #[serde(default)]
    pub breaker: Breaker,
    /// What happens after a failure that may pass.
    #[serde(default)]
    pub retry: Retry,
    /// What is said once about the data of every entity that is sent there.
    #[serde(default)]
    pub rules: Option<DataRules>,
    /// What the call log must not hold of this remote's calls, beside what `call_log.redact` says.
    #[serde(default)]
    pub redact: Option<Redact>,
    /// Allow plain HTTP to a host that is not loopback.
    #[serde(default)]
    pub allow_http: bool,
}

impl Settings {
    /// Something that is called beside the remotes: by its headers alone it is told who we are.
    pub fn plain(
        url: String,
        headers: HiddenValues,
        tls: Option<Tls>,
        timeout: Span,
        allow_http: bool,
    ) -> Self {
        Self {
            url,
            auth: Auth::None,
            tls,
            headers,
            timeout,
            connect_timeout: timeout,
            concurrency: NonZeroU32::MIN,
            rate: None,
            breaker: Breaker::default(),
            retry: Retry::default(),
            rules: None,
            redact: None,
            allow_http,
        }
    }
}

/// `remotes.<name>.auth`: one of the schemes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// Nothing is sent.
    #[default]
    None,
    /// `Authorization: Bearer <token>`.
    Bearer {
        /// The token.
        #[schemars(with = "String", extend("writeOnly" = true))]
        #[serde(serialize_with = "crate::model::masked")]
        token: SecretString,
    },
    /// `Authorization: Basic …`.
    Basic {
        /// The user's name.
        username: String,
        /// The user's password.
        #[schemars(with = "String", extend("writeOnly" = true))]
        #[serde(serialize_with = "crate::model::masked")]
        password: SecretString,
    },
    /// A key of the API's own, in a header such as `X-Api-Key` or in the query.
    ApiKey {
        /// The header it is sent in.
        #[serde(default)]
        header: Option<String>,
        /// The query parameter it is sent in, for APIs that take it nowhere else.
        #[serde(default)]
        query: Option<String>,
        /// The key.
        #[schemars(with = "String", extend("writeOnly" = true))]
        #[serde(serialize_with = "crate::model::masked")]
        value: SecretString,
    },
    /// OAuth 2 client credentials: a token that is asked for, kept, and asked for again in time.
    Oauth2(Oauth2),
    /// Each call is signed as Standard Webhooks says.
    Hmac {
        /// The secrets, `whsec_…`. With several, each signs: for the time in which one follows
        /// another.
        #[schemars(with = "Vec<String>", extend("items" = hidden(), "minItems" = 1))]
        #[serde(serialize_with = "crate::model::masked_all")]
        secrets: Vec<SecretString>,
    },
}

fn hidden() -> serde_json::Value {
    serde_json::json!({ "type": "string", "writeOnly": true })
}

/// `remotes.<name>.retry`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, the first one included, before the change is parked.
    pub attempts: NonZeroU32,
    /// The wait after the first failure; it doubles with each further one.
    pub base: Span,
    /// The longest wait.
    pub max: Span,
    /// The statuses that may pass by themselves. Connection errors and timeouts always may.
    pub on: Vec<u16>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::new(8).unwrap_or(NonZeroU32::MIN),
            base: Span(Duration::from_millis(500)),
            max: Span(Duration::from_secs(300)),
            on: vec![408, 425, 429, 500, 502, 503, 504],
        }
    }
}

fn timeout() -> Span {
    Span(Duration::from_secs(10))
}

fn connect_timeout() -> Span {
    Span(Duration::from_secs(5))
}

fn concurrency() -> NonZeroU32 {
    NonZeroU32::new(16).unwrap_or(NonZeroU32::MIN)
}
