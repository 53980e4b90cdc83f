use super::{ChannelBinding, Host, SessionAttrs, Target};
use std::{fmt, io, time::Duration};

/// No host of the URL could be used.
#[derive(Debug)]
pub struct ConnectError {
    database: String,
    user: String,
    failures: Vec<(Host, Failure)>,
}

impl ConnectError {
    pub(super) fn new(target: &Target, failures: Vec<(Host, Failure)>) -> Self {
        Self { database: target.database.clone(), user: target.user.clone(), failures }
    }

    /// Whether trying again cannot help until a person has repaired something.
    pub fn is_final(&self) -> bool {
        self.failures.iter().all(|(_, failure)| failure.is_final())
    }

    /// What each host answered.
    pub fn failures(&self) -> &[(Host, Failure)] {
        &self.failures
    }
}

impl std::error::Error for ConnectError {}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, user, failures } = self;
        write!(f, "cannot connect to database `{database}` as `{user}`")?;
        for (at, (host, failure)) in failures.iter().enumerate() {
            write!(f, "{} {host}: {failure}", if at == 0 { " at" } else { "; at" })?;
        }
        Ok(())
    }
}

/// Why one host could not be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The name has no address.
    #[error("the host name cannot be resolved ({0}): check it in the URL")]
    Resolve(io::Error),
    /// Nobody listens, or the network is in the way.
    #[error("{0}: check the host and port in the URL, and that the server runs and listens there")]
    Reach(io::Error),
    /// Nothing came back.
    #[error("no answer within {} s: check the host, the port and the firewalls between", .0.as_secs_f32())]
    Timeout(Duration),
    /// The connection broke while we logged in.
    #[error("the connection broke while logging in: {0}")]
    Broken(io::Error),
    /// `ssl = off` at the server.
    #[error(
        "the server does not offer TLS, which the URL asks for: switch on `ssl` at the server or lower `sslmode`"
    )]
    TlsRefused,
    /// The handshake failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server refused us.
    #[error("{0}{hint}", hint = advice(&.0.code))]
    Server(ServerError),
    /// The server wants something we cannot do.
    #[error("{0}")]
    Login(String),
    /// It is not the kind of server that the URL asks for.
    #[error("the server is {found}, but the URL asks for `target_session_attrs={}`", .wanted.word())]
    Session {
        /// What the URL asks for.
        wanted: SessionAttrs,
        /// What the server is.
        found: &'static str,
    },
}

impl Failure {
    /// Whether trying again cannot help until a person has repaired something.
    pub fn is_final(&self) -> bool {
        match self {
            Self::TlsRefused | Self::Tls(_) | Self::Login(_) => true,
            Self::Server(error) => {
                error.code.starts_with("28") || error.code == "3D000" || error.code == "42501"
            }
            _ => false,
        }
    }

    pub(super) fn from_sql(error: tokio_postgres::Error) -> Self {
        if let Some(db) = error.as_db_error() {
            return Self::Server(ServerError::from(db));
        }
        // A server that crashes while it lets somebody in says nothing, and nothing is known of why.
        if error.is_closed() {
            return Self::Broken(io::ErrorKind::UnexpectedEof.into());
        }
        let message = explain(&error);
        match std::error::Error::source(&error).and_then(|it| it.downcast_ref::<io::Error>()) {
            Some(io) => Self::Broken(io::Error::new(io.kind(), io.to_string())),
            None => Self::Login(message),
        }
    }

    /// The server cannot tie the login to the TLS connection although the URL insists.
    pub fn no_channel_binding() -> Self {
        Self::Login(format!(
            "the server does not offer channel binding, which `channel_binding={}` insists on: it needs TLS and `scram-sha-256` in pg_hba.conf",
            ChannelBinding::Require.word()
        ))
    }
}

fn advice(code: &str) -> &'static str {
    match code {
        "28P01" => ": check the user and the password in the URL",
        "28000" => ": check the user in the URL and the server's pg_hba.conf",
        "3D000" => ": check the database's name in the URL",
        "42501" => ": the role needs CONNECT on the database, and the REPLICATION attribute to stream",
        "53300" => ": raise `max_connections` or `max_wal_senders`, or stop other clients",
        "57P03" => ": the server is starting, stopping or recovering; it will be tried again",
        _ => "",
    }
}

/// An error the server reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// The SQLSTATE.
    pub code: String,
    /// The primary message.
    pub message: String,
    /// DETAIL, if there is one.
    pub detail: Option<String>,
    /// HINT, if there is one.
    pub hint: Option<String>,
}

impl std::error::Error for ServerError {}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)?;
        if let Some(detail) = &self.detail {
            write!(f, "; detail: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

impl From<&tokio_postgres::error::DbError> for ServerError {
    fn from(error: &tokio_postgres::error::DbError) -> Self {
        Self {
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        }
    }
}

/// What went wrong in SQL, with the server's own words: `tokio_postgres` leaves them out.
pub fn explain(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return ServerError::from(db).to_string();
    }
    match std::error::Error::source(error) {
        Some(ours) if ours.is::<ConnectError>() => ours.to_string(),
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
