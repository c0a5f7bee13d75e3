//! Against a TLS server of rustls in a thread: what works, and what each failure is called.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::error::{Stage, broken};
use crate::security::{ClientIdentity, Secret, Tls, TlsSettings, Trust};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "an authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

struct Leaf {
    pem: String,
    key: String,
}

fn leaf(authority: &Authority, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
    let mut params =
        CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Leaf { pem: params.signed_by(&key, authority).unwrap().pem(), key: key.serialize_pem() }
}

/// A server that echoes on one connection; `clients` vouches for client certificates, which it then demands.
fn serve(leaf: &Leaf, clients: Option<&Authority>) -> (String, JoinHandle<io::Result<u64>>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(leaf.pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept()?;
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        let mut buffer = vec![0; 64 << 10];
        let mut echoed = 0;
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(echoed),
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(echoed),
                Err(e) => return Err(e),
                Ok(read) => {
                    stream.write_all(&buffer[..read])?;
                    echoed += read as u64;
                }
            }
        }
    });
    (addr, server)
}

fn security(trust: &str, identity: Option<&Leaf>, verify_host: bool) -> Security {
    let identity = identity
        .map(|leaf| ClientIdentity { chain_pem: leaf.pem.clone(), key_pem: Secret::new(leaf.key.clone()) });
    let settings = TlsSettings { trust: Trust::Pem(trust.to_owned()), identity, verify_host };
    Security { tls: Some(Tls::new(&settings).unwrap()), login: None }
}

/// Sends and receives one byte; an error in our words.
fn ping(addr: &str, security: &Security) -> Result<(), String> {
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut transport = Transport::over(socket, security, addr).map_err(|e| e.to_string())?;
    let said = transport.write_all(b"x").and_then(|()| {
        let mut answer = [0; 1];
        transport.read_exact(&mut answer)
    });
    let stage = if transport.is_handshaking() { Stage::TlsHandshake } else { Stage::GreetingUnderTls };
    said.map_err(|e| broken(addr, stage, e).to_string())
}

#[test]
fn megabytes_come_back_as_they_were_over_a_blocking_socket() {
    let authority = authority();
    let (addr, server) = serve(&leaf(&authority, &["127.0.0.1"], |_| {}), None);
    let socket = TcpStream::connect(&addr).unwrap();
    let reading = socket.try_clone().unwrap();
    let mut transport = Transport::over(socket, &security(&authority.pem(), None, true), &addr).unwrap();
    let sent: Vec<u8> = (0..3_000_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
    let mut received = vec![0; sent.len()];
    // The first is small, as a greeting is.
    transport.write_all(&sent[..10]).unwrap();
    transport.read_exact(&mut received[..10]).unwrap();
    for (chunk, back) in sent[10..].chunks(300_000).zip(received[10..].chunks_mut(300_000)) {
        transport.write_all(chunk).unwrap();
        transport.flush().unwrap();
        transport.read_exact(back).unwrap();
    }
    assert!(received == sent);
    reading.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(server.join().unwrap().unwrap(), sent.len() as u64);
}

#[test]
fn megabytes_come_back_as_they_were_over_a_socket_that_never_waits() {
    let authority = authority();
    let (addr, server) = serve(&leaf(&authority, &["127.0.0.1"], |_| {}), None);
    let socket = TcpStream::connect(&addr).unwrap();
    socket.set_nonblocking(true).unwrap();
    let closing = socket.try_clone().unwrap();
    let mut transport = Transport::over(socket, &security(&authority.pem(), None, true), &addr).unwrap();
    let sent: Vec<u8> = (0..5_000_000u32).map(|i| ((i * 13) >> 2) as u8).collect();
    let (mut written, mut received) = (0, Vec::new());
    let mut buffer = vec![0; 64 << 10];
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while received.len() < sent.len() {
        assert!(std::time::Instant::now() < deadline, "stuck at {written} written, {} read", received.len());
        let mut moved = false;
        if written < sent.len() {
            match transport.write(&sent[written..]) {
                Ok(taken) => {
                    written += taken;
                    moved |= taken > 0;
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
            }
        }
        if let Err(e) = transport.flush() {
            assert_eq!(e.kind(), ErrorKind::WouldBlock);
        }
        match transport.read(&mut buffer) {
            Ok(read) => {
                received.extend_from_slice(&buffer[..read]);
                moved |= read > 0;
            }
            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
        }
        if !moved {
            thread::yield_now();
        }
    }
    assert!(received == sent);
    closing.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(server.join().unwrap().unwrap(), sent.len() as u64);
}

#[test]
fn each_failed_check_has_its_name_and_a_next_step() {
    let ours = authority();
    let trusted = security(&ours.pem(), None, true);
    let failure = |leaf: &Leaf, security: &Security| {
        let (addr, _server) = serve(leaf, None);
        ping(&addr, security).unwrap_err()
    };

    let error = failure(&leaf(&authority(), &["127.0.0.1"], |_| {}), &trusted);
    assert!(
        error.contains("unknown certificate authority") && error.contains("ssl.truststore.location"),
        "{error}"
    );

    let other_host = leaf(&ours, &["kafka.example"], |_| {});
    let error = failure(&other_host, &trusted);
    assert!(error.contains("not valid for 127.0.0.1; it is for kafka.example;"), "{error}");
    let (addr, server) = serve(&other_host, None);
    assert_eq!(ping(&addr, &security(&ours.pem(), None, false)), Ok(()), "only the name is not checked");
    server.join().unwrap().unwrap();
    let error = failure(&leaf(&authority(), &["127.0.0.1"], |_| {}), &security(&ours.pem(), None, false));
    assert!(error.contains("unknown certificate authority"), "everything else still is: {error}");

    let expired = leaf(&ours, &["127.0.0.1"], |p| p.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let error = failure(&expired, &trusted);
    assert!(error.contains("has expired") && error.contains("clock"), "{error}");
    let early = leaf(&ours, &["127.0.0.1"], |p| p.not_before = rcgen::date_time_ymd(2100, 1, 1));
    assert!(failure(&early, &trusted).contains("not valid yet"));
}

#[test]
fn a_client_certificate_is_shown_and_its_lack_is_said() {
    let ours = authority();
    let server_leaf = leaf(&ours, &["127.0.0.1"], |_| {});
    let client = leaf(&ours, &[], |p| p.distinguished_name.push(DnType::CommonName, "load"));
    let (addr, server) = serve(&server_leaf, Some(&ours));
    assert_eq!(ping(&addr, &security(&ours.pem(), Some(&client), true)), Ok(()));
    server.join().unwrap().unwrap();
    let (addr, _server) = serve(&server_leaf, Some(&ours));
    let error = ping(&addr, &security(&ours.pem(), None, true)).unwrap_err();
    assert!(
        error.contains("demands a client certificate") || error.contains("demand a client certificate"),
        "{error}"
    );
}

#[test]
fn a_port_without_tls_is_recognised() {
    let trusted = security(&authority().pem(), None, true);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut chatty, _) = listener.accept().unwrap();
        chatty.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let (mut silent, _) = listener.accept().unwrap();
        let mut hello = [0; 64];
        silent.read_exact(&mut hello).unwrap();
        drop(silent);
        chatty
    });
    let error = ping(&addr, &trusted).unwrap_err();
    assert!(error.contains("listener without it") && error.contains("security.protocol"), "{error}");
    let error = ping(&addr, &trusted).unwrap_err();
    assert!(error.contains("during the TLS handshake"), "{error}");
    server.join().unwrap();
}
