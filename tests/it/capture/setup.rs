//! What `rowcall init` makes and `rowcall check` sees.

use super::{names, target};
use crate::harness::{Postgres, each_version};
use rowcall::capture::logical::{
    ReplicaIdentity,
    inspect::{self, TableKind},
    setup::{Wanted, set_up},
};

each_version! {
    async fn publication_and_slot_are_made_once_and_completed(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table a (id int primary key); create table b (id int primary key);
                          create schema crm; create table crm.\"C\" (id int primary key)").await;
        let client = rowcall::postgres::connect(&target(&postgres)).await.expect("a connection");
        let (first, both) = (names(&["a", "crm.C"]), names(&["b", "crm.C"]));
        let wanted = Wanted { slot: "rowcall", publication: "rowcall", tables: &first };
        let made = set_up(&client, wanted).await.expect("publication and slot");
        assert_eq!(made.statements.len(), 2);
        assert_eq!(set_up(&client, wanted).await.expect("again").statements, Vec::<String>::new());

        postgres.execute("alter publication rowcall set (publish = 'insert', publish_via_partition_root = false)").await;
        let made = set_up(&client, Wanted { tables: &both, ..wanted }).await.expect("completed");
        assert_eq!(made.statements.len(), 2, "{made:?}");
        assert_eq!(made.extra, names(&["a"]));

        let publication = inspect::publication(&client, "rowcall").await.expect("a look").expect("a publication");
        assert_eq!(publication.tables, names(&["crm.C", "a", "b"]));
        assert!(publication.via_root && publication.truncates && !publication.all_tables);
        let slot = inspect::slot(&client, "rowcall").await.expect("a look").expect("a slot");
        assert_eq!((slot.plugin.as_str(), slot.database.as_str(), slot.active_pid), ("pgoutput", "postgres", None));
        assert!(slot.confirmed.is_some() && slot.lag_bytes >= 0 && slot.wal_status == "reserved");
        if version == Version::V18 {
            let failover = postgres.text("select failover from pg_replication_slots").await;
            assert_eq!(failover.as_deref(), Some("t"));
        }
        assert_eq!(inspect::slot(&client, "other").await.expect("a look"), None);
        assert_eq!(inspect::publication(&client, "other").await.expect("a look"), None);
    }

    async fn the_server_and_the_role_are_seen_as_they_are(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create role app login; create table t (id int primary key)").await;
        let client = rowcall::postgres::connect(&target(&postgres)).await.expect("a connection");
        let server = inspect::server(&client).await.expect("a look");
        assert_eq!((server.version.to_string().as_str(), server.wal_level.as_str()), (version.major(), "logical"));
        assert_eq!((server.slots, server.slots_used, server.senders), (20, 0, 20));
        assert!(server.may_replicate && server.may_create && !server.standby);
        let app = postgres.url_as("app", "x").parse().expect("a URL");
        let client = rowcall::postgres::connect(&app).await.expect("a connection");
        let server = inspect::server(&client).await.expect("a look");
        assert!(!server.may_replicate && !server.may_create && server.role == "app");
        let table = inspect::table(&client, &names(&["t"])[0]).await.expect("a look").expect("a table");
        assert!(!table.readable);
        let wanted = Wanted { slot: "s", publication: "p", tables: &names(&["t"]) };
        let error = set_up(&client, wanted).await.expect_err("no privilege");
        assert!(error.is_final() && error.to_string().contains("--print"), "{error}");
    }

    async fn tables_are_seen_with_their_key_and_identity(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute(
            "create table plain (b int, a int, primary key (a, b)); create view look as select 1;
             create unlogged table unlogged (id int primary key); create table keyless (id int);
             create table root (id int primary key) partition by range (id);
             create table by_index (id int primary key, code text not null unique);
             alter table by_index replica identity using index by_index_code_key;
             create table whole (id int primary key); alter table whole replica identity full",
        ).await;
        let client = rowcall::postgres::connect(&target(&postgres)).await.expect("a connection");
        let look = async |name: &str| {
            inspect::table(&client, &names(&[name])[0]).await.expect("a look")
        };
        let plain = look("plain").await.expect("a table");
        assert_eq!((plain.kind, plain.identity), (TableKind::Ordinary, ReplicaIdentity::Default));
        assert_eq!((plain.primary_key.join(","), plain.identity_columns.join(",")), ("a,b".into(), "a,b".into()));
        let by_index = look("by_index").await.expect("a table");
        assert_eq!((by_index.identity, by_index.identity_columns), (ReplicaIdentity::Index, vec!["code".to_owned()]));
        let whole = look("whole").await.expect("a table");
        assert_eq!((whole.identity, whole.primary_key), (ReplicaIdentity::Full, vec!["id".to_owned()]));
        assert_eq!(look("root").await.expect("a table").kind, TableKind::Partitioned);
        assert_eq!(look("unlogged").await.expect("a table").kind, TableKind::Unlogged);
        assert_eq!(look("look").await.expect("a view").kind, TableKind::NotATable);
        assert!(look("keyless").await.expect("a table").identity_columns.is_empty());
        assert_eq!(look("nothing").await, None);
    }
}
