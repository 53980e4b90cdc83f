//! Records leave through RabbitMQ.

use super::{at, line, lines, record};
use crate::harness::{RabbitMq, certificates::Certificates, eventually, wait::LONG};
use lapin::{options::*, types::FieldTable};
use rowcall::call_log::{
    CallRecord, Outlet, RecordId,
    rabbitmq::{RabbitMqSettings, RabbitOutlet},
};
use tokio::time::timeout;

const QUEUE: &str = "rowcall.call_log.keeper";

fn outlet(settings: &RabbitMqSettings) -> RabbitOutlet {
    RabbitOutlet::new(settings).expect("an outlet")
}

async fn delete(rabbit: &RabbitMq, exchange: &str, queues: &[&str]) {
    let (_connection, channel) = rabbit.channel().await;
    for queue in queues {
        channel.queue_delete((*queue).into(), QueueDeleteOptions::default()).await.expect("to delete");
    }
    channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.expect("to delete");
}

#[tokio::test]
async fn a_message_is_a_record_that_anybody_can_bind_to() {
    let rabbit = RabbitMq::start().await;
    let settings = at(&rabbit.url());
    let mut outlet = outlet(&settings);
    outlet.send(&[].into()).await.expect("nothing to send");
    outlet.send(&[line(&record(1))].into()).await.expect("to send");
    let message = rabbit.take(QUEUE).await.expect("a message");
    assert_eq!(serde_json::from_slice::<CallRecord>(&message.data).expect("a record"), record(1));
    let properties = &message.properties;
    assert_eq!(message.routing_key.as_str(), "call.loan@lender");
    assert_eq!(properties.message_id().as_ref().map(ToString::to_string), Some(record(1).id.to_string()));
    assert_eq!(
        (properties.delivery_mode(), properties.content_type().as_ref().map(|it| it.as_str())),
        (&Some(2), Some("application/json"))
    );

    // A queue of somebody else's, for one route.
    let (connection, channel) = rabbit.channel().await;
    channel
        .queue_declare("theirs".into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await
        .expect("a queue");
    let (bind, table) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind("theirs".into(), "rowcall.call_log".into(), "call.b".into(), bind, table)
        .await
        .expect("to bind");
    drop((connection, channel));
    let routed = |number, route: &'static str| line(&CallRecord { route: route.into(), ..record(number) });
    let packed = RabbitMqSettings { batch: 2.try_into().expect("not zero"), ..settings };
    let mut packing = RabbitOutlet::new(&packed).expect("an outlet");
    packing
        .send(&[routed(1, "a"), routed(2, "b"), routed(3, "b"), routed(4, "b")].into())
        .await
        .expect("to send");
    assert_eq!((rabbit.depth(QUEUE).await, rabbit.depth("theirs").await), (Some(3), Some(2)));
    let message = rabbit.take("theirs").await.expect("a message");
    let records: Vec<CallRecord> = serde_json::from_slice(&message.data).expect("records");
    assert_eq!(records.iter().map(|it| it.id.clone()).collect::<Vec<_>>(), [record(2).id, record(3).id]);

    // Names that AMQP has no room for.
    let long =
        CallRecord { id: RecordId("é".repeat(5_000).into()), route: "r".repeat(400).into(), ..record(5) };
    outlet.send(&[line(&long)].into()).await.expect("to send");
    let before = lines(0..3_000);
    outlet.send(&before).await.expect("to send");
    assert_eq!(rabbit.depth(QUEUE).await, Some(3 + 1 + 3_000));
}

#[tokio::test]
async fn what_was_deleted_is_declared_again() {
    let rabbit = RabbitMq::start().await;
    let settings =
        RabbitMqSettings { exchange: "x".into(), queue: "q".into(), dead: "d".into(), ..at(&rabbit.url()) };
    let mut outlet = outlet(&settings);
    outlet.send(&lines([1])).await.expect("to send");
    // Without the queue nothing takes the record; that is noticed, and mended at once.
    let (connection, channel) = rabbit.channel().await;
    channel.queue_delete("q".into(), QueueDeleteOptions::default()).await.expect("to delete");
    outlet.send(&lines(2..700)).await.expect("to send");
    assert_eq!(rabbit.depth("q").await, Some(698));
    let table = FieldTable::default();
    channel.queue_unbind("q".into(), "x".into(), "#".into(), table).await.expect("to unbind");
    outlet.send(&lines([700])).await.expect("to send");
    assert_eq!(rabbit.depth("q").await, Some(699));
    drop((connection, channel));
    // Without the exchange the channel is closed: the next one has it.
    delete(&rabbit, "x", &["q", "d"]).await;
    eventually("it is sent again", LONG, async || outlet.send(&lines([701])).await).await;
    assert_eq!((rabbit.depth("q").await, rabbit.depth("d").await), (Some(1), Some(0)));

    // What is there and is something else stays, and a person is told.
    delete(&rabbit, "x", &["q"]).await;
    let (_connection, channel) = rabbit.channel().await;
    channel
        .queue_declare("q".into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await
        .expect("a queue");
    let error = RabbitOutlet::new(&settings)
        .expect("an outlet")
        .send(&lines([1]))
        .await
        .expect_err("a classic queue");
    assert!(error.lasting && error.to_string().contains("other properties"), "{error}");
}

#[tokio::test]
async fn a_broker_that_is_away_is_an_error_in_time_and_no_loss() {
    let mut rabbit = RabbitMq::start().await;
    let mut outlet = outlet(&at(&rabbit.url()));
    outlet.send(&lines(0..10)).await.expect("to send");
    // In its own way first: see `kill`.
    for (begin, kill) in [(10, false), (20, true)] {
        if kill {
            rabbit.kill()
        } else {
            rabbit.stop()
        }
        let lines = lines(begin..begin + 10);
        for _ in 0..3 {
            let error = timeout(LONG, outlet.send(&lines)).await.expect("in time").expect_err("it is away");
            assert!(!error.lasting, "{error}");
        }
        rabbit.start_again().await;
        eventually("it is sent again", LONG, async || outlet.send(&lines).await).await;
    }
    assert!(rabbit.depth(QUEUE).await >= Some(30));

    // Who is refused is told so, without his password.
    let wrong = rabbit.url().replace("guest:guest", "guest:planted");
    let error =
        RabbitOutlet::new(&at(&wrong)).expect("an outlet").send(&lines([1])).await.expect_err("refused");
    assert!(error.lasting && !format!("{error} {error:?}").contains("planted"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_an_error_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("amqp://127.0.0.1:{}", silent.local_addr().expect("an address").port());
    let mut outlet = outlet(&at(&url));
    let mut taken = Vec::new();
    for _ in 0..2 {
        let lines = lines([1]);
        let sending = timeout(LONG, outlet.send(&lines));
        let (sent, accepted) = tokio::join!(sending, silent.accept());
        sent.expect("in time").expect_err("nobody answers");
        taken.push(accepted.expect("a connection").0);
    }
    // And nothing stays behind of it: our end is closed.
    for connection in &mut taken {
        let mut bytes = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(connection, &mut bytes);
        timeout(LONG, read).await.expect("it is closed").expect("to read");
    }
}

#[tokio::test]
async fn a_broker_that_takes_nothing_is_an_error_until_it_does() {
    let rabbit = RabbitMq::start().await;
    let mut outlet = outlet(&at(&rabbit.url()));
    outlet.send(&lines([1])).await.expect("to send");
    rabbit.ctl(&["set_vm_memory_high_watermark", "0"]).await;
    for _ in 0..2 {
        let error =
            timeout(LONG, outlet.send(&lines([2]))).await.expect("in time").expect_err("it is blocked");
        assert!(error.to_string().contains("short of memory or disk"), "{error}");
    }
    rabbit.ctl(&["set_vm_memory_high_watermark", "0.9"]).await;
    eventually("it is sent again", LONG, async || outlet.send(&lines([2])).await).await;
    assert!(rabbit.depth(QUEUE).await >= Some(2));
}

#[tokio::test]
async fn a_broker_is_trusted_by_its_certificate() {
    let certificates = Certificates::new();
    let port = crate::harness::postgres::unused_port();
    let listener = format!("listeners.ssl.default = 127.0.0.1:{port}");
    let conf = [
        listener.as_str(),
        "ssl_options.certfile = {home}/server.pem",
        "ssl_options.keyfile = {home}/server.key",
        "ssl_options.verify = verify_none",
    ];
    let files = [("server.pem", certificates.server.as_str()), ("server.key", certificates.key.as_str())];
    let rabbit = RabbitMq::with(&conf, &files).await;
    let trusting = |ca: String, host: &str| {
        let settings = at(&format!("amqps://guest:guest@{host}:{port}"));
        outlet(&RabbitMqSettings { ca: Some(ca.into()), ..settings })
    };
    trusting(certificates.authority(), "localhost").send(&lines([1])).await.expect("to send");
    assert_eq!(rabbit.depth(QUEUE).await, Some(1));
    for (ca, host) in
        [(Certificates::new().authority(), "localhost"), (certificates.authority(), "127.0.0.1")]
    {
        let error = trusting(ca, host).send(&lines([2])).await.expect_err("not to be trusted").to_string();
        assert!(error.contains("certificate"), "{error}");
    }
}
