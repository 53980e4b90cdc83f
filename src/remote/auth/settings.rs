use crate::{model::HiddenValues, remote::Tls};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// `remotes.<name>.auth.oauth2`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oauth2 {
    /// Where tokens are given. HTTPS unless the host is loopback or the remote has `allow_http`.
    pub token_url: String,
    /// Who we are there.
    pub client_id: String,
    /// What proves it.
    #[schemars(with = "String", extend("writeOnly" = true))]
    #[serde(serialize_with = "crate::model::masked")]
    pub client_secret: SecretString,
    /// What the token is to allow; several are separated by blanks.
    #[serde(default)]
    pub scope: Option<String>,
    /// Further parameters of the request, such as `audience`. They may hold secrets, so their
    /// values are never shown.
    #[serde(default, serialize_with = "crate::model::masked_values")]
    #[schemars(extend("writeOnly" = true))]
    pub extra: HiddenValues,
    /// Where the request carries `client_id` and `client_secret`.
    #[serde(default)]
    pub credentials: Placement,
    /// The TLS of `token_url`; the remote's own unless given.
    #[serde(default)]
    pub tls: Option<Tls>,
}

/// `remotes.<name>.auth.oauth2.credentials`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// In the header `Authorization: Basic …`.
    #[default]
    Basic,
    /// In the body, as `client_id` and `client_secret`.
    Body,
}
