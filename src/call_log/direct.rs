use super::{CallLogError, CallLogStore, CallRecord, Line, Outlet};
use async_trait::async_trait;
use std::sync::Arc;

/// Stores records without a broker between.
pub struct Direct(pub Arc<dyn CallLogStore>);

#[async_trait]
impl Outlet for Direct {
    async fn send(&mut self, lines: &[Line]) -> Result<(), CallLogError> {
        let read = |line: &Line| serde_json::from_slice::<CallRecord>(&line.json);
        let records = lines.iter().map(read).collect::<Result<Vec<_>, _>>();
        let unreadable = |error: serde_json::Error| CallLogError {
            doing: "storing calls",
            message: format!("a record cannot be read: {error}"),
            lasting: true,
        };
        self.0.store(&records.map_err(unreadable)?).await
    }
}
