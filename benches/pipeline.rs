//! How fast records of calls come through RabbitMQ into MongoDB, and how fast the two take them raw.
//!
//! Prints the seconds for so many records: raw publishing with confirms, raw `insert_many`, and the whole
//! way: pipeline, broker, log keeper, database. Then the pipeline's peak of memory, in kilobytes.

mod peak;

use futures_util::future::{OptionFuture, try_join_all};
use jiff::Timestamp;
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use mongodb::{
    Client,
    bson::{Document, to_document},
    options::WriteConcern,
};
use rowcall::{
    call_log::{
        CallLogSink, CallLogStore, CallRecord, Content, Exchange, Line, Pipeline, PipelineOptions, Prepare,
        RECORD_VERSION, Record, RecordId, Redaction, Trace,
        mongodb::{MongoCallLog, MongoDbSettings},
        rabbitmq::{RabbitMqSettings, RabbitOutlet},
    },
    log_keeper::Keeper,
};
use std::{error::Error, ops::Range, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

/// As the service has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: bench-pipeline AMQP_URL MONGODB_URL RECORDS";
/// How many records go out at once, in each of the three.
const AT_ONCE: usize = 500;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [broker, database, records] = arguments.as_slice() else { return Err(USAGE.into()) };
    let records: u64 = records.parse()?;
    // Before the others: what they leave with the allocator would count as its own. It warms up, too.
    whole(broker, database, records..records + records / 4).await?;
    let peak = peak::kilobytes()?;
    let confirmed = confirms(broker, records).await?;
    let inserted = inserts(database, records).await?;
    let through = whole(broker, database, 0..records).await?;
    println!("{confirmed:.3} {inserted:.3} {through:.3} {peak}");
    Ok(())
}

/// Publishes to a queue like ours, and waits for the confirms of each lot.
async fn confirms(url: &str, records: u64) -> Result<f64, Failure> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("bench.raw".into(), options, arguments).await?;
    let messages = (0..records).map(|it| serde_json::to_vec(&record(it))).collect::<Result<Vec<_>, _>>()?;
    let begun = Instant::now();
    for lot in messages.chunks(AT_ONCE) {
        let mut sent = Vec::with_capacity(lot.len());
        for message in lot {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            let properties = properties.with_delivery_mode(2);
            sent.push(
                channel.basic_publish("".into(), "bench.raw".into(), options, message, properties).await?,
            );
        }
        try_join_all(sent).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    channel.queue_delete("bench.raw".into(), Default::default()).await?;
    Ok(seconds)
}

/// Inserts ready documents, with the write concern and the indexes of ours.
async fn inserts(url: &str, records: u64) -> Result<f64, Failure> {
    let indexed = MongoDbSettings { collection: "bench_raw".to_owned(), ..settings(url) };
    MongoCallLog::new(&indexed)?.store(&[record(u64::MAX)]).await?;
    let collection = Client::with_uri_str(url).await?.database("rowcall").collection::<Document>("bench_raw");
    let document = |it| -> Result<Document, Failure> {
        let mut document = to_document(&record(it))?;
        document.insert("_id", it as i64);
        Ok(document)
    };
    let documents = (0..records).map(document).collect::<Result<Vec<_>, _>>()?;
    let begun = Instant::now();
    for lot in documents.chunks(AT_ONCE) {
        collection.insert_many(lot).ordered(false).write_concern(WriteConcern::majority()).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    collection.drop().await?;
    Ok(seconds)
}

/// From the first record written to the last one stored.
async fn whole(broker: &str, database: &str, numbers: Range<u64>) -> Result<f64, Failure> {
    let broker = RabbitMqSettings::at(broker.into());
    let keeper = Keeper::new(&broker, Arc::new(MongoCallLog::new(&settings(database))?))?;
    let counts = keeper.counts();
    let (stop, stopped) = watch::channel(false);
    let mut keeping = JoinSet::new();
    keeping.spawn(async move { keeper.run(stopped).await });
    let redaction = Redaction::new([])?;
    let prepare: Prepare = Arc::new(move |mut record: Record<'_>| {
        redaction.apply(&mut record, 64 << 10);
        Line::from(record)
    });
    let outlet = Box::new(RabbitOutlet::new(&broker)?);
    let pipeline = Arc::new(Pipeline::start(outlet, prepare, None, PipelineOptions::default()));
    // The first one finds the queues and the collection made.
    OptionFuture::from(pipeline.write(record(u64::MAX - numbers.start))).await;
    until(|| counts.stored() == 1).await;
    let begun = Instant::now();
    let all = numbers.end - numbers.start;
    for it in numbers {
        OptionFuture::from(pipeline.write(record(it))).await;
    }
    until(|| counts.stored() > all).await;
    let seconds = begun.elapsed().as_secs_f64();
    pipeline.close(Duration::from_secs(5)).await;
    stop.send_replace(true);
    while keeping.join_next().await.is_some() {}
    Ok(seconds)
}

async fn until(reached: impl Fn() -> bool) {
    while !reached() {
        sleep(Duration::from_millis(2)).await;
    }
}

fn settings(url: &str) -> MongoDbSettings {
    MongoDbSettings::at(url.into())
}

/// As a call of the delivery bench leaves it.
fn record(number: u64) -> CallRecord {
    let body = format!(
        r#"{{"id":{number},"name":"Customer {number}","amount":123.45,"at":"2026-01-01T00:00:00Z","note":"{}"}}"#,
        "x".repeat(200)
    );
    let call_key = format!("item-40d7c476-{number:X}-0-post");
    CallRecord {
        v: RECORD_VERSION,
        id: RecordId::new(&call_key, None, 1),
        at: Timestamp::UNIX_EPOCH + Duration::from_secs(2_000_000_000),
        took_us: 812,
        route: "item".into(),
        entity: "item".into(),
        keys: [number.to_string().into()].into(),
        changes: [format!("0/{number:X}-0").into()].into(),
        run: None,
        step: "post".into(),
        attempt: 1,
        call_key: call_key.clone().into(),
        remote: "bank".into(),
        method: "POST".into(),
        url: format!("http://127.0.0.1:8080/objects/item/{number}"),
        request: Content {
            headers: [("content-type", "application/json"), ("idempotency-key", &*call_key)].into(),
            size: body.len() as u64,
            body: body.into(),
            base64: false,
        },
        response: Some(Exchange {
            status: 201,
            content: Content {
                headers: [("content-type", "application/json"), ("content-length", "27")].into(),
                body: r#"{"id":"item/12345","v":"1"}"#.into(),
                size: 27,
                base64: false,
            },
        }),
        class: None,
        error: None,
        outcome: "answered".into(),
        trace: Trace::of(&call_key),
        span: RecordId::new(&call_key, None, 1).span(),
    }
}
