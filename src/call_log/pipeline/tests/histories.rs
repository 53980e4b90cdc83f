//! Whatever the outlet does and however often the process ends: everything arrives, in order.

use super::*;
use proptest::prelude::*;
use tokio::runtime::Builder;

#[derive(Clone, Copy, Debug)]
enum Act {
    Write(u64),
    Become(Mood),
    /// So many milliseconds go by.
    Pass(u64),
    /// An orderly stop within so many milliseconds, and a start.
    Restart(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let mood = prop_oneof![
        3 => Just(Mood::Takes), 2 => Just(Mood::Fails), 2 => Just(Mood::Hangs), 1 => Just(Mood::LosesAnswer),
    ];
    let act = prop_oneof![
        5 => (1_u64..60).prop_map(Act::Write),
        3 => mood.prop_map(Act::Become),
        3 => (0_u64..40_000).prop_map(Act::Pass),
        1 => (0_u64..3000).prop_map(Act::Restart),
    ];
    prop::collection::vec(act, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn everything_arrives_in_order(acts in acts(), required in any::<bool>()) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let folder = folder();
            let options = PipelineOptions { required, memory: ByteSize(15_000), ..options() };
            let mut rig = Rig::new(Mood::Takes, spool(folder.path()), options);
            for act in acts {
                match act {
                    Act::Write(count) => rig.write(count).await,
                    Act::Become(mood) => rig.script.is(mood),
                    Act::Pass(millis) => advance(Duration::from_millis(millis)).await,
                    Act::Restart(millis) => {
                        let gauges = rig.pipeline.close(Duration::from_millis(millis)).await;
                        assert_eq!((gauges.dropped, gauges.memory_bytes), (0, 0));
                        let outlet = Box::new(ScriptedOutlet(rig.script.clone()));
                        rig.pipeline = Arc::new(Pipeline::start(outlet, seal(), spool(folder.path()), options));
                    }
                }
            }
            rig.script.is(Mood::Takes);
            let it = rig.pipeline.gauges();
            let (all, is_there) = (rig.next, |it: &PipelineGauges| it.spool_records == 0 && it.memory_bytes == 0);
            rig.until("that all is sent", is_there).await;
            assert_eq!(firsts(rig.script.took()), rig.all(), "{all} records, {it:?}");
        });
    }
}
