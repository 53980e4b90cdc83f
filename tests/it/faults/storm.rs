use super::{trouble::Trouble, watch::never_ahead};
use crate::{
    harness::{
        Service, Version, eventually,
        postgres::Stop,
        proxy::{Proxy, Way},
        wait::LONG,
    },
    memory::{BOUND_KB, peak_kb},
    world::{
        Seed, World,
        oracle::{applied, not_once, out_of_order},
    },
};
use rowcall::demo::{Dice, Rule, world::Writer};
use std::{
    os::unix::process::ExitStatusExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet, time::sleep};

/// A world in which things go wrong.
pub struct Storm<'a> {
    seed: &'a Seed,
    dice: Dice,
    world: World,
    proxy: Proxy,
    service: Option<Service>,
    begun: Instant,
}

impl<'a> Storm<'a> {
    /// The service reaches its database by a proxy; the writers do not.
    pub async fn new(version: Version, seed: &'a Seed, adapt: fn(String) -> String) -> Self {
        let world = World::new(version, adapt).await;
        let proxy = Proxy::before(world.postgres.port()).await;
        let yaml = std::fs::read_to_string(world.rowcall.config()).expect("the configuration");
        let (direct, by_proxy) = (world.postgres.port().to_string(), proxy.port().to_string());
        world.rowcall.configure(&yaml.replace(&format!(":{direct}/"), &format!(":{by_proxy}/")));
        eprintln!("{seed}");
        Self { seed, dice: Dice::new(seed.0), world, proxy, service: None, begun: Instant::now() }
    }

    /// So many troubles, one after the other, while two writers write.
    pub async fn rage(&mut self, troubles: u32) {
        let enough = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for number in 0..2 {
            let writer = Writer::new(self.dice.split(), number, 2, 60);
            writers.spawn(write(writer, self.world.postgres.url(), enough.clone()));
        }
        let (over, ends) = watch::channel(false);
        let mut watching = never_ahead(&self.world.postgres, ends);
        for _ in 0..troubles {
            let trouble = Trouble::any(&mut self.dice);
            self.service(&trouble).await;
            eprintln!("{:6.2} s: {trouble:?}", self.begun.elapsed().as_secs_f64());
            self.befall(trouble).await;
            let pause = Duration::from_millis(self.dice.below(400));
            sleep(pause).await;
        }
        enough.store(true, Ordering::Relaxed);
        while let Some(written) = writers.join_next().await {
            written.expect("a writer");
        }
        over.send_replace(true);
        let watched = watching.join_next().await.expect("it watches").expect("it ends");
        let looks = watched.unwrap_or_else(|wrong| panic!("{wrong}; {}", self.seed));
        assert!(looks > 0, "nothing was seen; {}", self.seed);
    }

    /// One that runs, and that ends at the point that was chosen.
    async fn service(&mut self, next: &Trouble) {
        if let Some(service) = &mut self.service
            && let Some(status) = service.ended()
        {
            panic!("the service ended by itself, {status}; {}\n{}", self.seed, service.stderr());
        }
        if let Trouble::KillAt(point) = next {
            if let Some(service) = self.service.take() {
                service.sigkill().await;
            }
            self.service = Some(self.world.rowcall.run_until(point));
        } else if self.service.is_none() {
            self.service = Some(self.world.rowcall.run());
        }
    }

    async fn befall(&mut self, trouble: Trouble) {
        let bank = &self.world.bank;
        match trouble {
            Trouble::Kill => self.service.take().expect("a service").sigkill().await,
            Trouble::KillAt(_) => {
                let mut service = self.service.take().expect("a service");
                // It may have nothing to do just now, or not get to it.
                for _ in 0..100 {
                    if service.ended().is_some() {
                        return;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
                service.sigkill().await;
            }
            Trouble::Terminate => {
                let service = self.service.take().expect("a service");
                service.sigterm();
                let (status, stderr) = service.end().await;
                // One that has only just begun does not listen to signals yet.
                let asked = status.code() == Some(0) || status.signal() == Some(15);
                assert!(asked, "{status}: {stderr}; {}", self.seed);
            }
            Trouble::Freeze(long) => {
                let service = self.service.as_ref().expect("a service");
                service.signal("STOP");
                sleep(long).await;
                service.signal("CONT");
            }
            Trouble::Database(way, long) => {
                self.proxy.set(way);
                sleep(long).await;
                self.proxy.set(Way::Open);
            }
            Trouble::Restart { crash } => {
                let how = if crash { Stop::Immediate } else { Stop::Fast };
                self.world.postgres.stop(how).await;
                self.world.postgres.start_again().await;
            }
            Trouble::Remote { fault, every, for_ } => {
                bank.faults().add(Rule::new(fault).every(every));
                sleep(for_).await;
                bank.faults().clear();
            }
            Trouble::Alter(sql) => {
                // Writers may be in the way, who give way in the end.
                eventually("a table is altered", LONG, async || {
                    self.world.postgres.client().await.batch_execute(sql).await
                })
                .await;
            }
        }
    }

    /// Everything works again, and both sides become equal.
    pub async fn calm(&mut self) {
        self.world.bank.faults().clear();
        self.proxy.set(Way::Open);
        if let Some(service) = self.service.take() {
            let peak = peak_kb(service.pid().expect("it runs"));
            assert!(peak < BOUND_KB, "{} MB; {}", peak / 1024, self.seed);
            service.sigkill().await;
        }
        self.world.equal(self.seed).await;
    }

    pub async fn each_version_once_and_in_order(&self) {
        let (writes, history) = (applied(&self.world.bank.journal()), self.world.history().await);
        eprintln!("{} versions were written, {} calls applied", history.len(), writes.len());
        assert_eq!(out_of_order(&writes), [""; 0], "{}", self.seed);
        assert_eq!(not_once(&writes, &history), [""; 0], "{}", self.seed);
        assert_eq!(
            self.world.bank.stats().mismatched,
            0,
            "a key came back with another request; {}",
            self.seed
        );
    }
}

/// Writes until there is enough, over a new connection when one is lost.
async fn write(mut writer: Writer, url: String, enough: Arc<AtomicBool>) {
    while !enough.load(Ordering::Relaxed) {
        let Ok(mut client) = crate::harness::postgres::Client::connect(&url).await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        while !enough.load(Ordering::Relaxed) && writer.write(&mut client).await.is_ok() {
            // Leaves the machine to the service; what comes of it holds at any speed.
            sleep(Duration::from_millis(8)).await;
        }
    }
}
