use super::{
    log::Log,
    trouble::{Sky, Trouble},
    watch::Watching,
};
use crate::{
    harness::{
        Service, Version,
        proxy::{Proxy, Way},
        settled,
        wait::{LONG, while_it_moves},
    },
    memory::{BOUND_KB, peak_kb},
    world::{
        Seed, World,
        oracle::{applied, never_committed, not_once, out_of_order},
    },
};
use rowcall::demo::{Dice, TOKEN_PATH, world::Writer};
use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// What kind of storm it is.
#[derive(Clone, Copy)]
pub struct Plan {
    pub version: Version,
    pub adapt: fn(String) -> String,
    pub sky: Sky,
}

impl Plan {
    pub fn on(version: Version) -> Self {
        Self { version, adapt: |yaml| yaml, sky: Sky::default() }
    }
}

/// A world in which things go wrong.
pub struct Storm<'a> {
    pub(super) seed: &'a Seed,
    pub(super) dice: Dice,
    pub(super) world: World,
    pub(super) sky: Sky,
    /// Before the database, and before the remote.
    pub(super) database: Proxy,
    pub(super) remote: Proxy,
    pub(super) log: Option<Log>,
    pub(super) service: Option<Service>,
    watching: Option<Watching>,
    begun: Instant,
}

impl<'a> Storm<'a> {
    /// The service reaches everything by proxies; the writers do not.
    pub async fn new(Plan { version, adapt, sky }: Plan, seed: &'a Seed) -> Self {
        eprintln!("{seed}");
        let world = World::new(version, adapt).await;
        let database = Proxy::before(world.postgres.port()).await;
        let remote = Proxy::before(world.bank.addr().port()).await;
        let log = if sky.logs { Some(Log::start().await) } else { None };
        world.bank.tokens().require("rowcall", "s3cr3t");
        world.bank.tokens().lifetime(Duration::from_secs(5));
        let port = |port: u16, by: &Proxy| (format!(":{port}"), format!(":{}", by.port()));
        let token_url = format!("http://127.0.0.1:{}{TOKEN_PATH}", remote.port());
        let yaml = [port(world.postgres.port(), &database), port(world.bank.addr().port(), &remote)]
            .into_iter()
            .fold(world.rowcall.text(), |yaml, (from, to)| yaml.replace(&from, &to))
            .replace(
                "    concurrency: 16\n",
                &format!(
                    "    concurrency: 16\n    auth: {{ oauth2: {{ token_url: \"{token_url}\", client_id: rowcall, client_secret: s3cr3t, credentials: body }} }}\n"
                ),
            );
        // What is settled is known at once, also where nothing is written any more.
        let yaml = yaml.replace("    capture: {", "    heartbeat: 200ms\n    capture: {");
        let yaml = yaml + &log.as_ref().map(|it| it.configuration(!sky.orderly)).unwrap_or_default();
        world.rowcall.configure(&yaml);
        let mut storm = Self {
            seed,
            dice: Dice::new(seed.0),
            world,
            sky,
            database,
            remote,
            log,
            service: None,
            watching: None,
            begun: Instant::now(),
        };
        if !yaml.contains("fetch: row") {
            // Large names that an update leaves alone are in the log by that.
            storm.world.postgres.execute("alter table customers replica identity full").await;
        }
        if sky.runs {
            storm.world.rowcall.command(&["checkpoint", "create", "start"]).await.expect_code(0);
        }
        storm.let_the_queues_be_made().await;
        storm
    }

    /// So many troubles, one after the other, while two writers write.
    pub async fn rage(&mut self, troubles: u32) {
        let enough = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for number in 0..2 {
            let writer = Writer::new(self.dice.split(), number, 2, 60).wide();
            writers.spawn(write(writer, self.world.postgres.url(), enough.clone()));
        }
        self.watching = Some(Watching::start(&self.world.postgres));
        for _ in 0..troubles {
            let trouble = Trouble::any(&mut self.dice, self.sky);
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
    }

    /// One that runs, and that ends at the point that was chosen.
    async fn service(&mut self, next: &Trouble) {
        self.is_at_work();
        if let Trouble::KillAt(point) = next {
            if let Some(service) = self.service.take() {
                self.kill(service).await;
            }
            self.service = Some(self.world.rowcall.run_until(point));
        } else if self.service.is_none() {
            self.service = Some(self.world.rowcall.run());
        }
    }

    /// Whatever befalls it, it does not end by itself.
    pub(super) fn is_at_work(&mut self) {
        if let Some(service) = &mut self.service
            && let Some(status) = service.ended()
        {
            panic!("the service ended by itself, {status}; {}\n{}", self.seed, service.stderr());
        }
    }

    pub(super) async fn kill(&self, service: Service) {
        self.is_small(&service);
        service.sigkill().await;
    }

    /// Asks it to end, and it does.
    pub(super) async fn terminate(&self, service: Service) {
        self.is_small(&service);
        service.sigterm();
        let (status, stderr) = service.end().await;
        // One that has only just begun does not listen to signals yet.
        let asked = status.code() == Some(0) || status.signal() == Some(15);
        assert!(asked, "{status}: {stderr}; {}", self.seed);
    }

    /// It never had more memory than it may (invariant 5).
    pub(super) fn is_small(&self, service: &Service) {
        // One that has ended by now has nothing to look at.
        let peak = service.pid().and_then(peak_kb).unwrap_or_default();
        assert!(peak < BOUND_KB, "{} MB; {}", peak / 1024, self.seed);
    }

    /// Everything works again, and both sides become equal.
    pub async fn calm(&mut self) {
        self.world.bank.faults().clear();
        self.database.set(Way::Open);
        self.remote.set(Way::Open);
        if let Some(log) = &self.log {
            log.open();
        }
        self.is_at_work();
        eprintln!("{:6.2} s: everything works again", self.begun.elapsed().as_secs_f64());
        match self.service.take() {
            Some(service) if self.sky.orderly => self.terminate(service).await,
            Some(service) => self.kill(service).await,
            None => {}
        }
        self.nothing_waits_for_a_person().await;
        eprintln!("{:6.2} s: nothing waits for a person", self.begun.elapsed().as_secs_f64());
        self.world.equal(self.seed).await;
        let looks = self.watching.take().expect("it rages").end().await;
        let looks = looks.unwrap_or_else(|wrong| panic!("{wrong}; {}", self.seed));
        assert!(looks > 0, "nothing was seen; {}", self.seed);
        eprintln!("{:6.2} s: both sides are equal", self.begun.elapsed().as_secs_f64());
    }

    /// What the remote refused for good is tried again, and every run comes to its end, but for one whose table
    /// was altered meanwhile.
    async fn nothing_waits_for_a_person(&self) {
        let service = self.world.rowcall.run();
        settled(&self.world.postgres).await;
        let left = "select concat_ws(' ', route, key, state, reason, message) from rowcall.parked where state in ('rejected', 'dead')
            union all select concat_ws(' ', 'run', id, kind, options, state, read, error) from rowcall.run
            where state <> 'done' and not (kind = 'snapshot' and state = 'failed' and error like '%was altered while the run was under way%')";
        while_it_moves(&format!("nothing waits for a person; {}", self.seed), LONG, async || {
            let client = self.world.postgres.client().await;
            let left = client.query(left, &[]).await.expect("what is left");
            if left.is_empty() {
                return Ok(());
            }
            self.world.rowcall.command(&["parked", "retry", "--all"]).await.expect_code(0);
            Err(left.iter().map(|it| it.get(0)).collect::<Vec<String>>())
        })
        .await;
        self.terminate(service).await;
    }

    pub async fn each_version_once_and_in_order(&self) {
        let (writes, history) = (applied(&self.world.bank.journal()), self.world.history().await);
        eprintln!("{} versions were written, {} calls applied", history.len(), writes.len());
        assert_eq!(out_of_order(&writes), [""; 0], "{}", self.seed);
        assert_eq!(not_once(&writes, &history), [""; 0], "{}", self.seed);
        let mismatched = self.world.bank.stats().mismatched;
        assert_eq!(mismatched, 0, "a key came back with another request; {}", self.seed);
    }

    pub async fn only_what_was_committed(&self) {
        let writes = applied(&self.world.bank.journal());
        let history: BTreeSet<_> = self.world.history().await.into_iter().collect();
        eprintln!("{} versions were written, {} calls applied", history.len(), writes.len());
        assert_eq!(never_committed(&writes, &history), [""; 0], "{}", self.seed);
    }

    pub fn in_order(&self) {
        let writes = applied(&self.world.bank.journal());
        assert_eq!(out_of_order(&writes), [""; 0], "{}", self.seed);
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
            sleep(Duration::from_millis(20)).await;
        }
    }
}
