//! The bank's door: tokens that are asked for, and calls that need one.

use super::store::{Reply, Request};
use axum::http::{Method, StatusCode};
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Where tokens are asked for (OAuth 2 client credentials, in the body).
pub const TOKEN_PATH: &str = "/oauth/token";

/// Who may ask for tokens, and which of them are good. Open to everyone until a client is named.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<Door>);

#[derive(Debug, Default)]
struct Door {
    client: Option<Client>,
    issued: u64,
    refused: u64,
    unauthorized: u64,
    good: HashMap<String, Option<Instant>>,
}

#[derive(Debug)]
struct Client {
    id: String,
    secret: String,
    lifetime: Option<Duration>,
}

impl Tokens {
    /// From now on every call needs a token, which only this client is given.
    pub fn require(&self, id: &str, secret: &str) {
        self.lock().client = Some(Client { id: id.to_owned(), secret: secret.to_owned(), lifetime: None });
    }

    /// How long tokens are good that are given from now on; until they are revoked unless said.
    pub fn lifetime(&self, lifetime: Duration) {
        if let Some(client) = &mut self.lock().client {
            client.lifetime = Some(lifetime);
        }
    }

    /// No token that was given so far is good any more.
    pub fn revoke(&self) {
        self.lock().good.clear();
    }

    /// How many tokens were given.
    pub fn issued(&self) -> u64 {
        self.lock().issued
    }

    /// How many were asked for and not given.
    pub fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// How many calls came without a good token.
    pub fn unauthorized(&self) -> u64 {
        self.lock().unauthorized
    }

    /// Gives a token, or says why not.
    pub(super) fn give(&self, request: &Request<'_>) -> Reply {
        let mut door = self.lock();
        let reply = |status, body: serde_json::Value| Reply { status, body: body.to_string().into() };
        let form: HashMap<String, String> = form_urlencoded::parse(&request.body).into_owned().collect();
        let is = |name: &str, value: &str| form.get(name).is_some_and(|it| it == value);
        let known = door.client.as_ref().filter(|client| {
            *request.method == Method::POST
                && is("grant_type", "client_credentials")
                && is("client_id", &client.id)
                && is("client_secret", &client.secret)
        });
        let Some(lifetime) = known.map(|client| client.lifetime) else {
            door.refused += 1;
            let error =
                json!({ "error": "invalid_client", "error_description": "not a client of this bank" });
            return reply(StatusCode::UNAUTHORIZED, error);
        };
        door.issued += 1;
        let token = format!("bank-token-{}", door.issued);
        door.good.insert(token.clone(), lifetime.map(|it| Instant::now() + it));
        let mut body = json!({ "access_token": token, "token_type": "Bearer" });
        if let Some(lifetime) = lifetime {
            body["expires_in"] = lifetime.as_secs().into();
        }
        reply(StatusCode::OK, body)
    }

    /// Whether a call with this `Authorization` may come in; the answer to it if not.
    pub(super) fn admit(&self, authorization: Option<&str>) -> Result<(), Reply> {
        let mut door = self.lock();
        let token = authorization.and_then(|it| it.strip_prefix("Bearer "));
        let is_good = |until: &Option<Instant>| until.is_none_or(|it| Instant::now() < it);
        if door.client.is_none() || token.and_then(|it| door.good.get(it)).is_some_and(is_good) {
            return Ok(());
        }
        door.unauthorized += 1;
        // Some APIs say back what they were sent.
        let body = json!({ "error": "invalid_token", "sent": token }).to_string().into();
        Err(Reply { status: StatusCode::UNAUTHORIZED, body })
    }

    /// What a panicking thread left is whole: every change here is one assignment after another.
    fn lock(&self) -> MutexGuard<'_, Door> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
