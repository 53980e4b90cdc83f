//! Runs that are asked for again and again.

use super::Check;
use crate::{
    config::tree::Segment,
    routing::{EntitySettings, ScheduledRun},
};

impl Check<'_> {
    pub(super) fn schedules(&mut self, name: &str, entity: &EntitySettings) {
        let base = ["entities", name, "schedule"];
        let single = self.tree.get(&base).is_some_and(|it| it.entry("run").is_some());
        let mut seen = Vec::new();
        for (at, schedule) in entity.schedule.0.iter().enumerate() {
            let own = schedule.name(name);
            let twice = || ("cron", "this schedule is there twice".to_owned());
            let unread = || {
                let message = format!(
                    "an audit has to know how the remote is asked for one object: say so under `entities.{name}.read`"
                );
                (schedule.run == ScheduledRun::Audit && entity.read.is_none()).then_some(("run", message))
            };
            let wrong = schedule.complaint().or_else(unread);
            let wrong = wrong.or_else(|| seen.contains(&own).then(twice));
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
