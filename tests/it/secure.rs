//! TLS for the tests: certificates of our own, and tunnels through which the clients in cleartext
//! reach a server that speaks TLS.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
        version::{TLS12, TLS13},
    },
};

use crate::server::Server;

/// The name that certificates are made out to.
pub const NAME: &str = "piton.test";

/// A certificate and its key, in files of a folder of their own.
#[derive(Debug)]
pub struct Pair {
    folder: TempDir,
    cert: CertificateDer<'static>,
}

impl Pair {
    /// A new pair.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cert = write_pair(folder.path());
        Self { folder, cert }
    }

    /// Another pair in the same files.
    pub fn renew(&mut self) {
        self.cert = write_pair(self.folder.path());
    }

    pub fn cert_file(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    pub fn key_file(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    /// The options that name both files.
    pub fn args(&self) -> [String; 2] {
        let (cert, key) = (self.cert_file(), self.key_file());
        [format!("--tls-cert={}", cert.display()), format!("--tls-key={}", key.display())]
    }

    /// A server that speaks TLS with it.
    pub fn server(&self, args: &[&str]) -> Server {
        let mine = self.args();
        let all = [&[mine[0].as_str(), mine[1].as_str()], args].concat();
        Server::with(&all)
    }

    /// A client that trusts nothing but this pair.
    pub fn client(&self, protocols: &[&str]) -> Client {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Client { cert: self.cert.clone(), protocols, versions: vec![&TLS12, &TLS13] }
    }
}

fn write_pair(folder: &Path) -> CertificateDer<'static> {
    let names = vec![NAME.to_owned(), "127.0.0.1".to_owned(), "localhost".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    fs::write(folder.join("server.pem"), cert.pem()).unwrap();
    fs::write(folder.join("server.key"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

/// What a client trusts and speaks.
#[derive(Debug, Clone)]
pub struct Client {
    cert: CertificateDer<'static>,
    protocols: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Client {
    /// Speaks nothing newer than TLS 1.2.
    #[must_use]
    pub fn old(self) -> Self {
        Self { versions: vec![&TLS12], ..self }
    }

    /// Speaks TLS 1.3 only.
    #[must_use]
    pub fn modern(self) -> Self {
        Self { versions: vec![&TLS13], ..self }
    }

    /// Connects and shakes hands.
    pub async fn connect(self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.cert).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = self.protocols;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(NAME).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// A tunnel to a server: what comes to its address goes there inside TLS.
    pub fn tunnel(self, server: &Server) -> Tunnel {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, server) = (listener.local_addr().unwrap(), server.address());
        runtime.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let client = self.clone();
                tokio::spawn(async move {
                    let mut far = client.connect(server).await?;
                    copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Tunnel { address, _runtime: runtime }
    }
}

/// Clear on this side, TLS on the other, for as long as it is held.
#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Tunnel {
    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
