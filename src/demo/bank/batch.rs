//! Many objects in one request: `POST /batch/objects/row` with `{"items": [{"id": …, …}]}` puts each,
//! `POST /batch/objects/row/remove` with `{"ids": […]}` deletes each.
//!
//! An item with a member `bad` fails by itself, with that as its error. One with a member `poison`
//! has the whole refused, nothing applied.

use super::store::{Reply, Request, Store};
use axum::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};

impl Store {
    pub(super) fn batch(&self, request: &Request<'_>, collection: &str, removes: bool) -> Reply {
        if *request.method != Method::POST {
            return self.refuse(StatusCode::METHOD_NOT_ALLOWED, "a batch takes POST");
        }
        // That it is JSON has been looked at.
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let Some(items) = body[if removes { "ids" } else { "items" }].as_array() else {
            return self.refuse(StatusCode::BAD_REQUEST, "a batch has `items`, or `ids` to remove");
        };
        if items.iter().any(|item| item.get("poison").is_some_and(|it| !it.is_null())) {
            return self.refuse(StatusCode::UNPROCESSABLE_ENTITY, "an item is poison; nothing was applied");
        }
        let results: Vec<Value> =
            items.iter().map(|item| self.item(request, collection, item, removes)).collect();
        let body = json!({ "results": results }).to_string().into();
        Reply { status: StatusCode::OK, body }
    }

    fn item(&self, request: &Request<'_>, collection: &str, item: &Value, removes: bool) -> Value {
        let id = match if removes { item } else { &item["id"] } {
            Value::String(id) => id.clone(),
            Value::Null => return json!({ "error": "it has no id" }),
            id => id.to_string(),
        };
        if let Some(bad) = item.get("bad").filter(|it| !it.is_null()) {
            return json!({ "id": id, "error": bad });
        }
        let path = format!("{collection}/{id}");
        let method = if removes { &Method::DELETE } else { &Method::PUT };
        let body = if removes { Bytes::new() } else { item.to_string().into() };
        let reply = self.change(&Request { method, path: &path, key: request.key, body }, false);
        match reply.status {
            StatusCode::NOT_FOUND => json!({ "id": id, "error": "it does not exist" }),
            status => json!({ "id": id, "status": status.as_u16() }),
        }
    }
}
