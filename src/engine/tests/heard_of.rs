//! Keys that the state never heard of are not asked about.

use super::{
    store::{Asked, Hook, Hooked},
    *,
};
use std::sync::Mutex;

/// Remembers who was asked about.
#[derive(Default)]
struct Watched {
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Hook for Watched {
    async fn before(&self, asked: Asked<'_>) {
        if let Asked::Recall(keys) = asked {
            self.asked.lock().expect("nobody panics").extend(keys.iter().map(|at| at.key.to_string()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_keys_that_were_heard_of_are_asked_about() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.reply(status(200)).reply(status(422));
    rig.run(Stream::new().insert("linked", "a").commit().insert("parked", "a").commit()).await;
    assert!(rig.link("linked").is_some() && rig.parked().len() == 1);

    let store = Hooked::new(&rig.store, Watched::default());
    let mut engine = rig.engine();
    Arc::get_mut(&mut engine.ground).expect("not shared yet").store = Arc::clone(&store) as _;
    let filter = rig.store.key_filter().await.expect("a filter");
    engine.heard_of.read(filter);
    let stream = Stream { commit: 900, ..Stream::new() };
    let stream = stream.update("linked", "b").commit().insert("parked", "b").commit();
    let stream = (0..50).fold(stream, |stream, key| stream.insert(&format!("new-{key}"), "a").commit());
    let mut source = rig.source(stream, true);
    let (_go, mut stop) = watch::channel(false);
    engine.run(&mut source, &mut stop).await.expect("it runs");

    let asked = store.hook.asked.lock().expect("nobody panics").clone();
    assert!(asked.contains(&"linked".to_owned()) && asked.contains(&"parked".to_owned()), "{asked:?}");
    assert!(asked.len() < 10, "a filter takes few strangers for known: {asked:?}");
    assert_eq!(rig.parked().len(), 2, "what follows a parked change waits behind it");
    assert!((0..50).all(|key| rig.link(&format!("new-{key}")).is_some()));
}
