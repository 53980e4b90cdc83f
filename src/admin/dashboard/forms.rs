//! Fields of forms, each with its label. Pure.

use crate::admin::api::Given;
use maud::{Markup, html};

/// A line of text.
pub(super) fn text(name: &str, label: &str, value: Option<&str>, hint: &str) -> Markup {
    html! { label.field { span { (label) } input name=(name) value=(value.unwrap_or_default()) placeholder=(hint) autocomplete="off" spellcheck="false"; } }
}

/// One of these, or any.
pub(super) fn choice(name: &str, label: &str, any: &str, values: &[&str], chosen: Option<&str>) -> Markup {
    html! {
        label.field {
            span { (label) }
            select name=(name) {
                option value="" { (any) }
                @for value in values { option value=(value) selected[chosen == Some(value)] { (value) } }
            }
        }
    }
}

/// Yes, if it is ticked.
pub(super) fn tick(name: &str, label: &str) -> Markup {
    html! { label.tick { input type="checkbox" name=(name) value="true"; span { (label) } } }
}

/// What was given before, to go along.
pub(super) fn hidden(given: &Given, but: &[&str]) -> Markup {
    html! {
        @for (name, value) in given.all().filter(|(name, _)| !but.contains(name)) {
            input type="hidden" name=(name) value=(value);
        }
    }
}
