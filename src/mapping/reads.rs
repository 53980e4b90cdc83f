//! What expressions read of a change: when all of that is as it was, they come to the same.

use super::Scope;
use crate::model::{Cell, ContentHash, Row, Type};
use serde_json::{Map, Value};
use std::{
    collections::BTreeSet,
    hash::{Hash, Hasher},
    sync::Arc,
};
use xxhash_rust::xxh3::Xxh3;

/// The parts of a change that expressions read. What is our own (`link`, `saved`, `answers`,
/// `answer`) is left out, and so is what follows from the rest (`key`, `item`).
#[derive(Clone, Debug, Default)]
pub struct Reads {
    pub(super) row: Fields,
    pub(super) old: Fields,
    pub(super) fetched: Fields,
    pub(super) parents: Fields,
    pub(super) op: bool,
    /// What we know of the key ourselves: no part of the hash.
    pub(super) link: bool,
    /// What the fragments in them say, of which the expressions have only the names.
    pub(super) fragments: BTreeSet<u64>,
    /// The change's id or time, which are never the same twice.
    pub(super) change: bool,
}

/// What is read of something with fields.
#[derive(Clone, Debug, Default)]
pub(super) enum Fields {
    #[default]
    None,
    Named(BTreeSet<Arc<str>>),
    /// It is used as a whole, or by a name that is computed.
    All,
}

impl Fields {
    pub(super) fn name(&mut self, name: &Arc<str>) {
        match self {
            Self::None => *self = Self::Named(BTreeSet::from([Arc::clone(name)])),
            Self::Named(names) => drop(names.insert(Arc::clone(name))),
            Self::All => {}
        }
    }
}

impl Reads {
    /// Whether what we know of the key ourselves is read.
    pub fn reads_link(&self) -> bool {
        self.link
    }

    /// A hash of all that is read; `None` if part of it is not known, or is another each time.
    ///
    /// `seed` stands for the expressions themselves. One pass over what is read; allocates nothing.
    pub fn hash(&self, scope: &Scope<'_>, seed: u64) -> Option<ContentHash> {
        if self.change {
            return None;
        }
        let mut hasher = Xxh3::with_seed(seed);
        self.fragments.iter().for_each(|fragment| hasher.write_u64(*fragment));
        row(&mut hasher, &self.row, scope.row)?;
        row(&mut hasher, &self.old, scope.old)?;
        fetched(&mut hasher, &self.fetched, scope.fetched);
        parents(&mut hasher, &self.parents, scope.parents);
        if self.op {
            text(&mut hasher, scope.op.name());
        }
        Some(ContentHash(hasher.digest()))
    }
}

/// Each value is preceded by what it is and how long, so that two that are not the same never give
/// the same bytes.
fn row(hasher: &mut Xxh3, fields: &Fields, row: Option<&Row>) -> Option<()> {
    match (fields, row) {
        (Fields::None, _) => {}
        (_, None) => hasher.update(b"-"),
        (Fields::Named(names), Some(row)) => {
            for name in names {
                match row.table.position(name) {
                    // Whoever reads it says so.
                    None => hasher.update(b"?"),
                    Some(at) => cell(hasher, &row.table.columns[at].ty, row.cell(at))?,
                }
            }
        }
        (Fields::All, Some(row)) => {
            for (column, value) in row.cells() {
                text(hasher, &column.name);
                cell(hasher, &column.ty, value)?;
            }
        }
    }
    Some(())
}

fn cell(hasher: &mut Xxh3, ty: &Type, cell: Cell<'_>) -> Option<()> {
    match cell {
        Cell::Unchanged => return None,
        Cell::Null => hasher.update(b"n"),
        Cell::Text(value) => {
            // `7` is another value in a column of text.
            ty.hash(hasher);
            text(hasher, value);
        }
    }
    Some(())
}

fn fetched(hasher: &mut Xxh3, fields: &Fields, value: Option<&Value>) {
    match (fields, value) {
        (Fields::None, _) => {}
        (_, None) => hasher.update(b"-"),
        (Fields::Named(names), Some(Value::Object(entries))) => named(hasher, names, entries),
        (_, Some(value)) => json(hasher, value),
    }
}

fn parents(hasher: &mut Xxh3, fields: &Fields, parents: Option<&Map<String, Value>>) {
    match (fields, parents) {
        (Fields::None, _) => {}
        (_, None) => hasher.update(b"-"),
        (Fields::Named(names), Some(parents)) => named(hasher, names, parents),
        (Fields::All, Some(parents)) => object(hasher, parents),
    }
}

fn named(hasher: &mut Xxh3, names: &BTreeSet<Arc<str>>, entries: &Map<String, Value>) {
    for name in names {
        match entries.get(&**name) {
            None => hasher.update(b"?"),
            Some(entry) => json(hasher, entry),
        }
    }
}

fn object(hasher: &mut Xxh3, entries: &Map<String, Value>) {
    hasher.update(b"{");
    hasher.write_usize(entries.len());
    for (name, entry) in entries {
        text(hasher, name);
        json(hasher, entry);
    }
}

fn json(hasher: &mut Xxh3, value: &Value) {
    match value {
        Value::Null => hasher.update(b"n"),
        Value::Bool(truth) => hasher.update(if *truth { b"t" } else { b"f" }),
        Value::Number(number) => {
            hasher.update(b"#");
            text(hasher, number.as_str());
        }
        Value::String(string) => text(hasher, string),
        Value::Array(items) => {
            hasher.update(b"[");
            hasher.write_usize(items.len());
            items.iter().for_each(|item| json(hasher, item));
        }
        Value::Object(entries) => object(hasher, entries),
    }
}

fn text(hasher: &mut Xxh3, text: &str) {
    hasher.update(b"\"");
    hasher.write_usize(text.len());
    hasher.update(text.as_bytes());
}
