//! Logging in for replication: startup, authentication, and simple queries on the result.

use super::{
    cursor::Cursor,
    wire::{Wire, server_error},
};
use crate::postgres::{ChannelBinding, Failure, Login, PRINTING, ServerError, Standing, Stream, Target};
use postgres_protocol::{
    authentication::{md5_hash, sasl},
    message::frontend,
};
use secrecy::ExposeSecret;
use std::io;

/// Opens connections with `replication=database`.
pub(super) struct Replication;

/// A connection that is ready for commands.
pub(super) struct Session {
    pub(super) wire: Wire,
    /// As the server calls itself: `15.8 (Debian 15.8-1)`.
    pub(super) server_version: String,
}

impl Login for Replication {
    type Session = Session;

    async fn log_in(&self, stream: Stream, target: &Target) -> Result<Session, Failure> {
        let mut wire = Wire::new(stream);
        let mut parameters = vec![
            ("user", target.user.as_str()),
            ("database", &target.database),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", &target.application_name),
        ];
        parameters.extend(PRINTING);
        parameters.extend(target.options.as_deref().map(|options| ("options", options)));
        wire.send(|out| frontend::startup_message(parameters, out)).await.map_err(Failure::Broken)?;
        authenticate(&mut wire, target).await?;
        let mut server_version = String::new();
        loop {
            let frame = wire.next().await.map_err(Failure::Broken)?;
            match frame.tag {
                b'Z' => return Ok(Session { wire, server_version }),
                b'E' => return Err(Failure::Server(server_error(frame.body))),
                b'S' => {
                    let mut cursor = Cursor::new(frame.body);
                    if let (Ok("server_version"), Ok(value)) = (cursor.cstr(), cursor.cstr()) {
                        server_version = value.to_owned();
                    }
                }
                _ => {}
            }
        }
    }

    async fn standing(&self, session: &mut Session) -> Result<Standing, Failure> {
        let rows = session.query(Standing::QUERY).await?;
        match rows.first().map(Vec::as_slice) {
            Some([Some(read_only), Some(standby)]) => {
                Ok(Standing { read_only: read_only == "t", standby: standby == "t" })
            }
            _ => Err(Failure::Login("the server does not say whether it is a standby".to_owned())),
        }
    }
}

/// The authentication requests there are.
mod request {
    pub(super) const OK: u32 = 0;
    pub(super) const CLEARTEXT: u32 = 3;
    pub(super) const MD5: u32 = 5;
    pub(super) const SASL: u32 = 10;
    pub(super) const SASL_CONTINUE: u32 = 11;
    pub(super) const SASL_FINAL: u32 = 12;
}

async fn authenticate(wire: &mut Wire, target: &Target) -> Result<(), Failure> {
    let (kind, body) = requested(wire).await?;
    if target.channel_binding == ChannelBinding::Require && kind != request::SASL {
        return Err(Failure::no_channel_binding());
    }
    match kind {
        request::OK => return Ok(()),
        request::CLEARTEXT => {
            let password = password(target)?;
            wire.send(|out| frontend::password_message(password, out)).await.map_err(Failure::Broken)?;
        }
        request::MD5 => {
            let salt = body.try_into().map_err(|_| garbled())?;
            let hash = md5_hash(target.user.as_bytes(), password(target)?, salt);
            wire.send(|out| frontend::password_message(hash.as_bytes(), out))
                .await
                .map_err(Failure::Broken)?;
        }
        request::SASL => scram(wire, target, &body).await?,
        _ => {
            return Err(Failure::Login(
                "the server asks for an authentication method that Rowcall does not speak (such as GSSAPI or SSPI): \
                 allow scram-sha-256 for this user in pg_hba.conf"
                    .to_owned(),
            ));
        }
    }
    match requested(wire).await? {
        (request::OK, _) => Ok(()),
        _ => Err(garbled()),
    }
}

async fn scram(wire: &mut Wire, target: &Target, mechanisms: &[u8]) -> Result<(), Failure> {
    let offered = |name: &str| mechanisms.split(|byte| *byte == 0).any(|it| it == name.as_bytes());
    let hash = match target.channel_binding {
        ChannelBinding::Disable => None,
        _ => wire.stream().channel_binding().map(<[u8]>::to_vec),
    };
    let (mechanism, binding) = match hash {
        Some(hash) if offered(sasl::SCRAM_SHA_256_PLUS) => {
            (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash))
        }
        _ if target.channel_binding == ChannelBinding::Require => return Err(Failure::no_channel_binding()),
        // Saying that we could have is what betrays someone between who hid the offer.
        Some(_) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
        None => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
    };
    if !offered(mechanism) {
        return Err(Failure::Login("the server offers no SASL mechanism that Rowcall speaks".to_owned()));
    }
    let mut scram = sasl::ScramSha256::new(password(target)?, binding);
    wire.send(|out| frontend::sasl_initial_response(mechanism, scram.message(), out))
        .await
        .map_err(Failure::Broken)?;
    let (kind, body) = requested(wire).await?;
    if kind != request::SASL_CONTINUE {
        return Err(garbled());
    }
    scram.update(&body).map_err(|error| Failure::Login(format!("SCRAM: {error}")))?;
    wire.send(|out| frontend::sasl_response(scram.message(), out)).await.map_err(Failure::Broken)?;
    let (kind, body) = requested(wire).await?;
    if kind != request::SASL_FINAL {
        return Err(garbled());
    }
    scram.finish(&body).map_err(|error| {
        Failure::Login(format!("the server does not prove that it knows the password: {error}"))
    })
}

/// The next authentication request: its number and what comes with it.
async fn requested(wire: &mut Wire) -> Result<(u32, Vec<u8>), Failure> {
    loop {
        let frame = wire.next().await.map_err(Failure::Broken)?;
        match frame.tag {
            b'R' => {
                let mut cursor = Cursor::new(frame.body);
                let kind = cursor.u32().map_err(|_| garbled())?;
                return Ok((kind, cursor.rest().to_vec()));
            }
            b'E' => return Err(Failure::Server(server_error(frame.body))),
            b'N' | b'v' => {}
            _ => return Err(garbled()),
        }
    }
}

fn password(target: &Target) -> Result<&[u8], Failure> {
    match &target.password {
        Some(password) => Ok(password.expose_secret().as_bytes()),
        None => Err(Failure::Login("the server asks for a password, and the URL has none".to_owned())),
    }
}

fn garbled() -> Failure {
    let message = "what it answers is not the Postgres protocol";
    Failure::Broken(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// The rows of a simple query, as text.
pub(super) type Rows = Vec<Vec<Option<String>>>;

impl Session {
    /// Runs one command or query.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.wire.send(|out| frontend::query(sql, out)).await.map_err(Failure::Broken)?;
        let (mut rows, mut failed): (Rows, Option<ServerError>) = (Vec::new(), None);
        loop {
            let frame = self.wire.next().await.map_err(Failure::Broken)?;
            match frame.tag {
                b'D' => rows.push(row(frame.body).ok_or_else(garbled)?),
                b'E' => failed = Some(server_error(frame.body)),
                b'Z' => return failed.map_or(Ok(rows), |error| Err(Failure::Server(error))),
                _ => {}
            }
        }
    }
}

fn row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let mut cursor = Cursor::new(body);
    let mut row = Vec::new();
    for _ in 0..cursor.u16().ok()? {
        row.push(match cursor.u32().ok()? {
            u32::MAX => None,
            length => Some(String::from_utf8_lossy(cursor.take(length as usize).ok()?).into_owned()),
        });
    }
    Some(row)
}
