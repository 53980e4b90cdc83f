use super::*;
use crate::{
    health::State,
    notify::{
        Subject,
        queue::{Item, LIMIT},
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, header, path, query_param},
};

/// Long enough for anything that should happen at all, on a busy machine.
const LONG: Duration = Duration::from_secs(60);

fn courier(target: Value) -> Courier {
    let target: Target = serde_json::from_value(target).expect("a target");
    let clock: Clock = || Timestamp::UNIX_EPOCH;
    Courier {
        name: "pager".to_owned(),
        aim: (&target).into(),
        meter: Arc::default(),
        way: Way::new("pager", &target, clock).expect("a way"),
        queue: Mutex::new(Queue::new(LIMIT)),
        bell: Notify::new(),
        instance: "app-1:42".into(),
        clock,
    }
}

fn push(courier: &Courier, name: &str, state: State) {
    let subject = Subject::Check {
        name: name.to_owned(),
        state,
        reason: "so".to_owned(),
        since: Timestamp::UNIX_EPOCH,
    };
    let item = Item { id: format!("{name}/{}", state.name()), at: Timestamp::UNIX_EPOCH, subject };
    courier.queue().push(item, Instant::now());
    courier.bell.notify_one();
}

/// Runs it until all is told, and to its end.
async fn told(courier: &Courier) {
    let (closing, closes) = watch::channel(false);
    let bell = Notify::new();
    let all = async {
        tokio::join!(courier.run(&bell, closes), async {
            while courier.queue().len() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
            closing.send_replace(true);
        });
    };
    timeout(LONG, all).await.expect("it ends");
}

/// `event name id` of each notice that arrived.
async fn arrived(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.expect("they are kept");
    let line = |it: &wiremock::Request| {
        let notice: Value = serde_json::from_slice(&it.body).expect("JSON");
        let key = it.headers.get("idempotency-key").and_then(|it| it.to_str().ok());
        assert_eq!(notice["id"].as_str(), key, "{notice}");
        ["event", "name", "id"].map(|it| notice[it].as_str().unwrap_or("?").to_owned()).join(" ")
    };
    requests.iter().map(line).collect()
}

fn counts(courier: &Courier) -> [u64; 3] {
    let TargetMeter { delivered, given_up, dropped } = &*courier.meter;
    [delivered, given_up, dropped].map(|it| it.get())
}

#[tokio::test]
async fn a_webhook_is_told_in_order_with_its_headers_and_what_it_did_not_take_comes_again_under_its_id() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(503)).up_to_n_times(1).mount(&server).await;
    let taken = Mock::given(path("/T0/B0")).and(query_param("sig", "a b")).and(header("x-key", "s3cr3t"));
    taken.respond_with(ResponseTemplate::new(204)).mount(&server).await;
    let url = format!("{}/T0/B0?sig=a%20b", server.uri());
    let courier = courier(json!({ "url": url, "headers": { "x-key": "s3cr3t" } }));
    push(&courier, "a", State::Fail);
    push(&courier, "b", State::Warn);
    told(&courier).await;
    push(&courier, "a", State::Ok);
    told(&courier).await;
    let expected = ["problem a a/fail", "problem a a/fail", "problem b b/warn", "recovered a a/ok"];
    assert_eq!(arrived(&server).await, expected);
    assert_eq!(counts(&courier), [3, 0, 0]);
}

#[tokio::test]
async fn what_a_webhook_refuses_is_given_up_and_the_next_is_told() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(404)).up_to_n_times(1).mount(&server).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let courier = courier(json!({ "url": server.uri() }));
    push(&courier, "a", State::Fail);
    push(&courier, "b", State::Fail);
    told(&courier).await;
    assert_eq!((arrived(&server).await.len(), counts(&courier)), (2, [1, 1, 0]));
    // It never heard of the problem, so its end is no news.
    push(&courier, "a", State::Ok);
    told(&courier).await;
    assert_eq!(arrived(&server).await.len(), 2);
}

#[tokio::test]
async fn a_webhook_that_is_throttled_says_when_to_come_again_and_one_that_is_not_there_has_heard_nothing() {
    let server = MockServer::start().await;
    let busy = ResponseTemplate::new(429).insert_header("retry-after", "7");
    Mock::given(any()).respond_with(busy).mount(&server).await;
    let notice = Notice::of(&Subject::Test, "7", Timestamp::UNIX_EPOCH, State::Ok, "app-1:42");
    let refused = courier(json!({ "url": server.uri() })).way.deliver(&notice).await;
    assert!(
        matches!(&refused, Err(Refusal::Passing { after: Some(it), heard: false, .. }) if it.as_secs() == 7),
        "{refused:?}"
    );
    let refused = courier(json!({ "url": "http://127.0.0.1:1/hunter2" })).way.deliver(&notice).await;
    let Err(Refusal::Passing { why, heard: false, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("127.0.0.1:1") && !why.contains("hunter2"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_for_a_quarter_of_an_hour_is_given_up() {
    let courier = courier(json!({ "exec": ["/nowhere/page.sh"] }));
    push(&courier, "a", State::Fail);
    let began = Instant::now();
    let (_closing, closes) = watch::channel(false);
    let bell = Notify::new();
    tokio::select! {
        () = courier.run(&bell, closes) => panic!("nobody closes it"),
        () = async { while courier.meter.given_up.get() == 0 { sleep(Duration::from_secs(1)).await; } } => {}
    }
    let took = began.elapsed();
    assert!(took >= PATIENCE && took < PATIENCE + 2 * LONGEST_WAIT, "{took:?}");
    assert_eq!((courier.queue().len(), counts(&courier)), (0, [0, 1, 0]));
}
