use super::*;

#[tokio::test(start_paused = true)]
async fn while_all_is_well_nothing_touches_the_disk() {
    let folder = folder();
    let mut rig = Rig::new(Mood::Takes, spool(folder.path()), options());
    rig.write(7).await;
    rig.until_sent(7).await;
    // What came together was sent together.
    assert_eq!(*rig.script.batches(), [rig.all()]);
    rig.write(1).await;
    rig.until_sent(8).await;
    let gauges = rig.pipeline.gauges();
    assert_eq!((gauges.written, gauges.spooled, gauges.memory_bytes, gauges.dropped), (8, 0, 0, 0));
    assert_eq!((segments(folder.path()), gauges.outlet), (0, None));
}

#[tokio::test(start_paused = true)]
async fn an_outlet_that_is_away_for_longer_than_the_memory_gets_everything_in_order() {
    let folder = folder();
    let mut rig = Rig::new(Mood::Fails, spool(folder.path()), options());
    rig.write(1000).await;
    rig.until("that all is spooled", |it| it.spooled == 1000).await;
    let gauges = rig.pipeline.gauges();
    assert_eq!((gauges.memory_bytes, gauges.spool_records, gauges.sent), (0, 1000, 0));
    assert!(gauges.spool_bytes > 1_000_000 && gauges.outlet.is_some(), "{gauges:?}");
    assert_eq!(gauges.outlet.map(|it| it.error.to_string()).as_deref(), Some("sending: away"));

    rig.script.is(Mood::Takes);
    rig.write(500).await;
    rig.until_sent(1500).await;
    rig.until("that the spool is empty", |it| it.spool_records == 0).await;
    assert_eq!(rig.script.took(), rig.all());

    // Then it goes past the disk again.
    let spooled = rig.pipeline.gauges().spooled;
    rig.write(5).await;
    rig.until_sent(1505).await;
    let gauges = rig.pipeline.gauges();
    assert_eq!((gauges.spooled, gauges.spool_bytes, gauges.dropped), (spooled, 0, 0));
    assert_eq!((segments(folder.path()), gauges.outlet), (0, None));
    assert_eq!(rig.script.took(), rig.all());
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_given_up_after_its_time_and_asked_again() {
    let folder = folder();
    let mut rig = Rig::new(Mood::Hangs, spool(folder.path()), options());
    let begun = Instant::now();
    rig.write(3).await;
    rig.until("that it is failing", |it| it.outlet.is_some()).await;
    assert!(begun.elapsed() >= options().send_within, "after {:?}", begun.elapsed());
    let gauges = rig.pipeline.gauges();
    assert_eq!(
        gauges.outlet.map(|it| it.error.to_string()).as_deref(),
        Some("sending the call log: there was no confirmation within 30s")
    );
    rig.script.is(Mood::Takes);
    rig.until_sent(3).await;
    assert_eq!(rig.script.took(), rig.all());
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_keeps_nobody_waiting() {
    let folder = folder();
    let mut rig = Rig::new(Mood::Hangs, spool(folder.path()), options());
    let begun = Instant::now();
    rig.write(1000).await;
    // Longer than the memory, and the outlet has not even been given up.
    assert!(begun.elapsed() < options().send_within);
    assert!(rig.pipeline.gauges().outlet.is_none());
    rig.script.is(Mood::Takes);
    rig.until_sent(1000).await;
    assert_eq!(rig.script.took(), rig.all());
}

#[tokio::test(start_paused = true)]
async fn one_that_took_it_and_lost_the_answer_gets_it_again_and_nothing_is_left_out() {
    let folder = folder();
    let mut rig = Rig::new(Mood::LosesAnswer, spool(folder.path()), options());
    rig.write(100).await;
    rig.until("that it failed", |it| it.outlet.is_some()).await;
    rig.script.is(Mood::Takes);
    rig.until_sent(100).await;
    assert!(rig.script.took().len() > 100);
    assert_eq!(firsts(rig.script.took()), rig.all());
}

#[tokio::test(start_paused = true)]
async fn one_that_panics_is_one_that_fails() {
    struct Panics(u32, ScriptedOutlet);

    #[async_trait]
    impl Outlet for Panics {
        async fn send(&mut self, lines: &Arc<[Line]>) -> Result<Vec<crate::call_log::Refused>, CallLogError> {
            self.0 += 1;
            assert!(self.0 > 2, "the first two times");
            self.1.send(lines).await
        }
    }

    let script = Script::new(Mood::Takes);
    let outlet = Box::new(Panics(0, ScriptedOutlet(script.clone())));
    let pipeline = Arc::new(Pipeline::start(outlet, seal(), None, options()));
    let mut rig = Rig { script, pipeline, next: 0 };
    rig.write(3).await;
    rig.until_sent(3).await;
    assert_eq!(rig.script.took(), rig.all());
}
