//! What `rowcall check` and `rowcall status` say of the log of calls.

use crate::harness::{Live, MongoDb, RabbitMq, Version, eventually, postgres::unused_port, wait::LONG};
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use serde_json::Value;

const TABLE: &str = "create table customers (id int primary key, name text)";
const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/customers/{{ row.id }}', body: { name: '{{ row.name }}' } }]";
const QUEUE: &str = "rowcall.call_log.keeper";

/// What the check says of the log of calls, `verdict: what → fix`.
async fn checked(live: &Live) -> Vec<String> {
    let said = live.rowcall.command(&["check", "--json"]).await.stdout;
    let findings: Vec<Value> = serde_json::from_str(&said).expect("JSON");
    let line = |it: &Value| format!("{}: {} → {}", it["verdict"], it["what"], it["fix"]).replace('"', "");
    findings.iter().map(line).filter(|it| it.contains("call log: ")).collect()
}

fn has(lines: &[String], verdict: &str, parts: &[&str]) {
    let is = |it: &&String| it.starts_with(verdict) && parts.iter().all(|part| it.contains(part));
    assert!(lines.iter().any(|it| is(&it)), "{verdict} {parts:?} in {lines:#?}");
}

#[tokio::test]
async fn the_broker_and_the_store_are_looked_at_and_nothing_is_made() {
    let (live, rabbit, mongodb) =
        tokio::join!(Live::new(Version::V16, TABLE, ENTITY), RabbitMq::start(), MongoDb::start());
    let block = |rabbit: &str, mongodb: &str| {
        format!(
            "call_log:\n  rabbitmq: {{ url: \"{rabbit}\" }}\n  mongodb: {{ url: \"{mongodb}\" }}\n  spool: {{ path: spool, max: 1MiB }}\n"
        )
    };
    let plain = std::fs::read_to_string(live.rowcall.config()).expect("the configuration");
    let whole = |text: &str| live.rowcall.configure(&format!("{plain}{text}"));
    let (good_rabbit, good_mongodb) = (rabbit.url(), mongodb.url());
    whole(&block(&good_rabbit, &good_mongodb));
    let lines = checked(&live).await;
    has(&lines, "good", &["RabbitMQ is reached; the first start makes `rowcall.call_log`", QUEUE]);
    has(&lines, "good", &["MongoDB takes records at 127.0.0.1:", "rowcall.call_log"]);
    has(&lines, "good", &["has room for its 1MiB"]);
    assert_eq!(rabbit.depth(QUEUE).await, None, "it makes nothing");
    assert!(!live.rowcall.home().join("spool").exists());

    // A queue that is not as it has to be.
    let (connection, channel) = rabbit.channel().await;
    let durable = QueueDeclareOptions::durable();
    channel.queue_declare(QUEUE.into(), durable, FieldTable::default()).await.expect("a classic queue");
    has(&checked(&live).await, "bad", &["PRECONDITION", QUEUE, "other properties", "name another one"]);
    channel.queue_delete(QUEUE.into(), Default::default()).await.expect("to delete");
    drop(connection);

    let wrong = |url: &str| url.replace("guest:guest", "guest:pl4nted");
    whole(&block(&wrong(&good_rabbit), &good_mongodb));
    let lines = checked(&live).await;
    has(&lines, "bad", &["connecting to the broker", "check `call_log.rabbitmq.url`"]);
    assert!(!lines.concat().contains("pl4nted"), "{lines:#?}");
    let nowhere = format!("mongodb://u:pl4nted@127.0.0.1:{}/?serverSelectionTimeoutMS=500", unused_port());
    whole(
        &block(&format!("amqp://guest:guest@127.0.0.1:{}", unused_port()), &nowhere)
            .replace("max: 1MiB", "max: 1000000GiB"),
    );
    let lines = checked(&live).await;
    has(&lines, "bad", &["connecting to the broker", "check `call_log.rabbitmq.url`"]);
    has(&lines, "bad", &["MongoDB", "check `call_log.mongodb.url`", "`readWrite`"]);
    has(&lines, "warning", &["there is room for", "lower `call_log.spool.max`"]);
    assert!(!lines.concat().contains("pl4nted"), "{lines:#?}");

    // Somebody else keeps the log, or should.
    whole(&(block(&good_rabbit, &good_mongodb) + "  keeper: false\n"));
    let service = live.run();
    live.after(&["insert into customers values (1, 'Ada')"]).await;
    eventually("a record waits for a keeper", LONG, async || match rabbit.depth(QUEUE).await {
        Some(1) => Ok(()),
        seen => Err(seen),
    })
    .await;
    let lines = checked(&live).await;
    has(&lines, "good", &["RabbitMQ has `rowcall.call_log`", "1 message waits there"]);
    has(&lines, "warning", &["nobody reads", "start `rowcall log-keeper`"]);
    service.sigterm();
    service.wait().await;
}

#[tokio::test]
async fn the_file_is_looked_at_before_and_after_it_is_there() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    has(&checked(&live).await, "good", &["rowcall-calls.db can be made"]);
    assert!(!live.rowcall.home().join("rowcall-calls.db").exists());
    let service = live.run();
    live.after(&["insert into customers values (1, 'Ada')"]).await;
    let status = eventually("the status is reported", LONG, async || {
        let status = status(&live).await;
        if status["sent"] == 1 { Ok(status) } else { Err(status) }
    })
    .await;
    assert!(status["goes_to"].as_str().is_some_and(|it| it.ends_with("rowcall-calls.db")), "{status}");
    assert_eq!(
        (&status["trouble"], &status["spool"], &status["keeper"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    has(&checked(&live).await, "good", &["rowcall-calls.db takes records"]);
    service.sigterm();
    service.wait().await;
    assert_eq!(status_of_all(&live).await, Value::Array(Vec::new()), "nobody is at work");
    live.reconfigure(|yaml| yaml + "call_log: { sqlite: { path: missing/calls.db } }\n");
    has(&checked(&live).await, "bad", &["missing", "`call_log.sqlite.path`"]);
    let entries = std::fs::read_dir(live.rowcall.home()).expect("the home").flatten();
    let left: Vec<_> = entries.filter(|it| it.file_name().to_string_lossy().contains("check")).collect();
    assert!(left.is_empty(), "{left:?}");
}

async fn status_of_all(live: &Live) -> Value {
    let said = live.rowcall.command(&["status", "--json"]).await.expect_code(0).stdout;
    serde_json::from_str::<Value>(&said).expect("JSON")["call_logs"].clone()
}

async fn status(live: &Live) -> Value {
    status_of_all(live).await[0].clone()
}

#[tokio::test]
async fn the_status_says_what_is_away_since_when_and_what_waits() {
    let (live, mut rabbit, mut mongodb) =
        tokio::join!(Live::new(Version::V16, TABLE, ENTITY), RabbitMq::start(), MongoDb::start());
    // A store that is away is to be noticed within the test's patience.
    let mongodb_url = mongodb.url().replace("/?", "/?serverSelectionTimeoutMS=1000&");
    let block = format!(
        "call_log:\n  rabbitmq: {{ url: \"{}\" }}\n  mongodb: {{ url: \"{mongodb_url}\" }}\n  spool: {{ path: spool }}\n",
        rabbit.url()
    );
    live.reconfigure(|yaml| yaml + &block);
    let service = live.run();
    let until = async |what: &str, is: &dyn Fn(&Value) -> bool| {
        eventually(what, LONG, async || {
            let status = status(&live).await;
            if is(&status) { Ok(status) } else { Err(status) }
        })
        .await
    };
    live.after(&["insert into customers values (1, 'Ada')"]).await;
    let well = until("all is well", &|it| it["keeper"]["stored"] == 1).await;
    assert_eq!(
        (&well["sent"], &well["trouble"], &well["spool"]["max"]),
        (&1.into(), &Value::Null, &(1_u64 << 30).into())
    );
    assert_eq!(well["keeper"]["trouble"], Value::Null);

    mongodb.stop();
    live.after(&["insert into customers values (2, 'Bob')"]).await;
    let away = until("the store is away", &|it| !it["keeper"]["trouble"].is_null()).await;
    assert!(
        away["trouble"].is_null()
            && away["keeper"]["trouble"]["error"].as_str().is_some_and(|it| it.contains("MongoDB")),
        "{away}"
    );
    assert!(away["keeper"]["trouble"]["since"].is_string(), "{away}");
    mongodb.start_again().await;
    until("the store is back", &|it| it["keeper"]["trouble"].is_null() && it["keeper"]["stored"] == 2).await;

    rabbit.stop();
    live.after(&["insert into customers values (3, 'Cyd')"]).await;
    let away =
        until("the broker is away", &|it| !it["trouble"].is_null() && it["spool"]["records"] == 1).await;
    assert!(away["trouble"]["since"].is_string() && away["spool"]["bytes"].as_u64() > Some(100), "{away}");
    let text = live.rowcall.command(&["status"]).await.expect_code(0).stdout;
    for part in [
        "call log of source `main`: to RabbitMQ, amqp://127.0.0.1:",
        "1 record in the spool",
        "✗ records are not taken since ",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    rabbit.start_again().await;
    let well =
        until("all is well again", &|it| it["keeper"]["stored"] == 3 && it["keeper"]["trouble"].is_null())
            .await;
    assert_eq!((&well["trouble"], &well["spool"]["records"]), (&Value::Null, &0.into()));
    service.sigterm();
    service.wait().await;
}
