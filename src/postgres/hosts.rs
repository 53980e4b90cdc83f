//! Which host, and encrypted or not: the part of connecting that SQL and replication share.

use super::{Address, ConnectError, Failure, Host, SessionAttrs, SslMode, Stream, Target, tls};
use rustls::ClientConfig;
use std::{future::Future, sync::Arc};

/// Speaks on an open stream until the session is ready.
pub trait Login: Sync {
    /// What a finished login gives.
    type Session: Send;

    /// Logs in.
    fn log_in(
        &self,
        stream: Stream,
        target: &Target,
    ) -> impl Future<Output = Result<Self::Session, Failure>> + Send;

    /// Asks the server what it is. Only called when the URL cares.
    fn standing(&self, session: &mut Self::Session)
    -> impl Future<Output = Result<Standing, Failure>> + Send;
}

/// What kind of server a session is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Transactions are read-only, for whatever reason.
    pub read_only: bool,
    /// The server is in recovery.
    pub standby: bool,
}

impl Standing {
    /// The SQL that tells: two columns, in the fields' order.
    pub const QUERY: &str =
        "select current_setting('transaction_read_only') = 'on', pg_catalog.pg_is_in_recovery()";

    fn check(self, wanted: SessionAttrs) -> Result<(), Failure> {
        let (suits, found) = match wanted {
            SessionAttrs::Any => (true, ""),
            SessionAttrs::ReadWrite => (!self.read_only, "read-only"),
            SessionAttrs::ReadOnly => (self.read_only, "writable"),
            SessionAttrs::Primary => (!self.standby, "a standby"),
            SessionAttrs::Standby | SessionAttrs::PreferStandby => (self.standby, "a primary"),
        };
        if suits { Ok(()) } else { Err(Failure::Session { wanted, found }) }
    }
}

/// Logs in at the first host that will do.
pub async fn first_suitable<L: Login>(target: &Target, login: &L) -> Result<L::Session, ConnectError> {
    let mut failures = Vec::new();
    let passes: &[SessionAttrs] = match target.session {
        SessionAttrs::PreferStandby => &[SessionAttrs::PreferStandby, SessionAttrs::Any],
        _ => std::slice::from_ref(&target.session),
    };
    for wanted in passes {
        failures.clear();
        for host in &target.hosts {
            let attempt = at_host(target, host, *wanted, login);
            let session = match target.connect_timeout {
                None => attempt.await,
                Some(limit) => {
                    tokio::time::timeout(limit, attempt).await.unwrap_or(Err(Failure::Timeout(limit)))
                }
            };
            match session {
                Ok(session) => return Ok(session),
                Err(failure) => failures.push((host.clone(), failure)),
            }
        }
    }
    Err(ConnectError::new(target, failures))
}

async fn at_host<L: Login>(
    target: &Target,
    host: &Host,
    wanted: SessionAttrs,
    login: &L,
) -> Result<L::Session, Failure> {
    let mut refusal = None;
    for encryption in encryptions(target.sslmode, &host.address) {
        let logged_in = match stream(target, host, *encryption).await {
            Ok(stream) => login.log_in(stream, target).await,
            Err(failure) => Err(failure),
        };
        match logged_in {
            Ok(mut session) => {
                if wanted != SessionAttrs::Any {
                    login.standing(&mut session).await?.check(wanted)?;
                }
                return Ok(session);
            }
            // pg_hba.conf may want it the other way round.
            Err(failure @ (Failure::Server(_) | Failure::Tls(_) | Failure::TlsRefused)) => {
                // The first refusal is about what the URL prefers, so that is the one to tell.
                refusal.get_or_insert(failure);
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(refusal.unwrap_or(Failure::TlsRefused))
}

#[derive(Clone, Copy)]
enum Encryption {
    Never,
    IfOffered,
    Always,
}

/// What to try, in order. Unix sockets are never encrypted.
fn encryptions(mode: SslMode, address: &Address) -> &'static [Encryption] {
    use Encryption::{Always, IfOffered, Never};
    match (address, mode) {
        (Address::Unix(_), _) | (_, SslMode::Disable) => &[Never],
        (_, SslMode::Allow) => &[Never, Always],
        (_, SslMode::Prefer) => &[IfOffered, Never],
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[Always],
    }
}

async fn stream(target: &Target, host: &Host, encryption: Encryption) -> Result<Stream, Failure> {
    let mut stream = Stream::open(host).await?;
    let (Address::Tcp(name), Encryption::IfOffered | Encryption::Always) = (&host.address, encryption) else {
        return Ok(stream);
    };
    let config: Arc<ClientConfig> = Arc::new(tls::config(target)?);
    if stream.ask_for_tls().await.map_err(Failure::Broken)? {
        return tls::encrypt(stream, name, config).await;
    }
    match encryption {
        Encryption::Always => Err(Failure::TlsRefused),
        _ => Ok(stream),
    }
}
