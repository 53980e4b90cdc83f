use super::{Fault, Val, value::write_string};
use crate::{
    mapping::pg_value,
    model::{Cell, Column, Row},
};
use std::borrow::Cow;

/// A whole row as a JSON object, without the values that are not known.
pub(super) fn write_json(row: &Row, out: &mut Vec<u8>) -> Result<(), Fault> {
    out.push(b'{');
    let mut first = true;
    for (column, cell) in row.cells() {
        if cell == Cell::Unchanged {
            continue;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        write_string(&column.name, out);
        out.push(b':');
        write_cell(column, cell, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// One value as JSON, straight from Postgres' text.
pub(super) fn write_cell(column: &Column, cell: Cell<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    match cell {
        Cell::Null => out.extend_from_slice(b"null"),
        // Left out by whoever asks.
        Cell::Unchanged => {}
        Cell::Text(text) => {
            let start = out.len();
            pg_value::write_json(&column.ty, text, out).map_err(|malformed| {
                out.truncate(start);
                malformed.in_column(&column.name, text)
            })?;
        }
    }
    Ok(())
}

/// The entries of a row, as far as they are known.
pub(super) fn entries(row: &Row) -> Result<Vec<(Cow<'_, str>, Val<'_>)>, Fault> {
    let known = row.cells().filter(|(_, cell)| *cell != Cell::Unchanged);
    known
        .map(|(column, cell)| {
            let value = match cell {
                Cell::Text(text) => pg_value::read(&column.ty, text)
                    .map_err(|malformed| malformed.in_column(&column.name, text))?,
                _ => Val::Null,
            };
            Ok((Cow::Borrowed(&*column.name), value))
        })
        .collect()
}
