//! TLS that the service speaks itself, and what it says where it does not.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Stdio,
};

use acceptance::{
    binary::{Ran, command},
    client,
    service::Service,
};
use reqwest::{Certificate, Client, header, redirect::Policy};
use rustix::process::{Pid, Signal, kill_process};

use crate::serve::{HEADWATER, doors::raw, token};

const IN_THE_CLEAR: &str = "unencrypted; put a TLS proxy in front or set --tls-certificate";

/// A certificate for this machine, made for one test.
struct Made {
    certificate: PathBuf,
    key: PathBuf,
    pem: String,
}

impl Made {
    fn new(folder: &Path, name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let file = |kind: &str, pem: &str| {
            let path = folder.join(format!("{name}.{kind}.pem"));
            fs::write(&path, pem).unwrap();
            path
        };
        let pem = made.cert.pem();
        Self {
            certificate: file("certificate", &pem),
            key: file("key", &made.signing_key.serialize_pem()),
            pem,
        }
    }

    fn options(&self) -> [&str; 4] {
        [
            "--tls-certificate",
            self.certificate.to_str().unwrap(),
            "--tls-key",
            self.key.to_str().unwrap(),
        ]
    }

    /// A client that trusts this certificate and no other.
    fn client(&self) -> Client {
        let certificate = Certificate::from_pem(self.pem.as_bytes()).unwrap();
        client()
            .tls_certs_only([certificate])
            .redirect(Policy::none())
            .build()
            .unwrap()
    }
}

/// A service with TLS that asks for tokens, its certificate, and a token.
fn service() -> (Service, Made, String) {
    let home = tempfile::tempdir().unwrap();
    let (made, admin) = (Made::new(home.path(), "own"), token(home.path(), "admin"));
    let options = [&["--require-token"][..], &made.options()].concat();
    (Service::start_in(home, HEADWATER, &options), made, admin)
}

#[tokio::test]
async fn a_service_with_a_certificate_speaks_tls_and_keeps_its_cookies_to_it() {
    let (service, made, admin) = service();
    assert!(service.address.starts_with("https://127.0.0.1:"));
    let client = made.client();
    let url = |path: &str| format!("{}{path}", service.address);
    let answer = client.get(url("/api/v1/connections")).bearer_auth(&admin);
    assert_eq!(answer.send().await.unwrap().status(), 200);

    let sign_in = client.post(url("/login")).body(format!("token={admin}"));
    let kind = "application/x-www-form-urlencoded";
    let sign_in = sign_in.header(header::CONTENT_TYPE, kind);
    let answer = sign_in.send().await.unwrap();
    assert_eq!(answer.status(), 303);
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    let (pair, rest) = cookie.split_once(';').unwrap();
    assert!(pair.starts_with("__Host-headwater_session="), "{pair}");
    let mut words: Vec<&str> = rest.split(';').map(str::trim).collect();
    words.sort_unstable();
    assert_eq!(words, ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"]);
    let page = client.get(url("/connections")).header(header::COOKIE, pair);
    assert_eq!(page.send().await.unwrap().status(), 200);
    let left = client.post(url("/logout")).header(header::COOKIE, pair);
    let left = left.send().await.unwrap();
    let cookie = left.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-headwater_session=;") && cookie.contains("Secure"));
    let page = client.get(url("/connections")).header(header::COOKIE, pair);
    assert_eq!(page.send().await.unwrap().status(), 303);

    // Whoever trusts another certificate, or speaks plain HTTP, hears nothing.
    let other = Made::new(service.path(), "other").client();
    let refused = other.get(url("/healthz")).send().await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");
    let plain = service.address.replace("https://", "http://");
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(!raw(&plain, request).contains("HTTP/1.1"));
    // On this machine there is nothing to say.
    assert_eq!(service.stop(), "");
}

#[tokio::test]
async fn a_handshake_that_never_ends_holds_nobody_up() {
    let (service, made, _) = service();
    let host = service.address.trim_start_matches("https://");
    let held: Vec<TcpStream> = (0..32)
        .map(|number| {
            let mut stream = TcpStream::connect(host).unwrap();
            // The beginning of a greeting, or nothing at all.
            let greeting = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
            stream.write_all(&greeting[..number % 7]).unwrap();
            stream
        })
        .collect();
    // They are accepted in their order, so before these.
    for _ in 0..4 {
        let health = format!("{}/healthz", service.address);
        let answer = made.client().get(health).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    for stream in &held {
        stream.set_nonblocking(true).unwrap();
        let read = (&*stream).read(&mut [0]);
        assert!(read.is_err(), "it was given up before the others: {read:?}");
    }
}

#[test]
fn files_that_are_no_certificate_and_its_key_are_named_and_nothing_is_served() {
    let home = tempfile::tempdir().unwrap();
    let (own, other) = (
        Made::new(home.path(), "own"),
        Made::new(home.path(), "other"),
    );
    let text = home.path().join("text");
    fs::write(&text, "canary-93d1-never-to-be-seen").unwrap();
    let missing = home.path().join("missing");
    let refused = |options: &[&str]| -> Ran {
        let ran = command(HEADWATER)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(options)
            .env("HEADWATER_HOME", home.path().join("home"))
            .output();
        let ran: Ran = ran.unwrap().into();
        assert_eq!(ran.code, Some(2), "{options:?}: {}", ran.all());
        assert_eq!(ran.out, "", "{options:?}");
        assert!(!ran.err.contains("canary"), "{}", ran.err);
        ran
    };
    for (certificate, key, named, says) in [
        (
            &own.certificate,
            &other.key,
            &own.certificate,
            "does not match its key",
        ),
        (
            &own.certificate,
            &text,
            &text,
            "is not a private key in PEM",
        ),
        (
            &own.certificate,
            &own.certificate,
            &own.certificate,
            "is not a private key in PEM",
        ),
        (&own.certificate, &missing, &missing, "cannot be read"),
        (&text, &own.key, &text, "is not a certificate in PEM"),
        (&missing, &own.key, &missing, "cannot be read"),
    ] {
        let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let (certificate, key) = (path(certificate), path(key));
        let said = refused(&["--tls-certificate", &certificate, "--tls-key", &key]).err;
        assert!(said.contains(&format!("{} {says}", path(named))), "{said}");
    }
    let [certificate, its_path, key, key_path] = own.options();
    let said = refused(&[certificate, its_path]).err;
    assert!(said.contains("--tls-key"), "{said}");
    let said = refused(&[key, key_path]).err;
    assert!(said.contains("--tls-certificate"), "{said}");
}

/// Starts a service that listens here, ends it, and returns what it said on standard error.
fn said_at(listen: &str, home: &Path, options: &[&str]) -> String {
    let mut child = command(HEADWATER)
        .args(["serve", "--listen", listen])
        .args(options)
        .env("HEADWATER_HOME", home.join("home"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    // It serves, or has ended by itself, which its code tells.
    let _ = kill_process(Pid::from_child(&child), Signal::TERM);
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{options:?}: {line} {}", ran.err);
    assert!(line.contains("serves at http"), "{line}");
    ran.err
}

#[test]
fn a_service_on_a_network_without_tls_says_so_at_its_start() {
    let home = tempfile::tempdir().unwrap();
    token(home.path(), "admin");
    let made = Made::new(home.path(), "own");
    let said = said_at("0.0.0.0:0", home.path(), &[]);
    assert!(said.contains(IN_THE_CLEAR), "{said}");
    for (listen, options) in [("0.0.0.0:0", &made.options()[..]), ("127.0.0.1:0", &[])] {
        assert_eq!(said_at(listen, home.path(), options), "", "{listen}");
    }
}
