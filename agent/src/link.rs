//! The way to the gateway: HTTP/2 over TLS 1.3, to whoever has a certificate of the authorities that this host trusts.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lapse_wire::gateway_client::GatewayClient;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::identity::HostKey;

/// How long reaching the gateway may take.
pub const CONNECT: Duration = Duration::from_secs(10);
/// How often a silent connection is tried, and how long its answer may take.
pub const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// The longest message, in bytes.
const LONGEST: usize = 256 * 1024;

/// Whom a connection trusts.
#[derive(Clone, Copy, Debug)]
pub enum Trusting<'a> {
    /// Anybody: what is heard is believed by the pin alone.
    Anybody,
    /// Who has a certificate of these authorities, in PEM.
    Authorities(&'a str),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address.
    #[error("{0:?} is no address of a gateway: write https://HOST:PORT")]
    Address(String),
    /// Certificates or keys.
    #[error("preparing TLS: {0}")]
    Tls(String),
    /// It is somebody else, or its authority was replaced.
    #[error(
        "the gateway at {0} shows a certificate of an authority that this host does not trust: it is of another \
         installation, or the keys of this one were replaced in an emergency. If the address is right, enrol this host again, \
         with a new token"
    )]
    Stranger(String),
    /// It cannot be reached.
    #[error("reaching the gateway at {address}: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why not.
        why: String,
    },
}

/// Connects; with a certificate, as this host.
///
/// # Errors
/// If the gateway cannot be reached, or is not who is trusted.
pub async fn connect(
    gateway: &str,
    trusting: Trusting<'_>,
    identity: Option<(&str, &HostKey)>,
) -> Result<GatewayClient<Channel>, LinkError> {
    let address = || LinkError::Address(gateway.to_owned());
    let uri: Uri = gateway.parse().map_err(|_| address())?;
    let is_plain = uri.scheme_str() != Some("https") || !matches!(uri.path(), "" | "/");
    let authority = uri.authority().filter(|_| !is_plain).ok_or_else(address)?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(443);
    let name = ServerName::try_from(host.clone()).map_err(|_| address())?;
    let connector = TlsConnector::from(Arc::new(config(trusting, identity)?));
    // TLS is ours, so that tonic sees what is in it.
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|_| address())?;
    let endpoint = endpoint
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .keep_alive_while_idle(true)
        .connect_timeout(CONNECT);
    let connect = tower::service_fn(move |_: Uri| {
        let (connector, name, host) = (connector.clone(), name.clone(), host.clone());
        async move {
            let reached = tokio::time::timeout(CONNECT, async {
                let stream = TcpStream::connect((host.as_str(), port)).await?;
                stream.set_nodelay(true)?;
                connector.connect(name, stream).await
            });
            Ok::<_, std::io::Error>(TokioIo::new(reached.await??))
        }
    });
    let channel = endpoint.connect_with_connector(connect).await.map_err(|error| {
        let address = gateway.to_owned();
        if is_of_stranger(&error) {
            LinkError::Stranger(address)
        } else {
            LinkError::Unreachable { address, why: innermost(&error) }
        }
    })?;
    Ok(GatewayClient::new(channel).max_decoding_message_size(LONGEST))
}

/// What an error says at its root: the layers above say that something went wrong.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Whether the other side has a certificate of nobody who is trusted.
fn is_of_stranger(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(this) = error {
        // What TLS says lies in an error of a connection, which does not name it as its source.
        let inner = this.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(rustls::Error::InvalidCertificate(why)) =
            inner.and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            return *why == CertificateError::UnknownIssuer;
        }
        error = this.source();
    }
    false
}

fn config(
    trusting: Trusting<'_>,
    identity: Option<(&str, &HostKey)>,
) -> Result<ClientConfig, LinkError> {
    let wrong = |error: &dyn std::fmt::Display| LinkError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| wrong(&error))?;
    let verifier: Arc<dyn ServerCertVerifier> = match trusting {
        Trusting::Anybody => Arc::new(Anybody(provider)),
        Trusting::Authorities(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .map_err(|error| wrong(&error))?
        }
    };
    // It is one of the two verifiers above.
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain: Result<Vec<_>, _> =
                CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
            let der = PrivatePkcs8KeyDer::from(key.der().to_vec());
            builder
                .with_client_auth_cert(
                    chain.map_err(|error| wrong(&error))?,
                    PrivateKeyDer::Pkcs8(der),
                )
                .map_err(|error| wrong(&error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Takes any certificate whose key the other side has. Nothing that is secret is said on such a connection.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_that_nobody_trusts_is_told_from_a_dead_gateway() {
        let of_tls = |error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(is_of_stranger(&of_tls(unknown)));
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        assert!(!is_of_stranger(&of_tls(expired)));
        assert!(!is_of_stranger(&std::io::Error::other("connection refused")));
    }
}
