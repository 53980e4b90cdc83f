use super::{Check, Settings, State};
use crate::model::{ByteSize, Span};
use std::{borrow::Cow, time::Duration};

/// Where a source's session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It has not got as far as streaming or waiting.
    #[default]
    Starting,
    /// Another instance holds the source.
    Standby,
    /// It streams.
    Streaming,
    /// It broke off, and is begun again soon.
    Reconnecting,
    /// The service is about to end.
    Stopping,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 5] =
        [Self::Starting, Self::Standby, Self::Streaming, Self::Reconnecting, Self::Stopping];

    /// The name used in metrics and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Standby => "standby",
            Self::Streaming => "streaming",
            Self::Reconnecting => "reconnecting",
            Self::Stopping => "stopping",
        }
    }
}

/// What is known of a stream's heartbeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// For how long nothing has come: no change, no heartbeat, and not even that the server has read on.
    pub silent: Duration,
    /// How long ago the oldest heartbeat was written that has not come back.
    pub outstanding: Option<Duration>,
    /// Why none can be written.
    pub error: Option<String>,
    /// The stream is not read since the engine takes nothing more: it is full.
    pub held: bool,
}

/// What follows from the heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The stream moves, or is held back on purpose.
    Well,
    /// It may have stalled, for this reason.
    Late(String),
    /// It has, and is to be opened anew.
    Stalled(String),
}

/// Whether a stream has stalled.
pub fn beat(beat: &Beat, settings: &Settings) -> Told {
    let limits = &settings.heartbeat;
    if beat.held || beat.silent < limits.late.0 {
        return Told::Well;
    }
    let expected = match (&beat.outstanding, &beat.error) {
        (_, Some(error)) => format!("heartbeats cannot be written: {error}"),
        (Some(age), None) => format!("a heartbeat written {} ago has not come back", seconds(*age)),
        (None, None) => "no heartbeat was written".to_owned(),
    };
    let silent = format!("nothing has come from the source for {}; {expected}", seconds(beat.silent));
    if beat.silent < limits.restart.0 { Told::Late(silent) } else { Told::Stalled(silent) }
}

/// Whether a source is ready: it streams, or waits as a standby.
pub fn stream(name: &str, stage: Stage, reason: Option<&str>, heartbeat: &Told) -> Check {
    let name = format!("source.{name}.stream");
    let because = |what: &'static str| match reason {
        Some(reason) => Cow::Owned(format!("{what}: {}", plain(reason))),
        None => Cow::Borrowed(what),
    };
    match (stage, heartbeat) {
        (Stage::Standby, _) => Check::new(
            name,
            State::Ok,
            "standby: another instance holds the source, this one takes over when it ends",
        ),
        (Stage::Streaming, Told::Well) => Check::new(name, State::Ok, "streaming"),
        (Stage::Streaming, Told::Late(why) | Told::Stalled(why)) => {
            Check::new(name, State::Fail, why.clone())
        }
        (Stage::Starting, _) => Check::new(name, State::Fail, because("starting")),
        (Stage::Reconnecting, _) => Check::new(name, State::Fail, because("reconnecting")),
        (Stage::Stopping, _) => Check::new(name, State::Fail, because("stopping")),
    }
}

/// Whether a source's loop goes round.
pub fn turning(name: &str, stage: Stage, since: Duration, settings: &Settings) -> Check {
    let name = format!("source.{name}.loop");
    if stage == Stage::Streaming && since >= settings.heartbeat.stuck.0 {
        let reason = format!("its loop has not gone round for {}", seconds(since));
        return Check::new(name, State::Fail, reason);
    }
    Check::new(name, State::Ok, stage.name())
}

/// How a slot stands with its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// `reserved`, `extended`, `unreserved` or `lost`; `None` if there is no such slot.
    pub status: Option<String>,
    /// Log that it keeps.
    pub kept: u64,
    /// Log that may be written before the server removes what it needs.
    pub safe: Option<u64>,
}

/// Whether a slot is in danger.
pub fn slot(name: &str, slot: &Slot) -> Check {
    let name = format!("source.{name}.slot");
    let kept = ByteSize(slot.kept).rounded();
    let left = match slot.safe {
        Some(safe) => format!("another {} may be written before it is lost", ByteSize(safe).rounded()),
        None => "nothing limits it but the server's disk".to_owned(),
    };
    let little = slot.safe.is_some_and(|safe| safe < (slot.kept + safe) / 4);
    let (state, reason) = match slot.status.as_deref() {
        None => (State::Fail, "the slot does not exist: somebody dropped it".to_owned()),
        Some("lost") => (State::Fail, "the slot is lost: the server removed log that it needed".to_owned()),
        Some("unreserved") => {
            (State::Fail, format!("the slot keeps {kept} and is lost at the server's next checkpoint"))
        }
        Some(status) if little => (State::Fail, format!("{status}, keeps {kept}; {left}")),
        Some(status @ "extended") => (State::Warn, format!("{status}, keeps {kept}; {left}")),
        Some(status) => (State::Ok, format!("{status}, keeps {kept}; {left}")),
    };
    Check::new(name, state, reason)
}

/// How far a source is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// For how long.
    pub time: Duration,
    /// By how much log.
    pub bytes: u64,
}

/// Whether that is too much.
pub fn lag(name: &str, lag: Lag, settings: &Settings) -> Check {
    let Settings { lag: times, lag_bytes: sizes, .. } = settings;
    let beyond = |time: Span, size: ByteSize| lag.time > time.0 || lag.bytes > size.0;
    let state = match () {
        () if beyond(times.fail, sizes.fail) => State::Fail,
        () if beyond(times.warn, sizes.warn) => State::Warn,
        () => State::Ok,
    };
    let reason =
        format!("{} and {} of log are not settled", seconds(lag.time), ByteSize(lag.bytes).rounded());
    Check::new(format!("source.{name}.lag"), state, reason)
}

/// How many changes of a source are parked for a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parked {
    /// The remote refuses them, or they cannot be sent.
    pub rejected: u64,
    /// They were tried often enough.
    pub dead: u64,
}

/// Whether those are too many.
pub fn parked(name: &str, parked: Parked, settings: &Settings) -> Check {
    let Parked { rejected, dead } = parked;
    let limits = &settings.parked;
    let state = match rejected + dead {
        it if it >= limits.fail.get() => State::Fail,
        it if it >= limits.warn.get() => State::Warn,
        _ => State::Ok,
    };
    let reason = match rejected + dead {
        0 => "no parked change waits for a person".to_owned(),
        all => format!("parked changes that wait for a person: {all} ({rejected} rejected, {dead} dead)"),
    };
    Check::new(format!("source.{name}.parked"), state, reason)
}

/// How a remote stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `ready`, `paused`, `open`, `half_open` or `halted`.
    pub gate: &'static str,
    /// For how long it takes no calls.
    pub shut: Option<Duration>,
    /// How it failed last.
    pub ill: Option<String>,
}

/// Whether a remote takes calls.
pub fn remote(name: &str, remote: &Remote) -> Check {
    let name = format!("remote.{name}");
    let shut = remote.shut.map(|it| format!(" for {}", seconds(it))).unwrap_or_default();
    let ill = remote.ill.as_deref().unwrap_or("it fails");
    match remote.gate {
        "ready" => Check::new(name, State::Ok, "it takes calls"),
        "halted" => Check::new(name, State::Warn, "a person has stopped everything that is sent there"),
        "paused" => Check::new(
            name,
            State::Warn,
            format!("it has been left alone{shut}, as it asked, or since its quota is used up"),
        ),
        gate => {
            let probing = if gate == "half_open" { "; one call looks whether it is back" } else { "" };
            Check::new(name, State::Fail, format!("the breaker has been open{shut}: {ill}{probing}"))
        }
    }
}

/// How the spool of the log of calls stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spool {
    /// What lies in it.
    pub bytes: u64,
    /// How much may.
    pub max: u64,
    /// It cannot be written, or read.
    pub fails: bool,
}

/// Whether the spool fills, or fails.
pub fn spool(spool: Spool, settings: &Settings) -> Check {
    let name = "call_log.spool";
    if spool.fails {
        return Check::new(name, State::Fail, "it cannot be written or read; `rowcall status` says why");
    }
    let limits = &settings.spool;
    let percent = spool.bytes.saturating_mul(100).checked_div(spool.max).unwrap_or(0);
    let state = match percent {
        it if it >= u64::from(limits.fail) => State::Fail,
        it if it >= u64::from(limits.warn) => State::Warn,
        _ => State::Ok,
    };
    Check::new(name, state, format!("{percent} % full"))
}

/// Without what a database says in detail, which may name a key, and without further lines.
pub fn plain(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    line.split("; detail:").next().unwrap_or_default()
}

fn seconds(time: Duration) -> Span {
    Span(Duration::from_secs(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_is_late_and_then_a_stall_unless_the_engine_is_full() {
        let settings = Settings::default();
        let told = |seconds: u32, held| {
            let outstanding = Some(seconds * SECOND);
            beat(&Beat { silent: seconds * SECOND, outstanding, error: None, held }, &settings)
        };
        assert_eq!((told(59, false), told(600, true)), (Told::Well, Told::Well));
        let Told::Late(why) = told(60, false) else { panic!("not late") };
        assert_eq!(
            why,
            "nothing has come from the source for 1m; a heartbeat written 1m ago has not come back"
        );
        assert!(matches!(told(180, false), Told::Stalled(_)));
        let unwritten = Beat { silent: 70 * SECOND, error: Some("no answer".to_owned()), ..Beat::default() };
        assert!(
            matches!(beat(&unwritten, &settings), Told::Late(why) if why.ends_with("written: no answer"))
        );
    }

    #[test]
    fn a_source_is_ready_while_it_streams_or_waits_as_a_standby() {
        let ready = |stage, told: &Told| stream("main", stage, Some("the cable; detail: key 7"), told);
        assert_eq!(ready(Stage::Streaming, &Told::Well).state, State::Ok);
        assert!(ready(Stage::Standby, &Told::Well).reason.starts_with("standby"));
        let late = ready(Stage::Streaming, &Told::Late("silent".to_owned()));
        assert_eq!((late.state, &*late.reason), (State::Fail, "silent"));
        let broken = ready(Stage::Reconnecting, &Told::Well);
        assert_eq!((broken.state, &*broken.reason), (State::Fail, "reconnecting: the cable"));
    }

    #[test]
    fn a_loop_may_rest_only_while_it_does_not_stream() {
        let settings = Settings::default();
        assert_eq!(turning("main", Stage::Streaming, 60 * SECOND, &settings).state, State::Fail);
        assert_eq!(turning("main", Stage::Streaming, SECOND, &settings).state, State::Ok);
        assert_eq!(turning("main", Stage::Standby, 60 * SECOND, &settings).state, State::Ok);
    }

    #[test]
    fn a_slot_fails_before_it_is_lost() {
        let state = |status: Option<&str>, kept, safe| {
            let status = status.map(str::to_owned);
            slot("main", &Slot { status, kept, safe }).state
        };
        assert_eq!(state(Some("reserved"), 10, None), State::Ok);
        assert_eq!(state(Some("extended"), 10, Some(1_000)), State::Warn);
        assert_eq!(state(Some("extended"), 1_000, Some(10)), State::Fail);
        for gone in [Some("unreserved"), Some("lost"), None] {
            assert_eq!(state(gone, 10, Some(1_000)), State::Fail, "{gone:?}");
        }
    }

    #[test]
    fn lag_counts_in_time_and_in_bytes() {
        let state = |seconds, bytes| {
            lag("main", Lag { time: Duration::from_secs(seconds), bytes }, &Settings::default()).state
        };
        assert_eq!((state(60, 0), state(61, 0), state(901, 0)), (State::Ok, State::Warn, State::Fail));
        assert_eq!((state(0, (256 << 20) + 1), state(0, (2 << 30) + 1)), (State::Warn, State::Fail));
    }

    #[test]
    fn what_is_parked_for_a_person_counts() {
        let told = |rejected, dead| parked("main", Parked { rejected, dead }, &Settings::default());
        assert_eq!(
            (told(0, 0).state, told(1, 0).state, told(0, 999).state),
            (State::Ok, State::Warn, State::Warn)
        );
        assert_eq!(told(400, 600).state, State::Fail);
        assert!(told(1, 2).reason.ends_with("3 (1 rejected, 2 dead)"));
    }

    #[test]
    fn a_remote_is_told_by_its_gate() {
        let told = |gate, ill: Option<&str>| {
            let it = Remote { gate, shut: Some(90 * SECOND), ill: ill.map(str::to_owned) };
            let check = remote("bank", &it);
            (check.state, check.reason.into_owned())
        };
        assert_eq!(told("ready", None).0, State::Ok);
        assert_eq!((told("paused", None).0, told("halted", None).0), (State::Warn, State::Warn));
        let open = "the breaker has been open for 90s: it answers 503".to_owned();
        assert_eq!(told("open", Some("it answers 503")), (State::Fail, open));
    }

    #[test]
    fn a_spool_warns_before_it_is_full_and_fails_where_the_disk_does() {
        let state = |bytes, fails| spool(Spool { bytes, max: 200, fails }, &Settings::default()).state;
        assert_eq!(
            (state(99, false), state(100, false), state(180, false), state(0, true)),
            (State::Ok, State::Warn, State::Fail, State::Fail)
        );
    }
}
