//! One row of the API: what is served there is what the document says of it.

use super::{asked::Asked, params::Param};
use crate::admin::{
    Desk,
    problem::{self, Kind, Problem},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;
use std::{pin::Pin, sync::Arc, time::Duration};

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Delete,
}

/// Names a type's schema in the document.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

pub(super) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

/// One row of the API.
pub(super) struct Endpoint {
    pub verb: Verb,
    pub path: &'static str,
    /// What the document and the list of operations call it.
    pub id: &'static str,
    /// One line.
    pub about: &'static str,
    /// Those in the path.
    pub places: &'static [Param],
    /// Those behind the `?`.
    pub query: &'static [Param],
    pub body: Option<SchemaOf>,
    pub answer: SchemaOf,
    /// What can be wrong beside what can be wrong everywhere.
    pub problems: &'static [Kind],
    /// Longer than this nobody waits.
    pub within: Duration,
    pub handler: fn(Arc<dyn Desk>, Asked) -> Answering,
}

pub(super) const SHORT: Duration = Duration::from_secs(15);
pub(super) const LONG: Duration = Duration::from_secs(120);

impl Endpoint {
    /// What looks at something.
    pub(super) const fn get(
        path: &'static str,
        id: &'static str,
        about: &'static str,
        answer: SchemaOf,
        handler: fn(Arc<dyn Desk>, Asked) -> Answering,
    ) -> Self {
        Self {
            verb: Verb::Get,
            path,
            id,
            about,
            places: &[],
            query: &[],
            body: None,
            answer,
            problems: &[],
            within: SHORT,
            handler,
        }
    }

    /// What changes something.
    pub(super) const fn post(
        path: &'static str,
        id: &'static str,
        about: &'static str,
        answer: SchemaOf,
        handler: fn(Arc<dyn Desk>, Asked) -> Answering,
    ) -> Self {
        Self {
            verb: Verb::Post,
            problems: &[problem::REFUSED],
            within: LONG,
            ..Self::get(path, id, about, answer, handler)
        }
    }

    pub(super) const fn places(self, places: &'static [Param]) -> Self {
        Self { places, ..self }
    }

    pub(super) const fn query(self, query: &'static [Param]) -> Self {
        Self { query, ..self }
    }

    pub(super) const fn body(self, body: SchemaOf) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(super) const fn problems(self, problems: &'static [Kind]) -> Self {
        Self { problems, ..self }
    }

    /// Whether it changes something.
    pub(super) fn changes(&self) -> bool {
        self.verb != Verb::Get
    }
}

/// What is answered.
pub(super) struct Answer {
    body: Vec<u8>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    pub(super) fn json(value: &impl Serialize) -> Result<Self, Problem> {
        let body =
            serde_json::to_vec(value).map_err(|error| Problem::new(problem::FAILED, error.to_string()))?;
        Ok(Self { body, headers: Vec::new() })
    }

    /// How many there are of which these are the first.
    #[must_use]
    pub(super) fn of_total(mut self, total: i64) -> Self {
        self.headers.push((HeaderName::from_static(TOTAL), total.into()));
        self
    }

    /// Where other pages of a list are (RFC 8288): the relation, and what stands behind the `?`.
    #[must_use]
    pub(super) fn linked(mut self, path: &str, pages: &[(&str, Option<String>)]) -> Self {
        let pages = pages.iter().filter_map(|(relation, query)| Some((relation, query.as_ref()?)));
        let links: Vec<String> =
            pages.map(|(relation, query)| format!("<{path}?{query}>; rel=\"{relation}\"")).collect();
        // What stands there is percent-encoded.
        if let (false, Ok(value)) = (links.is_empty(), HeaderValue::from_str(&links.join(", "))) {
            self.headers.push((header::LINK, value));
        }
        self
    }

    /// For the list of operations.
    pub(super) fn said(&self) -> Value {
        const MOST: usize = 8 << 10;
        match self.body.len() {
            0..=MOST => serde_json::from_slice(&self.body).unwrap_or_default(),
            long => format!("{long} bytes").into(),
        }
    }
}

/// The header of [`Answer::of_total`].
pub(super) const TOTAL: &str = "x-total-count";

impl axum::response::IntoResponse for Answer {
    fn into_response(self) -> axum::response::Response {
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // What is shown is true now.
        let store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut response = (StatusCode::OK, self.body).into_response();
        let headers = [kind, store].into_iter().chain(self.headers);
        headers.for_each(|(name, value)| drop(response.headers_mut().insert(name, value)));
        response
    }
}
