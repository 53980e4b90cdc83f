//! Whether a remote takes another change now, and when to ask again.

use super::{Remote, lanes::Lanes, outage::Shut};
use crate::{
    metrics::{Gauge, SourceMeter},
    remote::{Gate, Gauges, Seat, Slot, Standing, TokenLife, Wait},
    routing::RemoteId,
    state::RemoteGauges,
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::{sync::Notify, time::Instant};

/// The engine's seats at its remotes.
#[derive(Debug)]
pub(super) struct Admission {
    seats: Vec<Place>,
    /// Rings when a claim that was refused may be made again.
    bell: Arc<Notify>,
    now: Instant,
}

#[derive(Debug)]
struct Place {
    seat: Seat,
    refused: Option<Wait>,
    /// A person has stopped everything.
    halt: Option<Shut>,
    /// As its remote was last told of.
    told: Option<Told>,
    waiting: Arc<Gauge>,
    halted: Arc<Gauge>,
}

#[derive(Debug, PartialEq)]
struct Told {
    gauges: Gauges,
    /// How many keys waited for it.
    waiting: usize,
    token: Option<TokenLife>,
}

impl Admission {
    pub(super) fn new(remotes: &[Remote], meter: &SourceMeter, now: Instant) -> Self {
        let bell = Arc::new(Notify::new());
        let seat = |remote: &Remote| Place {
            seat: remote.governor.seat(Arc::clone(&bell)),
            refused: None,
            halt: None,
            told: None,
            waiting: meter.waiting_for(&remote.name),
            halted: meter.halted_at(&remote.name),
        };
        Self { seats: remotes.iter().map(seat).collect(), bell, now }
    }

    /// What is asked from here on is asked at this time.
    pub(super) fn begin(&mut self, now: Instant) {
        self.now = now;
    }

    /// A person has stopped everything for this remote, or nobody has any more.
    pub(super) fn halt(&mut self, remote: usize, halt: Option<Shut>) {
        let place = &mut self.seats[remote];
        place.seat.halt(halt.is_some());
        place.halt = halt;
    }

    /// Since when, and why, a person has stopped everything for this remote.
    pub(super) fn halted(&self, remote: usize) -> Option<&Shut> {
        self.seats[remote].halt.as_ref()
    }

    /// A slot for work of this urgency, if there is one.
    pub(super) fn admit(&mut self, remote: usize, urgency: Instant) -> Option<Slot> {
        let place = &mut self.seats[remote];
        match place.seat.claim(urgency, self.now) {
            Ok(slot) => {
                place.refused = None;
                Some(slot)
            }
            Err(wait) => {
                place.refused = Some(wait);
                None
            }
        }
    }

    /// No work waits for this remote any more.
    pub(super) fn none_waits(&mut self, remote: usize) {
        let place = &mut self.seats[remote];
        if place.refused.take().is_some() {
            place.seat.withdraw();
        }
    }

    /// No work waits at all.
    pub(super) fn withdraw(&mut self) {
        (0..self.seats.len()).for_each(|remote| self.none_waits(remote));
    }

    /// When to ask again whatever happens.
    pub(super) fn again_at(&self) -> Option<Instant> {
        let until = |place: &Place| match place.refused {
            Some(Wait::Until(until)) => Some(until),
            Some(Wait::Bell) | None => None,
        };
        self.seats.iter().filter_map(until).min()
    }

    /// Adds the remotes that stand otherwise than was last told.
    pub(super) fn gauges(
        &mut self,
        lanes: &Lanes,
        token: impl Fn(usize) -> Option<TokenLife>,
        now: Instant,
        changed: &mut BTreeMap<Arc<str>, RemoteGauges>,
    ) {
        for (at, place) in self.seats.iter_mut().enumerate() {
            let governor = place.seat.governor();
            let remote = RemoteId(at as u16);
            let waiting = lanes.waiting_for(remote) + lanes.waiting_at_desk(remote);
            place.waiting.set(waiting as u64);
            place.halted.set(u64::from(place.halt.is_some()));
            let mut gauges = governor.gauges(now);
            if let Some(Shut { since, why }) = &place.halt {
                let (since, why) = (Some(*since), Some(Arc::clone(why)));
                gauges.standing = Standing { gate: Gate::Halted, since, until: None, why };
            }
            let told = Told { gauges, waiting, token: token(at) };
            if place.told.as_ref() != Some(&told) {
                changed.insert(Arc::from(governor.name()), as_stored(&told, now));
                place.told = Some(told);
            }
        }
    }

    pub(super) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }
}

fn as_stored(Told { gauges, waiting, token }: &Told, now: Instant) -> RemoteGauges {
    let Gauges { standing, quota, width, concurrency, in_flight } = gauges;
    let over = token.and_then(|it| Some(it.asked + it.lasts?));
    let Standing { gate, since, until, why } = standing;
    RemoteGauges {
        gate: gate.name(),
        since: since.map(|it| now.saturating_duration_since(it)),
        until: until.map(|it| it.saturating_duration_since(now)),
        why: why.clone(),
        quota_limit: quota.and_then(|it| it.limit),
        quota_left: quota.map(|it| it.left),
        width: *width,
        concurrency: *concurrency,
        in_flight: *in_flight,
        waiting: *waiting as u64,
        token_age: token.map(|it| now.saturating_duration_since(it.asked)),
        token_left: over.map(|it| it.saturating_duration_since(now)),
    }
}
