use std::{pin::pin, time::Duration};
use tokio::time::timeout;

/// How long what runs beside the stream may take to end after it.
const LEAVE: Duration = Duration::from_secs(15);

/// Waits for the first, and for what runs beside it: that ends with it, but may wait for a database that does
/// not answer.
pub(super) async fn along<T>(streaming: impl Future<Output = T>, beside: impl Future<Output = ()>) -> T {
    let (mut streaming, mut beside) = (pin!(streaming), pin!(beside));
    let mut done = false;
    let result = loop {
        tokio::select! {
            result = &mut streaming => break result,
            () = &mut beside, if !done => done = true,
        }
    };
    if !done && timeout(LEAVE, beside).await.is_err() {
        tracing::warn!(
            "what runs beside the stream does not end, since a database does not answer it: it is left"
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_database_that_does_not_answer_is_not_waited_for() {
        assert_eq!(along(async { 7 }, std::future::pending()).await, 7);
        assert_eq!(along(async { 8 }, async {}).await, 8);
    }
}
