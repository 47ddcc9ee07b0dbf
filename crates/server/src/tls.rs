//! TLS with certificate and key from files, which are read again when they change.
//!
//! They are looked at when a connection comes, at most once a second. What cannot be used (half written, say) changes
//! nothing: the certificate before stays.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::{info, warn};

const LOOK: Duration = Duration::from_secs(1);

pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    /// When the files were changed, as far as the system tells.
    changed: [Option<SystemTime>; 2],
    looked: Instant,
}

impl Tls {
    pub fn open(certificate: &Path, key: &Path) -> Result<Self> {
        let current = Current {
            changed: [changed(certificate), changed(key)],
            acceptor: acceptor(certificate, key)?,
            looked: Instant::now(),
        };
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), current: Mutex::new(current) })
    }

    /// For one connection, with the certificate as it is now.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK {
            current.looked = Instant::now();
            let changed = [changed(&self.certificate), changed(&self.key)];
            if changed != current.changed {
                current.changed = changed;
                match acceptor(&self.certificate, &self.key) {
                    Ok(acceptor) => {
                        current.acceptor = acceptor;
                        info!("the certificate was read again");
                    }
                    Err(e) => {
                        warn!(error = format!("{e:#}"), "the new certificate cannot be used; the one before stays")
                    }
                }
            }
        }
        current.acceptor.clone()
    }
}

fn changed(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|data| data.modified()).ok()
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let cannot = |file: &Path| format!("{} cannot be read", file.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| cannot(certificate))?;
    if chain.is_empty() {
        bail!("{} holds no certificate", certificate.display());
    }
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| cannot(key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("certificate and key do not go together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"stun.turn".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
