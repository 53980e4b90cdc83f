//! Points at which a test has the process killed, as a crash would kill it. They exist only in builds
//! with debug assertions: a release has neither them nor the variable.
//!
//! `ROWCALL_FAILPOINT=after-settle:2` kills the process where it comes to that point for the second time.

use std::{
    process,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// The point at which to end, and how often it is passed before.
static END: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
    let wanted = std::env::var("ROWCALL_FAILPOINT").ok()?;
    let (point, time) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    let time: u32 = time.parse().ok()?;
    Some((point.to_owned(), AtomicU32::new(time.saturating_sub(1))))
});

/// Says that this point has come. Whoever comes to the one that is wanted does nothing more.
pub(super) fn reached(point: &str) {
    let Some((wanted, before)) = &*END else { return };
    let less = |left: u32| left.checked_sub(1);
    if wanted != point || before.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
        return;
    }
    let killed = process::Command::new("kill").args(["-KILL", &process::id().to_string()]).status();
    if !killed.is_ok_and(|it| it.success()) {
        process::abort();
    }
    loop {
        thread::park();
    }
}
