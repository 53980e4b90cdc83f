use super::*;

fn required() -> PipelineOptions {
    PipelineOptions { required: true, ..options() }
}

#[tokio::test(start_paused = true)]
async fn a_write_returns_once_the_outlet_has_it() {
    let folder = folder();
    let mut rig = Rig::new(Mood::Takes, spool(folder.path()), required());
    for count in 1..5 {
        rig.write(1).await;
        assert_eq!(rig.script.took().len(), count);
    }
    assert_eq!(rig.pipeline.gauges().spooled, 0);
}

#[tokio::test(start_paused = true)]
async fn or_once_it_is_in_the_spool_where_the_outlet_is_slow() {
    let folder = folder();
    let mut rig = Rig::new(Mood::Hangs, spool(folder.path()), required());
    let begun = Instant::now();
    rig.write(1).await;
    assert!(begun.elapsed() >= required().patience && begun.elapsed() < required().send_within);
    for count in 2..5 {
        rig.write(1).await;
        assert_eq!(rig.pipeline.gauges().spool_records, count);
    }
    drop(rig);
    let script = Script::new(Mood::Takes);
    let outlet = Box::new(ScriptedOutlet(script.clone()));
    // As after a crash: nobody closed it. Its worker is gone only once it was told so.
    let spool = loop {
        match Spool::open(&SpoolSettings::at(folder.path())) {
            Ok(spool) => break spool,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let pipeline = Arc::new(Pipeline::start(outlet, seal(), Some(spool), required()));
    let rig = Rig { script, pipeline, next: 4 };
    rig.until_sent(4).await;
    assert_eq!(rig.script.took(), rig.all());
}

#[tokio::test(start_paused = true)]
async fn or_once_it_is_in_the_spool_where_the_outlet_fails() {
    let folder = folder();
    let mut rig = Rig::new(Mood::Fails, spool(folder.path()), required());
    for count in 1..20 {
        rig.write(1).await;
        assert_eq!(rig.pipeline.gauges().spool_records, count);
    }
    rig.script.is(Mood::Takes);
    rig.until_sent(19).await;
    assert_eq!(rig.script.took(), rig.all());
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_share_what_makes_them_durable() {
    let folder = folder();
    let mut rig = Rig::new(Mood::Hangs, spool(folder.path()), required());
    let mut tasks = JoinSet::new();
    for _ in 0..15 {
        rig.write_aside(1, &mut tasks);
    }
    let begun = Instant::now();
    while let Some(task) = tasks.join_next().await {
        task.expect("a write");
    }
    assert!(begun.elapsed() < required().patience * 2, "{:?}", begun.elapsed());
    assert_eq!(rig.pipeline.gauges().spool_records, 15);
}

#[tokio::test(start_paused = true)]
async fn without_a_spool_it_waits_for_the_outlet_however_long_that_takes() {
    let mut rig = Rig::new(Mood::Fails, None, required());
    let mut tasks = JoinSet::new();
    rig.write_aside(1, &mut tasks);
    sleep(Duration::from_secs(3600)).await;
    assert!(tasks.try_join_next().is_none());
    rig.script.is(Mood::Takes);
    tasks.join_next().await.expect("a write").expect("a write");
    assert_eq!(rig.script.took(), rig.all());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_dropped_record_waits_no_longer() {
    let options = PipelineOptions { when_full: WhenFull::DropOldest, ..required() };
    let mut rig = Rig::new(Mood::Fails, None, options);
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        rig.write_aside(1, &mut tasks);
    }
    sleep(Duration::from_secs(60)).await;
    let mut over = 0;
    while tasks.try_join_next().is_some() {
        over += 1;
    }
    assert!(over > 100, "{over}");
    assert_eq!(rig.pipeline.gauges().dropped, over);
}
