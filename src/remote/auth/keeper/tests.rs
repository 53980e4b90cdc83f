use super::super::token::Trouble;
use super::*;
use async_trait::async_trait;
use http::HeaderValue;
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll, Wake, Waker},
};
use tokio::{sync::Semaphore, time::advance};

/// What a scripted endpoint says.
#[derive(Clone)]
enum Say {
    Token(Option<u64>),
    Not(Trouble, Option<u64>),
    Panic,
}

/// Gives `t1`, `t2`, … as it is told, and counts.
struct Endpoint {
    script: Mutex<VecDeque<Say>>,
    asked: AtomicUsize,
    gate: Semaphore,
}

#[async_trait]
impl TokenSource for Arc<Endpoint> {
    async fn fetch(&self) -> Result<Granted, NotGranted> {
        let number = self.asked.fetch_add(1, SeqCst) + 1;
        self.gate.acquire().await.expect("it is never closed").forget();
        let seconds = |it: Option<u64>| it.map(Duration::from_secs);
        match lock(&self.script).pop_front().unwrap_or(Say::Token(Some(100))) {
            Say::Token(life) => {
                let header = HeaderValue::try_from(format!("Bearer t{number}")).expect("a header");
                Ok(Granted { text: format!("t{number}").into(), header, lifetime: seconds(life) })
            }
            Say::Not(trouble, after) => {
                Err(NotGranted { trouble, message: format!("no {number}"), retry_after: seconds(after) })
            }
            Say::Panic => panic!("as ordered"),
        }
    }

    fn remote(&self) -> &str {
        "bank"
    }

    fn place(&self) -> &str {
        "auth"
    }
}

fn keeper(script: impl IntoIterator<Item = Say>) -> (Arc<Endpoint>, Arc<Keeper>) {
    let script = Mutex::new(script.into_iter().collect());
    let endpoint = Arc::new(Endpoint { script, asked: AtomicUsize::new(0), gate: Semaphore::new(10_000) });
    (Arc::clone(&endpoint), Arc::new(Keeper::new(Box::new(endpoint))))
}

impl Endpoint {
    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    /// From now on requests wait.
    fn hold(&self) {
        self.gate.forget_permits(10_000);
    }
}

async fn text(keeper: &Keeper) -> String {
    keeper.token().await.expect("a token").text().to_owned()
}

/// Lets tasks that are ready go on.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn seconds(count: u64) {
    advance(Duration::from_secs(count)).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn however_many_wait_one_token_is_asked_for() {
    let (endpoint, keeper) = keeper([]);
    endpoint.hold();
    let mut waiting = JoinSet::new();
    for _ in 0..64 {
        let keeper = Arc::clone(&keeper);
        waiting.spawn(async move { text(&keeper).await });
    }
    settle().await;
    assert_eq!(endpoint.asked(), 1);
    endpoint.gate.add_permits(1);
    while let Some(token) = waiting.join_next().await {
        assert_eq!(token.expect("no panic"), "t1");
    }
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_takes_the_token_from_no_other() {
    let (endpoint, keeper) = keeper([]);
    endpoint.hold();
    let mut first = Box::pin(keeper.token());
    assert!(futures_util::poll!(&mut first).is_pending());
    settle().await;
    let mut second = Box::pin(keeper.token());
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    endpoint.gate.add_permits(1);
    assert_eq!(second.await.expect("a token").text(), "t1");
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_next_token_is_asked_for_ahead_while_the_old_one_serves() {
    let (endpoint, keeper) = keeper([Say::Token(Some(3600)), Say::Token(Some(100)), Say::Token(Some(100))]);
    assert_eq!(text(&keeper).await, "t1");
    seconds(3539).await;
    assert_eq!((text(&keeper).await, endpoint.asked()), ("t1".to_owned(), 1));
    endpoint.hold();
    seconds(1).await;
    for _ in 0..64 {
        assert_eq!(text(&keeper).await, "t1", "nobody waits for the next one");
    }
    settle().await;
    assert_eq!(endpoint.asked(), 2, "and one request is under way");
    endpoint.gate.add_permits(10_000);
    settle().await;
    assert_eq!(text(&keeper).await, "t2");
    // A short life is used for four fifths.
    seconds(79).await;
    assert_eq!(text(&keeper).await, "t2");
    settle().await;
    assert_eq!(endpoint.asked(), 2);
    seconds(1).await;
    text(&keeper).await;
    settle().await;
    assert_eq!((text(&keeper).await, endpoint.asked()), ("t3".to_owned(), 3));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_over_is_not_used_however_long_nobody_called() {
    let (endpoint, keeper) = keeper([Say::Token(Some(100)), Say::Token(None), Say::Token(Some(0))]);
    assert_eq!(text(&keeper).await, "t1");
    seconds(100).await;
    assert_eq!(text(&keeper).await, "t2");
    // Without a lifetime it is good until it is refused.
    seconds(1_000_000).await;
    let second = keeper.token().await.expect("a token");
    assert_eq!(second.text(), "t2");
    assert!(keeper.renew(&second).await.expect("another one"));
    // One without a life serves those who waited for it, and nobody else.
    assert_eq!(text(&keeper).await, "t4");
    assert_eq!(endpoint.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn after_a_401_the_token_is_renewed_once_for_everybody() {
    let (endpoint, keeper) = keeper([]);
    let refused = keeper.token().await.expect("a token");
    refused.accept();
    let mut waiting = JoinSet::new();
    for _ in 0..64 {
        let (keeper, refused) = (Arc::clone(&keeper), Arc::clone(&refused));
        waiting.spawn(async move { (keeper.renew(&refused).await, text(&keeper).await) });
    }
    while let Some(renewed) = waiting.join_next().await {
        assert_eq!(renewed.expect("no panic"), (Ok(true), "t2".to_owned()));
    }
    // Whoever was slower has it already.
    assert_eq!(keeper.renew(&refused).await, Ok(true));
    assert_eq!(endpoint.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_remote_that_takes_no_token_does_not_have_one_made_for_every_call() {
    let (endpoint, keeper) = keeper([]);
    let first = keeper.token().await.expect("a token");
    assert_eq!(keeper.renew(&first).await, Ok(true));
    for _ in 0..1_000 {
        let second = keeper.token().await.expect("a token");
        assert_eq!(keeper.renew(&second).await, Ok(false), "the 401 is an answer");
    }
    assert_eq!(endpoint.asked(), 2);
    seconds(10).await;
    let second = keeper.token().await.expect("a token");
    assert_eq!(keeper.renew(&second).await, Ok(true), "but it is tried again");
    assert_eq!(endpoint.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_takes_no_token_does_not_have_one_made_for_every_call() {
    let (endpoint, keeper) = keeper([Say::Token(None)]);
    for second in 0..30 {
        for _ in 0..100 {
            let token = keeper.token().await.expect("a token");
            token.accept();
            keeper.renew(&token).await.expect("a token");
        }
        assert_eq!(endpoint.asked(), 2 + second / 10, "one in ten seconds");
        seconds(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_others_call_with_serves_them_until_the_next_one_is_there() {
    let no = Say::Not(Trouble::Unreachable, None);
    let (endpoint, keeper) = keeper([Say::Token(None), no, Say::Token(None)]);
    let first = keeper.token().await.expect("a token");
    first.accept();
    endpoint.hold();
    let renewing = |first: &Arc<Token>| {
        let (keeper, first) = (Arc::clone(&keeper), Arc::clone(first));
        async move { keeper.renew(&first).await }
    };
    let mut refused = Box::pin(renewing(&first));
    assert!(futures_util::poll!(&mut refused).is_pending());
    settle().await;
    assert_eq!(endpoint.asked(), 2);
    assert_eq!(futures_util::poll!(Box::pin(text(&keeper))), Poll::Ready("t1".to_owned()));
    endpoint.gate.add_permits(10_000);
    assert!(matches!(refused.await, Err(CallError::Token { .. })), "what was refused waits");
    assert!(matches!(keeper.renew(&first).await, Err(CallError::Token { .. })), "and does not ask again");
    assert_eq!((text(&keeper).await, endpoint.asked()), ("t1".to_owned(), 2), "others go on");
    seconds(1).await;
    assert_eq!(keeper.renew(&first).await, Ok(true));
    assert_eq!((text(&keeper).await, endpoint.asked()), ("t3".to_owned(), 3));
}

/// Whether the state was locked when it was woken.
#[derive(Default)]
struct WokenLocked(Mutex<Option<(Arc<Inner>, Option<bool>)>>);

impl Wake for WokenLocked {
    fn wake(self: Arc<Self>) {
        if let Some((inner, locked)) = lock(&self.0).as_mut() {
            *locked = Some(inner.state.try_lock().is_err());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_before_the_next_request_can_end() {
    let (endpoint, keeper) = keeper([]);
    endpoint.hold();
    let woken = Arc::new(WokenLocked(Mutex::new(Some((Arc::clone(&keeper.inner), None)))));
    let waker = Waker::from(Arc::clone(&woken));
    let mut waiting = Box::pin(keeper.token());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    endpoint.gate.add_permits(1);
    settle().await;
    let (_, locked) = lock(&woken.0).take().expect("it is there");
    assert_eq!(locked, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_request_is_no_failure() {
    let (endpoint, keeper) = keeper([]);
    endpoint.hold();
    assert!(futures_util::poll!(Box::pin(keeper.token())).is_pending());
    settle().await;
    let inner = Arc::clone(&keeper.inner);
    drop(keeper);
    settle().await;
    let state = lock(&inner.state);
    assert!(!state.fetching && state.failed.is_none(), "nothing is said");
}

#[tokio::test(start_paused = true)]
async fn a_failed_request_is_not_made_again_at_once() {
    let no = |trouble| Say::Not(trouble, None);
    let script = [no(Trouble::Unreachable), no(Trouble::Refused), Say::Not(Trouble::Unreachable, Some(120))];
    let (endpoint, keeper) = keeper(script);
    let failed = |round: usize, trouble, wait| {
        let message = format!("no {round}");
        Err(CallError::Token { remote: "bank".into(), message, trouble, wait: Duration::from_secs(wait) })
    };
    let mut waiting = JoinSet::new();
    for _ in 0..64 {
        let keeper = Arc::clone(&keeper);
        waiting.spawn(async move { keeper.token().await.map(drop) });
    }
    while let Some(token) = waiting.join_next().await {
        assert_eq!(token.expect("no panic"), failed(1, Trouble::Unreachable, 1));
    }
    assert_eq!(endpoint.asked(), 1, "64 calls, one request");
    seconds(1).await;
    for _ in 0..64 {
        assert_eq!(keeper.token().await.map(drop), failed(2, Trouble::Refused, 2), "twice as long");
    }
    seconds(2).await;
    assert_eq!(keeper.token().await.map(drop), failed(3, Trouble::Unreachable, 120), "as it was asked");
    seconds(119).await;
    assert_eq!(keeper.token().await.map(drop), failed(3, Trouble::Unreachable, 1));
    assert_eq!(endpoint.asked(), 3);
    seconds(1).await;
    assert_eq!(text(&keeper).await, "t4");
}

#[tokio::test(start_paused = true)]
async fn a_failure_ahead_of_time_is_nobodys_while_the_old_token_is_good() {
    let no = Say::Not(Trouble::Unreachable, None);
    let (endpoint, keeper) =
        keeper([Say::Token(Some(100)), no.clone(), no.clone(), no.clone(), no.clone(), no]);
    assert_eq!(text(&keeper).await, "t1");
    seconds(80).await;
    for _ in 0..19 {
        assert_eq!(text(&keeper).await, "t1");
        settle().await;
        seconds(1).await;
    }
    // At 80, 81, 83, 87 and 95.
    assert_eq!(endpoint.asked(), 6);
    seconds(1).await;
    assert!(keeper.token().await.is_err(), "now it is over, and too early to ask");
    seconds(100).await;
    assert_eq!(text(&keeper).await, "t7");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_panics_is_a_failure_and_not_the_end() {
    let (endpoint, keeper) = keeper([Say::Panic]);
    assert!(matches!(keeper.token().await, Err(CallError::Token { .. })));
    seconds(1).await;
    assert_eq!(text(&keeper).await, "t2");
    assert_eq!(endpoint.asked(), 2);
}
