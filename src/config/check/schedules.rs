//! Runs that are asked for again and again.

use super::Check;
use crate::{config::tree::Segment, routing::EntitySettings};

impl Check<'_> {
    pub(super) fn schedules(&mut self, name: &str, entity: &EntitySettings) {
        let base = ["entities", name, "schedule"];
        let single = self.tree.get(&base).is_some_and(|it| it.entry("run").is_some());
        let mut seen = Vec::new();
        for (at, schedule) in entity.schedule.0.iter().enumerate() {
            let own = schedule.name(name);
            let twice = || ("cron", "this schedule is there twice".to_owned());
            let wrong = schedule.complaint().or_else(|| seen.contains(&own).then(twice));
            seen.push(own);
            if let Some((field, message)) = wrong {
                let mut path: Vec<_> = base.iter().map(|it| Segment::Key((*it).to_owned())).collect();
                if !single {
                    path.push(Segment::Item(at));
                }
                path.push(Segment::Key(field.to_owned()));
                self.report.say_at(self.tree, &path, message);
            }
        }
    }
}
