//! What stands between the service and a server, and makes the way bad.

use super::wait::LONG;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

/// What becomes of what is sent, in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Connections break, and new ones are closed at once.
    Cut,
    /// Everything comes this much later.
    Delay(Duration),
    /// So many bytes a second and connection.
    Throttle(u32),
    /// Connections stay, new ones are taken, and nothing comes through: nobody hears of it.
    HalfOpen,
    /// Connections break, and nobody listens: new ones are refused.
    Refused,
}

impl Way {
    fn is_gone(self) -> bool {
        matches!(self, Self::Cut | Self::Refused)
    }
}

/// Forwards a port of its own to a server's. Gone with the value.
pub struct Proxy {
    port: u16,
    way: watch::Sender<Way>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let way = watch::Sender::new(Way::Open);
        let mut accepting = JoinSet::new();
        let ways = way.clone();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            let (mut listener, mut way) = (listener, ways.subscribe());
            loop {
                tokio::select! {
                    client = listener.accept() => {
                        let Ok((client, _)) = client else { return };
                        connections.spawn(carry(client, server, ways.subscribe()));
                        while connections.try_join_next().is_some() {}
                    }
                    () = refused(&mut way) => {
                        drop(listener);
                        drop(way.wait_for(|it| *it != Way::Refused).await);
                        listener = listen_again(port).await;
                    }
                }
            }
        });
        Self { port, way, _accepting: accepting }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn refused(way: &mut watch::Receiver<Way>) {
    let _ = way.wait_for(|it| *it == Way::Refused).await;
}

/// A connection of somebody's may have this port just now.
async fn listen_again(port: u16) -> TcpListener {
    let deadline = Instant::now() + LONG;
    loop {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < deadline, "port {port}: {error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn carry(client: TcpStream, server: u16, mut way: watch::Receiver<Way>) {
    if way.borrow().is_gone() {
        return;
    }
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server))).await else { return };
    for stream in [&client, &server] {
        // A delay is the proxy's, and a close is a reset, as of a machine that is gone.
        let _ = (stream.set_nodelay(true), stream.set_zero_linger());
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = copy(from_client, to_server, way.clone());
    let back = copy(from_server, to_client, way.clone());
    tokio::select! {
        _ = there => {}
        _ = back => {}
        _ = way.wait_for(|it| it.is_gone()) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let now = *way.borrow();
        match now {
            Way::Open | Way::Cut | Way::Refused => {}
            Way::Delay(delay) => sleep(delay).await,
            Way::Throttle(rate) => sleep(Duration::from_secs_f64(count as f64 / f64::from(rate))).await,
            // What was read is sent once the way is open again, as packets are that were lost.
            Way::HalfOpen => drop(way.wait_for(|it| *it != Way::HalfOpen).await),
        }
        to.write_all(&buffer[..count]).await?;
    }
}
