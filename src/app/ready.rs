//! Asking the service that runs with the same configuration, on the same machine, whether it is ready.

use super::{Listen, Settings, tls};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
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

/// What `/readyz` says; an error is for a person.
pub async fn ready(settings: &Settings) -> Result<String, String> {
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
    let expected = tls::certificates(tls).map_err(|fault| io::Error::other(fault.message))?;
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Ours { expected, provider }))
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

/// Believes whoever shows the certificate that is configured here, whatever name is in it.
#[derive(Debug)]
struct Ours {
    expected: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Ours {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.expected.first().is_some_and(|it| it == certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General("it shows another certificate than `admin.tls.cert`".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
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
