use super::{BadHeader, Fault, Scheme, header_name, present, secret_value};
use crate::remote::{
    CallError,
    http::{address::with_path, client::Request},
};
use form_urlencoded::{Serializer, parse};
use http::uri::PathAndQuery;
use secrecy::{ExposeSecret, SecretString};

const AUTH: &[&str] = &["auth", "api_key"];
const HEADER: &[&str] = &["auth", "api_key", "header"];
const QUERY: &[&str] = &["auth", "api_key", "query"];
const VALUE: &[&str] = &["auth", "api_key", "value"];

/// A query parameter that proves who we are.
#[derive(Clone, Debug)]
pub(in crate::remote) struct Parameter {
    name: String,
    value: SecretString,
}

/// The key in the one place it is sent in.
pub(super) fn scheme(
    header: Option<&str>,
    query: Option<&str>,
    value: &SecretString,
) -> Result<Scheme, Fault> {
    let key = present(VALUE, value.expose_secret())?;
    match (header, query) {
        (Some(header), None) => {
            let name = header_name(header).map_err(|error| Fault::new(HEADER, error.to_string()))?;
            let value = secret_value(&name, key);
            let value = value.map_err(|error: BadHeader| Fault::new(VALUE, error.to_string()))?;
            Ok(Scheme::Header(name, value))
        }
        (None, Some(name)) => {
            let name = present(QUERY, name)?.to_owned();
            Ok(Scheme::Query(Parameter { name, value: value.clone() }))
        }
        (Some(_), Some(_)) => {
            Err(Fault::new(QUERY, "the key is sent in a `header` or in the `query`: keep one of them"))
        }
        (None, None) => Err(Fault::new(AUTH, "say where the key is sent: in a `header` or in the `query`")),
    }
}

impl Parameter {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn put_on(&self, request: &mut Request) -> Result<(), CallError> {
        let uri = request.uri();
        let query = uri.query();
        if query.is_some_and(|it| parse(it.as_bytes()).any(|(name, _)| name == self.name)) {
            let message =
                format!("the query parameter `{}` is set by the remote's `auth`: leave it out", self.name);
            return Err(CallError::BadRequest { message });
        }
        let mut text = uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
        if query.is_none() {
            text.push('?');
        }
        let start = text.len() - query.unwrap_or_default().len();
        let mut text = Serializer::for_suffix(text, start);
        let text = text.append_pair(&self.name, self.value.expose_secret()).finish();
        let uri = with_path(uri.clone(), text).map_err(|message| CallError::BadRequest { message })?;
        *request.uri_mut() = uri;
        Ok(())
    }
}
