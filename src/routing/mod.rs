//! Which routes a change concerns, and for which key of each.
//!
//! A change of an entity's own table concerns the key it carries. A change of a further table
//! (`tables`) concerns the key its row points at, and both keys when it moves from one to another:
//! the entity's own row is then read again. A change whose key cannot be told is never dropped: it
//! becomes an errand with the problem in place of the key.

mod batch;
mod key;
mod parents;
mod schedule;
mod settings;
mod write_back;

pub use batch::Batch;
pub use key::{join as join_key, split as split_key};
pub use parents::{Parent, ParentKeys};
pub use schedule::{Schedule, ScheduledRun, Schedules};
pub use settings::{ChildTable, EntitySettings, Fetch, KeyColumns, OnDead};
pub use write_back::WriteBack;

use crate::{
    model::{Answered, Change, ChangeId, ContentHash, Image, Table, TableId, TableName},
    synchronize::{self, Batching, Synchronizer},
};
use std::{collections::HashMap, fmt, sync::Arc};

/// A route's place in the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u16);

/// A remote's place in the engine's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteId(pub u16);

/// Entity × remote: what is kept in step with what.
pub struct Route {
    /// The entity's name, with the remote's behind a dot if it has several.
    pub name: Arc<str>,
    /// The entity's own table.
    pub table: TableName,
    /// The columns of that table that make the key.
    pub key: Vec<String>,
    /// Further tables whose rows point at the entity: table and the columns that do.
    pub further: Vec<(TableName, Vec<String>)>,
    /// Where the calls go.
    pub remote: RemoteId,
    /// Stands for that remote and its address: another one has been told nothing yet.
    pub told_to: u64,
    /// What it depends on at the same remote.
    pub parents: Vec<Parent>,
    /// Whether other routes depend on this one; the router finds out.
    pub waited_for: bool,
    /// Whether some of those are deleted at the remote, and so before this one; the router finds out.
    pub deleted_last: bool,
    /// What is read before a change is carried.
    pub fetch: Option<Fetch>,
    /// Who goes first at the remote: from 1, the first, to 10.
    pub priority: u8,
    /// Waiting changes of a key merge into the newest state.
    pub coalesce: bool,
    /// Whether later changes of a key wait behind one that gave up.
    pub on_dead: OnDead,
    /// How many changes share a call; `None`: none do.
    pub batch: Option<Batch>,
    /// Decides the calls.
    pub synchronizer: Arc<dyn Synchronizer>,
    /// What is written into the row when a change has ended.
    pub write_back: Option<Arc<WriteBack>>,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Route {
    /// How its changes share calls, if they do.
    pub fn batching(&self) -> Option<(&Batch, &dyn Batching)> {
        self.batch.as_ref().zip(self.synchronizer.batching())
    }

    /// What the remote is told of a row, as a hash, if that can be said.
    pub fn content(&self, work: &synchronize::Work<'_>, answers: &[Answered]) -> Option<ContentHash> {
        let ContentHash(hash) = self.synchronizer.content(work, answers)?;
        Some(ContentHash(hash ^ self.told_to))
    }

    /// Whether its rows depend on others, or others on them.
    pub fn has_kin(&self) -> bool {
        self.waited_for || !self.parents.is_empty()
    }

    /// Whether each of its changes is sent whenever it comes, by itself and by the same calls: none is left out
    /// because the remote was told the same, or its row is deleted before its parent comes; none merges with
    /// another or shares a call; and which calls they are does not depend on what was sent meanwhile.
    pub fn sends_each_change(&self) -> bool {
        let left_out = self.synchronizer.leaves_out_what_was_told() || !self.parents.is_empty();
        !left_out && !self.coalesce && self.batch.is_none() && self.synchronizer.calls_the_same_again()
    }

    /// Whether the entity's own row has to be read for a change of this table.
    pub fn rereads(&self, table: &TableName) -> bool {
        self.fetch == Some(Fetch::Row) || *table != self.table
    }
}

/// One change's concern for one route.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Whose concern.
    pub route: RouteId,
    /// The key; or why it cannot be told.
    pub key: Result<Arc<str>, String>,
    /// The change, or the half of it that concerns this key.
    pub change: Arc<Change>,
}

/// Every route, by the tables that feed it.
#[derive(Debug, Default)]
pub struct Router {
    routes: Vec<Arc<Route>>,
    feeds: HashMap<TableName, Vec<Feed>>,
    resolved: HashMap<TableId, Resolved>,
}

#[derive(Clone, Debug)]
struct Feed {
    route: RouteId,
    key: Vec<String>,
    own: bool,
}

/// A table's feeds with their key columns' positions, for one shape of the table.
#[derive(Debug)]
struct Resolved {
    table: Arc<Table>,
    feeds: Arc<[ResolvedFeed]>,
}

#[derive(Debug)]
struct ResolvedFeed {
    route: RouteId,
    own: bool,
    key: Result<Vec<usize>, String>,
}

impl Router {
    /// Builds the router. Routes keep their order as their ids.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut router = Self::default();
        let mut routes: Vec<Route> = routes.into_iter().collect();
        parents::tell(&mut routes);
        for (at, route) in routes.into_iter().enumerate() {
            let id = RouteId(at as u16);
            let own = Feed { route: id, key: route.key.clone(), own: true };
            router.feeds.entry(route.table.clone()).or_default().push(own);
            for (table, key) in &route.further {
                let feed = Feed { route: id, key: key.clone(), own: false };
                router.feeds.entry(table.clone()).or_default().push(feed);
            }
            router.routes.push(Arc::new(route));
        }
        router
    }

    /// Every route, in the order of their ids.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route of this id.
    pub fn route(&self, id: RouteId) -> &Arc<Route> {
        &self.routes[usize::from(id.0)]
    }

    /// The route of this name.
    pub fn find(&self, name: &str) -> Option<RouteId> {
        self.routes.iter().position(|it| &*it.name == name).map(|at| RouteId(at as u16))
    }

    /// Every table that feeds a route.
    pub fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.feeds.keys()
    }

    /// Puts the change's errands into `errands`, in the order they are to be carried.
    pub fn route_change(&mut self, change: Change, errands: &mut Vec<Errand>) {
        let feeds = self.resolve(&change.table);
        let change = Arc::new(change);
        for feed in feeds.iter() {
            feed.errands(&change, errands);
        }
    }

    fn resolve(&mut self, table: &Arc<Table>) -> Arc<[ResolvedFeed]> {
        if let Some(known) = self.resolved.get(&table.id)
            && Arc::ptr_eq(&known.table, table)
        {
            return Arc::clone(&known.feeds);
        }
        let feeds = self.feeds.get(&table.name).map_or(&[][..], Vec::as_slice);
        let resolved: Arc<[ResolvedFeed]> = feeds
            .iter()
            .map(|feed| ResolvedFeed { route: feed.route, own: feed.own, key: positions(feed, table) })
            .collect();
        let feeds = Arc::clone(&resolved);
        self.resolved.insert(table.id, Resolved { table: Arc::clone(table), feeds });
        resolved
    }
}

fn positions(feed: &Feed, table: &Table) -> Result<Vec<usize>, String> {
    if feed.key.is_empty() {
        // Without this, all rows would be one.
        return Err(format!("table {} has no primary key, so its rows cannot be told apart", table.name));
    }
    let position = |name: &String| {
        table.position(name).ok_or_else(|| format!("table {} has no column `{name}`, the key", table.name))
    };
    feed.key.iter().map(position).collect()
}

impl ResolvedFeed {
    fn errands(&self, change: &Arc<Change>, errands: &mut Vec<Errand>) {
        let route = self.route;
        let columns = match &self.key {
            Ok(columns) => columns,
            Err(problem) => {
                return errands.push(Errand { route, key: Err(problem.clone()), change: Arc::clone(change) });
            }
        };
        let Some(row) = change.image.row() else {
            // A truncate concerns every key: the empty one stands for them all.
            return errands.push(Errand { route, key: Ok(Arc::from("")), change: Arc::clone(change) });
        };
        let key = key::of(row, columns);
        let before = match &change.image {
            Image::Update { old: Some(old), .. } => key::of(old, columns).ok(),
            _ => None,
        };
        match (before, &key) {
            (Some(before), Ok(now)) if before != *now => {
                let [delete, insert] =
                    if self.own { halves(change) } else { [change, change].map(Arc::clone) };
                errands.push(Errand { route, key: Ok(before), change: delete });
                errands.push(Errand { route, key, change: insert });
            }
            _ => errands.push(Errand { route, key, change: Arc::clone(change) }),
        }
    }
}

/// An update that changes the entity's key, as the delete and the insert it amounts to.
fn halves(change: &Arc<Change>) -> [Arc<Change>; 2] {
    let Change { id, ref table, ref image, committed_at, transaction } = **change;
    let Image::Update { old: Some(old), new } = image else { return [change, change].map(Arc::clone) };
    let half = |ordinal, image| {
        let id = ChangeId { ordinal, ..id };
        Arc::new(Change { id, table: Arc::clone(table), image, committed_at, transaction })
    };
    let new = new.clone().filled_from(old);
    [half(id.ordinal, Image::Delete { old: old.clone() }), half(id.ordinal + 1, Image::Insert { new })]
}
