//! Carrying runs out where no service does.

use crate::{
    app::App,
    cli::{
        Failure,
        run::{Signals, start_log},
    },
    config::Log,
};
use tokio::sync::watch;

/// Nobody else does it. If somebody else comes in between, they do it and this waits; `followed` ends
/// with the work.
pub(in crate::cli) async fn serve_until_over(
    app: &App,
    log: &Log,
    followed: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    start_log(log, app.exporter())?;
    let mut signals = Signals::new()?;
    let (stop, stopped) = watch::channel(false);
    let served = app.replicate(stopped);
    tokio::pin!(served);
    let followed = tokio::select! {
        ended = &mut served => {
            ended?;
            return Err(Failure::Failed("it was stopped before the work was done; `rowcall run` goes on with it".to_owned()));
        }
        followed = followed => followed,
        () = signals.next() => {
            Err(Failure::Failed("stopped before the work was done; `rowcall run` goes on with it".to_owned()))
        }
    };
    stop.send_replace(true);
    served.await?;
    followed
}
