//! What is told to the call log: one record for each request that is sent.
//!
//! Upholds invariant 6: a record is named by its call key and its number among the requests for that call,
//! which goes on counting where a parked change is taken up again.

use super::carry::{Phase, leaving};
use crate::{
    call_log::{CallLogSink, CallRecord, Content, Exchange, RECORD_VERSION, RecordId, Trace},
    model::{Answer, Call, CallKey, Lsn, RunId},
    remote::{CallError, Clock, Failure, Shown, reason},
};
use std::sync::Arc;
use tokio::{sync::watch::Receiver, time::Instant};

/// Where records go.
#[derive(Clone)]
pub struct CallLog {
    /// Takes them.
    pub sink: Arc<dyn CallLogSink>,
    /// Dates them.
    pub clock: Clock,
}

/// What a call is made for.
pub struct Subject<'a> {
    /// The route's name.
    pub route: &'a str,
    /// The remote's name.
    pub remote: &'a str,
    /// The keys it concerns.
    pub keys: Vec<Arc<str>>,
    /// Their changes; none where the remote is only asked.
    pub changes: Vec<Arc<str>>,
    /// The run it belongs to.
    pub run: Option<RunId>,
    /// What makes the same call once more, such as the run.
    pub scope: Option<String>,
}

/// An eye on the requests of one attempt.
pub struct Watch<'a> {
    log: &'a CallLog,
    call: &'a Call,
    call_key: Arc<str>,
    subject: Subject<'a>,
    trace: Trace,
    under_way: Option<UnderWay>,
    records: Vec<CallRecord>,
}

struct UnderWay {
    shown: Shown,
    number: u32,
    at: jiff::Timestamp,
    began: Instant,
}

impl<'a> Watch<'a> {
    /// `None` where no log is kept.
    pub fn new(
        log: Option<&'a CallLog>,
        call: &'a Call,
        key: &'a CallKey,
        subject: impl FnOnce() -> Subject<'a>,
    ) -> Option<Self> {
        let (log, subject) = (log?, subject());
        let trace = match &subject.scope {
            Some(scope) if subject.changes.is_empty() => Trace::of(&format!("{key}#{scope}")),
            _ => Trace::of(&format!("{:08x}-{}", key.origin, key.change)),
        };
        let (call_key, under_way, records) = (key.to_string().into(), None, Vec::new());
        Some(Self { log, call, call_key, subject, trace, under_way, records })
    }

    /// The header of the request with this number.
    pub fn parent(&self, number: u32) -> String {
        self.trace.parent(self.id(number).span())
    }

    /// This is sent now, as the request of this number.
    pub fn sends(&mut self, shown: Shown, number: u32) {
        // Finer than a microsecond not every store keeps it.
        let at = jiff::Timestamp::from_microsecond((self.log.clock)().as_microsecond()).unwrap_or_default();
        let began = Instant::now();
        self.under_way = Some(UnderWay { shown, number, at, began });
    }

    /// The request under way is answered, or will not be.
    pub fn ends(&mut self, result: Option<Result<&Answer, &CallError>>, outcome: &str) {
        let Some(UnderWay { shown, number, at, began }) = self.under_way.take() else { return };
        let Subject { route, remote, keys, changes, run, scope: _ } = &self.subject;
        let id = self.id(number);
        let sent = self.call.body.bytes();
        let failure = match (result, outcome) {
            (_, "answered") | (None, _) => None,
            (Some(Ok(answer)), _) => Some(Failure::Answer(answer)),
            (Some(Err(error)), _) => Some(Failure::Error(error)),
        };
        let answer = result.and_then(Result::ok);
        self.records.push(CallRecord {
            v: RECORD_VERSION,
            span: format!("{:016x}", id.span()),
            id,
            at,
            took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            route: Arc::from(*route),
            entity: Arc::from(route.split_once('.').map_or(*route, |(entity, _)| entity)),
            keys: keys.clone(),
            changes: changes.clone(),
            run: run.map(|run| run.0),
            step: Arc::clone(&self.call.step),
            attempt: number,
            call_key: Arc::clone(&self.call_key),
            remote: Arc::from(*remote),
            method: Arc::from(self.call.method.name()),
            url: shown.url,
            request: Content::new(shown.headers, sent.map_or(&[][..], |it| it)),
            response: answer.map(|it| Exchange {
                status: it.status,
                content: Content::new(it.headers.clone(), &it.body),
            }),
            class: failure.map(|it| Arc::from(reason(it).name())),
            error: match result {
                Some(Err(error)) => Some(error.to_string()),
                _ => None,
            },
            outcome: Arc::from(outcome),
            trace: self.trace.to_string(),
        });
    }

    fn id(&self, number: u32) -> RecordId {
        RecordId::new(&self.call_key, self.subject.scope.as_deref(), number)
    }

    /// Gives the records away. It waits where the log has to be kept before all else.
    pub async fn write(self) {
        for record in self.records {
            self.log.sink.write(record).await;
        }
    }
}

/// What makes the same call once more: a run, or that its change was read to be sent again, among what was
/// committed before `until`.
pub(super) fn scope(run: Option<RunId>, until: Option<Lsn>) -> Option<String> {
    run.map(|it| it.to_string()).or_else(|| until.map(|it| it.to_string()))
}

/// The request under way has ended like this.
pub fn end(watch: &mut Option<Watch<'_>>, result: Option<Result<&Answer, &CallError>>, outcome: &str) {
    if let Some(watch) = watch {
        watch.ends(result, outcome);
    }
}

/// Gives the records away. It waits only where the log has to be kept before all else, and no longer than a
/// stop does: what the remote answered must not be lost for the sake of what is told of it.
pub(super) async fn write(watch: Option<Watch<'_>>, phase: &mut Receiver<Phase>) {
    let Some(watch) = watch else { return };
    tokio::select! {
        biased;
        () = watch.write() => {}
        () = leaving(phase) => {}
    }
}
