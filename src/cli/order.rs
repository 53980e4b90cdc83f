//! What a command changes is written down with who gave it, and what came of it.

use super::Failure;
use crate::app::App;
use serde::Serialize;
use serde_json::json;

/// Who gives the command.
pub(super) fn who() -> String {
    let user = std::env::var("USER").ok().filter(|it| !it.is_empty());
    user.map_or_else(|| "command".to_owned(), |user| format!("command of {user}"))
}

/// Does it, and writes it down before and after, as `action`.
pub(super) async fn ordered<T: Serialize>(
    app: &App,
    action: &str,
    doing: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let words: Vec<_> = std::env::args_os().skip(1).map(|it| it.to_string_lossy().into_owned()).collect();
    let order = app.begin_order(&who(), action, json!({ "command": words })).await?;
    let done = doing.await;
    let end = match &done {
        Ok(answer) => Ok(serde_json::to_value(answer).unwrap_or_default()),
        Err(Failure::Usage(why) | Failure::Failed(why)) => Err(why.clone()),
        Err(Failure::Said) => Err("see what it printed".to_owned()),
    };
    order.ends(end).await?;
    done
}
