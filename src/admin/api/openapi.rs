//! The OpenAPI document, made of the tables that are served.

use super::{
    endpoint::{Endpoint, SchemaOf, TOTAL, Verb, schema},
    params::Param,
};
use crate::admin::problem::{self, Kind, Problem};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// Where it is served.
pub(super) const PATH: &str = "/api/v1/openapi.json";

/// What can be wrong with any request.
const EVERYWHERE: &[Kind] = &[
    problem::BAD_PARAMETER,
    problem::UNAUTHENTICATED,
    problem::CROSS_SITE,
    problem::TOO_LONG,
    problem::FAILED,
    problem::UNREACHABLE,
    problem::BUSY,
    problem::TOO_SLOW,
];
/// What can be wrong with one that changes something.
const CHANGING: &[Kind] = &[problem::FORBIDDEN];
/// What can be wrong with one that has a body.
const WITH_BODY: &[Kind] = &[problem::BAD_BODY, problem::TOO_LARGE, problem::BAD_TYPE];

/// The document of these endpoints.
pub(super) fn document<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> Value {
    let settings = |settings: SchemaSettings| {
        settings.with(|it| it.definitions_path = "/components/schemas".into()).into_generator()
    };
    // What is read and what is written may have a name in common, and then they are the same.
    let mut answers = settings(SchemaSettings::draft2020_12().for_serialize());
    let mut bodies = settings(SchemaSettings::draft2020_12().for_deserialize());
    let problem = answers.subschema_for::<Problem>().to_value();
    let mut paths = Map::new();
    for endpoint in endpoints {
        let operation = operation(endpoint, &problem, &mut answers, &mut bodies);
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[verb(endpoint.verb)] = operation;
    }
    let own = json!({
        "operationId": "document",
        "summary": "This document.",
        "tags": ["openapi.json"],
        "responses": { "200": { "description": "The document.", "content": { "application/json": {
            "schema": { "type": "object", "required": ["openapi", "paths"] } } } } },
    });
    paths.insert(PATH.to_owned(), json!({ "get": own }));
    let mut schemas = definitions(&mut bodies);
    schemas.extend(definitions(&mut answers));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rowcall",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What an operator can ask of a running Rowcall, and do with it. With `admin.token` set, every \
                            request needs it, or `admin.read_token` to look. What changes something is sent as JSON or \
                            with the header `X-Rowcall`.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn definitions(generator: &mut SchemaGenerator) -> Map<String, Value> {
    generator.take_definitions(true)
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "get",
        Verb::Post => "post",
        Verb::Delete => "delete",
    }
}

fn operation(
    endpoint: &Endpoint,
    problem: &Value,
    answers: &mut SchemaGenerator,
    bodies: &mut SchemaGenerator,
) -> Value {
    let place = |it: &Param| parameter(it, "path");
    let query = |it: &Param| parameter(it, "query");
    let parameters: Vec<Value> =
        endpoint.places.iter().map(place).chain(endpoint.query.iter().map(query)).collect();
    let kinds = EVERYWHERE.iter().chain(endpoint.problems);
    let kinds = kinds.chain(endpoint.changes().then_some(CHANGING).into_iter().flatten());
    let kinds: Vec<&Kind> = kinds.chain(endpoint.body.map(|_| WITH_BODY).into_iter().flatten()).collect();
    let mut responses = Map::new();
    responses.insert("200".to_owned(), answered(endpoint, answers));
    for Kind(name, status, title) in kinds {
        let told = format!("{title} (`urn:rowcall:problem:{name}`).");
        let response = responses.entry(status.to_string()).or_insert_with(|| {
            let content = json!({ "application/problem+json": { "schema": problem } });
            json!({ "description": "", "content": content })
        });
        let before = response["description"].as_str().unwrap_or_default();
        response["description"] = [before, &told].join(" ").trim().into();
    }
    let tag = endpoint.path.split('/').nth(3).unwrap_or_default();
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.about,
        "tags": [tag],
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(of) = endpoint.body {
        operation["requestBody"] =
            json!({ "content": { "application/json": { "schema": named(of, bodies) } } });
    }
    operation
}

fn answered(endpoint: &Endpoint, answers: &mut SchemaGenerator) -> Value {
    let mut response = json!({
        "description": "Done.",
        "content": { "application/json": { "schema": named(endpoint.answer, answers) } },
    });
    let link = json!({
        "description": "Where the list goes on (RFC 8288): `next`, and `prev` where that can be told.",
        "schema": { "type": "string" },
    });
    match endpoint.id {
        "parked.list" => {
            let total = json!({
                "description": "How many there are, of which these are a part.",
                "schema": { "type": "integer" },
            });
            response["headers"] = json!({ TOTAL: total, "link": link });
        }
        "calls.search" => response["headers"] = json!({ "link": link }),
        _ => {}
    }
    response
}

fn named(of: SchemaOf, generator: &mut SchemaGenerator) -> Value {
    of(generator).to_value()
}

fn parameter(param: &Param, place: &str) -> Value {
    json!({
        "name": param.name,
        "in": place,
        "required": place == "path",
        "description": param.about,
        "schema": param.form.schema(),
    })
}

/// A list of what has this schema.
pub(super) fn list_of<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> schemars::Schema {
    schema::<Vec<T>>(generator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::endpoints;
    use std::collections::BTreeSet;

    #[test]
    fn every_endpoint_is_documented_with_its_places() {
        let document = document(endpoints());
        let mut ids = BTreeSet::new();
        for endpoint in endpoints() {
            let operation = &document["paths"][endpoint.path][verb(endpoint.verb)];
            assert_eq!(operation["operationId"], endpoint.id);
            assert!(ids.insert(endpoint.id), "{} is there twice", endpoint.id);
            assert!(endpoint.path.starts_with("/api/v1/"), "{}", endpoint.path);
            assert!(endpoint.about.ends_with('.'), "{}", endpoint.about);
            let places: Vec<&str> =
                endpoint.path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(
                places,
                endpoint.places.iter().map(|it| it.name).collect::<Vec<_>>(),
                "{}",
                endpoint.path
            );
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn visit(value: &Value, document: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(to)) = map.get("$ref") {
                        let pointer = to.strip_prefix('#').expect("within the document");
                        assert!(document.pointer(pointer).is_some(), "{to}");
                    }
                    map.values().for_each(|it| visit(it, document));
                }
                Value::Array(items) => items.iter().for_each(|it| visit(it, document)),
                _ => {}
            }
        }
        let document = document(endpoints());
        visit(&document, &document);
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        assert!(schemas.len() > 20, "{:?}", schemas.keys());
    }
}
