//! Tells a collector of what is done, beside the log of calls.

use super::{App, AppError, call_log::Redactions};
use crate::{
    call_log::{CallLogSink, Record},
    telemetry::Exporter,
};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tokio::{sync::watch, task::JoinSet};

/// Sends while the process runs.
pub(super) struct Exporting {
    stop: watch::Sender<bool>,
    sending: JoinSet<()>,
}

impl Exporting {
    /// Sends what is left, within a bound.
    pub(super) async fn close(mut self) {
        self.stop.send_replace(true);
        while self.sending.join_next().await.is_some() {}
    }
}

/// Makes a span of each record, then gives it to the log of calls, if one is kept.
struct Spans {
    exporter: Exporter,
    redactions: Redactions,
    log: Option<Arc<dyn CallLogSink>>,
}

impl CallLogSink for Spans {
    fn write(&self, record: Record<'_>) -> Option<BoxFuture<'_, ()>> {
        let mut bare = record.bare();
        self.redactions.of(&bare.remote).apply(&mut bare, 0);
        self.exporter.span(&bare);
        self.log.as_ref()?.write(record)
    }
}

impl App {
    /// Starts sending, if there is a collector.
    pub(super) fn start_telemetry(&self) -> Result<Option<Exporting>, AppError> {
        let Some(exporter) = self.exporter.clone() else { return Ok(None) };
        let collector = exporter.collector().map_err(|error| AppError::Configuration(vec![error]))?;
        let (stop, stopped) = watch::channel(false);
        let mut sending = JoinSet::new();
        sending.spawn(async move { exporter.run(collector, stopped).await });
        Ok(Some(Exporting { stop, sending }))
    }

    /// Where records of calls go: to the log of calls, if there is one, and to the collector, likewise.
    pub(super) fn told(
        &self,
        log: Option<Arc<dyn CallLogSink>>,
    ) -> Result<Option<Arc<dyn CallLogSink>>, AppError> {
        let Some(exporter) = self.exporter.clone() else { return Ok(log) };
        Ok(Some(Arc::new(Spans { exporter, redactions: self.redactions()?, log })))
    }
}
