//! How an audit asks for one object.

use super::SourcePlan;
use crate::{mapping::Names, model::Table, routing::Fetch, synchronize::ObjectRead};
use std::sync::Arc;

impl SourcePlan {
    /// The entity's `read` at this remote, if it has one; `saved` is what its steps save.
    pub(in crate::app) fn object_read(
        &self,
        name: &str,
        remote: &str,
        shape: Option<&Table>,
        saved: Arc<[Arc<str>]>,
    ) -> Result<Option<ObjectRead>, Vec<String>> {
        let entity = &self.loaded.config.entities[name];
        let Some(settings) = &entity.read else { return Ok(None) };
        let names = Names {
            columns: shape.map(super::columns),
            saved,
            fetched: matches!(entity.fetch, Some(Fetch::Sql(_))),
            fragments: self.fragments(name, remote)?,
            ..Names::default()
        };
        let at = self.loaded.locator.at(format!("entities.{name}.read"));
        let read = ObjectRead::new(settings, &at, &names);
        read.map(Some).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    /// How many calls of this remote may be under way at once.
    pub(in crate::app) fn concurrency(&self, remote: &str) -> usize {
        self.loaded.config.remotes[remote].concurrency.get() as usize
    }
}
