//! Routes and remotes that a person has paused.

use crate::model::{Halt, HaltOf};
use tokio_postgres::{Client, Error, Row};

/// Works on the state database over a connection of its own; a running service notices by itself.
#[derive(Clone, Copy, Debug)]
pub struct HaltDesk<'a> {
    /// Any connection to the state database.
    pub client: &'a Client,
}

const COLUMNS: &str = "what, name, since, who, reason";

impl HaltDesk<'_> {
    /// Everything that is paused.
    pub async fn list(&self) -> Result<Vec<Halt>, Error> {
        let sql = format!("select {COLUMNS} from rowcall.halt order by what, name");
        Ok(self.client.query(&sql, &[]).await?.iter().map(read).collect())
    }

    /// Pauses it; what is paused already stays as it is. Gives how it is then, and whether it is new.
    pub async fn pause(
        &self,
        what: HaltOf,
        name: &str,
        who: &str,
        reason: Option<&str>,
    ) -> Result<(Halt, bool), Error> {
        let sql = format!(
            "with made as (
                insert into rowcall.halt (what, name, who, reason) values ($1, $2, $3, $4)
                on conflict do nothing returning {COLUMNS}
            )
            select {COLUMNS}, true from made
            union all
            select {COLUMNS}, false from rowcall.halt where what = $1 and name = $2"
        );
        let row = self.client.query_one(&sql, &[&what.name(), &name, &who, &reason]).await?;
        Ok((read(&row), row.get(5)))
    }

    /// Lets it go on, and says how it was paused; `None` if it was not.
    pub async fn resume(&self, what: HaltOf, name: &str) -> Result<Option<Halt>, Error> {
        let sql = format!("delete from rowcall.halt where what = $1 and name = $2 returning {COLUMNS}");
        Ok(self.client.query_opt(&sql, &[&what.name(), &name]).await?.map(|row| read(&row)))
    }
}

fn read(row: &Row) -> Halt {
    let what = if row.get::<_, &str>(0) == HaltOf::Route.name() { HaltOf::Route } else { HaltOf::Remote };
    Halt { what, name: row.get(1), since: row.get(2), who: row.get(3), reason: row.get(4) }
}
