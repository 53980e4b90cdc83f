//! A stateful fake of a bank's API that remembers everything it did.

mod address;
mod batch;
mod family;
mod faults;
mod http;
mod journal;
mod line;
mod store;
#[cfg(test)]
mod tests;
mod tokens;

pub use family::OutOfOrder;
pub use faults::{Fault, Faults, Rule};
pub use journal::{Effect, Entry};
pub use tokens::{TOKEN_PATH, Tokens};

use self::{
    line::{Lines, Scissors},
    store::Store,
};
use axum::Router;
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};

/// What the bank remembers. Everything, unless a bench wants it light.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Keep objects; without, what is created is acknowledged and forgotten.
    pub objects: bool,
    /// Keep the journal of effects.
    pub journal: bool,
    /// Remember idempotency keys and their answers.
    pub idempotency: bool,
}

impl Options {
    /// Remembers nothing: for a bench, which needs a server that costs little for ever.
    pub const FORGETFUL: Self = Self { objects: false, journal: false, idempotency: false };
}

impl Default for Options {
    fn default() -> Self {
        Self { objects: true, journal: true, idempotency: true }
    }
}

/// What the bank has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Requests to its objects, in all.
    pub requests: u64,
    /// Those that changed something.
    pub applied: u64,
    /// Those whose idempotency key had been applied before.
    pub duplicates: u64,
    /// Duplicates that asked for something else than the first did.
    pub mismatched: u64,
    /// Those it refused of itself: 4xx.
    pub refused: u64,
    /// Those among them that came before what they need, or to delete what others need.
    pub out_of_order: u64,
    /// Those a fault befell.
    pub faults: u64,
    /// Objects it holds now.
    pub objects: u64,
}

struct Inner {
    store: Store,
    faults: Faults,
    tokens: Tokens,
}

impl Inner {
    fn stats(&self) -> Stats {
        let counts = &self.store.counts;
        Stats {
            requests: counts.requests.load(Relaxed),
            applied: counts.applied.load(Relaxed),
            duplicates: counts.duplicates.load(Relaxed),
            mismatched: counts.mismatched.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            out_of_order: counts.out_of_order.load(Relaxed),
            faults: counts.faults.load(Relaxed),
            objects: self.store.len() as u64,
        }
    }
}

/// A running bank. It stops listening, and ends its connections, when it is dropped.
pub struct Bank {
    addr: SocketAddr,
    inner: Arc<Inner>,
    _stop: oneshot::Sender<()>,
    _listening: JoinSet<()>,
}

impl Bank {
    /// Starts one that remembers everything, on this address; port 0 takes any.
    pub async fn start(addr: &str) -> io::Result<Self> {
        Self::start_with(addr, Options::default()).await
    }

    /// Starts one on this address.
    pub async fn start_with(addr: &str, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let store = Store::new(options);
        let inner = Arc::new(Inner { store, faults: Faults::default(), tokens: Tokens::default() });
        let routes = Router::new().fallback(http::answer).with_state(inner.clone());
        let routes = routes.into_make_service_with_connect_info::<Scissors>();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let serve = axum::serve(Lines(listener), routes).with_graceful_shutdown(async {
                // Never sent: the bank is gone when its end is.
                let _ = stopped.await;
            });
            // Ends only by the signal.
            let _ = serve.await;
        });
        Ok(Self { addr, inner, _stop: stop, _listening: listening })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Every object, by its path.
    pub fn dump(&self) -> BTreeMap<String, Value> {
        self.inner.store.dump()
    }

    /// Every effect and duplicate, in the order they happened.
    pub fn journal(&self) -> Vec<Entry> {
        self.inner.store.journal(0)
    }

    /// The same, and forgets it.
    pub fn take_journal(&self) -> Vec<Entry> {
        self.inner.store.take_journal()
    }

    /// The span of every request that came and had a `traceparent`, in their order, whatever came of it.
    pub fn spans(&self) -> Vec<Arc<str>> {
        self.inner.store.spans()
    }

    /// What goes wrong, and what should.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// Who may call, and the tokens they were given.
    pub fn tokens(&self) -> &Tokens {
        &self.inner.tokens
    }

    /// From now on, what is below the path `child` and has this member needs the object of that
    /// name below `parent`: it is refused without it (422), and that is not deleted before it (409).
    pub fn relate(&self, child: &str, member: &str, parent: &str) {
        self.inner.store.family.relate(child, member, parent);
    }

    /// The requests that it refused for such a relation.
    pub fn out_of_order(&self) -> Vec<OutOfOrder> {
        self.inner.store.family.hold().map_or_else(Vec::new, |it| it.broken.clone())
    }

    /// What it has seen so far.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }
}
