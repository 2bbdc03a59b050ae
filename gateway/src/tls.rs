//! TLS 1.3, with what the mounted folder says.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tracing::{info, warn};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("reading {}: {why}; --tls-dir names a folder with tls.crt, tls.key and ca.crt", path.display())]
    Read { path: PathBuf, why: String },
    #[error("what {} holds cannot be used: {why}", path.display())]
    Content { path: PathBuf, why: String },
}

/// The configuration in force.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    folder: PathBuf,
    current: Arc<RwLock<(Files, Arc<ServerConfig>)>>,
}

type Files = [Vec<u8>; 3];

impl Tls {
    /// Reads the folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, TlsError> {
        let files = read(folder)?;
        let config = config(folder, &files)?;
        let current = Arc::new(RwLock::new((files, config)));
        Ok(Self { folder: folder.to_owned(), current })
    }

    /// For the next handshake.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// When the certificate ends, in seconds since 1970; 0 if it does not say so.
    pub(crate) fn expires_at(&self) -> i64 {
        expiry(&self.current.read().unwrap_or_else(PoisonError::into_inner).0[0])
    }

    /// Looks again and again, and shows when the certificate in force ends.
    pub(crate) async fn follow(self, expires: Gauge) {
        loop {
            expires.set(self.expires_at());
            tokio::time::sleep(LOOK).await;
            match self.reload() {
                Ok(true) => {
                    info!("the certificate has changed; new connections are shown the new one");
                }
                Ok(false) => {}
                Err(error) => warn!(%error, "the certificate stays as it was"),
            }
        }
    }

    /// Takes what has changed, or nothing of it: files that do not fit together, as in the midst of a change, are no
    /// configuration.
    pub(crate) fn reload(&self) -> Result<bool, TlsError> {
        let files = read(&self.folder)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).0 == files {
            return Ok(false);
        }
        let config = config(&self.folder, &files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (files, config);
        Ok(true)
    }
}

fn expiry(certificates: &[u8]) -> i64 {
    let Some(Ok(leaf)) = CertificateDer::pem_slice_iter(certificates).next() else { return 0 };
    let read = X509Certificate::from_der(&leaf);
    read.map_or(0, |(_, leaf)| leaf.validity().not_after.timestamp())
}

fn read(folder: &Path) -> Result<Files, TlsError> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|error| TlsError::Read { path, why: error.to_string() })
    };
    Ok([read("tls.crt")?, read("tls.key")?, read("ca.crt")?])
}

fn config(
    folder: &Path,
    [certificate, key, authority]: &Files,
) -> Result<Arc<ServerConfig>, TlsError> {
    let content = |name: &str, why: &dyn ToString| {
        let path = folder.join(name);
        TlsError::Content { path, why: why.to_string() }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| content("tls.crt", &error))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| content("tls.key", &error))?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority) {
        let root = root.map_err(|error| content("ca.crt", &error))?;
        roots.add(root).map_err(|error| content("ca.crt", &error))?;
    }
    let provider = Arc::new(default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| content("ca.crt", &error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| content("tls.crt", &error))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| content("tls.crt", &error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A session that is resumed brings its client certificate along without its being checked again: one that has
    // expired since would go on for as long as tickets do.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
