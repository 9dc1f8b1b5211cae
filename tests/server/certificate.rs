//! Client certificates on the real relay, WebSocket over TLS and QUIC: what is accepted, what is refused, and how a live
//! transport ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use warren::client::api::{Api, AuthClient};
use warren::client::dial::{Credentials, DialError, Dialer, Route};
use warren::client::tls::{ClientIdentity, Trust};
use warren::client::transport::{Incoming, Reader, Writer};
use warren::ids::{ClientId, Id, InstanceId};
use warren::wire::messages::{TransferFrame, TransferPath};

use crate::admin::{answer, refusal};
use crate::support::{PATIENCE, Process, install_crypto};

const NETWORK: &str = "hilltop-lab";

/// Longest that a live transport may last once its certificate is no good.
const CUT: Duration = Duration::from_secs(1);

/// A server with TLS on both listeners, run from a file of settings, and one network.
struct Scene {
    process: Process,
    data: PathBuf,
    settings: PathBuf,
    user: Api,
    _folder: TempDir,
}

impl Scene {
    async fn start() -> Self {
        install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("warren.toml");
        write_settings(&settings, "first");
        let process = Process::start(folder.path(), |command| {
            command.arg("--config").arg(&settings);
        });
        let addresses = process.addresses();
        let api = Api::new(&format!("https://{}", addresses["http"].as_str().unwrap()), &Trust::Any).unwrap();
        let new = warren::client::api::NetworkCreate {
            user_auth: Some("ada@hill.example".into()),
            password: Some("correct horse".into()),
            network_name: Some(NETWORK.into()),
            terms: true,
            ..Default::default()
        };
        let user = api.with_token(&api.network_create(&new).await.unwrap().network.by_jwt.unwrap());
        Self { process, data: folder.path().join("data"), settings, user, _folder: folder }
    }

    fn routes(&self) -> [Route; 3] {
        let addresses = self.process.addresses();
        let url = format!("wss://{}/", addresses["http"].as_str().unwrap());
        let quic = addresses["quic"].as_str().unwrap().to_owned();
        [Route::WebSocket(url.clone()), Route::WebSocketFirstMessage(url), Route::Quic(quic)]
    }

    /// The client and the identity in the bundle that the operator hands out.
    fn issue(&self) -> (ClientId, Arc<ClientIdentity>) {
        let issued = answer(&self.data, &["certificates", "issue", NETWORK]);
        let client_id = issued["client_id"].as_str().unwrap().parse().unwrap();
        let bundle = STANDARD.decode(issued["pkcs12"].as_str().unwrap()).unwrap();
        let store = KeyStore::from_pkcs12(&bundle, "warren", Pkcs12ImportPolicy::Strict).unwrap();
        let (_, chain) = store.private_key_chain().unwrap();
        let certificates = chain.certs().iter().map(|one| CertificateDer::from(one.as_der().to_vec())).collect();
        let key = chain.key().as_der().to_vec().try_into().unwrap();
        (client_id, Arc::new(ClientIdentity { chain: certificates, key }))
    }

    /// A client with a token.
    async fn other(&self, route: &Route) -> (ClientId, Reader, Writer) {
        let client = self.user.auth_client(&AuthClient::default()).await.unwrap();
        let credentials = Credentials::of_token(client.by_client_jwt, instance());
        let (reader, writer) = Dialer::new(route.clone(), credentials, &Trust::Any).unwrap().dial().await.unwrap();
        (client.client_id, reader, writer)
    }
}

fn write_settings(path: &Path, source_id: &str) {
    let text = format!(
        "[auth]\nverify = \"auto\"\nargon2_memory = \"8KiB\"\nargon2_passes = 1\n[tls]\nmode = \"self_signed\"\n\
         [relay]\ncontract_gate = false\n[portal]\ncurrent_source_id = \"{source_id}\"\n"
    );
    std::fs::write(path, text).unwrap();
}

fn instance() -> InstanceId {
    InstanceId::from_bytes(rand::random())
}

async fn dial(route: &Route, identity: &Arc<ClientIdentity>) -> Result<(Reader, Writer), DialError> {
    let credentials =
        Credentials { token: String::new(), certificate: Some(Arc::clone(identity)), instance: instance() };
    Dialer::new(route.clone(), credentials, &Trust::Any).unwrap().dial().await
}

/// With the headers of an upgrade a client learns only from the end of its transport that it was refused.
async fn is_refused(route: &Route, identity: &Arc<ClientIdentity>) -> bool {
    match dial(route, identity).await {
        Err(_) => true,
        Ok((mut reader, _writer)) => timeout(PATIENCE, reader.next()).await.is_ok_and(|next| next.is_err()),
    }
}

/// Whether a transport ends within [`CUT`] of now.
async fn is_cut(mut reader: Reader) -> bool {
    timeout(CUT, async { while reader.next().await.is_ok() {} }).await.is_ok()
}

fn frame(from: ClientId, to: ClientId, byte: u8) -> Bytes {
    let path = TransferPath { source_id: Some(from.into()), destination_id: Some(to.into()), stream_id: None };
    let sealed = Some(vec![byte; 100].into());
    let frame = TransferFrame { transfer_path: Some(path), encrypted_transfer_frame: sealed, ..Default::default() };
    frame.encode_to_vec().into()
}

async fn receives(reader: &mut Reader, wanted: &Bytes) {
    let arrived = async { while reader.next().await.unwrap() != Incoming::Frame(wanted.clone()) {} };
    timeout(PATIENCE, arrived).await.expect("the frame arrives");
}

#[tokio::test]
async fn a_certificate_opens_every_kind_of_transport_and_frames_go_both_ways() {
    let scene = Scene::start().await;
    let (me, identity) = scene.issue();
    for route in scene.routes() {
        let (you, mut your_reader, mut your_writer) = scene.other(&route).await;
        let (mut reader, mut writer) = dial(&route, &identity).await.unwrap();
        // Until the relay has joined it, nothing can reach it: its own frame comes first.
        writer.write(&mut vec![frame(me, you, 1)]).await.unwrap();
        receives(&mut your_reader, &frame(me, you, 1)).await;
        your_writer.write(&mut vec![frame(you, me, 2)]).await.unwrap();
        receives(&mut reader, &frame(you, me, 2)).await;
    }
}

#[tokio::test]
async fn a_token_counts_where_both_are_given_and_a_bad_one_is_not_made_up_for() {
    let scene = Scene::start().await;
    let (_, identity) = scene.issue();
    let client = scene.user.auth_client(&AuthClient::default()).await.unwrap();
    for route in scene.routes() {
        let (you, mut your_reader, _your_writer) = scene.other(&route).await;
        let with = |token: &str| Credentials {
            token: token.into(),
            certificate: Some(Arc::clone(&identity)),
            instance: instance(),
        };
        let dialer = Dialer::new(route.clone(), with(&client.by_client_jwt), &Trust::Any).unwrap();
        let (_reader, mut writer) = dialer.dial().await.unwrap();
        writer.write(&mut vec![frame(client.client_id, you, 3)]).await.unwrap();
        receives(&mut your_reader, &frame(client.client_id, you, 3)).await;
        let refused = Dialer::new(route, with("no.such.token"), &Trust::Any).unwrap().dial().await;
        if let Ok((mut reader, _writer)) = refused {
            assert!(timeout(PATIENCE, reader.next()).await.unwrap().is_err());
        }
    }
}

/// Certificates that name the right client and yet are not the one it has.
fn forgeries(scene: &Scene, client_id: ClientId) -> Vec<(&'static str, Arc<ClientIdentity>)> {
    let pem = std::fs::read(scene.data.join("client-ca.pem")).unwrap();
    let authority = CertificateDer::from_pem_slice(&pem).unwrap();
    let authority_key = || KeyPair::from_pem(&String::from_utf8(pem.clone()).unwrap()).unwrap();
    let named = || {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, client_id.to_string());
        params
    };
    let signed = |params: CertificateParams, authority: &CertificateDer<'static>, authority_key: KeyPair| {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_ca_cert_der(authority, authority_key).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let key = key.serialize_der().try_into().unwrap();
        Arc::new(ClientIdentity { chain: vec![certificate.der().clone(), authority.clone()], key })
    };
    let mut expired = named();
    expired.not_after = date_time_ymd(2020, 1, 1);
    let mut foreign = CertificateParams::default();
    foreign.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let foreign_key = KeyPair::generate().unwrap();
    let foreign = foreign.self_signed(&foreign_key).unwrap().der().clone();
    vec![
        ("it is none of those that were given out", signed(named(), &authority, authority_key())),
        ("it has ended", signed(expired, &authority, authority_key())),
        ("another authority signed it", signed(named(), &foreign, foreign_key)),
        ("its authority's key did not sign it", signed(named(), &authority, KeyPair::generate().unwrap())),
    ]
}

#[tokio::test]
async fn certificates_that_are_not_the_one_given_out_are_refused() {
    let scene = Scene::start().await;
    let (client_id, _) = scene.issue();
    for (why, forgery) in forgeries(&scene, client_id) {
        for route in scene.routes() {
            assert!(is_refused(&route, &forgery).await, "{why}, and {route} takes it");
        }
    }
}

#[tokio::test]
async fn a_revoked_certificate_loses_its_transports_and_the_next_one_works() {
    let scene = Scene::start().await;
    let (me, identity) = scene.issue();
    for route in scene.routes() {
        let (_, identity) = scene.issue();
        let live = live(&scene, &route, me, &identity).await;
        answer(&scene.data, &["certificates", "revoke", NETWORK]);
        assert!(is_cut(live).await, "{route}");
        assert!(is_refused(&route, &identity).await, "{route}");
    }
    assert!(is_refused(&scene.routes()[0], &identity).await);
    let text = refusal(&scene.data, &["certificates", "revoke", NETWORK], 1);
    assert!(text.contains("certificates list"), "{text}");
    let listed = answer(&scene.data, &["certificates", "list", NETWORK]);
    assert!(listed["certificates"][0]["revoke_time"].is_string());
    let (again, identity) = scene.issue();
    assert_eq!(again, me);
    live(&scene, &scene.routes()[2], me, &identity).await;
}

/// A transport that the relay has joined to its client.
async fn live(scene: &Scene, route: &Route, me: ClientId, identity: &Arc<ClientIdentity>) -> Reader {
    let (you, mut your_reader, _your_writer) = scene.other(route).await;
    let (reader, mut writer) = dial(route, identity).await.unwrap();
    writer.write(&mut vec![frame(me, you, 9)]).await.unwrap();
    receives(&mut your_reader, &frame(me, you, 9)).await;
    // The writer's half stays open as long as the reader's is asked.
    std::mem::forget(writer);
    reader
}

#[tokio::test]
async fn another_source_and_the_end_of_the_client_cut_live_transports() {
    let scene = Scene::start().await;
    let (me, identity) = scene.issue();
    let [websocket, _, quic] = scene.routes();
    let transports = [live(&scene, &websocket, me, &identity).await];
    assert_eq!(refusal(&scene.data, &["certificates", "add-source", "first"], 1).matches("code 99").count(), 1);
    answer(&scene.data, &["certificates", "add-source", "second"]);
    write_settings(&scene.settings, "second");
    scene.process.signal("HUP");
    for transport in transports {
        assert!(is_cut(transport).await);
    }
    assert!(is_refused(&websocket, &identity).await && is_refused(&quic, &identity).await);
    let sources = answer(&scene.data, &["certificates", "sources"]);
    let current: Vec<(&Value, &Value)> =
        sources["sources"].as_array().unwrap().iter().map(|one| (&one["source_id"], &one["is_current"])).collect();
    assert_eq!(current, [(&json!("first"), &json!(false)), (&json!("second"), &json!(true))]);

    let (again, identity) = scene.issue();
    assert_eq!(again, me);
    let transport = live(&scene, &quic, me, &identity).await;
    answer(&scene.data, &["client", "remove", &me.to_string()]);
    assert!(is_cut(transport).await);
    assert!(is_refused(&websocket, &identity).await && is_refused(&quic, &identity).await);
}

#[test]
#[ignore = "needs the openssl command, which tests/run installs"]
fn openssl_reads_the_bundle_in_both_forms() {
    for form in ["legacy", "modern"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let process = Process::start(folder.path(), |command| {
            command.env("WARREN__PORTAL__P12_ENCRYPTION", form).env("WARREN__MAIL__MODE", "off");
        });
        let make = crate::admin::make_network(&process, NETWORK);
        install_crypto();
        tokio::runtime::Runtime::new().unwrap().block_on(make);
        let bundle = folder.path().join("bundle.p12");
        let issue = ["certificates", "issue", NETWORK, "--out", bundle.to_str().unwrap()];
        assert_eq!(crate::admin::admin(&data, &issue), (Some(0), String::new(), String::new()));
        let openssl = |arguments: &[&str]| {
            let output = std::process::Command::new("openssl").args(arguments).current_dir(&folder).output().unwrap();
            let (stdout, stderr) =
                (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
            assert!(output.status.success(), "{form}: openssl {arguments:?}: {stderr}");
            stdout + &stderr
        };
        let read = ["pkcs12", "-in", "bundle.p12", "-passin", "pass:warren", "-nodes"];
        openssl(&[&read[..], &["-clcerts", "-nokeys", "-out", "leaf.pem"]].concat());
        openssl(&[&read[..], &["-cacerts", "-nokeys", "-out", "ca.pem"]].concat());
        openssl(&[&read[..], &["-nocerts", "-out", "key.pem"]].concat());
        openssl(&["verify", "-purpose", "sslclient", "-CAfile", "ca.pem", "leaf.pem"]);
        let subject = openssl(&["x509", "-in", "leaf.pem", "-noout", "-subject"]);
        let listed = answer(&data, &["certificates", "list", NETWORK]);
        assert!(subject.contains(listed["certificates"][0]["client_id"].as_str().unwrap()), "{subject}");
        let public = openssl(&["x509", "-in", "leaf.pem", "-noout", "-pubkey"]);
        assert_eq!(openssl(&["pkey", "-in", "key.pem", "-pubout"]), public, "{form}");
    }
}

/// Opens a transport by hand, so that it shows whether TLS resumed an earlier session, and reads the answer's head.
async fn upgrade(scene: &Scene, settings: &Arc<ClientConfig>) -> (HandshakeKind, TlsStream<TcpStream>) {
    let stream = TcpStream::connect(scene.process.addresses()["http"].as_str().unwrap()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(settings)).connect(name, stream).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nx-ur-instanceid: {}\r\n\r\n",
        instance()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    (stream.get_ref().1.handshake_kind().unwrap(), stream)
}

#[tokio::test]
async fn a_resumed_session_does_not_bring_a_revoked_certificate_back() {
    const MESSAGE: u8 = 0x82;
    let scene = Scene::start().await;
    let (_, identity) = scene.issue();
    let settings = Arc::new(Trust::Any.client_config(&["http/1.1"], Some(&identity)).unwrap());
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (found, mut stream) = upgrade(&scene, &settings).await;
        assert_eq!(found, kind);
        let first = timeout(PATIENCE, stream.read_u8()).await.expect("the relay speaks").unwrap();
        assert_eq!(first, MESSAGE, "it is taken");
    }
    answer(&scene.data, &["certificates", "revoke", NETWORK]);
    let (found, mut stream) = upgrade(&scene, &settings).await;
    assert_eq!(found, HandshakeKind::Resumed);
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed");
    assert_ne!(rest.first(), Some(&MESSAGE));
}
