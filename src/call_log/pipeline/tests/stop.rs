use super::*;

const WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn what_is_in_memory_is_sent_without_ado() {
    let folder = folder();
    let mut rig = Rig::new(Mood::Takes, spool(folder.path()), options());
    rig.write(15).await;
    let begun = Instant::now();
    let gauges = rig.pipeline.close(WITHIN).await;
    assert!(begun.elapsed() < WITHIN);
    assert_eq!((gauges.sent, gauges.spooled, gauges.dropped, gauges.memory_bytes), (15, 0, 0, 0));
    assert_eq!(rig.script.took(), rig.all());
}

#[tokio::test(start_paused = true)]
async fn what_the_outlet_does_not_take_in_time_is_spooled_and_sent_first_by_the_next_process() {
    for mood in [Mood::Hangs, Mood::Fails, Mood::LosesAnswer] {
        let folder = folder();
        let mut rig = Rig::new(mood, spool(folder.path()), options());
        rig.write(15).await;
        let gauges = rig.pipeline.close(WITHIN).await;
        assert_eq!((gauges.sent, gauges.spool_records, gauges.dropped), (0, 15, 0), "{mood:?}");

        let mut next = Rig::new(Mood::Takes, spool(folder.path()), options());
        next.next = rig.next;
        next.write(15).await;
        next.until_sent(30).await;
        assert_eq!(next.script.took(), next.all(), "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_the_spool_is_left_to_the_next_process_and_not_sent_twice() {
    let folder = folder();
    let mut rig = Rig::new(Mood::Fails, spool(folder.path()), options());
    rig.write(500).await;
    rig.until("that all is spooled", |it| it.spooled == 500).await;
    rig.script.is(Mood::TakesOne);
    rig.until_sent(1).await;
    rig.write(5).await;
    rig.pipeline.close(WITHIN).await;
    let sent = rig.script.took();
    assert!(sent.len() <= options().batch, "{sent:?}");
    let next = Rig::new(Mood::Takes, spool(folder.path()), options());
    next.until_sent(505 - sent.len() as u64).await;
    assert_eq!([sent, next.script.took()].concat(), rig.all());
}

#[tokio::test(start_paused = true)]
async fn at_its_cap_the_spool_takes_what_is_left_all_the_same() {
    let folder = folder();
    let settings = settings(folder.path(), 100_000, WhenFull::Block);
    let mut rig = Rig::new(Mood::Fails, Some(Spool::open(&settings).expect("a spool")), options());
    let mut tasks = JoinSet::new();
    rig.write_aside(500, &mut tasks);
    sleep(Duration::from_secs(60)).await;
    tasks.shutdown().await;
    let gauges = rig.pipeline.close(WITHIN).await;
    assert!(gauges.written < 500);
    assert_eq!((gauges.spool_records, gauges.dropped), (gauges.written, 0));
}

#[tokio::test(start_paused = true)]
async fn what_has_no_place_is_counted_as_lost() {
    let folder = folder();
    let full = SmallDisk::new(0).open(&settings(folder.path(), 1 << 30, WhenFull::Block));
    for spool in [None, Some(full)] {
        let mut rig = Rig::new(Mood::Hangs, spool, options());
        rig.write(15).await;
        let gauges = rig.pipeline.close(WITHIN).await;
        assert_eq!((gauges.sent, gauges.spooled, gauges.dropped, gauges.memory_bytes), (0, 0, 15, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_comes_too_late_keeps_nobody_waiting() {
    let mut rig = Rig::new(Mood::Takes, None, PipelineOptions { required: true, ..options() });
    rig.write(1).await;
    rig.pipeline.close(WITHIN).await;
    rig.write(1).await;
    assert_eq!((rig.pipeline.close(WITHIN).await.dropped, rig.script.took()), (1, vec![0]));
}
