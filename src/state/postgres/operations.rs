//! What operators did: written down before it is done, and again when it has ended.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{Client, Error, Row};

/// Something an operator did, or tried to.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Operation {
    /// Its number.
    pub id: i64,
    /// When it began.
    pub at: Timestamp,
    /// `token` or `local`, or `command` and the user who gave it.
    pub who: String,
    /// From which address.
    pub address: Option<String>,
    /// Such as `parked.discard`.
    pub action: String,
    /// What was asked, with its reason.
    pub asked: Value,
    /// `done` or `refused`; `None` if it has not ended, or the process died meanwhile.
    pub outcome: Option<String>,
    /// The answer, or why not.
    pub answer: Option<Value>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Something an operator is about to do.
#[derive(Clone, Debug, PartialEq)]
pub struct NewOperation {
    /// As [`Operation::who`].
    pub who: String,
    /// From which address.
    pub address: Option<String>,
    /// What.
    pub action: String,
    /// What was asked.
    pub asked: Value,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq)]
pub enum OperationEnd {
    /// It was done, with this answer.
    Done(Value),
    /// It was not, for this reason.
    Refused(String),
}

/// Works on the state database over a connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct OperationDesk<'a> {
    /// Any connection to the state database.
    pub client: &'a Client,
}

const COLUMNS: &str = "id, at, who, address, action, asked, outcome, answer, ended_at";

impl OperationDesk<'_> {
    /// Something is about to be done; its number.
    pub async fn begin(&self, operation: &NewOperation) -> Result<i64, Error> {
        let NewOperation { who, address, action, asked } = operation;
        let sql = "insert into rowcall.operation (who, address, action, asked) values ($1, $2, $3, $4) returning id";
        Ok(self.client.query_one(sql, &[who, address, action, asked]).await?.get(0))
    }

    /// It has ended.
    pub async fn end(&self, id: i64, end: &OperationEnd) -> Result<(), Error> {
        let (outcome, answer) = match end {
            OperationEnd::Done(answer) => ("done", answer.clone()),
            OperationEnd::Refused(why) => ("refused", Value::from(why.as_str())),
        };
        let sql = "update rowcall.operation set outcome = $2, answer = $3, ended_at = now() where id = $1";
        self.client.execute(sql, &[&id, &outcome, &answer]).await.map(drop)
    }

    /// The newest first; with `before`, those that began before that one.
    pub async fn list(
        &self,
        action: Option<&str>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Operation>, Error> {
        let sql = format!(
            "select {COLUMNS} from rowcall.operation
             where ($1::text is null or action = $1) and ($2::bigint is null or id < $2) order by id desc limit $3"
        );
        Ok(self.client.query(&sql, &[&action, &before, &limit]).await?.iter().map(read).collect())
    }
}

fn read(row: &Row) -> Operation {
    Operation {
        id: row.get(0),
        at: row.get(1),
        who: row.get(2),
        address: row.get(3),
        action: row.get(4),
        asked: row.get(5),
        outcome: row.get(6),
        answer: row.get(7),
        ended_at: row.get(8),
    }
}
