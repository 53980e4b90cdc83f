use super::{Address, Failure, Host};
use socket2::{SockRef, TcpKeepalive};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
};
use tokio_rustls::client::TlsStream;

/// An open connection to a server, encrypted or not.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TCP under TLS.
    Tls {
        /// The encrypted stream.
        stream: Box<TlsStream<TcpStream>>,
        /// The `tls-server-end-point` hash of the server's certificate, where it has one.
        binding: Option<Vec<u8>>,
    },
}

/// A dead peer is noticed within 30 + 3 × 10 seconds.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

impl Stream {
    /// Connects to the first address that answers.
    pub(super) async fn open(host: &Host) -> Result<Self, Failure> {
        match (&host.address, host.socket()) {
            (Address::Tcp(name), _) => open_tcp(name, host.port).await.map(Self::Tcp),
            (Address::Unix(directory), socket) => {
                let path = socket.unwrap_or_else(|| directory.clone());
                UnixStream::connect(path).await.map(Self::Unix).map_err(Failure::Reach)
            }
        }
    }

    /// Asks the server for TLS; `false` if it has none.
    pub(super) async fn ask_for_tls(&mut self) -> io::Result<bool> {
        let mut request = bytes::BytesMut::new();
        postgres_protocol::message::frontend::ssl_request(&mut request);
        self.write_all(&request).await?;
        self.flush().await?;
        // One byte and no more: whatever was slipped in behind it goes to the handshake, which
        // refuses it.
        match self.read_u8().await? {
            b'S' => Ok(true),
            b'N' => Ok(false),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "this does not look like a Postgres server")),
        }
    }

    /// The hash that SCRAM binds to, where the connection has one.
    pub fn channel_binding(&self) -> Option<&[u8]> {
        match self {
            Self::Tls { binding, .. } => binding.as_deref(),
            _ => None,
        }
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }
}

async fn open_tcp(name: &str, port: u16) -> Result<TcpStream, Failure> {
    let addresses = lookup_host((name, port)).await.map_err(Failure::Resolve)?;
    let mut failure = None;
    for address in addresses {
        match TcpStream::connect(address).await.and_then(tuned) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error),
        }
    }
    Err(match failure {
        Some(error) => Failure::Reach(error),
        None => Failure::Resolve(io::Error::new(io::ErrorKind::NotFound, "it has no address")),
    })
}

fn tuned(stream: TcpStream) -> io::Result<TcpStream> {
    let (idle, interval, retries) = KEEPALIVE;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(retries);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

macro_rules! each {
    ($self:ident, $stream:ident => $body:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $body,
            Stream::Unix($stream) => $body,
            Stream::Tls { stream: $stream, .. } => $body,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
