//! `depends_on`, between the routes of one source.

use super::{SourcePlan, Synchronizers, columns};
use crate::{
    mapping::{At, Expression, Names, ParentNames},
    model::Table,
    routing::{EntitySettings, Fetch, Parent, RouteId},
    synchronize,
};
use std::sync::Arc;

/// One entry of `depends_on`, for one remote.
pub(super) struct Dependency {
    entity: Arc<str>,
    key: Arc<Expression>,
    at: At,
}

impl SourcePlan {
    /// Every entity, behind what it depends on.
    pub(in crate::app) fn parents_first(&self) -> Vec<&str> {
        let mut ordered = Vec::with_capacity(self.entities.len());
        self.entities.iter().for_each(|name| self.put_behind_parents(name, &mut ordered));
        ordered
    }

    /// It ends because the configuration has no cycles but entities that depend on themselves.
    fn put_behind_parents<'a>(&'a self, name: &'a str, ordered: &mut Vec<&'a str>) {
        if ordered.contains(&name) {
            return;
        }
        let parents = self.entity(name).into_iter().flat_map(|it| it.depends_on.keys());
        parents.filter(|it| *it != name).for_each(|parent| self.put_behind_parents(parent, ordered));
        ordered.push(name);
    }

    /// The entity's dependencies, their expressions read.
    pub(super) fn parents(
        &self,
        name: &str,
        remote: &str,
        shape: Option<&Table>,
    ) -> Result<Vec<Dependency>, Vec<String>> {
        let entity = &self.loaded.config.entities[name];
        let fetched = matches!(entity.fetch, Some(Fetch::Sql(_)));
        let fragments = self.fragments(name, remote)?;
        let names = Names { columns: shape.map(columns), fetched, fragments, ..Names::default() };
        let (mut dependencies, mut errors) = (Vec::new(), Vec::new());
        for (parent, text) in &entity.depends_on {
            let at = self.loaded.locator.at(format!("entities.{name}")).child("depends_on").child(parent);
            match Expression::parse(text, &at, &names) {
                Ok(key) => {
                    dependencies.push(Dependency { entity: parent.as_str().into(), key: Arc::new(key), at });
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        if errors.is_empty() { Ok(dependencies) } else { Err(errors) }
    }

    /// A dependency between the routes of one remote.
    pub(super) fn at_remote(&self, it: &Dependency, remote: &str) -> Option<Parent> {
        let remotes = |entity: &String| self.loaded.config.entities[entity].remotes.iter();
        let mut routes = self.entities.iter().flat_map(|entity| remotes(entity).map(move |at| (entity, at)));
        let place = routes.position(|(entity, at)| **entity == *it.entity && at == remote)?;
        let (entity, key, at) = (Arc::clone(&it.entity), Arc::clone(&it.key), it.at.clone());
        Some(Parent { entity, route: RouteId(place as u16), key, at })
    }
}

/// What an entity's expressions may name of its parents.
pub(super) fn names(
    name: &str,
    remote: &str,
    entity: &EntitySettings,
    built: &Synchronizers<'_>,
) -> Arc<[ParentNames]> {
    let of = |parent: &String| {
        // It is being built: what a class of its own saves is not known yet.
        let own = || synchronize::saved_names(&entity.sequences());
        let saved = match built.get(&(parent.as_str(), remote)) {
            Some(synchronizer) => Some(synchronizer.saves().into()),
            None => (parent == name && entity.class.is_none()).then(own),
        };
        ParentNames { entity: parent.as_str().into(), saved }
    };
    entity.depends_on.keys().map(of).collect()
}
