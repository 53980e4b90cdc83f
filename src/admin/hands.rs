//! Work that goes on although whoever asked for it has hung up.

use std::sync::{Mutex, PoisonError};
use tokio::{sync::oneshot, task::JoinSet};

/// What is under way.
#[derive(Default)]
pub(super) struct Hands(Mutex<JoinSet<()>>);

impl Hands {
    /// Has it done; `None` if the server ends before that.
    pub(super) async fn carry<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        self.begin(async move { drop(tell.send(work.await)) });
        told.await.ok()
    }

    fn begin(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }

    /// Waits for all of it.
    pub(super) async fn rest(&self) {
        let mut tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::sync::Arc;

    #[tokio::test]
    async fn work_is_done_although_nobody_waits_for_it() {
        let (hands, (tell, told)) = (Arc::new(Hands::default()), oneshot::channel());
        let waiting = hands.carry(async move { tell.send(7) });
        assert!(waiting.now_or_never().is_none(), "it hangs up");
        assert_eq!(told.await, Ok(7));
        hands.rest().await;
        assert_eq!(hands.carry(async { 1 }).await, Some(1));
    }
}
