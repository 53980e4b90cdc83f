use super::*;

#[tokio::test(start_paused = true)]
async fn a_committed_row_becomes_its_calls_and_is_acknowledged() {
    let rig = Rig::new(FakeRemote::new());
    let stream = Stream::new().insert("1", "two a").commit().update("1", "b").delete("1").commit();
    assert_eq!(rig.run(stream).await, Lsn::new(201));
    assert_eq!(
        rig.calls(),
        ["POST /create/1 two a", "POST /second/1 two a", "PATCH /update/1 b", "DELETE /delete/1"]
    );
    let link = rig.link("1").expect("a tombstone");
    assert!(link.gone && link.change == ChangeId { commit: Lsn::new(200), ordinal: 2 });
    assert_eq!(rig.budget.used(), 0, "everything is freed");
}

#[tokio::test(start_paused = true)]
async fn call_keys_are_derived_from_route_database_change_and_step() {
    let rig = Rig::new(FakeRemote::new());
    rig.run(Stream::new().insert("1", "two").commit()).await;
    assert_eq!(rig.keys(), ["t-00000007-64-0-create", "t-00000007-64-0-second"]);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_acknowledged_only_when_it_is_whole() {
    let rig = Rig::new(FakeRemote::new());
    let stream = Stream::new().insert("1", "a").commit().insert("2", "b");
    assert_eq!(rig.run(stream).await, Lsn::new(101));
    assert!(rig.link("2").is_some(), "its outcome is durable all the same");
}

#[tokio::test(start_paused = true)]
async fn an_idle_source_is_acknowledged_too() {
    let rig = Rig::new(FakeRemote::new());
    let mut stream = Stream::new().insert("1", "a").commit();
    stream.batch.push(Captured::Idle(Lsn::new(900)));
    assert_eq!(rig.run(stream).await, Lsn::new(900));
}

#[tokio::test(start_paused = true)]
async fn capture_waits_for_the_budget_and_goes_on_when_it_is_freed() {
    let mut rig = Rig::new(FakeRemote::new().held());
    rig.budget = Budget::new(1);
    let mut source = rig.source(Stream::new(), true);
    let (first, second) = (Stream::new().insert("1", "a").commit(), {
        let mut second = Stream::new();
        second.commit = 200;
        second.insert("2", "b").commit()
    });
    source.batches = VecDeque::from([first.batch, second.batch]);
    let (_go, mut stop) = watch::channel(false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(1)).await;
    assert_eq!(rig.calls(), ["POST /create/1 a"], "the second batch is not even read");
    rig.remote.release(2);
    run.await.expect("it runs");
    assert_eq!(rig.calls(), ["POST /create/1 a", "POST /create/2 b"]);
}

#[tokio::test(start_paused = true)]
async fn waiting_changes_merge_into_the_newest_state_with_known_columns_kept() {
    let mut rig = Rig::new(FakeRemote::new());
    rig.coalesce = true;
    let stream = Stream::new().insert("1", "a").commit().update("1", "b").commit().update("1", "c").commit();
    assert_eq!(rig.run(stream).await, Lsn::new(301));
    assert_eq!(rig.calls(), ["POST /create/1 c"]);
    assert_eq!(rig.link("1").expect("a link").change, id(300));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_came_and_went_before_it_was_sent_is_nothing() {
    let mut rig = Rig::new(FakeRemote::new());
    rig.coalesce = true;
    let stream = Stream::new().insert("1", "a").update("1", "b").delete("1").commit();
    assert_eq!(rig.run(stream).await, Lsn::new(101));
    assert_eq!(rig.calls(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_key_that_comes_back_is_deleted_and_created() {
    let mut rig = Rig::new(FakeRemote::new());
    rig.coalesce = true;
    rig.run(Stream::new().insert("1", "a").commit()).await;
    let mut stream = Stream::new();
    stream.commit = 200;
    rig.run(stream.delete("1").insert("1", "b").commit()).await;
    assert_eq!(rig.calls(), ["POST /create/1 a", "DELETE /delete/1", "POST /create/1 b"]);
}

#[tokio::test(start_paused = true)]
async fn rows_of_a_further_table_that_come_and_go_are_no_reason_to_leave_the_entity_out() {
    struct Present;
    #[async_trait]
    impl RowReader for Present {
        async fn row(&self, _: &TableName, _: &[(String, String)]) -> Result<Option<Row>, SourceError> {
            Ok(Some(Stream::new().row("7", Cell::Text("present"), Cell::Null)))
        }
        async fn fetch(&self, _: &str, _: &[String]) -> Result<Option<Value>, SourceError> {
            Ok(None)
        }
    }
    let rig = Rig { coalesce: true, ..Rig::new(FakeRemote::new()) };
    let child: TableName = "public.child".parse().expect("a name");
    let further = vec![(child.clone(), vec!["v".to_owned()])];
    let engine = rig.engine_with(|route| route.further = further, Arc::new(Present));
    let own = table();
    let child = Table { id: TableId(2), name: child, columns: own.columns.clone() };
    let stream = Stream { table: Arc::new(child), ..Stream::new() };
    // One row comes and another goes, of the same entity.
    let gone = stream.row("b", Cell::Text("7"), Cell::Null);
    let stream = stream.insert("a", "7").change(Image::Delete { old: gone }).commit();
    let (_go, mut stop) = watch::channel(false);
    engine.run(&mut rig.source(stream, true), &mut stop).await.expect("it runs");
    assert_eq!(rig.calls(), ["POST /create/7 present"]);
}

#[tokio::test(start_paused = true)]
async fn rows_that_cannot_be_told_apart_are_parked_each_for_itself() {
    let rig = Rig::new(FakeRemote::new());
    let engine = rig.engine_with(|route| route.key.clear(), Arc::new(NoRows));
    let stream = Stream::new().insert("1", "a").insert("2", "b").commit();
    let (_go, mut stop) = watch::channel(false);
    engine.run(&mut rig.source(stream, true), &mut stop).await.expect("it runs");
    assert_eq!(rig.calls(), [""; 0]);
    assert_eq!(rig.parked().len(), 2);
}
