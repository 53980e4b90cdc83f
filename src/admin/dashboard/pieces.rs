//! What several pages show alike. Pure.

use super::{
    health::{Cure, Health, Trouble},
    say,
};
use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};
use serde_json::Value;

/// A name as part of a path or query.
pub(super) fn url(text: &str) -> String {
    // A path has no other form of a space.
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A shape for each state, for who does not tell colours apart.
pub(super) fn shape(health: Health) -> Markup {
    let (class, path) = match health {
        Health::Well => ("well", r#"<circle cx="8" cy="8" r="6"/>"#),
        Health::Paused => ("paused", r#"<path d="M3 2h4v12H3zM9 2h4v12H9z"/>"#),
        Health::Behind => ("behind", r#"<path d="M8 1.5 15 14H1z"/>"#),
        Health::Stuck => ("stuck", r#"<path d="M2 2h12v12H2z"/>"#),
    };
    html! { svg class=(format!("shape {class}")) viewBox="0 0 16 16" aria-hidden="true" { (PreEscaped(path)) } }
}

/// Shape and word.
pub(super) fn state(health: Health, word: &str) -> Markup {
    html! { span class=(format!("state {}", health_class(health))) { (shape(health)) (word) } }
}

fn health_class(health: Health) -> &'static str {
    match health {
        Health::Well => "well",
        Health::Paused => "paused",
        Health::Behind => "behind",
        Health::Stuck => "stuck",
    }
}

pub(super) fn cure(cure: Option<&Cure>) -> Markup {
    html! { @if let Some(Cure { label, href }) = cure { a.button href=(href) { (label) } } }
}

/// What is not well: what, why, since when, and what cures it.
pub(super) fn troubles(troubles: &[Trouble], now: Timestamp) -> Markup {
    html! {
        @if !troubles.is_empty() {
            ul.troubles {
                @for it in troubles {
                    li class=(health_class(it.health)) {
                        p.what { (state(it.health, it.health.word())) " " strong { (it.what) } @if let Some(since) = it.since { " " span.quiet { (say::lasting(since, now)) } } }
                        p.reason { (it.reason) }
                        (cure(it.cure.as_ref()))
                    }
                }
            }
        }
    }
}

/// A table that scrolls by itself where it is too wide.
pub(super) fn table(caption: &str, head: &[&str], rows: Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption.hidden { (caption) }
                thead { tr { @for name in head { th scope="col" class=[name.starts_with('#').then_some("number")] { (name.trim_start_matches('#')) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// Names and what stands for them.
pub(super) fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! { dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } } }
}

/// JSON with a line for each entry.
pub(super) fn json(value: &Value) -> Markup {
    html! { pre tabindex="0" { code { (serde_json::to_string_pretty(value).unwrap_or_default()) } } }
}

/// A body: JSON as [`json`] has it, anything else as it is.
pub(super) fn body(text: &str) -> Markup {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if value.is_object() || value.is_array() => json(&value),
        _ => html! { pre tabindex="0" { code { (text) } } },
    }
}

/// Nothing is there, in a sentence.
pub(super) fn nothing(sentence: &str) -> Markup {
    html! { p.nothing { (sentence) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_holds_stays_text() {
        let told = body(r#"{"a":"<script>alert(1)</script>"}"#).into_string();
        assert!(
            told.contains("{\n  &quot;a&quot;: &quot;&lt;script&gt;alert(1)&lt;/script&gt;&quot;\n}"),
            "{told}"
        );
        assert!(body("<script>").into_string().contains("&lt;script&gt;"));
        assert_eq!(url("a/b c#1&d=é"), "a%2Fb%20c%231%26d%3D%C3%A9");
    }

    #[test]
    fn a_state_is_a_shape_and_a_word() {
        let told = state(Health::Behind, "behind").into_string();
        assert!(told.contains("aria-hidden") && told.ends_with("</svg>behind</span>"), "{told}");
    }

    #[test]
    fn numbers_of_a_body_stay_exact() {
        assert!(body(r#"{"a":12345678901234567890.10}"#).into_string().contains("12345678901234567890.10"));
    }
}
