use std::{fmt::Debug, time::Duration};
use tokio::time::{Instant, sleep};

/// Long enough for anything that should happen at all, on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// Looks again and again until `look` is satisfied; panics with what it saw last after `within`.
///
/// `look` answers `Ok` with what was waited for, or `Err` with what there is instead.
pub async fn eventually<T, E: Debug>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(5);
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(seen) if Instant::now() >= deadline => {
                panic!("{what}: not within {within:?}; last seen: {seen:#?}")
            }
            Err(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
