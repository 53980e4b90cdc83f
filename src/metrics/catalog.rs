//! Every metric, once. `docs/metrics.md` has the same rows.

use super::{Definition, Kind};

macro_rules! catalog {
    ($($constant:ident = $kind:ident $name:literal [$($label:ident),*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub static $constant: Definition = Definition {
                name: $name,
                kind: Kind::$kind,
                labels: &[$(stringify!($label)),*],
                help: $help,
            };
        )+

        /// All of them, in the order in which they are told.
        pub static ALL: &[&Definition] = &[$(&$constant),+];
    };
}

catalog! {
    CAPTURED = Counter "rowcall_changes_captured_total" [source]
        "Changes of routed tables that were taken over from the source.";
    OUTCOMES = Counter "rowcall_outcomes_total" [source, route, outcome]
        "Changes that ended for a route, by how: applied, unchanged, skipped or parked.";
    LATENCY = Histogram "rowcall_commit_to_answer_seconds" [source, route]
        "From a change's commit to the answer that ended it; rows of runs are left out.";
    IN_FLIGHT = Gauge "rowcall_changes_in_flight" [source, route]
        "Changes that are read and have no outcome.";
    BACKING_OFF = Gauge "rowcall_changes_backing_off" [source, route]
        "Changes in flight that wait for another attempt.";
    PARKED = Gauge "rowcall_changes_parked" [source, route, state]
        "Changes that are parked now, by state.";
    DRAINED = Counter "rowcall_parked_drained_total" [source, route]
        "Parked changes that were taken up again and are not parked any more.";
    CALLS = Counter "rowcall_calls_total" [remote, outcome]
        "Calls that ended, after however many attempts: answered, given_up, or halved (a batch that is sent in halves).";
    ATTEMPTS = Counter "rowcall_attempts_total" [remote, class]
        "Requests that were sent, by what came of them.";
    RETRIES = Counter "rowcall_retries_total" [remote]
        "Requests that did not succeed and are to be made again.";
    DURATION = Histogram "rowcall_attempt_duration_seconds" [remote]
        "How long a request took, whatever came of it.";
    GATE = Gauge "rowcall_remote_gate" [remote, state]
        "1 for the state in which the remote's gate is: ready, paused, open (the breaker), half_open, or halted.";
    BREAKER_OPENED = Counter "rowcall_breaker_opened_total" [remote]
        "How often the breaker opened.";
    QUOTA_WAITS = Counter "rowcall_quota_waits_total" [remote]
        "How often work had to wait for the remote's rate, quota, or a pause it asked for.";
    QUOTA_LEFT = Gauge "rowcall_quota_left" [remote]
        "Calls left, as the remote last said; without a series where it says nothing.";
    WINDOW = Gauge "rowcall_concurrency_window" [remote]
        "How many changes may be under way at once now.";
    CONCURRENCY = Gauge "rowcall_concurrency_limit" [remote]
        "How many changes may be under way at once at most.";
    UNDER_WAY = Gauge "rowcall_remote_in_flight" [remote]
        "Changes under way at the remote.";
    WAITING = Gauge "rowcall_keys_waiting" [source, remote]
        "Keys with work that waits for the remote.";
    SOURCE_STATE = Gauge "rowcall_source_state" [source, state]
        "1 for the state of the source: starting, standby, streaming, reconnecting or stopping.";
    SESSIONS_BROKEN = Counter "rowcall_sessions_broken_total" [source]
        "Sessions that ended by a failure, after which another one is begun.";
    STALLS = Counter "rowcall_stalls_total" [source]
        "Sessions that the watchdog ended, since nothing came from the source any more.";
    LAG_BYTES = Gauge "rowcall_lag_bytes" [source, stage]
        "Log that the server has written and that is not yet received, settled or acknowledged.";
    LAG_SECONDS = Gauge "rowcall_lag_seconds" [source, stage]
        "How long the server has had log that is not yet received, settled or acknowledged.";
    HEARTBEAT_AGE = Gauge "rowcall_heartbeat_age_seconds" [source]
        "How long ago the newest heartbeat was written that came back through capture.";
    SLOT_STATUS = Gauge "rowcall_slot_status" [source, status]
        "1 for the slot's wal_status: reserved, extended, unreserved, lost or missing.";
    SLOT_KEPT = Gauge "rowcall_slot_kept_bytes" [source]
        "Log that the slot keeps from being removed.";
    SLOT_SAFE = Gauge "rowcall_slot_safe_bytes" [source]
        "Log that may be written before the server removes what the slot needs; without a series where nothing limits it.";
    SETTLED_OUTCOMES = Histogram "rowcall_settle_outcomes" [source]
        "Outcomes in one settlement.";
    SETTLING = Histogram "rowcall_settle_duration_seconds" [source]
        "How long one settlement took in the state database.";
    MEMORY_USED = Gauge "rowcall_memory_used_bytes" [source]
        "What is in flight, counted against the byte budget.";
    MEMORY_LIMIT = Gauge "rowcall_memory_limit_bytes" [source]
        "The byte budget.";
    RUNS = Gauge "rowcall_runs" [source, kind, state]
        "Runs that are not over.";
    RUN_READ = Gauge "rowcall_run_rows_read" [source, kind]
        "Rows, keys or changes that the runs which are not over have looked at.";
    RUN_EXPECTED = Gauge "rowcall_run_rows_expected" [source, kind]
        "How many those runs will have looked at in the end, about, where that is known.";
    LOG_RECORDS = Counter "rowcall_call_log_records_total" [result]
        "Records of the log of calls: written (taken over), sent, spooled, dropped, and refused (left out for ever).";
    LOG_MEMORY = Gauge "rowcall_call_log_memory_bytes" []
        "What of the log of calls is only in memory.";
    LOG_SPOOL = Gauge "rowcall_call_log_spool_bytes" []
        "What of the log of calls lies in the spool.";
    LOG_SPOOL_LIMIT = Gauge "rowcall_call_log_spool_limit_bytes" []
        "How much the spool may hold; 0 where there is none.";
    LOG_SPOOL_RECORDS = Gauge "rowcall_call_log_spool_records" []
        "Records in the spool that are not known to be sent.";
    LOG_FAILING = Gauge "rowcall_call_log_failing_seconds" []
        "For how long the log of calls could not be sent; 0 while it can.";
    LOG_SPOOL_FAILING = Gauge "rowcall_call_log_spool_failing_seconds" []
        "For how long the spool could not be written or read; 0 while it can.";
    LOG_HELD = Gauge "rowcall_call_log_held_calls" []
        "Calls that wait until there is room for their records.";
    KEEPER_RECORDS = Counter "rowcall_log_keeper_records_total" [result]
        "Records that the log keeper in this process stored, or put into the dead-letter queue.";
    NOTICES = Counter "rowcall_notices_total" [target, result]
        "Notices of a state change, by what came of them: delivered, given_up, or dropped since too many waited.";
    START_TIME = Gauge "rowcall_process_start_time_seconds" []
        "When the process began, in seconds since 1970.";
    RESIDENT = Gauge "rowcall_process_resident_memory_bytes" []
        "Resident memory of the process.";
    CPU = Counter "rowcall_process_cpu_seconds_total" []
        "Processor time that the process has used.";
    OPEN_FDS = Gauge "rowcall_process_open_fds" []
        "File descriptors that the process has open.";
    BUILD = Gauge "rowcall_build_info" [version]
        "Always 1; its label says what runs.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_follow_the_conventions_and_labels_are_few() {
        let names: BTreeSet<_> = ALL.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), ALL.len(), "a name is used twice");
        let known = [
            "source", "route", "remote", "outcome", "class", "state", "stage", "status", "kind", "result",
            "version", "target",
        ];
        for it in ALL {
            assert!(it.name.starts_with("rowcall_"), "{}", it.name);
            assert_eq!(it.name.ends_with("_total"), it.kind == Kind::Counter, "{}", it.name);
            assert!(it.labels.iter().all(|label| known.contains(label)), "{}: {:?}", it.name, it.labels);
            assert!(it.help.ends_with('.'), "{}", it.name);
            let odd = ["_ms", "_milliseconds", "_kb", "_minutes"];
            assert!(!odd.iter().any(|unit| it.name.contains(unit)), "{}: base units", it.name);
        }
    }
}
