//! How a server is reached: every TLS mode and login, by SQL and for replication alike.

use crate::harness::{
    Postgres, Version,
    certificates::{Certificates, file},
    each_version,
    postgres::Setup,
};
use rowcall::{capture::logical, postgres::Target};

fn target(url: &str) -> Target {
    url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// Connects both ways; both must succeed.
async fn reaches(url: &str) {
    let target = target(url);
    let client = rowcall::postgres::connect(&target).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    let row = client.query_one("select current_user::text", &[]).await.expect("an answer");
    assert_eq!(row.get::<_, &str>(0), target.user);
    let identity = logical::identify(&target).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    assert!(identity.system_id > 0 && identity.timeline == 1, "{identity:?}");
}

/// Connects both ways; both must fail and say this.
async fn fails(url: &str, saying: &str) {
    let target = target(url);
    let Err(error) = rowcall::postgres::connect(&target).await else { panic!("{url} was accepted") };
    assert!(error.to_string().contains(saying), "{url}: {error}");
    let Err(error) = logical::identify(&target).await else { panic!("{url} was accepted for replication") };
    assert!(error.to_string().contains(saying), "{url}: {error}");
}

/// Roles for each way of logging in, and the lines of pg_hba.conf that ask for them.
fn with_roles(setup: Setup) -> Setup {
    ["scram scram-sha-256", "hashed md5", "plain password"].iter().fold(setup, |setup, line| {
        let (role, method) = line.split_once(' ').expect("a role and its method");
        setup.hba(&format!("host all {role} all {method}"))
    })
}

async fn make_roles(postgres: &Postgres) {
    let sql = "create role scram login replication password 'it''s right';
               set password_encryption = md5; create role hashed login replication password 'it''s right';
               create role plain login replication password 'it''s right'";
    postgres.execute(sql).await;
}

/// The local builds of the other versions have no TLS.
#[tokio::test]
async fn every_tls_mode_verifies_as_much_as_it_says() {
    let (ours, others) = (Certificates::new(), Certificates::new());
    let postgres = Postgres::with(Version::V15).tls(&ours.server, &ours.key).start().await;
    let port = postgres.port();
    let url = |host: &str, rest: &str| format!("postgres://postgres@{host}:{port}/postgres?{rest}");
    let (root, wrong) = (ours.path().display(), others.path().display());
    for mode in ["disable", "allow", "prefer", "require"] {
        reaches(&url("127.0.0.1", &format!("sslmode={mode}"))).await;
    }
    for mode in ["require", "verify-ca"] {
        reaches(&url("127.0.0.1", &format!("sslmode={mode}&sslrootcert={root}"))).await;
        let distrusted = url("127.0.0.1", &format!("sslmode={mode}&sslrootcert={wrong}"));
        fails(&distrusted, "invalid peer certificate").await;
    }
    reaches(&url("localhost", &format!("sslmode=verify-full&sslrootcert={root}"))).await;
    fails(&url("127.0.0.1", &format!("sslmode=verify-full&sslrootcert={root}")), "not valid for name").await;
    fails(&url("localhost", "sslmode=verify-full&sslrootcert=/nowhere.pem"), "/nowhere.pem").await;
    let pinned = file(&ours.server);
    let pinned = format!("sslmode=verify-full&sslrootcert={}", pinned.path().display());
    reaches(&url("localhost", &pinned)).await;
    fails(&url("127.0.0.1", &pinned), "not valid for name").await;
}

async fn logs_in(postgres: &Postgres, mode: &str) {
    for role in ["scram", "hashed", "plain"] {
        let url = |password: &str| postgres.url_as(role, password) + "?sslmode=" + mode;
        reaches(&url("it's%20right")).await;
        fails(&url("wrong"), "password authentication failed").await;
        fails(&url(""), "password").await;
    }
}

each_version! {
    async fn every_password_method_logs_in_and_a_wrong_password_is_said_to_be_one(version: Version) {
        let postgres = with_roles(Postgres::with(version)).start().await;
        make_roles(&postgres).await;
        logs_in(&postgres, "disable").await;
    }
}

#[tokio::test]
async fn a_login_is_bound_to_its_tls_connection() {
    let ours = Certificates::new();
    let postgres = with_roles(Postgres::with(Version::V15).tls(&ours.server, &ours.key)).start().await;
    make_roles(&postgres).await;
    logs_in(&postgres, "require").await;
    let url = |role: &str, rest: &str| postgres.url_as(role, "it's%20right") + "?" + rest;
    reaches(&url("scram", "sslmode=require&channel_binding=require")).await;
    reaches(&url("scram", "sslmode=require&channel_binding=disable")).await;
    fails(&url("hashed", "sslmode=require&channel_binding=require"), "channel binding").await;
    fails(&url("scram", "sslmode=disable&channel_binding=require"), "channel binding").await;
}

#[tokio::test]
async fn the_unix_socket_is_reached_whatever_the_tls_mode() {
    let postgres = Postgres::start(Version::V16).await;
    for mode in ["disable", "verify-full"] {
        reaches(&format!("{}&sslmode={mode}", postgres.socket_url())).await;
    }
}

#[tokio::test]
async fn prefer_falls_back_to_what_pg_hba_allows() {
    let ours = Certificates::new();
    let setup = Postgres::with(Version::V15).tls(&ours.server, &ours.key);
    let setup = setup.hba("hostssl all bare all reject").hba("hostnossl all covered all reject");
    let postgres = setup.start().await;
    postgres.execute("create role bare login replication; create role covered login replication").await;
    reaches(&(postgres.url_as("bare", "x") + "?sslmode=prefer")).await;
    reaches(&(postgres.url_as("covered", "x") + "?sslmode=allow")).await;
    fails(&(postgres.url_as("bare", "x") + "?sslmode=require"), "pg_hba.conf").await;
}

#[tokio::test]
async fn the_first_host_that_will_do_is_taken() {
    let primary = Postgres::start(Version::V16).await;
    let standby =
        Postgres::with(Version::V16).conf("max_connections = 100").file("standby.signal", "").start().await;
    let asleep = crate::harness::postgres::unused_port();
    let hosts = format!("127.0.0.1:{asleep},127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port());
    for (wanted, standby) in [
        ("any", true),
        ("read-write", false),
        ("primary", false),
        ("read-only", true),
        ("standby", true),
        ("prefer-standby", true),
    ] {
        let url = format!("postgres://postgres@{hosts}/postgres?target_session_attrs={wanted}");
        let client = rowcall::postgres::connect(&target(&url)).await.expect(wanted);
        let row = client.query_one("select pg_is_in_recovery()", &[]).await.expect("an answer");
        assert_eq!(row.get::<_, bool>(0), standby, "{wanted}");
    }
    // The walsender of a standby gives another system id than the primary's.
    let url = format!("postgres://postgres@{hosts}/postgres?target_session_attrs=primary");
    let alone = logical::identify(&target(&primary.url())).await.expect("an identity");
    assert_eq!(logical::identify(&target(&url)).await.expect("an identity").system_id, alone.system_id);
    let nobody = format!(
        "postgres://postgres@127.0.0.1:{asleep},127.0.0.1:{}/postgres?target_session_attrs=primary",
        standby.port()
    );
    fails(&nobody, "is a standby").await;
    fails(&nobody, &format!("127.0.0.1:{asleep}")).await;
}

#[tokio::test]
async fn each_failure_names_the_host_and_what_to_do() {
    let postgres = Postgres::start(Version::V15).await;
    let port = postgres.port();
    fails(&format!("postgres://postgres@127.0.0.1:{port}/nowhere"), "check the database's name").await;
    fails(&format!("postgres://nobody@127.0.0.1:{port}/postgres"), "\"nobody\" does not exist").await;
    fails(&format!("postgres://u@127.0.0.1:{port}/d?sslmode=require"), "does not offer TLS").await;
    let asleep = crate::harness::postgres::unused_port();
    fails(&format!("postgres://u@127.0.0.1:{asleep}/d"), &format!("127.0.0.1:{asleep}")).await;
    fails("postgres://u@no.such.host.invalid/d", "cannot be resolved").await;
    fails("postgres://u@/d?host=/nowhere", "/nowhere/.s.PGSQL.5432").await;
}

#[tokio::test]
async fn a_pool_says_why_it_cannot_connect() {
    let postgres = Postgres::start(Version::V15).await;
    let pool = rowcall::postgres::pool(&target(&postgres.url()), 2);
    let row = pool.get().await.expect("a connection").query_one("select 1", &[]).await.expect("an answer");
    assert_eq!(row.get::<_, i32>(0), 1);
    let url = format!("postgres://postgres@127.0.0.1:{}/nowhere", postgres.port());
    match rowcall::postgres::pool(&target(&url), 1).get().await {
        Err(deadpool_postgres::PoolError::Backend(error)) => {
            let message = rowcall::postgres::explain(&error);
            assert!(message.contains("check the database's name"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

/// As one does that crashes in that moment: it is worth trying again.
#[tokio::test]
async fn a_server_that_hangs_up_while_we_log_in_is_tried_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("postgres://u@{}/d?sslmode=disable", listener.local_addr().expect("an address"));
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await;
        }
    });
    fails(&url, "the connection broke while logging in").await;
    let Err(error) = rowcall::postgres::connect(&target(&url)).await else { panic!("it was accepted") };
    assert!(!error.is_final(), "{error}");
    let Err(error) = logical::identify(&target(&url)).await else { panic!("it was accepted") };
    assert!(!error.is_final(), "{error}");
}
