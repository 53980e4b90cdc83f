//! One request for a page: who asks, for what, and what everything stands like meanwhile.

use super::{Dashboard, layout::Frame};
use crate::admin::{
    Desk,
    api::{Given, Param, decoded},
    guard::Operator,
    problem::{FAILED, Problem},
    view::Status,
};
use axum::extract::Request;
use http::Uri;
use jiff::Timestamp;
use std::sync::Arc;

/// What was done is said by the page that follows; see [`super::deeds`].
const SAID: &[&str] = &["done", "count"];

pub(super) struct Visit {
    pub dashboard: Arc<Dashboard>,
    pub operator: Operator,
    pub uri: Uri,
    pub now: Timestamp,
}

impl Visit {
    pub(super) fn of(dashboard: Arc<Dashboard>, request: Request) -> Result<Self, Problem> {
        // Without the guard nobody comes here.
        let operator = request.extensions().get::<Operator>().copied();
        let operator = operator.ok_or_else(|| Problem::new(FAILED, "it is not known who asks"))?;
        let now = dashboard.desk.now();
        Ok(Self { dashboard, operator, uri: request.uri().clone(), now })
    }

    pub(super) fn desk(&self) -> &dyn Desk {
        &*self.dashboard.desk
    }

    /// What stands around the page.
    pub(super) fn frame(&self) -> Frame {
        let here = self.uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
        let said = super::deeds::said(&pairs(self.uri.query()));
        Frame { here, now: self.now, role: self.operator.role, said }
    }

    /// The second part of the path.
    pub(super) fn place(&self) -> String {
        decoded(self.uri.path().split('/').nth(2).unwrap_or_default())
    }

    /// What stands behind the `?`, as a form fills it in: what is empty was not given.
    pub(super) fn given(&self, known: &[Param]) -> Result<Given, Problem> {
        given(known, self.uri.query())
    }

    /// How everything stands, which may have been asked for a moment ago.
    pub(super) async fn status(&self) -> Result<Arc<Status>, Problem> {
        if let Some(status) = self.dashboard.samples.latest() {
            return Ok(status);
        }
        Ok(Arc::new(self.desk().status().await?))
    }
}

/// What a form told: what is empty was not given, and several of one name are a list.
pub(super) fn given(known: &[Param], told: Option<&str>) -> Result<Given, Problem> {
    let mut given = Given::default();
    let mut all = pairs(told);
    all.retain(|(name, _)| !SAID.contains(&name.as_str()));
    for at in 0..all.len() {
        let (name, _) = &all[at];
        if all[..at].iter().any(|(it, _)| it == name) {
            continue;
        }
        let values: Vec<&str> =
            all.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str()).collect();
        given.take(known, name, values.join(","))?;
    }
    Ok(given)
}

fn pairs(told: Option<&str>) -> Vec<(String, String)> {
    let pairs = form_urlencoded::parse(told.unwrap_or_default().as_bytes());
    let pairs = pairs.map(|(name, value)| (name.into_owned(), value.trim().to_owned()));
    pairs.filter(|(_, value)| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::query_of;

    #[test]
    fn a_form_leaves_out_what_is_empty_and_gives_several_as_a_list() {
        let known = query_of("parked.list");
        let given = given(known, Some("route=&ids=1&key=+a+&ids=2&done=x&count=3")).expect("right");
        assert_eq!(
            (given.numbers("ids"), given.text("key"), given.text("route")),
            (vec![1, 2], Some("a"), None)
        );
        assert!(super::given(known, Some("rout=x")).is_err());
    }
}
