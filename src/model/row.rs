use super::Type;
use std::{fmt, str::FromStr, sync::Arc};

/// A table's OID: what the stream names tables by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u32);

/// A table's name with its schema: what configuration names tables by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema.
    pub schema: Arc<str>,
    /// The name within the schema.
    pub name: Arc<str>,
}

impl TableName {
    /// The name as SQL wants it, each part quoted.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }
}

fn quote(part: &str) -> String {
    format!("\"{}\"", part.replace('"', "\"\""))
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A text that names no table.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a table name: expected `table` or `schema.table`")]
pub struct BadTableName(String);

/// `schema.table`; without a schema, `public`.
impl FromStr for TableName {
    type Err = BadTableName;
    fn from_str(text: &str) -> Result<Self, BadTableName> {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        if schema.is_empty() || name.is_empty() || name.contains('.') {
            return Err(BadTableName(text.to_owned()));
        }
        Ok(Self { schema: schema.into(), name: name.into() })
    }
}

/// A table as the stream described it at some moment; a changed table is a new value.
#[derive(Debug)]
pub struct Table {
    /// What the stream names it by.
    pub id: TableId,
    /// What people name it by.
    pub name: TableName,
    /// Its columns, in the rows' order.
    pub columns: Vec<Column>,
}

impl Table {
    /// Where the column stands in each of the table's rows.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|it| &*it.name == column)
    }
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: Arc<str>,
    /// What its text means.
    pub ty: Type,
    /// Whether it is part of the replica identity.
    pub identity: bool,
}

/// One value as Postgres printed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// SQL's null.
    Null,
    /// A large value the update did not touch: Postgres did not send it, so we do not know it.
    Unchanged,
    /// Anything else.
    Text(&'a str),
}

/// One row image. It owns exactly its own bytes, so a row that waits pins no read buffer and the
/// byte budget counts what is really held (invariant 5).
#[derive(Clone, Debug)]
pub struct Row {
    /// The table as it was when the row was written.
    pub table: Arc<Table>,
    text: Box<str>,
    spans: Box<[Span]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Null,
    Unchanged,
    Text { start: u32, end: u32 },
}

impl Row {
    /// The value of the column at `position`; `Null` beyond the last one (a column added since).
    pub fn cell(&self, position: usize) -> Cell<'_> {
        match self.spans.get(position) {
            None | Some(Span::Null) => Cell::Null,
            Some(Span::Unchanged) => Cell::Unchanged,
            Some(&Span::Text { start, end }) => Cell::Text(&self.text[start as usize..end as usize]),
        }
    }

    /// The value of the named column; `None` if the table has no such column.
    pub fn get(&self, column: &str) -> Option<Cell<'_>> {
        Some(self.cell(self.table.position(column)?))
    }

    /// Columns with their values, in table order.
    pub fn cells(&self) -> impl Iterator<Item = (&Column, Cell<'_>)> {
        self.table.columns.iter().enumerate().map(|(at, column)| (column, self.cell(at)))
    }

    /// Whether any value is [`Cell::Unchanged`].
    pub fn is_partial(&self) -> bool {
        self.spans.contains(&Span::Unchanged)
    }

    /// The same row with values it lacks taken from an older image of it.
    ///
    /// Returns `self` unchanged when the older image has another shape.
    pub fn filled_from(self, older: &Row) -> Row {
        if !self.is_partial() || self.table.columns != older.table.columns {
            return self;
        }
        let mut merged = RowBuilder::with_capacity(self.spans.len(), self.text.len() + older.text.len());
        for at in 0..self.spans.len() {
            merged.push(match self.cell(at) {
                Cell::Unchanged => older.cell(at),
                known => known,
            });
        }
        merged.finish(self.table)
    }

    /// What the row costs in memory, for the byte budget.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + size_of_val(&*self.spans)
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.table.id == other.table.id
            && self.spans.len() == other.spans.len()
            && (0..self.spans.len()).all(|at| self.cell(at) == other.cell(at))
    }
}

/// Puts a row together, value by value, in the table's column order.
#[derive(Debug, Default)]
pub struct RowBuilder {
    text: String,
    spans: Vec<Span>,
}

impl RowBuilder {
    /// With room for so many values of so many bytes in all.
    pub fn with_capacity(columns: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), spans: Vec::with_capacity(columns) }
    }

    /// Adds the next column's value.
    pub fn push(&mut self, cell: Cell<'_>) {
        self.spans.push(match cell {
            Cell::Null => Span::Null,
            Cell::Unchanged => Span::Unchanged,
            Cell::Text(text) => {
                // Postgres limits a tuple's message to 1 GB, so positions fit 32 bits.
                let start = self.text.len() as u32;
                self.text.push_str(text);
                Span::Text { start, end: self.text.len() as u32 }
            }
        });
    }

    /// The row, of this table.
    pub fn finish(self, table: Arc<Table>) -> Row {
        Row { table, text: self.text.into_boxed_str(), spans: self.spans.into_boxed_slice() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str]) -> Arc<Table> {
        let column = |name: &&str| Column { name: (*name).into(), ty: Type::Text, identity: false };
        let columns = columns.iter().map(column).collect();
        Arc::new(Table { id: TableId(1), name: "t".parse().expect("a name"), columns })
    }

    fn row(table: &Arc<Table>, cells: &[Cell<'_>]) -> Row {
        let mut builder = RowBuilder::default();
        cells.iter().for_each(|cell| builder.push(*cell));
        builder.finish(table.clone())
    }

    #[test]
    fn a_row_returns_what_was_put_in() {
        let table = table(&["a", "b", "c", "d"]);
        let row = row(&table, &[Cell::Text("é"), Cell::Null, Cell::Unchanged, Cell::Text("")]);
        assert_eq!(row.get("a"), Some(Cell::Text("é")));
        assert_eq!(row.get("b"), Some(Cell::Null));
        assert_eq!(row.get("c"), Some(Cell::Unchanged));
        assert_eq!(row.get("d"), Some(Cell::Text("")));
        assert_eq!(row.get("e"), None);
        assert!(row.is_partial());
    }

    #[test]
    fn unknown_values_are_taken_from_the_older_image_and_known_ones_kept() {
        let table = table(&["a", "b"]);
        let older = row(&table, &[Cell::Text("old a"), Cell::Text("old b")]);
        let newer = row(&table, &[Cell::Text("new a"), Cell::Unchanged]);
        let merged = newer.filled_from(&older);
        assert_eq!(merged, row(&table, &[Cell::Text("new a"), Cell::Text("old b")]));
    }

    #[test]
    fn table_names_parse_and_quote() {
        let name: TableName = "crm.Loan\"s".parse().expect("a name");
        assert_eq!(name.quoted(), "\"crm\".\"Loan\"\"s\"");
        assert_eq!("loans".parse::<TableName>().expect("a name").to_string(), "public.loans");
        assert!("a.b.c".parse::<TableName>().is_err() && ".b".parse::<TableName>().is_err());
    }
}
