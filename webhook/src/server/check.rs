//! A call of our own, the way the API server makes one: does the certificate match name and
//! authority, does an answer come?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::keys::Keys;

const LIMIT: Duration = Duration::from_secs(5);

/// Why a call of our own does not get through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// The authority or the name cannot be used.
    #[error("{0}")]
    Setup(String),
    /// No connection, or no TLS.
    #[error("connecting to {address}: {source}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Something else answers.
    #[error("{0} does not answer as the webhook does")]
    Answer(SocketAddr),
    /// Nothing happens.
    #[error("{0} does not answer within 5 s")]
    TimedOut(SocketAddr),
}

/// Calls ourselves.
pub(crate) async fn check(listen: SocketAddr, keys: &Keys) -> Result<(), CheckError> {
    let address = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, listen.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, listen.port()).into(),
        _ => listen,
    };
    let setup = |error: rustls::Error| CheckError::Setup(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(keys.bundle.as_bytes()) {
        let certificate = certificate.map_err(|error| CheckError::Setup(error.to_string()))?;
        roots.add(certificate).map_err(setup)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = keys.name().ok_or_else(|| CheckError::Setup("no name to call".to_owned()))?;
    let name = ServerName::try_from(name).map_err(|error| CheckError::Setup(error.to_string()))?;
    match timeout(LIMIT, call(address, config, name)).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(CheckError::Answer(address)),
        Ok(Err(source)) => Err(CheckError::Connect { address, source }),
        Err(_) => Err(CheckError::TimedOut(address)),
    }
}

/// Whether a path that is not ours is refused.
async fn call(
    address: SocketAddr,
    config: ClientConfig,
    name: ServerName<'static>,
) -> std::io::Result<bool> {
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await?;
    let request = "GET /readiness HTTP/1.1\r\nHost: lapse-webhook\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    Ok(start == *b"HTTP/1.1 404")
}
