//! A browser that only knows links and forms.

use crate::harness::{Live, Service, Version, eventually, wait::LONG};
use reqwest::{Client, RequestBuilder, header::HeaderMap, redirect::Policy};

const TABLE: &str = "create table customers (id text primary key, name text)";
const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
    delete: [{ name: delete, delete: '/objects/c/{{ row.id }}' }]
    schedule: { run: snapshot, cron: '0 3 * * *' }";

pub async fn served(admin: &str) -> Live {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.reconfigure(|yaml| yaml.replace("admin: { listen: off }", admin));
    live
}

/// A browser at an admin address, with the cookie that it was given.
pub struct Browser {
    client: Client,
    pub base: String,
    pub cookie: Option<String>,
}

/// What came.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Seen {
    /// The text, if the page is there and holds all of this.
    #[track_caller]
    pub fn shows(self, texts: &[&str]) -> String {
        assert_eq!(self.status, 200, "{}", self.text);
        for text in texts {
            assert!(self.text.contains(text), "no `{text}` in {}", self.text);
        }
        self.text
    }

    /// Where it leads.
    pub fn leads(&self) -> &str {
        self.headers.get("location").and_then(|it| it.to_str().ok()).unwrap_or_default()
    }
}

impl Browser {
    pub async fn of(service: &Service) -> Self {
        let address = eventually("it says where it listens", LONG, async || {
            let said = service.stderr();
            let line = said.split("the admin address is ").nth(1);
            line.and_then(|it| it.split('/').nth(2)).map(str::to_owned).ok_or(said)
        })
        .await;
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().expect("a client");
        Self { client, base: format!("http://{address}"), cookie: None }
    }

    pub async fn get(&self, path: &str) -> Seen {
        self.send(self.client.get(format!("{}{path}", self.base))).await
    }

    /// Sends a form as a page from here does.
    pub async fn post(&self, path: &str, form: &str) -> Seen {
        self.post_from(Some(&self.base), path, form).await
    }

    pub async fn post_from(&self, origin: Option<&str>, path: &str, form: &str) -> Seen {
        let mut request = self.client.post(format!("{}{path}", self.base)).body(form.to_owned());
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        self.send(request).await
    }

    async fn send(&self, mut request: RequestBuilder) -> Seen {
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Seen { status, headers, text: response.text().await.expect("a body") }
    }
}
