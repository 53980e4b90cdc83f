//! What operators did, here and over the API.

use super::{layout::Page, pieces, say, visit::Visit};
use crate::{
    admin::{api::query_of, problem::Problem},
    state::postgres::Operation,
};
use jiff::Timestamp;
use maud::{Markup, html};

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let given = visit.given(query_of("operations.list"))?;
    let limit = given.get("limit").unwrap_or(100);
    let done = visit.desk().operations(given.text("action"), given.get("before"), limit).await?;
    let older = done.last().filter(|_| done.len() as i64 == limit).map(|it| it.id);
    let live = html! {
        h1 { "Operations" }
        p.lead { "Whatever was changed here or over the API, by whom, and how it ended." }
        @if done.is_empty() { (pieces::nothing("Nobody has changed anything yet.")) } @else { (draw(&done, visit.now)) }
        @if let Some(id) = older { p { a.button.quiet href=(format!("/operations?before={id}")) { "Older" } } }
    };
    Ok(Page { title: "Operations".to_owned(), live, rest: html! {} })
}

fn draw(done: &[Operation], now: Timestamp) -> Markup {
    let rows = html! {
        @for it in done {
            tr {
                td { (say::when(it.at, now)) }
                th scope="row" { (it.action) }
                td { (it.who) @if let Some(address) = &it.address { " from " (address) } }
                td { (it.outcome.as_deref().unwrap_or("not ended")) }
                td.why { code { (crate::model::one_line(&it.asked.to_string(), 300)) } }
                td.why { @if let Some(answer) = &it.answer { code { (crate::model::one_line(&answer.to_string(), 300)) } } }
            }
        }
    };
    pieces::table(
        "Operations, the newest first",
        &["When", "What", "Who", "Outcome", "Asked", "Answer"],
        rows,
    )
}
