//! No secret is in the spool, in the queue or in the store (invariant 7), wherever it was planted.

use crate::harness::{MongoDb, Postgres, RabbitMq, Rowcall, Version, eventually, settled, wait::LONG};
use futures_util::TryStreamExt;
use lapin::{
    options::{QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use mongodb::bson::{Document, doc};
use std::path::Path;
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path},
};

/// Each of its own kind, so that one that is found says where it came from.
const SECRETS: &[&str] = &[
    "pl4nted-bearer",
    "pl4nted-basic",
    "pl4nted-key-in-query",
    "pl4nted-key-in-header",
    "pl4nted-client",
    "pl4nted-access-token",
    "pl4nted-header-of-remote",
    "pl4nted-header-of-step",
    "pl4nted-at-path",
    "pl4nted-at-path-of-remote",
    "pl4nted-by-pattern",
    "pl4nted-cookie",
    "pl4nted-answer-header",
    "pl4nted-answer-path",
    // What stands for the one of `basic` on the wire.
    "bWU6cGw0bnRlZC1iYXNpYw==",
];
/// Nothing that anybody must not see, but sealed.
const SEALED: &str = "Adelaide";

const ENTITY: &str = "
  customer:
    table: customers
    remotes: [bearer, basic, query, header, token]
    upsert:
      - name: put
        put: '/customers/{{ row.id }}'
        query: { note: '{{ row.note }}' }
        headers: { x-tenant: pl4nted-header-of-step }
        body: { name: '{{ row.name }}', ssn: '{{ row.ssn }}', pin: '{{ row.pin }}', note: '{{ row.note }}' }";

/// Says back everything it was told, and more.
fn answer(request: &Request) -> ResponseTemplate {
    let header =
        |name: &str| request.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or("").to_owned();
    let told: Vec<String> =
        ["authorization", "x-api-key", "x-client"].iter().map(|name| header(name)).collect();
    let body = serde_json::json!({
        "asked": request.url.as_str(), "told": told, "ssn": "pl4nted-answer-path",
        "note": "pattern pl4nted-by-pattern-7", "body": String::from_utf8_lossy(&request.body).replace("pl4nted-at-path", "***"),
    });
    let said = format!("{} {}", request.url, told.join(" "));
    ResponseTemplate::new(200)
        .set_body_json(body)
        .insert_header("set-cookie", "session=pl4nted-cookie")
        .insert_header("x-tenant", "pl4nted-answer-header")
        .insert_header("location", said.as_str())
}

async fn api() -> MockServer {
    let api = MockServer::start().await;
    let grant = ResponseTemplate::new(200).set_body_string(r#"{"access_token":"pl4nted-access-token"}"#);
    Mock::given(path("/token")).respond_with(grant).mount(&api).await;
    Mock::given(method("PUT")).respond_with(answer).mount(&api).await;
    api
}

fn configuration(postgres: &Postgres, api: &MockServer, rabbit: &RabbitMq, mongodb: &MongoDb) -> String {
    let url = api.uri();
    let remotes = [
        ("bearer", "{ bearer: { token: pl4nted-bearer } }".to_owned()),
        ("basic", "{ basic: { username: me, password: pl4nted-basic } }".to_owned()),
        ("query", "{ api_key: { query: key, value: pl4nted-key-in-query } }".to_owned()),
        ("header", "{ api_key: { header: X-Api-Key, value: pl4nted-key-in-header } }".to_owned()),
        (
            "token",
            format!(
                "{{ oauth2: {{ token_url: \"{url}/token\", client_id: me, client_secret: pl4nted-client }} }}"
            ),
        ),
    ];
    let remote = |(name, auth): &(&str, String)| {
        format!(
            "  {name}: {{ url: \"{url}\", auth: {auth}, headers: {{ X-Client: pl4nted-header-of-remote }}, redact: {{ paths: [pin] }} }}\n"
        )
    };
    format!(
        "sources:\n  main: {{ url: \"{}\", heartbeat: 50ms }}\nremotes:\n{}entities:{ENTITY}\ncall_log:\n  \
         rabbitmq: {{ url: \"{}\" }}\n  mongodb: {{ url: \"{}\" }}\n  spool: {{ path: spool }}\n  \
         redact: {{ headers: [x-tenant], paths: [ssn], patterns: ['pl4nted-by-pattern-\\d+'] }}\n  \
         encrypt: {{ key: \"${{CALL_LOG_KEY:-}}\" }}\n",
        postgres.url(),
        remotes.iter().map(remote).collect::<String>(),
        rabbit.url(),
        mongodb.url(),
    )
}

/// Looks through these bytes for everything that must not be in them.
fn clean(place: &str, bytes: &[u8]) {
    for secret in SECRETS.iter().copied().chain(["pl4nted", SEALED]) {
        if let Some(at) = bytes.windows(secret.len()).position(|it| it == secret.as_bytes()) {
            let around = &bytes[at.saturating_sub(60)..(at + 60).min(bytes.len())];
            panic!("{secret} is in {place}: …{}…", String::from_utf8_lossy(around));
        }
    }
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries.filter_map(|it| Some((it.path().display().to_string(), std::fs::read(it.path()).ok()?))).collect()
}

const ROWS: u32 = 3;
const CALLS: u32 = ROWS * 5;

#[tokio::test]
async fn no_secret_is_in_the_spool_the_queue_or_the_store_and_what_is_sealed_is_read_by_its_key() {
    let (postgres, mut rabbit, mongodb, api) =
        tokio::join!(Postgres::start(Version::V16), RabbitMq::start(), MongoDb::start(), api());
    postgres
        .execute("create table customers (id int primary key, name text, ssn text, pin text, note text)")
        .await;
    let mut home = Rowcall::with_config(&configuration(&postgres, &api, &rabbit, &mongodb));
    home.environment("CALL_LOG_KEY", &"0f".repeat(32));
    home.command(&["init"]).await.expect_code(0);
    let insert = async |from: u32, to: u32| {
        let sql = format!(
            "insert into customers select i, '{SEALED}', 'pl4nted-at-path', 'pl4nted-at-path-of-remote', 'note pl4nted-by-pattern-' || i
             from generate_series({from}, {to}) i"
        );
        postgres.execute(&sql).await;
        settled(&postgres).await;
    };

    // The broker is there: a queue of our own hears everything that is published.
    let service = home.run();
    insert(1, 1).await;
    eventually("the exchange is there", LONG, async || match rabbit.depth("rowcall.call_log.keeper").await {
        Some(_) => Ok(()),
        None => Err(()),
    })
    .await;
    let (connection, channel) = rabbit.channel().await;
    let (durable, table) = (QueueDeclareOptions::durable(), FieldTable::default);
    channel.queue_declare("ours".into(), durable, table()).await.expect("a queue");
    let (exchange, bind) = ("rowcall.call_log".into(), QueueBindOptions::default());
    channel.queue_bind("ours".into(), exchange, "#".into(), bind, table()).await.expect("to bind");
    drop((channel, connection));
    insert(2, ROWS + 1).await;
    eventually("all were published", LONG, async || match rabbit.depth("ours").await {
        Some(CALLS) => Ok(()),
        seen => Err(seen),
    })
    .await;
    let mut answers_seen = 0;
    for _ in 0..CALLS {
        let message = rabbit.take("ours").await.expect("a message");
        let whole = format!(
            "{:?} {} {}",
            message.properties,
            message.routing_key,
            String::from_utf8_lossy(&message.data)
        );
        assert!(whole.contains("sealed:") && whole.contains("***"), "{whole}");
        answers_seen += u32::from(whole.contains("\"status\":200"));
        clean("a message", whole.as_bytes());
    }
    assert_eq!(answers_seen, CALLS, "each was answered");

    // And away: what waits on disk.
    rabbit.stop();
    insert(ROWS + 2, 2 * ROWS + 1).await;
    let spool = home.home().join("spool");
    let spooled = eventually("the records are in the spool", LONG, async || {
        let files = files(&spool);
        let count = |bytes: &[u8]| bytes.windows(10).filter(|it| *it == b"\"call_key\"").count();
        let seen: usize = files.iter().map(|(_, bytes)| count(bytes)).sum();
        if seen >= CALLS as usize { Ok(files) } else { Err(seen) }
    })
    .await;
    spooled.iter().for_each(|(path, bytes)| clean(path, bytes));

    rabbit.start_again().await;
    let collection = mongodb.collection("rowcall", "call_log").await;
    eventually("everything is stored", 2 * LONG, async || match collection.count_documents(doc! {}).await {
        Ok(seen) if seen == u64::from(2 * CALLS + 5) => Ok(()),
        seen => Err(seen),
    })
    .await;
    let documents: Vec<Document> =
        collection.find(doc! {}).await.expect("an answer").try_collect().await.expect("all documents");
    for document in &documents {
        let mut bytes = Vec::new();
        document.to_writer(&mut bytes).expect("its bytes");
        clean("a document", &bytes);
    }
    service.sigterm();
    let (_, log) = service.end().await;
    assert!(!log.contains("pl4nted"), "{log}");
    files(&spool).iter().for_each(|(path, bytes)| clean(path, bytes));

    // Who has the key reads what was sealed, and no secret either.
    for document in documents.iter().step_by(7) {
        let id = document.get_str("_id").expect("an id");
        let shown = home.command(&["calls", "show", id]).await.expect_code(0).stdout;
        assert!(
            shown.contains(SEALED) && shown.contains("\"ssn\": \"***\"") && !shown.contains("pl4nted"),
            "{shown}"
        );
    }
    let id = documents[0].get_str("_id").expect("an id");
    home.environment("CALL_LOG_KEY", &"f0".repeat(32));
    let shown = home.command(&["calls", "show", id]).await.stdout;
    assert!(shown.contains("sealed:") && !shown.contains(SEALED), "another key opens nothing: {shown}");
}
