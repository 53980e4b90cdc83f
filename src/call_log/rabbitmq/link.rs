use super::{Address, CallLogError, failed, passing};
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties};
use socket2::{SockRef, Socket};
use std::{
    io,
    net::{Shutdown, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::time::timeout;

/// For the socket and TLS, and for the handshake behind them.
const REACHING: Duration = Duration::from_secs(3);
/// For all of it.
const OPENING: Duration = Duration::from_secs(4);
/// For taking leave.
const CLOSING: Duration = Duration::from_secs(2);

/// A connection to the broker and its one channel. When it is dropped its socket is shut down.
pub struct Link {
    connection: Connection,
    /// Where everything is done.
    pub channel: Channel,
    _wire: Wire,
}

/// Our own hold on the socket. lapin drives each connection by a thread, which ends only when the
/// connection does: one that hangs in the handshake, or that the broker blocks, would keep it for ever.
#[derive(Default)]
struct Wire(Arc<OnceLock<Socket>>);

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(socket) = self.0.get() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Link {
    /// Connects, within some seconds. The broker shows `name` to whoever looks at its connections.
    pub async fn open(address: &Address, name: &str) -> Result<Self, CallLogError> {
        const DOING: &str = "connecting to the broker";
        let wire = Wire::default();
        let opening = timeout(OPENING, Self::shake_hands(address, name, wire)).await;
        match opening {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => {
                let CallLogError { message, lasting, .. } = failed(DOING, &error);
                Err(CallLogError { doing: DOING, message: format!("{address}: {message}"), lasting })
            }
            Err(_) => Err(passing(DOING, format!("{address}: no answer within {OPENING:?}"))),
        }
    }

    async fn shake_hands(address: &Address, name: &str, wire: Wire) -> lapin::Result<Self> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let (slot, tls) = (wire.0.clone(), address.tls.clone());
        let runtime = lapin::runtime::default_runtime()?;
        let connection = Connection::connector(
            address.uri.clone(),
            runtime,
            async move |uri, runtime| {
                let to = (uri.authority.host.clone(), uri.authority.port);
                let reaching = async {
                    let found: Vec<SocketAddr> = tokio::net::lookup_host(to).await?.collect();
                    let stream = AsyncTcpStream::connect(&runtime, found).await?;
                    if let AsyncTcpStream::Plain(stream) = &stream {
                        let _ = slot.set(SockRef::from(stream.get_ref()).try_clone()?);
                    }
                    // Whoever waited for it may have given up.
                    if Arc::strong_count(&slot) == 1 {
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                    match &tls {
                        None => Ok(stream),
                        Some(tls) => stream.into_rustls(tls, &uri.authority.host).await,
                    }
                };
                match timeout(REACHING, reaching).await {
                    Ok(reached) => reached.map_err(lapin::Error::from),
                    Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
                }
            },
            properties,
        )
        .await?;
        let channel = connection.create_channel().await?;
        Ok(Self { connection, channel, _wire: wire })
    }

    /// One more channel: an answer that says no ends the one it came on.
    pub(super) async fn another_channel(&self) -> lapin::Result<Channel> {
        self.connection.create_channel().await
    }

    /// Whether it can still be used.
    pub fn is_up(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// The broker takes nothing from us for now: it is short of memory or disk.
    pub fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Takes leave, which makes the broker hand out again at once what was not acknowledged.
    pub async fn close(self) {
        let _ = timeout(CLOSING, self.connection.close(200, "OK".into())).await;
    }
}
