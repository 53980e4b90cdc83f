//! How each trouble comes about.

use super::{
    storm::Storm,
    trouble::{Part, Trouble},
};
use crate::harness::{eventually, postgres::Stop, proxy::Way, wait::LONG};
use rowcall::demo::Rule;
use std::{os::unix::process::ExitStatusExt, time::Duration};
use tokio::time::sleep;

impl Storm<'_> {
    pub(super) async fn befall(&mut self, trouble: Trouble) {
        let bank = &self.world.bank;
        match trouble {
            Trouble::Kill => {
                let service = self.service.take().expect("a service");
                self.kill(service).await;
            }
            Trouble::KillAt(_) => self.comes_to_its_point().await,
            Trouble::Terminate => {
                let service = self.service.take().expect("a service");
                self.terminate(service).await;
            }
            Trouble::Freeze(long) => {
                let service = self.service.as_ref().expect("a service");
                service.signal("STOP");
                sleep(long).await;
                service.signal("CONT");
            }
            Trouble::Way(part, way, long) => {
                self.set(part, way);
                sleep(long).await;
                self.set(part, Way::Open);
            }
            Trouble::Restart { part: Part::Database, crash } => {
                let how = if crash { Stop::Immediate } else { Stop::Fast };
                self.world.postgres.stop(how).await;
                self.world.postgres.start_again().await;
            }
            Trouble::Restart { part, crash } => {
                self.log.as_mut().expect("a log").restart(part, crash).await;
            }
            Trouble::Remote { fault, every, for_ } => {
                bank.faults().add(Rule::new(fault).every(every));
                sleep(for_).await;
                bank.faults().clear();
            }
            Trouble::Revoke => bank.tokens().revoke(),
            Trouble::Retry => {
                self.world.rowcall.command(&["parked", "retry", "--all"]).await.expect_code(0);
            }
            Trouble::Alter(sql) => {
                // Writers may be in the way, who give way in the end.
                eventually("a table is altered", LONG, async || {
                    self.world.postgres.client().await.batch_execute(sql).await
                })
                .await;
            }
            Trouble::Run(kind, options) => {
                // As the commands ask for it, who would do it themselves while no service runs.
                let ask = format!(
                    "insert into rowcall.run (source, kind, entity, options, origin)
                     select source, '{kind}', {}, '{options}', 'test' from rowcall.checkpoint",
                    if kind == "replay" { "null" } else { "'customer'" }
                );
                self.world.postgres.execute(&ask).await;
            }
        }
    }

    fn set(&self, part: Part, way: Way) {
        match part {
            Part::Database => self.database.set(way),
            Part::Remote => self.remote.set(way),
            Part::Broker | Part::Store => self.log.as_ref().expect("a log").set(part, way),
        }
    }

    /// It is killed there; or from here, where it has nothing to do just now, or does not get to it.
    async fn comes_to_its_point(&mut self) {
        let mut service = self.service.take().expect("a service");
        for _ in 0..100 {
            self.is_small(&service);
            if let Some(status) = service.ended() {
                assert_eq!(status.signal(), Some(9), "{status}; {}\n{}", self.seed, service.stderr());
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        service.sigkill().await;
    }
}
