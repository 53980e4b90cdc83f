//! A client that holds each answer against the server's own document.

use crate::harness::{Live, Service, eventually, wait::LONG};
use reqwest::{Client, Method, header::HeaderMap};
use serde_json::{Value, json};
use std::sync::Arc;

/// An admin address, and what is shown there.
#[derive(Clone)]
pub struct Ask {
    client: Client,
    pub base: String,
    token: Option<String>,
    document: Arc<Value>,
}

/// An answer.
#[derive(Debug)]
pub struct Told {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Told {
    /// The body, if this is the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        self.body
    }

    /// The kind of problem.
    pub fn problem(&self) -> &str {
        self.body["type"].as_str().and_then(|it| it.strip_prefix("urn:rowcall:problem:")).unwrap_or("none")
    }
}

/// Replaces the `admin` block that the harness writes, which is `off`.
pub fn listening(live: &Live, admin: &str) {
    live.reconfigure(|yaml| yaml.replace("admin: { listen: off }", admin));
}

/// Where a service says that it listens.
pub async fn address(service: &Service) -> String {
    eventually("it says where it listens", LONG, async || {
        let said = service.stderr();
        let line =
            said.split("the admin address is ").nth(1).and_then(|it| it.split('/').nth(2)).map(str::to_owned);
        line.ok_or(said)
    })
    .await
}

impl Ask {
    pub async fn of(service: &Service, token: Option<&str>) -> Self {
        let base = format!("http://{}", address(service).await);
        let client = Client::builder().no_proxy().build().expect("a client");
        let mut ask = Self { client, base, token: token.map(str::to_owned), document: Arc::default() };
        let told = ask.send(Method::GET, "/api/v1/openapi.json", &[], String::new()).await;
        ask.document = Arc::new(told.expect(200));
        ask
    }

    pub fn with(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    pub async fn get(&self, path: &str) -> Told {
        self.checked(Method::GET, path, &[], String::new()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Told {
        let json = ("content-type", "application/json");
        self.checked(Method::POST, path, &[json], body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> Told {
        self.checked(Method::DELETE, path, &[("x-rowcall", "1")], String::new()).await
    }

    /// Anything at all, held against the document where it knows the path and the method.
    pub async fn checked(&self, method: Method, path: &str, headers: &[(&str, &str)], body: String) -> Told {
        let told = self.send(method.clone(), path, headers, body).await;
        self.hold(&method, path, &told);
        told
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: String) -> Told {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Told { status, headers, body }
    }

    fn hold(&self, method: &Method, path: &str, told: &Told) {
        let path = path.split('?').next().unwrap_or_default();
        let matches = |pattern: &str| {
            let mut segments = path.split('/');
            pattern
                .split('/')
                .all(|it| segments.next().is_some_and(|segment| it == segment || it.starts_with('{')))
                && segments.next().is_none()
        };
        let paths = self.document["paths"].as_object().expect("paths");
        // Those without places first, as the server does.
        let mut found: Vec<_> = paths.iter().filter(|(pattern, _)| matches(pattern)).collect();
        found.sort_by_key(|(pattern, _)| pattern.contains('{'));
        let name = method.as_str().to_lowercase();
        let Some(operation) = found.iter().find_map(|(_, of)| of.get(&name)) else {
            assert!([404, 405].contains(&told.status), "{method} {path} is not documented: {}", told.status);
            return;
        };
        let response = &operation["responses"][told.status.to_string()];
        assert!(response.is_object(), "{method} {path}: {} is not documented: {}", told.status, told.body);
        let kind = told.headers["content-type"].to_str().expect("a content type");
        let schema = &response["content"][kind]["schema"];
        assert!(schema.is_object(), "{method} {path}: {kind} is not documented for {}", told.status);
        let schema = json!({ "allOf": [schema], "components": self.document["components"] });
        let validator = jsonschema::draft202012::new(&schema).expect("a schema");
        let wrong: Vec<String> =
            validator.iter_errors(&told.body).map(|it| format!("{}: {it}", it.instance_path())).collect();
        assert!(wrong.is_empty(), "{method} {path}:\n{}\n{:#}", wrong.join("\n"), told.body);
    }
}
