use std::{fmt::Debug, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};

/// Long enough for anything that should happen at all, on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);
/// For a look that begins in time.
const GRACE: Duration = Duration::from_secs(10);

/// Looks again and again until `look` is satisfied; panics with what it saw last after `within`.
///
/// `look` answers `Ok` with what was waited for, or `Err` with what there is instead. One that does not come to an
/// end fails with the rest.
pub async fn eventually<T, E: Debug>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(5);
    loop {
        let looked = timeout_at(deadline + GRACE, look()).await;
        match looked.unwrap_or_else(|_| panic!("{what}: to look took longer than {within:?}")) {
            Ok(seen) => return seen,
            Err(seen) if Instant::now() >= deadline => {
                panic!("{what}: not within {within:?}; last seen: {seen:#?}")
            }
            Err(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// The same for what takes the longer the more there is to do: it fails once nothing that is seen has changed for
/// `within`, and in any case after ten times that.
pub async fn while_it_moves<T, E: Debug>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let (end, mut last) = (Instant::now() + 10 * within, None);
    let mut deadline = end;
    eventually(what, 10 * within, async || {
        let seen = look().await;
        if let Err(seen) = &seen {
            let seen = format!("{seen:#?}");
            if last.as_ref() != Some(&seen) {
                (last, deadline) = (Some(seen), end.min(Instant::now() + within));
            }
            assert!(
                Instant::now() < deadline,
                "{what}: for {within:?} there was only {}",
                last.as_deref().unwrap_or_default()
            );
        }
        seen
    })
    .await
}
