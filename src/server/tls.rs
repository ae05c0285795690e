//! TLS: certificate and key, read at start and again when asked to.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use crate::config::TlsFiles;

/// What clients may choose from, best first.
const PROTOCOLS: [&[u8]; 2] = [H2, b"http/1.1"];
/// HTTP/2 as ALPN names it (RFC 9113 §3.2).
pub(super) const H2: &[u8] = b"h2";

/// Speaks TLS with the pair of files that was read last.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads both files. Blocks. The error is a sentence for the operator.
    pub(super) fn open(files: TlsFiles) -> Result<Self, String> {
        let current = RwLock::new(read(&files)?);
        Ok(Self { files, current })
    }

    /// Reads both files again; connections that come from now on get the new pair. Blocks. A pair
    /// that cannot be used changes nothing.
    pub(super) fn reload(&self) -> Result<(), String> {
        let new = read(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone().into()
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| format!("cannot read a private key from {}: {error}", show(&files.key)))?;
    let unfit = |error| {
        let (cert, key) = (show(&files.cert), show(&files.key));
        format!("the certificate in {cert} and the key in {key} cannot be used: {error}")
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unfit)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let fail = |error| format!("cannot read a certificate from {}: {error}", show(path));
    let found = CertificateDer::pem_file_iter(path).map_err(fail)?;
    let chain = found.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    if chain.is_empty() {
        return Err(format!("{} holds no certificate in PEM", show(path)));
    }
    Ok(chain)
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
