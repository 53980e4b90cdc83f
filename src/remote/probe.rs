//! Whether a remote can be reached: a connection and a TLS handshake, no call.

use super::{
    Settings,
    http::{
        address::{base_url, host},
        client::tls_for,
    },
};
use rustls::pki_types::ServerName;
use std::{io, sync::Arc, time::Duration};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

const LIMIT: Duration = Duration::from_secs(5);

/// How long a server may take to say that it does not take our certificate, which it does behind
/// the handshake.
const SECOND_THOUGHTS: Duration = Duration::from_millis(500);

/// Connects to the remote's host and says how that went, either way in one line.
pub async fn probe(settings: &Settings) -> Result<String, String> {
    let url = base_url(&settings.url, true)?;
    let place = host(&url);
    let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let connecting = timeout(LIMIT, TcpStream::connect((name.as_str(), port))).await;
    let stream = match connecting {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(format!("{place} cannot be reached: {error}")),
        Err(_) => return Err(format!("{place} did not answer within {} s", LIMIT.as_secs())),
    };
    if url.scheme() != "https" {
        return Ok(format!("{place} can be reached, without TLS"));
    }
    let server = ServerName::try_from(name).map_err(|_| format!("{place} is not a host name"))?;
    let tls = tls_for(&url, settings.tls.as_ref(), &["tls"]).map_err(|fault| fault.to_string())?;
    let proves_us = settings.tls.as_ref().is_some_and(|it| it.cert.is_some());
    let handshake = TlsConnector::from(Arc::new(tls)).connect(server, stream);
    let mut stream = match timeout(LIMIT, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(format!("TLS with {place} failed: {error}")),
        Err(_) => {
            return Err(format!("{place} did not finish the TLS handshake within {} s", LIMIT.as_secs()));
        }
    };
    let version = stream.get_ref().1.protocol_version();
    let version = version.and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default();
    match timeout(SECOND_THOUGHTS, stream.read(&mut [0])).await {
        Ok(Err(error)) if is_alert(&error) => {
            let what = if proves_us {
                "does not take our certificate"
            } else {
                "wants a certificate of us (`tls: { cert, key }`)"
            };
            Err(format!("{place} {what}: {error}"))
        }
        _ => Ok(format!(
            "{place} can be reached, {version}{}",
            if proves_us { ", with our certificate" } else { "" }
        )),
    }
}

fn is_alert(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::AlertReceived(_)))
}
