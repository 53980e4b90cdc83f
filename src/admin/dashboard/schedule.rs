//! Schedules: when each asks for its run, when it did last, and a run now.

use super::{
    layout::Page,
    pieces::{self, url},
    say,
    visit::Visit,
};
use crate::admin::{problem::Problem, view::ScheduleLine};
use jiff::Timestamp;
use maud::{Markup, html};

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let status = visit.status().await?;
    let live = html! { h1 { "Schedule" } (draw(&status.schedules, visit.now)) };
    Ok(Page { title: "Schedule".to_owned(), live, rest: html! {} })
}

fn draw(lines: &[ScheduleLine], now: Timestamp) -> Markup {
    if lines.is_empty() {
        return pieces::nothing("No entity has a schedule.");
    }
    let rows = html! {
        @for it in lines {
            tr {
                th scope="row" { (it.entity) }
                td { (it.run) }
                td.path { @match words(&it.cron) { Some(words) => { (words) " " code { (it.cron) } } None => code { (it.cron) } } }
                td { (it.zone) }
                td { (say::perhaps(it.last, now)) }
                td { (say::perhaps(it.next, now)) @if it.next.is_some_and(|next| next < now) { " " span.quiet { "(waits for its last run)" } } }
                td { a.button.quiet href=(format!("/do/runs.scheduled?schedule={}&source={}", url(&it.name), url(&it.source))) { "Run now" } }
            }
        }
    };
    pieces::table("Schedules", &["Entity", "Run", "When", "Time zone", "Last", "Next", "Now"], rows)
}

/// The common ones in words.
fn words(cron: &str) -> Option<String> {
    let fields: Vec<&str> = cron.split_whitespace().collect();
    let number = |text: &str| text.parse::<u8>().ok();
    match fields[..] {
        ["@hourly"] => Some("every hour".to_owned()),
        ["@daily"] => Some("every day at 00:00".to_owned()),
        ["@weekly"] => Some("every Sunday at 00:00".to_owned()),
        ["@monthly"] => Some("on the first of every month at 00:00".to_owned()),
        ["*", "*", "*", "*", "*"] => Some("every minute".to_owned()),
        [minutes, "*", "*", "*", "*"] if minutes.starts_with("*/") => {
            number(&minutes[2..]).map(|it| format!("every {it} minutes"))
        }
        [minute, "*", "*", "*", "*"] => number(minute).map(|it| format!("every hour at minute {it}")),
        [minute, hour, "*", "*", day] => {
            let time = format!("{:02}:{:02}", number(hour)?, number(minute)?);
            const DAYS: [&str; 7] =
                ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
            match day {
                "*" => Some(format!("every day at {time}")),
                day => DAYS.get(usize::from(number(day)? % 7)).map(|it| format!("every {it} at {time}")),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_schedules_are_said_in_words_and_others_as_written() {
        for (cron, said) in [
            ("0 3 * * *", Some("every day at 03:00")),
            ("30 22 * * 5", Some("every Friday at 22:30")),
            ("*/15 * * * *", Some("every 15 minutes")),
            ("5 * * * *", Some("every hour at minute 5")),
            ("@daily", Some("every day at 00:00")),
            ("0 3 1 1 *", None),
            ("0 3-5 * * *", None),
        ] {
            assert_eq!(words(cron).as_deref(), said, "{cron}");
        }
        let at = |second| Timestamp::from_second(second).ok();
        let line = ScheduleLine {
            name: "loan snapshot 0 3".to_owned(),
            source: "main".to_owned(),
            entity: "loan".to_owned(),
            run: "snapshot",
            cron: "0 3 1 1 *".to_owned(),
            zone: "UTC".to_owned(),
            last: at(0),
            next: at(3_600),
        };
        let text = draw(&[line], at(60).unwrap_or_default()).into_string();
        for said in [
            "<code>0 3 1 1 *</code>",
            "1 min ago",
            "in 59 min",
            "/do/runs.scheduled?schedule=loan%20snapshot%200%203&amp;source=main",
        ] {
            assert!(text.contains(said), "{said} in {text}");
        }
    }
}
