//! What is read for a change before its calls, and what that takes from others.

use super::*;
use crate::routing::Fetch;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Takes its time, counts how many wait for it at once, and reads `fresh`.
#[derive(Default)]
struct SlowSource {
    takes: Duration,
    under_way: AtomicUsize,
    most: AtomicUsize,
    reads: AtomicUsize,
}

impl SlowSource {
    fn taking(seconds: u64) -> Arc<Self> {
        Arc::new(Self { takes: Duration::from_secs(seconds), ..Self::default() })
    }
}

#[async_trait]
impl RowReader for SlowSource {
    fn at_once(&self) -> usize {
        3
    }

    async fn row(&self, _: &TableName, key: &[(String, String)]) -> Result<Option<Row>, SourceError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let now = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(self.takes).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        Ok(Some(Stream::new().row(&key[0].1, Cell::Text("fresh"), Cell::Null)))
    }

    async fn fetch(&self, _: &str, _: &[String]) -> Result<Option<Value>, SourceError> {
        Ok(None)
    }
}

/// Two routes of one remote: `t`, whose rows are read again, and `quick`, whose are not.
fn two_routes(rig: &Rig) -> [Route; 2] {
    let quick = Route {
        name: "quick".into(),
        table: "public.quick".parse().expect("a name"),
        told_to: 1,
        ..rig.route()
    };
    [Route { fetch: Some(Fetch::Row), ..rig.route() }, quick]
}

fn quick(stream: Stream) -> Stream {
    let own = table();
    let name = "public.quick".parse().expect("a name");
    Stream { table: Arc::new(Table { id: TableId(2), name, columns: own.columns.clone() }), ..stream }
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_holds_no_part_of_the_remotes_concurrency() {
    let rig = Rig { governor: governor(1, None), ..Rig::new(FakeRemote::new()) };
    let stream = (0..10).fold(Stream::new(), |stream, key| stream.insert(&format!("s{key}"), "a"));
    let stream = (0..10).fold(quick(stream), |stream, key| stream.insert(&format!("q{key}"), "a"));
    let engine = rig.engine_of(two_routes(&rig), SlowSource::taking(3_600));
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(stream.commit(), true);
    let run = engine.run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(5))).await;
    assert_eq!(rig.calls().len(), 10, "the others do not wait: {:?}", rig.calls());
    run.await.expect("it runs");
    assert_eq!(rig.calls()[10..].iter().filter(|it| it.ends_with("fresh")).count(), 10);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_read_at_once_than_the_reader_takes() {
    for size in [None, Some(4)] {
        let remote = if size.is_some() { super::batches::bank() } else { FakeRemote::new() };
        let rig = Rig { governor: governor(64, None), ..Rig::new(remote) };
        let reader = SlowSource::taking(1);
        let route = |route: &mut Route| {
            if let Some(size) = size {
                super::batches::batched(route, size);
            }
            route.fetch = Some(Fetch::Row);
        };
        let stream = (0..60).fold(Stream::new(), |stream, key| stream.insert(&key.to_string(), "a"));
        let (_go, mut stop) = watch::channel(false);
        let mut source = rig.source(stream.commit(), true);
        let begun = Instant::now();
        let read = Arc::clone(&reader);
        rig.engine_with(route, read).run(&mut source, &mut stop).await.expect("it runs");
        assert_eq!(rig.store.links().len(), 60, "{size:?}");
        assert_eq!(reader.most.load(Ordering::Relaxed), 3, "all that may be is used, {size:?}");
        assert_eq!(begun.elapsed().as_secs(), 20, "{size:?}");
        assert_eq!(rig.budget.used(), 0, "{size:?}");
    }
}

/// Otherwise what waits for a remote that is down would be read long before it is sent, and fill
/// the memory twice over.
#[tokio::test(start_paused = true)]
async fn only_so_much_is_read_ahead_of_a_remote_that_is_busy() {
    let rig = Rig { governor: governor(1, None), ..Rig::new(FakeRemote::new().held()) };
    let reader = SlowSource::taking(0);
    let stream = (0..300).fold(Stream::new(), |stream, key| stream.insert(&key.to_string(), "a"));
    let read = Arc::clone(&reader);
    let engine = rig.engine_with(|route| route.fetch = Some(Fetch::Row), read);
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(stream.commit(), true);
    let run = engine.run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(60))).await;
    let ahead = reader.reads.load(Ordering::Relaxed);
    assert!((2..100).contains(&ahead), "{ahead}");
    rig.remote.release(300);
    run.await.expect("it runs");
    assert_eq!((rig.calls().len(), reader.reads.load(Ordering::Relaxed)), (300, 300));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_stands_by_priority_and_age_like_everything_else() {
    let rig = Rig { governor: governor(1, None), ..Rig::new(FakeRemote::new().held()) };
    let [slow, quick_route] = two_routes(&rig);
    let engine = rig.engine_of([Route { priority: 9, ..slow }, quick_route], SlowSource::taking(1));
    let (_go, mut stop) = watch::channel(false);
    let stream = (0..4).fold(Stream::new(), |stream, key| stream.insert(&format!("s{key}"), "a"));
    let stream = (0..4).fold(quick(stream), |stream, key| stream.insert(&format!("q{key}"), "a"));
    let mut source = rig.source(stream.commit(), true);
    let run = engine.run(&mut source, &mut stop);
    tokio::pin!(run);
    // All of it is read while the first call is under way.
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(5))).await;
    rig.remote.release(8);
    run.await.expect("it runs");
    let order: String =
        rig.calls().iter().map(|it| it.split('/').nth(2).expect("a key")[..1].to_owned()).collect();
    assert_eq!(order, "qqqqssss", "reading makes nothing more urgent");
}
