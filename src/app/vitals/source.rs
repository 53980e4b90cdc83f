//! What is known of a running source that no database knows: where its session stands, what comes from it,
//! and how its slot looked last.

use super::track::Track;
use crate::{
    app::clock,
    capture::{Budget, logical::inspect},
    health::{self, Beat, Check, Lag, Stage, State, Told},
    metrics::{Pulse, SourceMeter},
    model::{Lsn, ParkedState},
    state::postgres::Tallies,
};
use jiff::Timestamp;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How a source does.
#[derive(Debug)]
pub(in crate::app) struct SourceVitals {
    pub(super) name: String,
    pub(super) meter: Arc<SourceMeter>,
    settings: health::Settings,
    /// How often a heartbeat is written.
    every: Duration,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    stage: Stage,
    since: Option<Timestamp>,
    reason: Option<String>,
    /// What the session has brought.
    session: Option<Session>,
    slot: Option<Looked>,
    /// Why the source cannot be looked at.
    blind: Option<String>,
    track: Track,
    /// `None` before they were counted.
    tallies: Option<Tallies>,
}

#[derive(Debug)]
struct Session {
    pulse: Arc<Pulse>,
    budget: Budget,
    /// The heartbeat that is on its way, or was the last.
    beat: Option<(Lsn, Instant)>,
    /// When the newest was written that came back.
    back: Instant,
    error: Option<String>,
    /// Where the log ended when the slot was looked at first.
    goal: Option<u64>,
    /// That much is settled.
    caught_up: bool,
}

#[derive(Clone, Debug)]
struct Looked {
    slot: health::Slot,
    acknowledged: Lsn,
    /// Where the server's log ended.
    end: Lsn,
}

/// How far behind each stage is: received, settled, acknowledged.
pub(super) type Lags = [(&'static str, Lag); 3];

/// What a scrape tells of a source.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) stage: Stage,
    /// `None` before the slot was looked at.
    pub(super) lags: Option<Lags>,
    pub(super) slot: Option<health::Slot>,
    pub(super) beat_age: Option<Duration>,
    /// Used and limit.
    pub(super) memory: Option<(u64, u64)>,
    pub(super) tallies: Tallies,
}

/// How often whether it has stalled is looked at.
const LOOK: Duration = Duration::from_secs(1);

impl SourceVitals {
    pub(in crate::app) fn new(
        name: &str,
        meter: Arc<SourceMeter>,
        settings: &health::Settings,
        heartbeat: Duration,
    ) -> Self {
        let late = settings.heartbeat.late.0;
        let every = heartbeat.min(late / 3).max(LOOK);
        Self { name: name.to_owned(), meter, settings: settings.clone(), every, now: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session has come that far, for this reason.
    pub(in crate::app) fn is(&self, stage: Stage, reason: Option<&str>) {
        let mut now = self.lock();
        if now.stage != stage || now.since.is_none() {
            now.since = Some(clock::now());
        }
        now.stage = stage;
        now.reason = reason.map(str::to_owned);
        if matches!(stage, Stage::Reconnecting | Stage::Standby) {
            self.meter.rests();
            (now.session, now.slot) = (None, None);
            now.track.forget();
            now.tallies = None;
        }
    }

    /// It streams.
    pub(in crate::app) fn streams(&self, pulse: Arc<Pulse>, budget: Budget) {
        let at = Instant::now();
        self.meter.turned.is(at);
        pulse.moves(at);
        self.is(Stage::Streaming, None);
        let (goal, caught_up) = (None, false);
        self.lock().session =
            Some(Session { pulse, budget, beat: None, back: at, error: None, goal, caught_up });
    }

    /// The slot was looked at.
    pub(in crate::app) fn looked(&self, slot: Option<&inspect::Slot>) {
        let mut now = self.lock();
        now.blind = None;
        let Some(slot) = slot else {
            let none = health::Slot { status: None, kept: 0, safe: None };
            let known = now.slot.as_ref();
            let (acknowledged, end) = known.map_or_else(Default::default, |it| (it.acknowledged, it.end));
            now.slot = Some(Looked { slot: none, acknowledged, end });
            return;
        };
        let size = |bytes: i64| bytes.max(0).unsigned_abs();
        let acknowledged = slot.confirmed.unwrap_or_default();
        let end = Lsn::new(acknowledged.raw() + size(slot.lag_bytes));
        let status = Some(slot.wal_status.clone());
        let seen = health::Slot { status, kept: size(slot.kept_bytes), safe: slot.safe_bytes.map(size) };
        now.track.ends_at(end.raw(), acknowledged.raw(), Instant::now());
        if let Some(session) = &mut now.session {
            session.goal.get_or_insert(end.raw());
        }
        now.slot = Some(Looked { slot: seen, acknowledged, end });
    }

    /// It could not be.
    pub(in crate::app) fn cannot_look(&self, error: &str) {
        self.lock().blind = Some(health::plain(error).to_owned());
    }

    /// Whether another heartbeat is to be written now: not before the last one is back.
    pub(in crate::app) fn wants_beat(&self) -> bool {
        let mut now = self.lock();
        let Some(session) = &mut now.session else { return false };
        self.hear(session);
        session.beat.is_none_or(|(_, at)| at.elapsed() >= self.every)
            && session.outstanding(&self.meter).is_none()
    }

    /// One was written, or why not.
    pub(in crate::app) fn wrote_beat(&self, written: Result<Lsn, String>) {
        let mut now = self.lock();
        let Some(session) = &mut now.session else { return };
        match written {
            Ok(at) => (session.beat, session.error) = (Some((at, Instant::now())), None),
            Err(error) => session.error = Some(health::plain(&error).to_owned()),
        }
    }

    /// Remembers a heartbeat that has come back.
    fn hear(&self, session: &mut Session) {
        if let Some((at, written)) = session.beat
            && self.meter.received.get() >= at.raw()
        {
            session.back = session.back.max(written);
        }
    }

    /// Whether anything comes.
    fn told(&self, now: &mut Now) -> Told {
        let Some(session) = &mut now.session else { return Told::Well };
        self.hear(session);
        let beat = Beat {
            silent: session.pulse.moved_at().elapsed(),
            outstanding: session.outstanding(&self.meter),
            error: session.error.clone(),
            held: session.pulse.is_held(),
        };
        health::beat(&beat, &self.settings)
    }

    /// Waits until the source has stalled, and says so.
    pub(in crate::app) async fn stalled(&self) -> String {
        loop {
            sleep(LOOK).await;
            let told = self.told(&mut self.lock());
            if let Told::Stalled(why) = told {
                self.meter.stalled.one();
                return format!("the capture has stalled and is begun anew: {why}");
            }
        }
    }

    /// What the state database has of it.
    pub(in crate::app) fn counted(&self, tallies: Tallies) {
        self.lock().tallies = Some(tallies);
    }

    /// Whether its loop goes round.
    pub(super) fn turning(&self) -> Check {
        let stage = self.lock().stage;
        health::turning(&self.name, stage, self.meter.turned.at().elapsed(), &self.settings)
    }

    /// Whether it does its work.
    pub(super) fn readiness(&self) -> Check {
        let mut now = self.lock();
        let told = self.told(&mut now);
        let since = now.since.filter(|_| told == Told::Well);
        Check { since, ..health::stream(&self.name, now.stage, now.reason.as_deref(), &told) }
    }

    /// What it works with.
    pub(super) fn health(&self) -> Vec<Check> {
        let now = self.lock();
        if now.session.is_none() {
            return Vec::new();
        }
        let database = format!("source.{}.database", self.name);
        let mut checks = vec![match &now.blind {
            Some(error) => Check::new(database, State::Fail, error.clone()),
            None => Check::new(database, State::Ok, "it answers"),
        }];
        if let Some(looked) = &now.slot {
            checks.push(health::slot(&self.name, &looked.slot));
        }
        let lags = self.lags(&now);
        checks.extend(lags.map(|[_, (_, settled), _]| health::lag(&self.name, settled, &self.settings)));
        if let Some(tallies) = &now.tallies {
            let count = |state: ParkedState| tallies.parked_as(state.name());
            let parked =
                health::Parked { rejected: count(ParkedState::Rejected), dead: count(ParkedState::Dead) };
            checks.push(health::parked(&self.name, parked, &self.settings));
        }
        checks
    }

    /// Whether another instance holds the source.
    pub(super) fn is_standby(&self) -> bool {
        self.lock().stage == Stage::Standby
    }

    /// Whether the session has come as far as the log did when it began: before that, little lag may only
    /// mean that it has not been looked at for long.
    pub(super) fn has_caught_up(&self) -> bool {
        let mut now = self.lock();
        let Some(session) = &mut now.session else { return false };
        session.caught_up |= session.goal.is_some_and(|goal| self.meter.settled.get() >= goal);
        session.caught_up
    }

    fn lags(&self, now: &Now) -> Option<Lags> {
        let looked = now.slot.as_ref()?;
        let lag = |position: u64| Lag {
            time: now.track.behind_since(position).map(|it| it.elapsed()).unwrap_or_default(),
            bytes: looked.end.raw().saturating_sub(position),
        };
        let (received, settled) = (self.meter.received.get(), self.meter.settled.get());
        let acknowledged = looked.acknowledged.raw();
        Some([("received", lag(received)), ("settled", lag(settled)), ("acknowledged", lag(acknowledged))])
    }

    /// Everything that a scrape tells.
    pub(super) fn reading(&self) -> Reading {
        let mut now = self.lock();
        if let Some(session) = &mut now.session {
            self.hear(session);
        }
        let size = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        Reading {
            stage: now.stage,
            lags: self.lags(&now),
            slot: now.slot.as_ref().map(|it| it.slot.clone()),
            beat_age: now.session.as_ref().map(|it| it.back.elapsed()),
            memory: now.session.as_ref().map(|it| (size(it.budget.used()), size(it.budget.limit()))),
            tallies: now.tallies.clone().unwrap_or_default(),
        }
    }
}

impl Session {
    /// How long the newest heartbeat has been on its way; `None` if it is back.
    fn outstanding(&self, meter: &SourceMeter) -> Option<Duration> {
        let (at, written) = self.beat?;
        (meter.received.get() < at.raw()).then(|| written.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn vitals() -> SourceVitals {
        SourceVitals::new("main", Arc::default(), &health::Settings::default(), Duration::from_secs(10))
    }

    fn slot(confirmed: u64, lag_bytes: i64) -> inspect::Slot {
        inspect::Slot {
            plugin: "pgoutput".to_owned(),
            database: "it".to_owned(),
            active_pid: None,
            wal_status: "reserved".to_owned(),
            confirmed: Some(Lsn::new(confirmed)),
            lag_bytes,
            kept_bytes: lag_bytes,
            safe_bytes: None,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_that_comes_back_keeps_it_ready_and_silence_ends_the_session() {
        let (vitals, pulse) = (vitals(), Arc::new(Pulse::default()));
        assert!(!vitals.wants_beat());
        vitals.streams(Arc::clone(&pulse), Budget::new(1));
        assert!(vitals.wants_beat());
        vitals.wrote_beat(Ok(Lsn::new(100)));
        advance(Duration::from_secs(20)).await;
        assert!(!vitals.wants_beat(), "the last one is not back");
        vitals.meter.received.set(100);
        pulse.moves(Instant::now());
        assert!(vitals.wants_beat());
        vitals.wrote_beat(Ok(Lsn::new(200)));
        assert_eq!(vitals.readiness().state, State::Ok);
        advance(Duration::from_secs(61)).await;
        let late = vitals.readiness();
        assert!(late.state == State::Fail && late.reason.contains("written 61s ago"), "{late:?}");
        let why = vitals.stalled().await;
        assert!(why.contains("nothing has come from the source for 3m"), "{why}");
        assert_eq!(vitals.meter.stalled.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_held_back_has_not_stalled() {
        let (vitals, pulse) = (vitals(), Arc::new(Pulse::default()));
        vitals.streams(Arc::clone(&pulse), Budget::new(1));
        vitals.wrote_beat(Ok(Lsn::new(100)));
        pulse.holds(true, Instant::now());
        advance(Duration::from_secs(3_600)).await;
        assert_eq!(vitals.readiness().state, State::Ok);
        pulse.holds(false, Instant::now());
        assert_eq!(vitals.readiness().state, State::Ok, "it begins to move now");
    }

    #[tokio::test(start_paused = true)]
    async fn lag_is_told_of_each_stage_and_is_nothing_once_it_is_over() {
        let vitals = vitals();
        vitals.streams(Arc::default(), Budget::new(1));
        vitals.meter.received.set(150);
        vitals.meter.settled.set(120);
        vitals.looked(Some(&slot(100, 100)));
        advance(Duration::from_secs(70)).await;
        let of = |bytes| Lag { time: Duration::from_secs(70), bytes };
        let lags = vitals.reading().lags.expect("it was looked at");
        assert_eq!(lags, [("received", of(50)), ("settled", of(80)), ("acknowledged", of(100))]);
        let lagging = vitals.health().into_iter().find(|it| it.name == "source.main.lag");
        assert_eq!(lagging.map(|it| it.state), Some(State::Warn));
        vitals.meter.settled.set(200);
        let lags = vitals.reading().lags.expect("it was looked at");
        assert_eq!(lags[1], ("settled", Lag::default()));
        assert!(vitals.has_caught_up());
        vitals.is(Stage::Reconnecting, Some("the cable"));
        assert_eq!((vitals.health(), vitals.reading().lags), (Vec::new(), None));
        vitals.streams(Arc::default(), Budget::new(1));
        vitals.looked(Some(&slot(100, 200)));
        assert!(!vitals.has_caught_up(), "the next session has not");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_is_gone_and_a_source_that_does_not_answer_are_told() {
        let vitals = vitals();
        vitals.streams(Arc::default(), Budget::new(1));
        vitals.looked(None);
        vitals.cannot_look("no answer; detail: x");
        let told: Vec<_> = vitals.health().into_iter().map(|it| (it.name, it.state)).collect();
        let expected = ["database", "slot"].map(|it| (format!("source.main.{it}"), State::Fail));
        assert_eq!(told[..2], expected);
    }
}
