use super::{CallLogError, CallLogStore, CallRecord, Line, Outlet, Refused};
use async_trait::async_trait;
use std::sync::Arc;

/// Stores records without a broker between.
pub struct Direct(pub Arc<dyn CallLogStore>);

#[async_trait]
impl Outlet for Direct {
    async fn send(&mut self, lines: &[Line]) -> Result<Vec<Refused>, CallLogError> {
        let (mut records, mut places, mut refused) =
            (Vec::with_capacity(lines.len()), Vec::new(), Vec::new());
        for (at, line) in lines.iter().enumerate() {
            match serde_json::from_slice::<CallRecord>(&line.json) {
                Ok(record) => {
                    records.push(record);
                    places.push(at);
                }
                Err(error) => refused.push(Refused { at, reason: format!("it cannot be read: {error}") }),
            }
        }
        let by_store = self.0.store(&records).await?;
        let placed = |it: Refused| places.get(it.at).map(|at| Refused { at: *at, ..it });
        refused.extend(by_store.into_iter().filter_map(placed));
        Ok(refused)
    }
}
