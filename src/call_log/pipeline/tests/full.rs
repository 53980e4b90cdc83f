use super::*;

async fn is_stuck(rig: &Rig) -> u64 {
    // Whoever could still go on has done so by then.
    sleep(Duration::from_secs(300)).await;
    rig.pipeline.gauges().written
}

async fn blocks_and_resumes(spool: Option<Spool>) {
    let mut rig = Rig::new(Mood::Fails, spool, options());
    let mut tasks = JoinSet::new();
    rig.write_aside(3000, &mut tasks);
    let written = is_stuck(&rig).await;
    assert!(written < 3000, "all {written} were taken");
    assert_eq!(is_stuck(&rig).await, written);
    assert!(rig.pipeline.gauges().memory_bytes <= 40_000);
    rig.script.is(Mood::Takes);
    rig.until_sent(3000).await;
    assert!(tasks.join_next().await.is_some_and(|it| it.is_ok()));
    assert_eq!((rig.script.took(), rig.pipeline.gauges().dropped), (rig.all(), 0));
    let gauges = rig.pipeline.gauges();
    assert_eq!((gauges.held, gauges.outlet, gauges.spool), (0, None, None));
}

async fn drops_the_oldest(rig: &mut Rig) {
    rig.write(3000).await;
    // What is in memory finds its place.
    sleep(Duration::from_secs(300)).await;
    rig.script.is(Mood::Takes);
    rig.until("that all is sent", |it| it.sent + it.dropped == 3000).await;
    let (took, dropped) = (rig.script.took(), rig.pipeline.gauges().dropped);
    assert!(dropped > 1000, "{dropped}");
    assert_eq!(took.len() as u64 + dropped, 3000);
    assert!(took.is_sorted_by(|a, b| a < b), "{took:?}");
    // What was in hand was not dropped; behind that it is the oldest that went.
    let newest = took.iter().rev().zip((0..3000).rev()).take_while(|(a, b)| *a == b).count();
    assert!(took.len() - newest <= options().batch, "{took:?}");
    rig.write(10).await;
    rig.until("that it goes on", |it| it.sent + it.dropped == 3010).await;
    assert_eq!(rig.pipeline.gauges().dropped, dropped);
}

#[tokio::test(start_paused = true)]
async fn at_its_cap_writers_wait_until_there_is_room() {
    let folder = folder();
    let settings = settings(folder.path(), 1_000_000, WhenFull::Block);
    blocks_and_resumes(Some(Spool::open(&settings).expect("a spool"))).await;
}

#[tokio::test(start_paused = true)]
async fn at_its_cap_the_oldest_are_dropped_and_counted() {
    let folder = folder();
    let settings = settings(folder.path(), 1_000_000, WhenFull::DropOldest);
    let spool = Spool::open(&settings).expect("a spool");
    drops_the_oldest(&mut Rig::new(Mood::Fails, Some(spool), options())).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_spool_writers_wait_for_the_outlet() {
    blocks_and_resumes(None).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_spool_the_oldest_of_the_memory_are_dropped_and_counted() {
    let options = PipelineOptions { when_full: WhenFull::DropOldest, ..options() };
    drops_the_oldest(&mut Rig::new(Mood::Fails, None, options)).await;
}

fn on(disk: &SmallDisk, folder: &Path, when_full: WhenFull) -> Spool {
    disk.open(&settings(folder, 1 << 30, when_full))
}

#[tokio::test(start_paused = true)]
async fn on_a_full_disk_writers_wait_until_the_outlet_takes_it() {
    let (folder, disk) = (folder(), SmallDisk::new(1_000_000));
    blocks_and_resumes(Some(on(&disk, folder.path(), WhenFull::Block))).await;
}

#[tokio::test(start_paused = true)]
async fn on_a_full_disk_writers_wait_until_there_is_room() {
    let (folder, disk) = (folder(), SmallDisk::new(1_000_000));
    let mut rig = Rig::new(Mood::Fails, Some(on(&disk, folder.path(), WhenFull::Block)), options());
    let mut tasks = JoinSet::new();
    rig.write_aside(3000, &mut tasks);
    let written = is_stuck(&rig).await;
    assert!(written < 3000, "all {written} were taken");
    let gauges = rig.pipeline.gauges();
    let said = [gauges.outlet, gauges.spool].map(|it| it.map_or_else(String::new, |it| it.error.to_string()));
    assert!(said[0].contains("away") && said[1].contains("make room there"), "{said:?}");
    assert_eq!(gauges.held, 1);
    disk.grow(10_000_000);
    assert!(tasks.join_next().await.is_some_and(|it| it.is_ok()));
    rig.until("that all is spooled", |it| it.spooled == 3000).await;
    assert_eq!((rig.pipeline.gauges().held, rig.pipeline.gauges().spool), (0, None));
    rig.script.is(Mood::Takes);
    rig.until_sent(3000).await;
    assert_eq!((rig.script.took(), rig.pipeline.gauges().dropped), (rig.all(), 0));
}

#[tokio::test(start_paused = true)]
async fn on_a_full_disk_the_oldest_are_dropped_and_counted() {
    let (folder, disk) = (folder(), SmallDisk::new(1_000_000));
    let spool = on(&disk, folder.path(), WhenFull::DropOldest);
    drops_the_oldest(&mut Rig::new(Mood::Fails, Some(spool), options())).await;
}

#[tokio::test(start_paused = true)]
async fn on_a_disk_without_any_room_the_oldest_of_the_memory_are_dropped_and_counted() {
    let (folder, disk) = (folder(), SmallDisk::new(0));
    let spool = on(&disk, folder.path(), WhenFull::DropOldest);
    drops_the_oldest(&mut Rig::new(Mood::Fails, Some(spool), options())).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_larger_than_the_memory_goes_through_alone() {
    let options = PipelineOptions { memory: ByteSize(500), ..options() };
    let mut rig = Rig::new(Mood::Takes, None, options);
    rig.write(20).await;
    rig.until_sent(20).await;
    assert_eq!(rig.script.took(), rig.all());
}
