//! How long it takes from a commit to the request that tells of it, whoever makes that request.
//!
//! `bench-latency measure` is the remote and the application at once: it serves HTTP, and on a line on its
//! standard input commits rows at a steady rate, each in a transaction of its own. A replicator, or
//! `bench-latency notify`, brings each row as `POST /item/ID`. One clock sees both ends.
//!
//! `bench-latency notify` is the least that brings a row out of Postgres at once: a trigger's `NOTIFY`, a
//! `LISTEN`, and a `POST` for each. It keeps nothing, and loses what comes while it is away.

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use std::{
    collections::HashMap,
    error::Error,
    future::poll_fn,
    io::stdin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    task::{JoinSet, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_postgres::{AsyncMessage, Config, NoTls};

const USAGE: &str = "usage: bench-latency measure DATABASE_URL RATE SECONDS | notify DATABASE_URL SERVER_URL";
/// How many transactions of the application are under way at most.
const WRITERS: u64 = 8;
/// How many requests the bare loop makes at once: as many as Rowcall may.
const AT_ONCE: usize = 16;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["measure", url, rate, seconds] => measure(url, rate.parse()?, seconds.parse()?).await,
        ["notify", url, server] => notify(url, server).await,
        _ => Err(USAGE.into()),
    }
}

/// When each row's request came.
#[derive(Clone, Default)]
struct Arrivals(Arc<Mutex<HashMap<u64, Instant>>>);

impl Arrivals {
    fn note(&self, id: u64) {
        let now = Instant::now();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_insert(now);
    }

    fn seen(&self) -> HashMap<u64, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn arrived(State(arrivals): State<Arrivals>, Path(id): Path<u64>) -> StatusCode {
    arrivals.note(id);
    StatusCode::CREATED
}

async fn measure(url: &str, rate: u64, seconds: u64) -> Result<(), Failure> {
    let arrivals = Arrivals::default();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let app = Router::new().route("/item/{id}", post(arrived)).with_state(arrivals.clone());
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, app).await });
    spawn_blocking(|| stdin().read_line(&mut String::new())).await??;

    let mut writers = JoinSet::new();
    let mut connections = JoinSet::new();
    for number in 0..WRITERS {
        let (client, connection) = url.parse::<Config>()?.connect(NoTls).await?;
        connections.spawn(connection);
        writers.spawn(write(client, number, rate, rate * seconds));
    }
    let mut committed = HashMap::new();
    while let Some(written) = writers.join_next().await {
        committed.extend(written??);
    }
    let wanted = committed.len();
    for _ in 0..600 {
        if arrivals.seen().len() >= wanted {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let seen = arrivals.seen();
    let mut micros: Vec<u128> = committed
        .iter()
        .filter_map(|(id, at)| Some(seen.get(id)?.saturating_duration_since(*at).as_micros()))
        .collect();
    if micros.len() < wanted {
        return Err(format!("{} of {wanted} rows arrived", micros.len()).into());
    }
    micros.sort_unstable();
    let at = |share: usize| micros[(micros.len() - 1) * share / 1000];
    println!("{} {} {} {}", at(500), at(990), at(1000), wanted);
    Ok(())
}

/// Every eighth row: this writer commits its share at its share of the rate, whatever the others do.
async fn write(
    client: tokio_postgres::Client,
    number: u64,
    rate: u64,
    rows: u64,
) -> Result<Vec<(u64, Instant)>, Failure> {
    let insert =
        client.prepare("insert into item values ($1::bigint, 'Customer ' || $1::bigint, $1::bigint % 100000 / 100.0, now())").await?;
    let mut ticks = interval(Duration::from_secs(1) * u32::try_from(WRITERS)? / u32::try_from(rate)?);
    // A tick that was late is made up for, as whoever wants something done does not wait either.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut committed = Vec::new();
    for id in (number..rows).step_by(usize::try_from(WRITERS)?) {
        ticks.tick().await;
        client.execute(&insert, &[&i64::try_from(id)?]).await?;
        committed.push((id, Instant::now()));
    }
    Ok(committed)
}

async fn notify(url: &str, server: &str) -> Result<(), Failure> {
    let (client, mut connection) = url.parse::<Config>()?.connect(NoTls).await?;
    let (notes, mut noted) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(AsyncMessage::Notification(note)) => drop(notes.send(note.payload().to_owned())),
                Ok(_) => {}
                Err(_) => break,
            }
        }
    });
    client.batch_execute("listen item").await?;
    println!("listening");
    let http = reqwest::Client::new();
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(payload) = noted.recv().await {
        let (id, _) = payload.split_once(' ').unwrap_or((&payload, ""));
        let request = http
            .post(format!("{server}/item/{id}"))
            .header("content-type", "application/json")
            .body(payload.clone());
        let slot = Arc::clone(&slots).acquire_owned().await?;
        tasks.spawn(async move {
            if let Err(error) = request.send().await {
                eprintln!("{error}");
            }
            drop(slot);
        });
        while tasks.try_join_next().is_some() {}
    }
    Ok(())
}
