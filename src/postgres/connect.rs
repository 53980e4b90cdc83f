use super::{ChannelBinding, ConnectError, Failure, Login, Standing, Stream, Target, first_suitable};
use secrecy::ExposeSecret;
use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    ops::{Deref, DerefMut},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::JoinSet,
};
use tokio_postgres::{
    Connection,
    config::{ChannelBinding as Binding, SslMode, SslNegotiation},
    tls::{ChannelBinding as BindingData, TlsConnect, TlsStream},
};

/// How values are printed, on every connection: the text of a value means the same whether it
/// comes from the stream or from a query, whatever the database or the role has set.
pub const PRINTING: [(&str, &str); 5] = [
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
];

/// A SQL connection. Dropping it ends the task that drives it.
#[derive(Debug)]
pub struct Client {
    client: tokio_postgres::Client,
    _driver: JoinSet<()>,
}

impl Deref for Client {
    type Target = tokio_postgres::Client;
    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.client
    }
}

/// Opens a SQL connection to the first host of the URL that will do.
pub async fn connect(target: &Target) -> Result<Client, ConnectError> {
    let (client, connection) = first_suitable(target, &Sql).await?;
    let mut driver = JoinSet::new();
    driver.spawn(drive(connection));
    Ok(Client { client, _driver: driver })
}

pub(super) type Driven = Connection<Stream, Encrypted>;

/// Carries a connection's traffic until it ends. Its failure shows in the client's next call.
pub(super) async fn drive(connection: Driven) {
    if let Err(error) = connection.await {
        tracing::debug!(error = %super::explain(&error), "a SQL connection ended");
    }
}

pub(super) struct Sql;

impl Login for Sql {
    type Session = (tokio_postgres::Client, Driven);

    async fn log_in(&self, stream: Stream, target: &Target) -> Result<Self::Session, Failure> {
        let mut config = tokio_postgres::Config::new();
        config.user(&target.user).dbname(&target.database).application_name(&target.application_name);
        if let Some(password) = &target.password {
            config.password(password.expose_secret());
        }
        config.options(options(target));
        config.channel_binding(match target.channel_binding {
            ChannelBinding::Disable => Binding::Disable,
            ChannelBinding::Prefer => Binding::Prefer,
            ChannelBinding::Require => Binding::Require,
        });
        // The handshake is done: tokio-postgres only has to ask the stream for its binding.
        config.ssl_negotiation(SslNegotiation::Direct);
        config.ssl_mode(if stream.is_encrypted() { SslMode::Require } else { SslMode::Disable });
        if target.channel_binding == ChannelBinding::Require && stream.channel_binding().is_none() {
            return Err(Failure::no_channel_binding());
        }
        config.connect_raw(stream, AlreadyEncrypted).await.map_err(Failure::from_sql)
    }

    async fn standing(&self, session: &mut Self::Session) -> Result<Standing, Failure> {
        let (client, connection) = session;
        let asked = client.query_one(Standing::QUERY, &[]);
        let row = tokio::select! {
            row = asked => row.map_err(Failure::from_sql)?,
            ended = connection => {
                let message = "the server closed the connection";
                return Err(match ended {
                    Err(error) => Failure::from_sql(error),
                    Ok(()) => Failure::Broken(io::Error::new(io::ErrorKind::UnexpectedEof, message)),
                });
            }
        };
        let bad = |error: tokio_postgres::Error| Failure::Login(error.to_string());
        Ok(Standing { read_only: row.try_get(0).map_err(bad)?, standby: row.try_get(1).map_err(bad)? })
    }
}

/// [`PRINTING`] as command-line options, behind the URL's own so that it wins.
fn options(target: &Target) -> String {
    let mut options = target.options.clone().unwrap_or_default();
    for (name, value) in PRINTING {
        options.push_str(&format!(" -c {name}={}", value.replace(' ', "\\ ")));
    }
    options
}

/// Hands tokio-postgres a stream whose handshake is done.
struct AlreadyEncrypted;

impl TlsConnect<Stream> for AlreadyEncrypted {
    type Stream = Encrypted;
    type Error = Infallible;
    type Future = Ready<Result<Encrypted, Infallible>>;

    fn connect(self, stream: Stream) -> Self::Future {
        ready(Ok(Encrypted(stream)))
    }
}

/// A stream under TLS, as tokio-postgres wants to see it.
pub struct Encrypted(Stream);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> BindingData {
        match self.0.channel_binding() {
            Some(hash) => BindingData::tls_server_end_point(hash.to_vec()),
            None => BindingData::none(),
        }
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
