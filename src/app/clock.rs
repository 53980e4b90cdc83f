use jiff::Timestamp;

/// The wall clock: whoever needs the time is given it, or this.
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
