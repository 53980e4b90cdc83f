//! What is told of each request that is sent: a record to the call log, a line to the process's own log.
//!
//! Upholds invariant 6: a record is named by its call key and its number among the requests for that call,
//! which goes on counting where a parked change is taken up again; what an earlier life of the service may
//! have sent is named by the present one too, so that no two requests share a name. And 7: a line has neither the query of
//! a URL nor anything of a header or a body.

use super::carry::{Phase, leaving};
use crate::{
    call_log::{CallLogSink, CallRecord, Content, Exchange, RECORD_VERSION, Record, RecordId, Trace},
    metrics::{CallEnd, Class, RemoteMeter},
    model::{Answer, Call, CallKey, ChangeId, Lsn, RunId, shared},
    remote::{CallError, Clock, Failure, Shown, class, reason},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::{borrow::Cow, collections::VecDeque, sync::Arc, time::Duration};
use tokio::{sync::watch::Receiver, time::Instant};

/// Where records of requests go, if anywhere, and by which clock.
#[derive(Clone)]
pub struct CallLog {
    /// Who takes them.
    pub sink: Option<Arc<dyn CallLogSink>>,
    /// Says what time it is.
    pub clock: Clock,
}

/// What a call is made for.
pub struct Subject<'a> {
    /// The route's name.
    pub route: &'a Arc<str>,
    /// The remote's name.
    pub remote: &'a Arc<str>,
    /// Counts its requests.
    pub meter: &'a RemoteMeter,
    /// The keys it concerns.
    pub keys: Arc<[Arc<str>]>,
    /// Their changes; none where the remote is only asked.
    pub changes: Vec<ChangeId>,
    /// The run it belongs to.
    pub run: Option<RunId>,
    /// What makes the same call once more, such as the run or a restart.
    pub scope: Option<String>,
}

impl Subject<'_> {
    fn entity(&self) -> &str {
        entity(self.route)
    }
}

/// The entity in a route's name.
pub(super) fn entity(route: &str) -> &str {
    route.split_once('.').map_or(route, |(entity, _)| entity)
}

/// An eye on the requests of one attempt.
pub struct Watch<'a> {
    log: &'a CallLog,
    call: &'a Call,
    call_key: Arc<str>,
    subject: Subject<'a>,
    pub(super) trace: Trace,
    /// The request that is to be sent next, or was sent last.
    named: Option<(u32, RecordId)>,
    under_way: Option<UnderWay>,
    /// Until this ends, the call log has not taken the last record.
    waiting: Option<BoxFuture<'a, ()>>,
    /// What is given to it then.
    behind: VecDeque<CallRecord>,
}

struct UnderWay {
    /// For the record.
    shown: Option<(Shown, jiff::Timestamp)>,
    number: u32,
    began: Instant,
}

/// How a request ended.
struct End<'e> {
    result: Option<Result<&'e Answer, &'e CallError>>,
    failure: Option<Failure<'e>>,
    outcome: &'static str,
    /// How long it is until the next one.
    wait: Option<Duration>,
}

impl<'a> Watch<'a> {
    /// Nothing is sent yet.
    pub fn new(log: &'a CallLog, call: &'a Call, key: &'a CallKey, subject: Subject<'a>) -> Self {
        let trace = match &subject.scope {
            Some(scope) if subject.changes.is_empty() => Trace::of(&format!("{key}#{scope}")),
            _ => Trace::of(&format!("{:08x}-{}", key.origin, key.change)),
        };
        let call_key = shared(format_args!("{key}"));
        let (waiting, behind) = (None, VecDeque::new());
        Self { log, call, call_key, subject, trace, named: None, under_way: None, waiting, behind }
    }

    /// The header of the request with this number.
    pub fn parent(&mut self, number: u32) -> String {
        let id = self.id(number);
        let parent = self.trace.parent(id.span());
        self.named = Some((number, id));
        parent
    }

    /// A record is kept.
    pub(super) fn records(&self) -> bool {
        self.log.sink.is_some()
    }

    /// The request of this number is about to be sent.
    pub(super) fn begins(&mut self, number: u32) {
        self.under_way = Some(UnderWay { shown: None, number, began: Instant::now() });
    }

    /// This is what is sent.
    pub(super) fn sends(&mut self, shown: Shown) {
        // Finer than a microsecond not every store keeps it.
        let at = jiff::Timestamp::from_microsecond((self.log.clock)().as_microsecond()).unwrap_or_default();
        if let Some(under_way) = &mut self.under_way {
            under_way.shown = Some((shown, at));
        }
    }

    /// The request under way is answered, or will not be; or none could be sent.
    pub fn ends(
        &mut self,
        result: Option<Result<&Answer, &CallError>>,
        outcome: &'static str,
        wait: Option<Duration>,
    ) {
        let failure = match (result, outcome) {
            (_, "answered") | (None, _) => None,
            (Some(Ok(answer)), _) => Some(Failure::Answer(answer)),
            (Some(Err(error)), _) => Some(Failure::Error(error)),
        };
        let (end, under_way) = (End { result, failure, outcome, wait }, self.under_way.take());
        let took = under_way.as_ref().map(|it| it.began.elapsed());
        self.count(&end, took);
        self.say(&end, under_way.as_ref());
        if let (Some(UnderWay { shown: Some((shown, at)), number, .. }), Some(took)) = (under_way, took) {
            self.record(&end, shown, (number, at, took));
        }
    }

    /// What was not sent is no attempt.
    fn count(&self, end: &End<'_>, took: Option<Duration>) {
        let Some(took) = took else { return };
        let meter = self.subject.meter;
        let class = match end.failure {
            Some(failure) => class(failure),
            None if end.result.is_some() => Class::Answered,
            None => Class::Interrupted,
        };
        meter.attempted(class, took);
        match end.outcome {
            "answered" => meter.calls(CallEnd::Answered).one(),
            "halved" => meter.calls(CallEnd::Halved).one(),
            "retry" | "held" | "renewed" => meter.retries.one(),
            "interrupted" => {}
            _ => meter.calls(CallEnd::GivenUp).one(),
        }
    }

    /// What goes wrong in a way that its change does not end by is said where nobody asked for all of it.
    fn say(&self, end: &End<'_>, under_way: Option<&UnderWay>) {
        let Self { call, subject, .. } = self;
        let End { result, failure, outcome, wait } = *end;
        if under_way.is_none() && !matches!(result, Some(Err(_))) {
            return;
        }
        macro_rules! say {
            ($level:ident) => {
                tracing::event!(
                    target: "rowcall::attempt",
                    tracing::Level::$level,
                    route = &**subject.route,
                    entity = subject.entity(),
                    key = subject.keys.first().map(|it| &**it),
                    change = subject.changes.first().map(tracing::field::display),
                    rows = Some(subject.keys.len()).filter(|it| *it > 1),
                    run = subject.run.map(|it| it.0),
                    step = &*call.step,
                    attempt = under_way.map(|it| it.number),
                    method = call.method.name(),
                    path = call.path.split('?').next(),
                    status = result.and_then(Result::ok).map(|it| it.status),
                    class = failure.map(|it| reason(it).name()),
                    error = result.and_then(Result::err).map(tracing::field::display),
                    outcome,
                    wait_ms = wait.map(|it| it.as_millis() as u64),
                    duration_ms = under_way.map(|it| it.began.elapsed().as_secs_f64() * 1e3),
                    trace = %self.trace,
                    span = under_way.map(|it| tracing::field::display(self.id(it.number).span())),
                    "call: {outcome}"
                )
            };
        }
        match outcome {
            "retry" | "held" | "halved" => say!(INFO),
            _ => say!(DEBUG),
        }
    }

    fn record(&mut self, end: &End<'_>, shown: Shown, (number, at, took): (u32, jiff::Timestamp, Duration)) {
        let Subject { route, remote, ref keys, ref changes, run, .. } = self.subject;
        let End { result, failure, outcome, wait: _ } = *end;
        let id = self.id(number);
        let sent = self.call.body.bytes();
        let answer = result.and_then(Result::ok);
        let call_key = Arc::clone(&self.call_key);
        let record = Record {
            v: RECORD_VERSION,
            span: id.span(),
            id,
            at,
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            route: Cow::Borrowed(route),
            entity: entity(route).into(),
            keys: Arc::clone(keys),
            changes: changes.iter().map(|it| shared(format_args!("{it}"))).collect(),
            run: run.map(|run| run.0),
            step: Cow::Borrowed(&self.call.step),
            attempt: number,
            call_key: Cow::Borrowed(&call_key),
            remote: Cow::Borrowed(remote),
            method: self.call.method.name().into(),
            url: shown.url,
            request: Content::new(shown.headers, sent.unwrap_or(&Bytes::new())),
            response: answer.map(|it| Exchange {
                status: it.status,
                content: Content::new(it.headers.clone(), &it.body),
            }),
            class: failure.map(|it| reason(it).name().into()),
            error: match result {
                Some(Err(error)) => Some(error.to_string()),
                _ => None,
            },
            outcome: outcome.into(),
            trace: self.trace,
        };
        self.tell(record);
    }

    fn id(&self, number: u32) -> RecordId {
        match &self.named {
            Some((named, id)) if *named == number => id.clone(),
            _ => RecordId::new(&self.call_key, self.subject.scope.as_deref(), number),
        }
    }

    fn tell(&mut self, record: Record<'_>) {
        #[cfg(debug_assertions)]
        if super::broken("failures-unlogged") && record.outcome != "answered" {
            return;
        }
        #[cfg(debug_assertions)]
        if super::broken("logged-twice") {
            let id = RecordId::new(&self.call_key, Some("once more"), record.attempt);
            self.give(Record { id, ..record.clone() });
        }
        self.give(record);
    }

    fn give(&mut self, record: Record<'_>) {
        let Some(sink) = &self.log.sink else { return };
        match self.waiting {
            Some(_) => self.behind.push_back(record.into_owned()),
            None => self.waiting = sink.write(record),
        }
    }

    /// What has to be waited for, since the call log is to be kept before all else.
    fn waits(&mut self) -> Option<BoxFuture<'a, ()>> {
        while self.waiting.is_none() {
            let record = self.behind.pop_front()?;
            self.give(record);
        }
        self.waiting.take()
    }

    /// Ends once the call log has all records.
    pub async fn keep(mut self) {
        while let Some(waiting) = self.waits() {
            waiting.await;
        }
    }

    /// The same, but no longer than a stop allows: what the remote answered must not be lost for the sake of
    /// what is told of it.
    pub(super) async fn write(&mut self, phase: &mut Receiver<Phase>) {
        while let Some(waiting) = self.waits() {
            tokio::select! {
                biased;
                () = waiting => {}
                () = leaving(phase) => return,
            }
        }
    }
}

/// What makes the same call once more: a run; or that its change was read to be sent again, among what was
/// committed before `until`; or this life of the service, where an earlier one may have sent it and the
/// numbers of its requests are not known.
pub(super) fn scope(run: Option<RunId>, until: Option<Lsn>, life: Option<u32>) -> Option<String> {
    let again = run.map(|it| it.to_string()).or_else(|| until.map(|it| it.to_string()));
    match (again, life) {
        (Some(again), Some(life)) => Some(format!("{again}-{life:08x}")),
        (again, life) => again.or_else(|| life.map(|it| format!("{it:08x}"))),
    }
}
