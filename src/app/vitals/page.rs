//! Writes the page that a scrape is answered with: what was counted, and what is read for it now.

use super::{Parts, Vitals, process, source::Reading};
use crate::{
    call_log::Failing,
    health::Stage,
    metrics::{CallEnd, Class, OutcomeKind, Page, SourceMeter, catalog::*},
    remote::{Gate, Governor},
};
use std::sync::Arc;
use tokio::time::Instant;

/// The states of a slot, and that there is none.
const SLOTS: [&str; 5] = ["reserved", "extended", "unreserved", "lost", "missing"];

pub(super) fn write(vitals: &Vitals) -> String {
    let mut page = Page::default();
    let meters = vitals.meters.sources();
    changes(&mut page, &meters);
    remotes(&mut page, vitals, &vitals.parts());
    let sources = vitals.parts().sources.clone();
    let readings: Vec<_> = sources.iter().map(|it| (it.name.as_str(), it.reading())).collect();
    standing(&mut page, &meters, &readings);
    work(&mut page, &meters, &readings);
    call_log(&mut page, &vitals.parts());
    notices(&mut page, vitals);
    process_itself(&mut page, &vitals.parts());
    page.text()
}

type Sources = [(Arc<str>, Arc<SourceMeter>)];

fn changes(page: &mut Page, sources: &Sources) {
    let mut captured = page.family(&CAPTURED);
    sources.iter().for_each(|(name, meter)| captured.series(&[name], meter.captured.get()));
    let routes: Vec<_> = sources
        .iter()
        .flat_map(|(source, meter)| {
            meter.routes().into_iter().map(move |(route, meter)| (source, route, meter))
        })
        .collect();
    let mut outcomes = page.family(&OUTCOMES);
    for (source, route, meter) in &routes {
        for kind in OutcomeKind::ALL {
            outcomes.series(&[source, route, kind.name()], meter.outcome(kind).get());
        }
    }
    let mut latency = page.family(&LATENCY);
    routes.iter().for_each(|(source, route, meter)| latency.histogram(&[source, route], &meter.latency));
    let mut in_flight = page.family(&IN_FLIGHT);
    routes
        .iter()
        .for_each(|(source, route, meter)| in_flight.series(&[source, route], meter.in_flight.get()));
    let mut waiting = page.family(&BACKING_OFF);
    routes
        .iter()
        .for_each(|(source, route, meter)| waiting.series(&[source, route], meter.backing_off.get()));
    let mut drained = page.family(&DRAINED);
    routes.iter().for_each(|(source, route, meter)| drained.series(&[source, route], meter.drained.get()));
}

fn remotes(page: &mut Page, vitals: &Vitals, parts: &Parts) {
    let counted = vitals.meters.remotes();
    let mut calls = page.family(&CALLS);
    for (name, meter) in &counted {
        CallEnd::ALL.iter().for_each(|end| calls.series(&[name, end.name()], meter.calls(*end).get()));
    }
    let mut attempts = page.family(&ATTEMPTS);
    for (name, meter) in &counted {
        Class::ALL.iter().for_each(|it| attempts.series(&[name, it.name()], meter.attempts(*it).get()));
    }
    let mut retries = page.family(&RETRIES);
    counted.iter().for_each(|(name, meter)| retries.series(&[name], meter.retries.get()));
    let mut duration = page.family(&DURATION);
    counted.iter().for_each(|(name, meter)| duration.histogram(&[name], &meter.duration));
    let now = Instant::now();
    let read =
        |(name, governor): (&String, &Arc<Governor>)| (name.clone(), governor.gauges(now), governor.record());
    let governed: Vec<_> = parts.remotes.iter().map(read).collect();
    let mut gate = page.family(&GATE);
    for (name, gauges, _) in &governed {
        gate.state(&[name], Gate::ALL.map(Gate::name), Some(vitals.gate(name, gauges.standing.gate).name()));
    }
    let mut opened = page.family(&BREAKER_OPENED);
    governed.iter().for_each(|(name, _, record)| opened.series(&[name], record.opened));
    let mut waits = page.family(&QUOTA_WAITS);
    governed.iter().for_each(|(name, _, record)| waits.series(&[name], record.waits));
    let mut quota = page.family(&QUOTA_LEFT);
    for (name, gauges, _) in &governed {
        gauges.quota.iter().for_each(|it| quota.series(&[name], it.left));
    }
    let mut window = page.family(&WINDOW);
    governed.iter().for_each(|(name, it, _)| window.series(&[name], u64::from(it.width)));
    let mut most = page.family(&CONCURRENCY);
    governed.iter().for_each(|(name, it, _)| most.series(&[name], u64::from(it.concurrency)));
    let mut under_way = page.family(&UNDER_WAY);
    governed.iter().for_each(|(name, it, _)| under_way.series(&[name], u64::from(it.in_flight)));
}

/// How the sources stand.
fn standing(page: &mut Page, meters: &Sources, readings: &[(&str, Reading)]) {
    let mut waiting = page.family(&WAITING);
    for (source, meter) in meters {
        meter.waiting().iter().for_each(|(remote, keys)| waiting.series(&[source, remote], keys.get()));
    }
    let mut stage = page.family(&SOURCE_STATE);
    for (name, it) in readings {
        stage.state(&[name], Stage::ALL.map(Stage::name), Some(it.stage.name()));
    }
    let mut broken = page.family(&SESSIONS_BROKEN);
    meters.iter().for_each(|(name, meter)| broken.series(&[name], meter.broken.get()));
    let mut stalled = page.family(&STALLS);
    meters.iter().for_each(|(name, meter)| stalled.series(&[name], meter.stalled.get()));
    let mut bytes = page.family(&LAG_BYTES);
    for (name, it) in readings {
        it.lags.iter().flatten().for_each(|(stage, lag)| bytes.series(&[name, stage], lag.bytes));
    }
    let mut seconds = page.family(&LAG_SECONDS);
    for (name, it) in readings {
        it.lags
            .iter()
            .flatten()
            .for_each(|(stage, lag)| seconds.series(&[name, stage], lag.time.as_secs_f64()));
    }
    let mut beat = page.family(&HEARTBEAT_AGE);
    for (name, it) in readings {
        it.beat_age.iter().for_each(|age| beat.series(&[name], age.as_secs_f64()));
    }
    let slots: Vec<_> = readings.iter().filter_map(|(name, it)| Some((name, it.slot.as_ref()?))).collect();
    let mut status = page.family(&SLOT_STATUS);
    for (name, slot) in &slots {
        status.state(&[name], SLOTS, Some(slot.status.as_deref().unwrap_or("missing")));
    }
    let mut kept = page.family(&SLOT_KEPT);
    slots.iter().for_each(|(name, slot)| kept.series(&[name], slot.kept));
    let mut safe = page.family(&SLOT_SAFE);
    slots.iter().for_each(|(name, slot)| slot.safe.iter().for_each(|it| safe.series(&[name], *it)));
}

/// What they do.
fn work(page: &mut Page, meters: &Sources, readings: &[(&str, Reading)]) {
    let mut outcomes = page.family(&SETTLED_OUTCOMES);
    meters.iter().for_each(|(name, meter)| outcomes.histogram(&[name], &meter.settled_outcomes));
    let mut settling = page.family(&SETTLING);
    meters.iter().for_each(|(name, meter)| settling.histogram(&[name], &meter.settling));
    let mut used = page.family(&MEMORY_USED);
    for (name, it) in readings {
        it.memory.iter().for_each(|(bytes, _)| used.series(&[name], *bytes));
    }
    let mut limit = page.family(&MEMORY_LIMIT);
    for (name, it) in readings {
        it.memory.iter().for_each(|(_, bytes)| limit.series(&[name], *bytes));
    }
    let mut parked = page.family(&PARKED);
    for (name, it) in readings {
        it.tallies
            .parked
            .iter()
            .for_each(|(route, state, count)| parked.series(&[name, route, state], *count));
    }
    let mut runs = page.family(&RUNS);
    for (name, it) in readings {
        it.tallies.runs.iter().for_each(|run| runs.series(&[name, &run.kind, &run.state], run.count));
    }
    let mut read = page.family(&RUN_READ);
    for (name, it) in readings {
        it.tallies.by_kind().iter().for_each(|(kind, rows, _)| read.series(&[name, kind], *rows));
    }
    let mut expected = page.family(&RUN_EXPECTED);
    for (name, it) in readings {
        let known = it.tallies.by_kind().into_iter().filter_map(|(kind, _, rows)| Some((kind, rows?)));
        known.for_each(|(kind, rows)| expected.series(&[name, kind], rows));
    }
}

fn notices(page: &mut Page, vitals: &Vitals) {
    let mut notices = page.family(&NOTICES);
    for (name, it) in vitals.meters.targets() {
        for (result, count) in
            [("delivered", &it.delivered), ("given_up", &it.given_up), ("dropped", &it.dropped)]
        {
            notices.series(&[&name, result], count.get());
        }
    }
}

fn call_log(page: &mut Page, parts: &Parts) {
    let gauges = parts.log.as_ref().map(|it| it.pipeline.gauges());
    let mut records = page.family(&LOG_RECORDS);
    if let Some(it) = &gauges {
        for (result, count) in [
            ("written", it.written),
            ("sent", it.sent),
            ("spooled", it.spooled),
            ("dropped", it.dropped),
            ("refused", it.refused),
        ] {
            records.series(&[result], count);
        }
    }
    let mut one = |of, value: Option<u64>| {
        let mut family = page.family(of);
        value.iter().for_each(|it| family.series(&[], *it));
    };
    one(&LOG_MEMORY, gauges.as_ref().map(|it| it.memory_bytes));
    one(&LOG_SPOOL, gauges.as_ref().map(|it| it.spool_bytes));
    one(&LOG_SPOOL_LIMIT, parts.log.as_ref().map(|it| it.spool.unwrap_or(0)));
    one(&LOG_SPOOL_RECORDS, gauges.as_ref().map(|it| it.spool_records));
    let seconds = |it: &Option<Failing>| it.as_ref().map_or(0, |it| it.since.elapsed().as_secs());
    one(&LOG_FAILING, gauges.as_ref().map(|it| seconds(&it.outlet)));
    one(&LOG_SPOOL_FAILING, gauges.as_ref().map(|it| seconds(&it.spool)));
    one(&LOG_HELD, gauges.as_ref().map(|it| it.held));
    let mut kept = page.family(&KEEPER_RECORDS);
    for (_, counts) in parts.log.iter().flat_map(|it| &it.keeper) {
        kept.series(&["stored"], counts.stored());
        kept.series(&["dead"], counts.dead());
    }
}

fn process_itself(page: &mut Page, parts: &Parts) {
    let process = process::look();
    page.single(&START_TIME, parts.began.as_second());
    let mut resident = page.family(&RESIDENT);
    process.resident.iter().for_each(|it| resident.series(&[], *it));
    let mut cpu = page.family(&CPU);
    process.cpu.iter().for_each(|it| cpu.series(&[], *it));
    let mut fds = page.family(&OPEN_FDS);
    process.fds.iter().for_each(|it| fds.series(&[], *it));
    page.family(&BUILD).series(&[env!("CARGO_PKG_VERSION")], 1u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalog;

    #[test]
    fn the_page_has_every_metric_of_the_catalog_once_even_when_nothing_runs() {
        let text = write(&Vitals::default());
        let mut told: Vec<&str> = text.lines().filter_map(|it| it.strip_prefix("# TYPE ")).collect();
        let mut all: Vec<_> =
            catalog::ALL.iter().map(|it| format!("{} {}", it.name, it.kind.name())).collect();
        told.sort();
        all.sort();
        assert_eq!(told, all);
    }
}
