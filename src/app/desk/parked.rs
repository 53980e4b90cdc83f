//! Parked changes as an operator looks at them.

use super::{ambiguous, find, of_source, sql};
use crate::{
    admin::{
        DeskError,
        view::{ParkedDetail, ParkedPage},
    },
    app::App,
    call_log::{CallQuery, CallRecord},
    model::ChangeId,
    postgres,
    state::postgres::{Filter, Listed, Page, ParkedDesk, Shown, Total},
};

/// So many attempts are shown with a parked change.
const ATTEMPTS: usize = 10;

/// The state databases one after the other; a place is within that of its source.
pub(super) async fn list(
    app: &App,
    filter: &Filter,
    page: &Page,
    limit: i64,
) -> Result<ParkedPage, DeskError> {
    let mut connections = app.state_connections().await?;
    let mut total = 0;
    for connection in &mut connections {
        total += ParkedDesk { client: &mut connection.client }.count(filter).await.map_err(sql)?;
    }
    let backwards = matches!(page, Page::Before(_));
    if backwards {
        connections.reverse();
    }
    if let Page::Behind(place) | Page::Before(place) = page {
        let gone = || DeskError::Wrong(format!("there is no source `{}` in the configuration", place.source));
        let at = connections.iter().position(|it| it.sources.contains(&place.source)).ok_or_else(gone)?;
        connections.drain(..at);
    }
    // One more tells whether there are more.
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut listed, mut page_here) = (Vec::new(), page.clone());
    for connection in &mut connections {
        let left = limit.saturating_add(1).saturating_sub(listed.len() as i64);
        let desk = ParkedDesk { client: &mut connection.client };
        let mut part = desk.list(filter, &page_here, left).await.map_err(sql)?;
        if backwards {
            part.extend(listed);
            listed = part;
        } else {
            listed.extend(part);
        }
        if listed.len() > wanted {
            break;
        }
        page_here = if backwards { Page::Last } else { Page::First };
    }
    let more = listed.len() > wanted;
    if more && backwards {
        listed.remove(0);
    }
    listed.truncate(wanted);
    let (earlier, later) = match page {
        Page::First => (false, more),
        Page::Behind(_) => (true, more),
        Page::Before(_) | Page::Last => (more, backwards),
    };
    Ok(ParkedPage { listed, total, earlier, later })
}

pub(super) async fn count(app: &App, filter: &Filter) -> Result<i64, DeskError> {
    let mut total = 0;
    for mut connection in app.state_connections().await? {
        total += ParkedDesk { client: &mut connection.client }.count(filter).await.map_err(sql)?;
    }
    Ok(total)
}

pub(super) async fn totals(app: &App, filter: &Filter) -> Result<Vec<Total>, DeskError> {
    let mut totals = Vec::new();
    for mut connection in app.state_connections().await? {
        totals.extend(ParkedDesk { client: &mut connection.client }.totals(filter).await.map_err(sql)?);
    }
    Ok(totals)
}

pub(super) async fn show(app: &App, id: i64, source: Option<&str>) -> Result<ParkedDetail, DeskError> {
    let mut found = Vec::new();
    let mut connections = app.state_connections().await?;
    for connection in of_source(&mut connections, source)? {
        found.extend(ParkedDesk { client: &mut connection.client }.show(id).await.map_err(sql)?);
    }
    if found.len() > 1 {
        return Err(ambiguous(&format!("parked change {id}")));
    }
    let missing = || DeskError::Missing(format!("nothing is parked under the id {id}"));
    let shown = found.pop().ok_or_else(missing)?;
    let (last_attempts, note) = match attempts(app, &shown).await {
        Ok(attempts) => (attempts, None),
        Err(error) => (Vec::new(), Some(format!("its attempts are not known: {error}"))),
    };
    Ok(ParkedDetail { shown, last_attempts, note })
}

async fn attempts(app: &App, shown: &Shown) -> Result<Vec<CallRecord>, DeskError> {
    let Listed { route, key, commit, ordinal, .. } = &shown.listed;
    let query = CallQuery {
        route: Some(route.clone()),
        key: Some(key.clone()),
        change: Some(ChangeId { commit: *commit, ordinal: *ordinal }.to_string()),
        limit: ATTEMPTS,
        ..CallQuery::default()
    };
    Ok(find(&app.call_archive().await?, &query).await?.calls)
}

/// What is done to parked changes.
#[derive(Clone, Copy)]
pub(super) enum Act {
    Retry,
    Discard,
}

pub(super) async fn act(app: &App, filter: &Filter, act: Act) -> Result<u64, DeskError> {
    let mut connections = app.state_connections().await?;
    if !filter.ids.is_empty() && connections.len() > 1 {
        let mut matching = 0;
        for connection in &mut connections {
            let count = ParkedDesk { client: &mut connection.client }.count(filter).await.map_err(sql)?;
            matching += usize::from(count > 0);
        }
        if matching > 1 {
            let message = "these ids are in several state databases: add `route` to say which are meant";
            return Err(DeskError::Wrong(message.to_owned()));
        }
    }
    let mut count = 0;
    for connection in &mut connections {
        let mut desk = ParkedDesk { client: &mut connection.client };
        let done = match act {
            Act::Retry => desk.retry(filter).await,
            Act::Discard => desk.discard(filter).await,
        };
        count += done.map_err(|error| match count {
            0 => sql(error),
            done => DeskError::Unreachable(format!(
                "{done} of them were done before a state database broke off: {}",
                postgres::explain(&error)
            )),
        })?;
    }
    Ok(count)
}
