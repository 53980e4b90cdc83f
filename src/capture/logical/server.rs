use super::login::{Replication, Session};
use crate::{
    capture::SourceError,
    model::Lsn,
    postgres::{ConnectError, Failure, Target, first_suitable},
};

/// Which database cluster a connection leads to: what a checkpoint is bound to (invariant 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Drawn when the cluster was made; its copies share it.
    pub system_id: u64,
    /// Counts up with every promotion and point-in-time recovery.
    pub timeline: u32,
    /// As the server calls itself: `15.8 (Debian 15.8-1)`.
    pub server_version: String,
    /// How far its log is written.
    pub wal_position: Lsn,
}

const OLDEST: u32 = 14;
const NEWEST: u32 = 18;

/// Asks the server who it is.
pub async fn identify(target: &Target) -> Result<Identity, SourceError> {
    let (mut session, identity) = log_in(target).await?;
    drop(session.wire.terminate().await);
    Ok(identity)
}

/// Logs in for replication and checks who answers.
pub(super) async fn log_in(target: &Target) -> Result<(Session, Identity), SourceError> {
    let mut session = first_suitable(target, &Replication).await.map_err(unreachable)?;
    check_version(&session.server_version)?;
    let rows =
        session.query("IDENTIFY_SYSTEM").await.map_err(|failure| broken("IDENTIFY_SYSTEM", &failure))?;
    let identity = match rows.first().map(Vec::as_slice) {
        Some([Some(system), Some(timeline), Some(position), ..]) => {
            match (system.parse(), timeline.parse(), position.parse()) {
                (Ok(system_id), Ok(timeline), Ok(wal_position)) => Some(Identity {
                    system_id,
                    timeline,
                    server_version: session.server_version.clone(),
                    wal_position,
                }),
                _ => None,
            }
        }
        _ => None,
    };
    match identity {
        Some(identity) => Ok((session, identity)),
        None => Err(SourceError::Final(format!(
            "the server at {} does not answer IDENTIFY_SYSTEM as Postgres does: Rowcall needs a direct connection, not a pooler",
            target.place()
        ))),
    }
}

fn check_version(version: &str) -> Result<(), SourceError> {
    let digits = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    match digits.parse::<u32>() {
        Ok(major) if major < OLDEST => Err(SourceError::Final(format!(
            "the server is PostgreSQL {version}: Rowcall needs {OLDEST} or newer; upgrade the server"
        ))),
        Ok(major) if major > NEWEST => {
            tracing::warn!(
                server_version = version,
                "the server is newer than PostgreSQL {NEWEST}, the newest that this version of Rowcall was tested with"
            );
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(_) => Err(SourceError::Final(format!(
            "the server calls its version `{version}`, which is not a PostgreSQL version"
        ))),
    }
}

/// No connection: for good when only a person can repair it.
pub(super) fn unreachable(error: ConnectError) -> SourceError {
    if error.is_final() {
        SourceError::Final(error.to_string())
    } else {
        SourceError::Connection { doing: "connecting for replication".to_owned(), message: error.to_string() }
    }
}

/// A command that failed in a way that another connection may not.
pub(super) fn broken(doing: &str, failure: &Failure) -> SourceError {
    SourceError::Connection { doing: doing.to_owned(), message: failure.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_from_14_on_are_accepted() {
        for good in ["14.0", "15.8 (Debian 15.8-1)", "18beta1", "19devel", "16.14"] {
            assert!(check_version(good).is_ok(), "{good}");
        }
        for bad in ["13.5", "9.6.24", "", "CockroachDB"] {
            assert!(check_version(bad).is_err(), "{bad}");
        }
    }
}
