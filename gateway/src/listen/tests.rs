use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ED25519, SanType,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

use super::*;

const SOON: Duration = Duration::from_secs(30);

/// A gateway that only lets in, by so many turns.
struct Gate {
    address: SocketAddr,
    agent: TlsConnector,
    entrance: Arc<Entrance>,
    connections: mpsc::Receiver<io::Result<Connection>>,
}

impl Gate {
    async fn with(turns: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let agent = certificates(folder.path());
        let tls = Tls::load(folder.path()).unwrap();
        let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
        let (taken, connections) = mpsc::channel(8);
        let entrance = Arc::new(Entrance::new((turns, 8), 8, metrics, taken));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lets_in = entrance.clone();
        tokio::spawn(async move {
            while let Ok(came) = listener.accept().await {
                let (acceptor, entering) = (TlsAcceptor::from(tls.current()), lets_in.clone());
                tokio::spawn(
                    async move { entering.enter(came, acceptor, Visitor::default()).await },
                );
            }
        });
        Self { address, agent, entrance, connections }
    }

    /// An agent connects, and stays until the task is aborted.
    fn connect(&self) -> tokio::task::JoinHandle<()> {
        let (address, agent) = (self.address, self.agent.clone());
        tokio::spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let _stream = agent.connect(name, stream).await.unwrap();
            std::future::pending::<()>().await;
        })
    }

    async fn next(&mut self) -> Connection {
        timeout(SOON, self.connections.recv()).await.unwrap().unwrap().unwrap()
    }
}

/// Writes what a gateway needs into a folder, and returns by what an agent connects to it.
fn certificates(folder: &Path) -> TlsConnector {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let (key, mut params) = (
        KeyPair::generate().unwrap(),
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap(),
    );
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_after = rcgen::date_time_ymd(2099, 1, 1);
    let serving = params.signed_by(&key, &authority).unwrap();
    for (name, text) in
        [("ca.crt", authority.pem()), ("tls.crt", serving.pem()), ("tls.key", key.serialize_pem())]
    {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let (key, mut params) =
        (KeyPair::generate_for(&PKCS_ED25519).unwrap(), CertificateParams::default());
    params.subject_alt_names = vec![SanType::URI("lapse://endpoint/web-1/u-1".try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let of_agent = params.signed_by(&key, &authority).unwrap().der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![of_agent], key)
        .unwrap();
    TlsConnector::from(Arc::new(config))
}

/// Whoever is through keeps their turn until it is settled whether they are connected; the next is let in then.
#[tokio::test]
async fn agents_are_let_in_as_fast_as_they_are_settled() {
    let mut gate = Gate::with(1).await;
    let agents: Vec<_> = (0..3).map(|_| gate.connect()).collect();
    let first = gate.next().await;
    let identity = first.caller.identity.clone().unwrap().unwrap();
    assert_eq!((identity.name.as_str(), identity.uid.as_str()), ("web-1", "u-1"));
    timeout(SOON, async {
        while gate.entrance.turns.waiting() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    assert!(gate.connections.try_recv().is_err(), "it is the turn of the first");
    first.caller.is_settled();
    let second = gate.next().await;
    // One that ends is settled, too.
    drop(second);
    let _third = gate.next().await;
    for agent in agents {
        agent.abort();
    }
}

/// Whoever begins, and does not go on, keeps others waiting for a moment.
#[tokio::test]
async fn who_does_not_go_on_loses_their_turn() {
    let mut gate = Gate::with(1).await;
    let mut slow = TcpStream::connect(gate.address).await.unwrap();
    // The first byte of a record.
    slow.write_all(&[22]).await.unwrap();
    let began = Instant::now();
    let agent = gate.connect();
    let _connection = gate.next().await;
    assert!(began.elapsed() < HANDSHAKE);
    agent.abort();
}

#[test]
fn it_is_known_when_the_certificate_ends() {
    let folder = tempfile::tempdir().unwrap();
    drop(certificates(folder.path()));
    let tls = Tls::load(folder.path()).unwrap();
    assert_eq!(tls.expires_at(), 4_070_908_800, "the year 2099");
}
