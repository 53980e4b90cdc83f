//! What the configuration asks for, source by source.

mod parents;
mod read;

use super::AppError;
use crate::{
    capture::{Capture, PostgresReader, Replay, WalGuard},
    config::Loaded,
    engine::Remote,
    mapping::{Fragments, Names},
    model::{Table, TableName},
    postgres::Target,
    remote::{Governor, HttpRemote, RemoteClient, RetryPolicy},
    routing::{EntitySettings, Fetch, KeyColumns, RemoteId, Route, WriteBack},
    synchronize::{self, Classes, Declaration, Synchronizer},
    write_back::Destination,
};
use secrecy::ExposeSecret;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use xxhash_rust::xxh3::xxh3_64;

/// One source with everything that hangs on it.
#[derive(Clone)]
pub(super) struct SourcePlan {
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) state: Target,
    pub(super) slot: String,
    pub(super) publication: String,
    pub(super) heartbeat: Duration,
    pub(super) guard: WalGuard,
    pub(super) replay: Replay,
    /// Every table that feeds a route, once.
    pub(super) tables: Vec<TableName>,
    pub(super) entities: Vec<String>,
    pub(super) remotes: Vec<PlannedRemote>,
    loaded: Arc<Loaded>,
    classes: Classes,
}

/// A remote that some route of the source calls.
#[derive(Clone)]
pub(super) struct PlannedRemote {
    pub(super) name: String,
    pub(super) client: Arc<dyn RemoteClient>,
    /// Shared by all sources that call it.
    pub(super) governor: Arc<Governor>,
}

/// What is built so far, by entity and remote: they may differ in their rules.
type Synchronizers<'a> = BTreeMap<(&'a str, &'a str), Arc<dyn Synchronizer>>;

/// The tables as the database has them.
pub(super) type Described = BTreeMap<TableName, Table>;

/// Plans every source, or says all that cannot work.
pub(super) fn plans(loaded: &Arc<Loaded>, classes: &Classes) -> Result<Vec<SourcePlan>, AppError> {
    let mut errors = Vec::new();
    let mut remotes: BTreeMap<&str, PlannedRemote> = BTreeMap::new();
    for (name, settings) in &loaded.config.remotes {
        match HttpRemote::new(name, settings, super::clock::now) {
            Ok(client) => {
                let (concurrency, rate) = (settings.concurrency.get(), settings.rate.as_ref());
                let governor = Governor::new(name, concurrency, rate, &settings.breaker);
                let planned = PlannedRemote { name: name.clone(), client: Arc::new(client), governor };
                remotes.insert(name, planned);
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    let mut plans = Vec::new();
    for name in loaded.config.sources.keys() {
        match SourcePlan::new(loaded, classes, name, &remotes) {
            Ok(plan) => {
                errors.extend(plan.routes(None).err().into_iter().flatten());
                plans.push(plan);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(plans) } else { Err(AppError::Configuration(errors)) }
}

impl SourcePlan {
    fn new(
        loaded: &Arc<Loaded>,
        classes: &Classes,
        name: &str,
        known: &BTreeMap<&str, PlannedRemote>,
    ) -> Result<Self, String> {
        let settings = &loaded.config.sources[name];
        let target = |url: &secrecy::SecretString| -> Result<Target, String> {
            url.expose_secret().parse().map_err(|error| format!("sources.{name}.url: {error}"))
        };
        let Capture::Logical(logical) = &settings.capture;
        let entities: Vec<String> = loaded
            .config
            .entities
            .iter()
            .filter(|(_, it)| it.source.as_deref() == Some(name))
            .map(|(name, _)| name.clone())
            .collect();
        let mut tables = BTreeSet::new();
        let mut remotes = BTreeSet::new();
        for entity in entities.iter().map(|it| &loaded.config.entities[it]) {
            tables.insert(table_name(&entity.table)?);
            for table in entity.tables.keys() {
                tables.insert(table_name(table)?);
            }
            remotes.extend(entity.remotes.iter().map(String::as_str));
        }
        Ok(Self {
            name: name.to_owned(),
            target: target(&settings.url)?,
            state: target(settings.state.as_ref().map_or(&settings.url, |it| &it.url))?,
            slot: logical.slot.clone(),
            publication: logical.publication.clone(),
            heartbeat: settings.heartbeat.0,
            guard: settings.wal_guard.clone(),
            replay: settings.replay.clone(),
            tables: tables.into_iter().collect(),
            remotes: remotes.into_iter().filter_map(|name| known.get(name).cloned()).collect(),
            entities,
            loaded: Arc::clone(loaded),
            classes: classes.clone(),
        })
    }

    /// The name under which this source's own writes would be known to the server.
    pub(super) fn origin(&self) -> String {
        format!("rowcall_{}", self.slot)
    }

    /// Stands for a remote and its address.
    fn told_to(&self, remote: &str) -> u64 {
        xxh3_64(format!("{remote}\n{}", self.loaded.config.remotes[remote].url).as_bytes())
    }

    /// Where the values go that these routes write back.
    pub(super) fn destinations(&self, routes: &[Arc<Route>]) -> Vec<Destination> {
        let destination = |route: &Arc<Route>| {
            let write_back = route.write_back.as_ref()?;
            Some(Destination {
                route: Arc::clone(&route.name),
                table: route.table.clone(),
                key: route.key.clone(),
                columns: write_back.columns().map(str::to_owned).collect(),
            })
        };
        routes.iter().filter_map(destination).collect()
    }

    /// The same before the tables are known, so without keys.
    pub(super) fn planned_destinations(&self) -> Vec<Destination> {
        let routes = self.routes(None).unwrap_or_default();
        self.destinations(&routes.into_iter().map(Arc::new).collect::<Vec<_>>())
    }

    /// The remotes, as the engine takes them.
    pub(super) fn engine_remotes(&self) -> Vec<Remote> {
        let remote = |it: &PlannedRemote| {
            let settings = &self.loaded.config.remotes[&it.name];
            Remote {
                name: it.name.as_str().into(),
                client: Arc::clone(&it.client),
                retry: RetryPolicy::new(&settings.retry),
                governor: Arc::clone(&it.governor),
            }
        };
        self.remotes.iter().map(remote).collect()
    }

    /// The names of an entity's routes.
    pub(super) fn route_names(&self, entity: &str) -> Vec<Arc<str>> {
        let remotes = self.entity(entity).map_or(&[][..], |it| &it.remotes);
        remotes.iter().map(|it| route_name(entity, it, remotes.len() > 1)).collect()
    }

    /// Every route of the source.
    pub(super) fn all_routes(&self) -> Vec<String> {
        let names = self.entities.iter().flat_map(|it| self.route_names(it));
        names.map(|it| it.to_string()).collect()
    }

    /// Every remote that something of the source is sent to.
    pub(super) fn all_remotes(&self) -> Vec<String> {
        self.remotes.iter().map(|it| it.name.clone()).collect()
    }

    pub(super) fn entity(&self, name: &str) -> Option<&EntitySettings> {
        self.entities.iter().any(|it| it == name).then(|| &self.loaded.config.entities[name])
    }

    /// The routes. With the tables described, names in templates are checked against their
    /// columns; without, keys that are left out stay empty.
    pub(super) fn routes(&self, described: Option<&Described>) -> Result<Vec<Route>, Vec<String>> {
        let mut errors = Vec::new();
        let mut synchronizers = Synchronizers::new();
        for name in self.parents_first() {
            for remote in &self.loaded.config.entities[name].remotes {
                match self.synchronizer(name, remote, described, &synchronizers) {
                    Ok(synchronizer) => drop(synchronizers.insert((name, remote), synchronizer)),
                    Err(more) => errors.extend(more),
                }
            }
        }
        let mut routes = Vec::new();
        for name in &self.entities {
            match self.routes_of(name, &synchronizers, described) {
                Ok(more) => routes.extend(more),
                Err(more) => errors.extend(more),
            }
        }
        // What is said of a common rule is the same for all who follow it.
        let mut said = BTreeSet::new();
        errors.retain(|error| said.insert(error.clone()));
        if errors.is_empty() { Ok(routes) } else { Err(errors) }
    }

    fn routes_of(
        &self,
        name: &str,
        built: &Synchronizers<'_>,
        described: Option<&Described>,
    ) -> Result<Vec<Route>, Vec<String>> {
        let entity = &self.loaded.config.entities[name];
        let table = table_name(&entity.table).map_err(|error| vec![error])?;
        let shape = described.and_then(|it| it.get(&table));
        let mut further = Vec::new();
        for (child, settings) in &entity.tables {
            further.push((table_name(child).map_err(|error| vec![error])?, settings.key.0.clone()));
        }
        let key = match (&entity.key, shape) {
            (Some(KeyColumns(columns)), _) => columns.clone(),
            (None, Some(shape)) => identity(shape),
            (None, None) => Vec::new(),
        };
        if described.is_some() {
            check_keys(name, &table, &key, &further, described)?;
        }
        let several = entity.remotes.len() > 1;
        let mut routes = Vec::new();
        let mut errors = Vec::new();
        for remote in &entity.remotes {
            let fragments = self.fragments(name, remote)?;
            let at = self.remotes.iter().position(|it| it.name == *remote);
            let (Some(at), Some(synchronizer)) = (at, built.get(&(name, remote.as_str()))) else { continue };
            let parents = match self.parents(name, remote, shape) {
                Ok(parents) => parents,
                Err(more) => {
                    errors.extend(more);
                    continue;
                }
            };
            if let Err(more) = self.object_read(name, remote, shape, synchronizer.saves().into()) {
                errors.extend(more);
                continue;
            }
            let (columns, saved) = (shape.map(columns), synchronizer.saves().into());
            let names = Names { columns, saved, fragments, ..Names::default() };
            let at_place = self.loaded.locator.at(format!("entities.{name}.write_back"));
            let write_back = match WriteBack::new(&entity.write_back, &key, &names, &at_place) {
                Ok(write_back) => write_back,
                Err(more) => {
                    errors.extend(more);
                    continue;
                }
            };
            routes.push(Route {
                name: route_name(name, remote, several),
                table: table.clone(),
                key: key.clone(),
                further: further.clone(),
                remote: RemoteId(at as u16),
                told_to: self.told_to(remote),
                fetch: entity.fetch.clone(),
                priority: entity.priority,
                coalesce: entity.coalesce,
                on_dead: entity.on_dead,
                batch: entity.batch,
                waited_for: false,
                deleted_last: false,
                parents: parents.iter().filter_map(|it| self.at_remote(it, remote)).collect(),
                synchronizer: Arc::clone(synchronizer),
                write_back: write_back.map(Arc::new),
            });
        }
        if errors.is_empty() { Ok(routes) } else { Err(errors) }
    }

    /// The fragments that an entity's expressions may use at this remote.
    fn fragments(&self, name: &str, remote: &str) -> Result<Arc<Fragments>, Vec<String>> {
        synchronize::fragments(&self.loaded.rules(name, remote))
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    fn synchronizer(
        &self,
        name: &str,
        remote: &str,
        described: Option<&Described>,
        built: &Synchronizers<'_>,
    ) -> Result<Arc<dyn Synchronizer>, Vec<String>> {
        let entity = &self.loaded.config.entities[name];
        let table = table_name(&entity.table).map_err(|error| vec![error])?;
        let shape = described.and_then(|it| it.get(&table));
        let declaration = Declaration {
            entity: name,
            sequences: &entity.sequences(),
            settings: &entity.settings,
            when: entity.when.as_deref(),
            validate: &entity.validate,
            rules: &self.loaded.rules(name, remote),
            always: entity.always,
            at: self.loaded.locator.at(format!("entities.{name}")),
            columns: shape.map(columns),
            batched: entity.batch.is_some(),
            fetched: matches!(entity.fetch, Some(Fetch::Sql(_))),
            parents: parents::names(name, remote, entity, built),
        };
        let built = self.classes.build(entity.class.as_deref(), &declaration);
        built.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    /// Reads every table's description; a missing one is an error.
    pub(super) async fn describe(&self, reader: &PostgresReader) -> Result<Described, AppError> {
        let mut described = Described::new();
        let mut missing = Vec::new();
        for table in &self.tables {
            match reader.describe(table).await? {
                Some(found) => drop(described.insert(table.clone(), found)),
                None => missing.push(format!(
                    "table {table} does not exist in database `{}`: check the entity's `table`, and that `{}` may see it",
                    self.target.database, self.target.user
                )),
            }
        }
        if missing.is_empty() { Ok(described) } else { Err(AppError::Configuration(missing)) }
    }
}

fn route_name(entity: &str, remote: &str, several: bool) -> Arc<str> {
    if several { format!("{entity}.{remote}").into() } else { entity.into() }
}

fn check_keys(
    entity: &str,
    table: &TableName,
    key: &[String],
    further: &[(TableName, Vec<String>)],
    described: Option<&Described>,
) -> Result<(), Vec<String>> {
    let mut errors = Vec::new();
    // A table that is missing is said elsewhere.
    let shaped = described.is_some_and(|it| it.contains_key(table));
    if key.is_empty() && shaped {
        errors.push(format!(
            "entities.{entity}: table {table} has no primary key, so its rows cannot be told apart: add one, or name \
             the columns in `key`"
        ));
    }
    let own = (table.clone(), key.to_vec());
    for (table, columns) in std::iter::once(&own).chain(further) {
        let Some(shape) = described.and_then(|it| it.get(table)) else { continue };
        for column in columns.iter().filter(|column| shape.position(column).is_none()) {
            errors.push(format!("entities.{entity}: key column `{column}` does not exist in table {table}"));
        }
    }
    for (child, columns) in
        further.iter().filter(|(_, columns)| columns.len() != key.len() && !key.is_empty())
    {
        errors.push(format!(
            "entities.{entity}.tables.{child}: `key` names {} columns, but the entity's key has {} ({})",
            columns.len(),
            key.len(),
            key.join(", ")
        ));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn columns(table: &Table) -> Arc<[Arc<str>]> {
    table.columns.iter().map(|it| Arc::clone(&it.name)).collect()
}

fn identity(table: &Table) -> Vec<String> {
    table.columns.iter().filter(|it| it.identity).map(|it| it.name.to_string()).collect()
}

fn table_name(text: &str) -> Result<TableName, String> {
    text.parse().map_err(|error: crate::model::BadTableName| error.to_string())
}
