//! Whether a remote can be reached: a connection and a TLS handshake, no call.

use super::http::client::{base_url, host, tls};
use rustls::pki_types::ServerName;
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

const LIMIT: Duration = Duration::from_secs(5);

/// Connects to the URL's host and says how that went, either way in one line.
pub async fn probe(url: &str) -> Result<String, String> {
    let url = base_url(url, true)?;
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
    let handshake = TlsConnector::from(Arc::new(tls(&url)?)).connect(server, stream);
    match timeout(LIMIT, handshake).await {
        Ok(Ok(stream)) => {
            let version = stream.get_ref().1.protocol_version();
            let version = version.and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default();
            Ok(format!("{place} can be reached, {version}"))
        }
        Ok(Err(error)) => Err(format!("TLS with {place} failed: {error}")),
        Err(_) => Err(format!("{place} did not finish the TLS handshake within {} s", LIMIT.as_secs())),
    }
}
