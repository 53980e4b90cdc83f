//! A change as `jsonb`: whole, with its table's shape, so that it can be carried on when the log
//! has long forgotten it.

use crate::model::{
    Cell, Change, ChangeId, Column, Image, Op, Row, RowBuilder, Table, TableId, TableName, Type,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, sync::Arc};

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    op: Op,
    #[serde(borrow)]
    table: StoredTable<'a>,
    committed_at: Timestamp,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    row: Option<Vec<StoredCell<'a>>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    old: Option<Vec<StoredCell<'a>>>,
}

#[derive(Serialize, Deserialize)]
struct StoredTable<'a> {
    id: u32,
    schema: Cow<'a, str>,
    name: Cow<'a, str>,
    #[serde(borrow)]
    columns: Vec<StoredColumn<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredColumn<'a> {
    name: Cow<'a, str>,
    ty: Type,
    identity: bool,
}

/// `null`, the text, or `{"unchanged": true}`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredCell<'a> {
    Null,
    Text(Cow<'a, str>),
    Unchanged { unchanged: bool },
}

/// What `jsonb` is given. Nothing in a change is beyond JSON.
pub(super) fn write(change: &Change) -> String {
    let Change { table, image, committed_at, .. } = change;
    let column = |it: &'_ Column| StoredColumn {
        name: Cow::Owned(it.name.to_string()),
        ty: it.ty.clone(),
        identity: it.identity,
    };
    let stored = Stored {
        op: image.op(),
        table: StoredTable {
            id: table.id.0,
            schema: Cow::Borrowed(&table.name.schema),
            name: Cow::Borrowed(&table.name.name),
            columns: table.columns.iter().map(column).collect(),
        },
        committed_at: *committed_at,
        row: image.row().map(write_row),
        old: if let Image::Update { old, .. } = image { old.as_ref().map(write_row) } else { None },
    };
    serde_json::to_string(&stored).unwrap_or_default()
}

fn write_row(row: &Row) -> Vec<StoredCell<'_>> {
    let cell = |(_, cell)| match cell {
        Cell::Null => StoredCell::Null,
        Cell::Unchanged => StoredCell::Unchanged { unchanged: true },
        Cell::Text(text) => StoredCell::Text(Cow::Borrowed(text)),
    };
    row.cells().map(cell).collect()
}

/// The change again, or what is wrong with what is stored.
pub(super) fn read(id: ChangeId, stored: &str) -> Result<Change, serde_json::Error> {
    let Stored { op, table, committed_at, row, old } = serde_json::from_str(stored)?;
    let column =
        |it: StoredColumn<'_>| Column { name: Arc::from(&*it.name), ty: it.ty, identity: it.identity };
    let table = Arc::new(Table {
        id: TableId(table.id),
        name: TableName { schema: Arc::from(&*table.schema), name: Arc::from(&*table.name) },
        columns: table.columns.into_iter().map(column).collect(),
    });
    let image = match (op, row.map(|row| read_row(&row, &table))) {
        (Op::Insert, Some(new)) => Image::Insert { new },
        (Op::Update, Some(new)) => Image::Update { old: old.map(|row| read_row(&row, &table)), new },
        (Op::Delete, Some(old)) => Image::Delete { old },
        (Op::Read, Some(new)) => Image::Read { new },
        (Op::Truncate, _) => Image::Truncate,
        (op, None) => {
            let message = format!("the stored {} has no row", op.name());
            return Err(serde::de::Error::custom(message));
        }
    };
    Ok(Change { id, table, image, committed_at, transaction: None })
}

fn read_row(cells: &[StoredCell<'_>], table: &Arc<Table>) -> Row {
    let mut row = RowBuilder::default();
    for cell in cells {
        row.push(match cell {
            StoredCell::Null => Cell::Null,
            StoredCell::Text(text) => Cell::Text(text),
            StoredCell::Unchanged { .. } => Cell::Unchanged,
        });
    }
    row.finish(Arc::clone(table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Lsn;

    #[test]
    fn a_change_survives_being_stored() {
        let column = |name: &str, ty| Column { name: name.into(), ty, identity: name == "id" };
        let list = Type::Array { element: Arc::new(Type::Numeric), delimiter: ',' };
        let columns = vec![column("id", Type::Int), column("list", list), column("notes", Type::Text)];
        let table = Arc::new(Table { id: TableId(7), name: "crm.loans".parse().expect("a name"), columns });
        let row = |cells: [Cell<'_>; 3]| {
            let mut row = RowBuilder::default();
            cells.into_iter().for_each(|cell| row.push(cell));
            row.finish(Arc::clone(&table))
        };
        let new = row([Cell::Text("1"), Cell::Text("{1.50,NULL}"), Cell::Unchanged]);
        let old = row([Cell::Text("1"), Cell::Null, Cell::Text("null \" \\ é")]);
        let images = [
            Image::Insert { new: new.clone() },
            Image::Update { old: Some(old.clone()), new: new.clone() },
            Image::Update { old: None, new: new.clone() },
            Image::Delete { old },
            Image::Read { new },
            Image::Truncate,
        ];
        for image in images {
            let id = ChangeId { commit: Lsn::new(5), ordinal: 2 };
            let committed_at = "2024-05-01T10:00:00.123456Z".parse().expect("a time");
            let change = Change { id, table: Arc::clone(&table), image, committed_at, transaction: None };
            let again = read(id, &write(&change)).expect("it reads back");
            assert_eq!(again.image, change.image);
            assert_eq!(again.table.columns, change.table.columns);
            assert_eq!((again.id, again.committed_at), (change.id, change.committed_at));
        }
    }
}
