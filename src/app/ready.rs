//! Asking the service that runs with the same configuration, on the same machine, whether it is ready.

use super::{App, AppError};
use crate::{
    admin::{Listen, Settings, certificates},
    postgres::believing,
};
use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Nobody who is asked this often may take longer.
const PATIENCE: Duration = Duration::from_secs(4);
/// What is read of an answer.
const LONGEST: u64 = 64 << 10;

impl App {
    /// Asks the service that runs with this configuration, on this machine, whether it is ready.
    pub async fn ready(&self) -> Result<String, AppError> {
        ready(&self.loaded.config.admin).await.map_err(AppError::Failed)
    }
}

/// What `/readyz` says; an error is for a person.
async fn ready(settings: &Settings) -> Result<String, String> {
    let Listen::At(address) = settings.listen else {
        return Err("`admin.listen` is `off`: there is nobody to ask".to_owned());
    };
    if address.port() == 0 {
        return Err("`admin.listen` has port 0, so it is not known where the service listens".to_owned());
    }
    let address = of_this_machine(address);
    match timeout(PATIENCE, ask(settings, address)).await {
        Err(_) => Err(format!("the service at {address} does not answer within {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => Err(format!("the service at {address} cannot be asked: {error}")),
        Ok(Ok((200, said))) => Ok(said),
        Ok(Ok((status, said))) => Err(format!("the service is not ready ({status}): {said}")),
    }
}

/// Whoever listens at all addresses listens at this machine's own too.
fn of_this_machine(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn ask(settings: &Settings, address: SocketAddr) -> io::Result<(u16, String)> {
    let stream = TcpStream::connect(address).await?;
    let Some(tls) = &settings.tls else { return exchange(stream, address).await };
    // Whatever name is in it.
    let expected = certificates(tls).map_err(|fault| io::Error::other(fault.message))?;
    let provider = Arc::new(ring::default_provider());
    let verifier = believing(expected, &provider).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::from(address.ip());
    exchange(TlsConnector::from(Arc::new(config)).connect(name, stream).await?, address).await
}

/// One request, and a connection that ends with its answer.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    address: SocketAddr,
) -> io::Result<(u16, String)> {
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    match stream.take(LONGEST).read_to_end(&mut answer).await {
        // A TLS connection that ends without saying so.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        read => drop(read?),
    }
    read(&answer).ok_or_else(|| io::Error::other("it does not speak HTTP"))
}

fn read(answer: &[u8]) -> Option<(u16, String)> {
    let answer = String::from_utf8_lossy(answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        for (listens, asked) in
            [("0.0.0.0:8087", "127.0.0.1:8087"), ("[::]:1", "[::1]:1"), ("10.0.0.7:2", "10.0.0.7:2")]
        {
            let address = listens.parse().expect("an address");
            assert_eq!(of_this_machine(address).to_string(), asked);
        }
    }

    #[test]
    fn an_answer_is_a_status_and_what_is_said() {
        let said = read(b"HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\n no heartbeat\n");
        assert_eq!(said, Some((503, "no heartbeat".to_owned())));
        assert_eq!((read(b"SSH-2.0\r\n\r\n"), read(b"HTTP/1.1 200 OK")), (None, None));
    }
}
