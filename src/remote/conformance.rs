//! What every [`RemoteClient`] does, run on the real one and on the fake.

use super::{Attempt, CallError, FakeRemote, Leave, RemoteClient};
use crate::model::{Answer, Body, Call, CallKey, ChangeId, Lsn, Method};
use async_trait::async_trait;
use bytes::Bytes;

/// What a remote received, whatever it is made of.
#[derive(Debug, PartialEq)]
pub(super) struct Arrived {
    pub method: String,
    pub path: String,
    pub key: Option<String>,
    pub body: Vec<u8>,
}

/// A remote whose answers can be arranged.
#[async_trait]
pub(super) trait Stage {
    /// The client under test, whose remote will answer each call with the next of these.
    async fn answering(&mut self, answers: Vec<Answer>) -> Box<dyn RemoteClient>;
    /// The client under test, whose remote breaks the connection off.
    async fn breaking_off(&mut self) -> Box<dyn RemoteClient>;
    /// What arrived at the answering remote.
    async fn arrived(&self) -> Vec<Arrived>;
}

pub(super) fn call() -> Call {
    Call {
        step: "create".into(),
        method: Method::Post,
        path: "/loans?full=true&x=%2F".to_owned(),
        headers: Vec::new(),
        body: Body::Json(Bytes::from_static(b"{\"amount\":1.10}")),
        handles: Vec::new(),
        accept: Vec::new(),
        lookup: None,
    }
}

pub(super) fn key(step: &str) -> CallKey {
    let change = ChangeId { commit: Lsn::new(0x16), ordinal: 3 };
    CallKey { route: "loan".into(), origin: 7, change, key: None, step: step.into() }
}

pub(super) async fn run(stage: &mut dyn Stage) {
    any_status_is_an_answer(stage).await;
    the_call_arrives_as_it_is_under_the_same_key_every_time(stage).await;
    a_broken_connection_is_an_error(stage).await;
    a_path_that_names_another_is_not_called(stage).await;
    nothing_is_sent_without_leave(stage).await;
}

/// So much leave, and how often the call was refused for its token.
pub(super) struct Counted {
    pub(super) left: usize,
    pub(super) refused: usize,
}

impl Leave for Counted {
    fn begin(&mut self) -> bool {
        let may = self.left > 0;
        self.left -= usize::from(may);
        may
    }

    fn refused(&mut self, _: &Answer) -> bool {
        self.refused += 1;
        self.refused == 1
    }
}

async fn nothing_is_sent_without_leave(stage: &mut dyn Stage) {
    let ok = Answer { status: 200, ..Answer::default() };
    let remote = stage.answering(vec![ok]).await;
    let mut leave = Counted { left: 1, refused: 0 };
    let first = remote.attempt(&call(), &key("create"), &mut leave).await.expect("an answer");
    assert!(matches!(first, Attempt::Answered(Answer { status: 200, .. })), "{first:?}");
    assert_eq!(leave.left, 0, "it is used once a request");
    let second = remote.attempt(&call(), &key("create"), &mut leave).await.expect("no error");
    assert_eq!(second, Attempt::Held);
    assert_eq!(stage.arrived().await.len(), 1);
}

async fn any_status_is_an_answer(stage: &mut dyn Stage) {
    let statuses = [200, 201, 204, 301, 400, 401, 404, 409, 429, 500, 503];
    let answer = |status| Answer { status, headers: [].into(), body: Bytes::new() };
    let remote = stage.answering(statuses.iter().copied().map(answer).collect()).await;
    for status in statuses {
        let answer = remote.call(&call(), &key("create")).await.expect("an answer");
        assert_eq!(answer.status, status);
    }
    let body = Bytes::from_static(b"{\"id\":\"L1\"}");
    let answer = Answer { status: 201, headers: [].into(), body: body.clone() };
    let remote = stage.answering(vec![answer]).await;
    assert_eq!(remote.call(&call(), &key("create")).await.expect("an answer").body, body);
}

async fn the_call_arrives_as_it_is_under_the_same_key_every_time(stage: &mut dyn Stage) {
    let ok = Answer { status: 200, ..Answer::default() };
    let remote = stage.answering(vec![ok; 3]).await;
    for _ in 0..2 {
        remote.call(&call(), &key("create")).await.expect("an answer");
    }
    let look = Call { method: Method::Get, body: Body::Empty, ..call() };
    remote.call(&look, &key("look")).await.expect("an answer");
    let arrived = |method: &str, key: Option<&str>, body: &[u8]| Arrived {
        method: method.to_owned(),
        path: "/loans?full=true&x=%2F".to_owned(),
        key: key.map(str::to_owned),
        body: body.to_vec(),
    };
    let post = || arrived("POST", Some("loan-00000007-16-3-create"), b"{\"amount\":1.10}");
    assert_eq!(stage.arrived().await, [post(), post(), arrived("GET", None, b"")]);
}

async fn a_broken_connection_is_an_error(stage: &mut dyn Stage) {
    let remote = stage.breaking_off().await;
    let error = remote.call(&call(), &key("create")).await.expect_err("no answer");
    assert!(matches!(error, CallError::Transport { .. }), "{error:?}");
}

async fn a_path_that_names_another_is_not_called(stage: &mut dyn Stage) {
    let remote = stage.answering(Vec::new()).await;
    for path in ["loans", "/loans/../admin", "/%2e%2E/admin", "//\\x", "/a#b", ""] {
        let call = Call { path: path.to_owned(), ..call() };
        let error = remote.call(&call, &key("create")).await.expect_err(path);
        assert!(matches!(error, CallError::BadRequest { .. }), "{error:?}");
    }
    assert_eq!(stage.arrived().await, []);
}

#[derive(Default)]
struct FakeStage(std::sync::Arc<FakeRemote>);

#[async_trait]
impl Stage for FakeStage {
    async fn answering(&mut self, answers: Vec<Answer>) -> Box<dyn RemoteClient> {
        self.0 = Default::default();
        for answer in answers {
            self.0.reply(Ok(answer));
        }
        Box::new(self.0.clone())
    }

    async fn breaking_off(&mut self) -> Box<dyn RemoteClient> {
        self.0 = Default::default();
        self.0.break_off();
        Box::new(self.0.clone())
    }

    async fn arrived(&self) -> Vec<Arrived> {
        let arrived = self.0.seen().into_iter().map(|seen| Arrived {
            method: seen.call.method.name().to_owned(),
            path: seen.call.path,
            key: seen.call.method.mutates().then(|| seen.key.to_string()),
            body: seen.call.body.bytes().map(|bytes| bytes.to_vec()).unwrap_or_default(),
        });
        arrived.collect()
    }
}

#[tokio::test]
async fn the_fake_remote_conforms() {
    run(&mut FakeStage::default()).await;
}
