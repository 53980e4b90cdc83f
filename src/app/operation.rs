use super::{App, AppError};
use crate::{
    postgres,
    state::postgres::{NewOperation, OperationDesk, OperationEnd},
};
use serde_json::Value;

/// Something a person does by a command. It is written down like what operators do on the admin address:
/// before it is done, and when it has ended.
pub struct Order {
    client: postgres::Client,
    number: i64,
}

impl App {
    /// It is about to be done. What cannot be written down is not to be done.
    pub async fn begin_order(&self, who: &str, action: &str, asked: Value) -> Result<Order, AppError> {
        let client = self.first_state().await?;
        let operation = NewOperation { who: who.to_owned(), address: None, action: action.to_owned(), asked };
        let number = OperationDesk { client: &client }.begin(&operation).await.map_err(sql)?;
        Ok(Order { client, number })
    }
}

impl Order {
    /// It was done, with this answer, or not, for this reason.
    pub async fn ends(self, end: Result<Value, String>) -> Result<(), AppError> {
        let end = end.map_or_else(OperationEnd::Refused, OperationEnd::Done);
        OperationDesk { client: &self.client }.end(self.number, &end).await.map_err(sql)
    }
}

fn sql(error: tokio_postgres::Error) -> AppError {
    AppError::Unreachable(postgres::explain(&error))
}
