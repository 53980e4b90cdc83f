//! The harness keeps what it promises.

use crate::harness::{Postgres, each_version, eventually, wait::LONG};
use std::path::Path;

each_version! {
    async fn a_server_is_private_logical_and_of_the_version_asked_for(version: Version) {
        let postgres = Postgres::start(version).await;
        let says = postgres.text("show server_version").await.expect("a version");
        assert!(says.starts_with(version.major()), "{says} is not {version}");
        assert_eq!(postgres.text("show wal_level").await.as_deref(), Some("logical"));
        postgres.execute("create table t (id int primary key); insert into t values (7)").await;
        assert_eq!(postgres.text("select id from t").await.as_deref(), Some("7"));
        let other = Postgres::start(version).await;
        assert_eq!(other.text("select to_regclass('t')").await, None);
    }

    async fn a_server_keeps_its_rows_and_its_port_over_a_restart_and_a_crash(version: Version) {
        let mut postgres = Postgres::start(version).await;
        let port = postgres.port();
        postgres.execute("create table t (id int primary key); insert into t values (1)").await;
        postgres.restart().await;
        postgres.execute("insert into t values (2)").await;
        postgres.stop_immediate().await;
        postgres.start_again().await;
        assert_eq!(postgres.text("select count(*) from t").await.as_deref(), Some("2"));
        assert_eq!(postgres.port(), port);
    }
}

#[tokio::test]
async fn lines_of_a_test_win_over_the_usual_ones() {
    use crate::harness::{Version, postgres::Client};
    let setup =
        Postgres::with(Version::V16).conf("wal_level = replica").hba("host all visitor all scram-sha-256");
    let postgres = setup.start().await;
    assert_eq!(postgres.text("show wal_level").await.as_deref(), Some("replica"));
    postgres.execute("create role visitor login password 'right'").await;
    Client::connect(&postgres.url_as("visitor", "right")).await.expect("the right password");
    assert!(Client::connect(&postgres.url_as("visitor", "wrong")).await.is_err());
    Client::connect(&postgres.socket_url()).await.expect("the unix socket");
}

#[tokio::test]
async fn nothing_is_left_of_a_server_whose_test_panicked() {
    use crate::harness::Version;
    let postgres = Postgres::start(Version::V15).await;
    let directory = postgres.text("show data_directory").await.expect("its directory");
    let url = postgres.url();
    let panicked = tokio::task::JoinSet::from_iter([async move {
        let _held = postgres;
        panic!("as a failing test would");
    }]);
    let mut panicked = panicked;
    assert!(panicked.join_next().await.expect("one task").is_err_and(|error| error.is_panic()));
    assert!(!Path::new(&directory).exists(), "{directory} is left");
    eventually("nobody listens", LONG, async || {
        match tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
            Ok(_) => Err("somebody does"),
            Err(_) => Ok(()),
        }
    })
    .await;
}

#[tokio::test]
async fn a_broker_keeps_its_messages_over_a_crash_and_nothing_is_left_of_it() {
    use crate::harness::RabbitMq;
    use lapin::{BasicProperties, options::*, types::FieldTable};
    let mut rabbit = RabbitMq::start().await;
    assert_eq!(rabbit.depth("q").await, None);
    let (connection, channel) = rabbit.channel().await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("q".into(), durable, FieldTable::default()).await.expect("a queue");
    drop((connection, channel));
    // The names of queues are written some time after they are made; by an end in order at once.
    rabbit.stop();
    rabbit.start_again().await;
    let (connection, channel) = rabbit.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let properties = BasicProperties::default().with_delivery_mode(2);
    let sent = channel
        .basic_publish("".into(), "q".into(), BasicPublishOptions::default(), b"m", properties)
        .await
        .expect("to publish");
    assert!(sent.await.expect("a confirm").is_ack());
    drop((connection, channel));
    let url = rabbit.url();
    rabbit.kill();
    rabbit.start_again().await;
    assert_eq!(rabbit.url(), url);
    eventually("the queue is there again", LONG, async || match rabbit.depth("q").await {
        Some(1) => Ok(()),
        other => Err(other),
    })
    .await;
    rabbit.stop();
    rabbit.start_again().await;
    assert_eq!(rabbit.take("q").await.expect("a message").data, b"m");
    let home = rabbit.home().to_owned();
    drop(rabbit);
    assert!(!home.exists(), "{} is left", home.display());
}

#[tokio::test]
async fn a_document_store_keeps_its_documents_over_a_crash_and_nothing_is_left_of_it() {
    use crate::harness::MongoDb;
    use mongodb::bson::doc;
    let mut mongodb = MongoDb::start().await;
    let collection = mongodb.collection("d", "c").await;
    collection.insert_one(doc! { "_id": 1 }).await.expect("to insert");
    mongodb.kill();
    mongodb.start_again().await;
    mongodb.stop();
    mongodb.start_again().await;
    let found = mongodb.collection("d", "c").await.count_documents(doc! {}).await;
    assert_eq!(found.expect("a count"), 1);
    let home = mongodb.home().to_owned();
    drop(mongodb);
    assert!(!home.exists(), "{} is left", home.display());
}
