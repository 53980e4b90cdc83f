use super::{
    CallLogError, CallLogSink, CallLogStore, CallQuery, CallRecord, Found, Record, RecordId, Refused,
};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A call log for tests.
#[derive(Debug, Default)]
pub struct MemoryCallLog(Mutex<BTreeMap<RecordId, CallRecord>>);

impl MemoryCallLog {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<RecordId, CallRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every record, by id.
    pub fn records(&self) -> Vec<CallRecord> {
        self.kept().values().cloned().collect()
    }
}

impl CallLogSink for MemoryCallLog {
    fn write(&self, record: Record<'_>) -> Option<BoxFuture<'_, ()>> {
        self.kept().entry(record.id.clone()).or_insert_with(|| record.into_owned());
        None
    }
}

#[async_trait]
impl CallLogStore for MemoryCallLog {
    async fn store(&self, records: &[CallRecord]) -> Result<Vec<Refused>, CallLogError> {
        let mut kept = self.kept();
        for record in records {
            kept.entry(record.id.clone()).or_insert_with(|| record.clone());
        }
        Ok(Vec::new())
    }

    async fn search(&self, query: &CallQuery) -> Result<Found, CallLogError> {
        let behind = CallQuery { before: query.before.clone(), ..CallQuery::default() };
        let kept = self.kept();
        let mut looked: Vec<&CallRecord> = kept.values().filter(|record| behind.matches(record)).collect();
        looked.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        let all = looked.len();
        looked.truncate(query.look.unwrap_or(all));
        let matching = looked.iter().filter(|record| query.matches(record));
        let found = Found::of(matching.take(query.limit).map(|it| (*it).clone()).collect(), query.limit);
        Ok(match looked.last().filter(|_| looked.len() < all) {
            Some(last) => found.cut((last.at, last.id.clone()), looked.len()),
            None => found,
        })
    }

    async fn get(&self, id: &RecordId) -> Result<Option<CallRecord>, CallLogError> {
        Ok(self.kept().get(id).cloned())
    }

    async fn expire(&self, before: Timestamp) -> Result<u64, CallLogError> {
        let mut kept = self.kept();
        let was = kept.len();
        kept.retain(|_, record| record.at >= before);
        Ok((was - kept.len()) as u64)
    }
}
