//! Without a config a terminal is asked: a real pseudo-terminal here.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use acceptance::{binary::command, unlimited_sandbox};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

/// A process at a terminal of its own.
struct Session {
    child: Child,
    keyboard: File,
    screen: mpsc::Receiver<Vec<u8>>,
    seen: String,
}

impl Session {
    fn start(arguments: &[&str]) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new())
            .unwrap()
            .into_string()
            .unwrap();
        let terminal = || -> OwnedFd {
            File::options()
                .read(true)
                .write(true)
                .open(&name)
                .unwrap()
                .into()
        };
        // In a session of its own, so that the terminal becomes its controlling one, which hidden input needs.
        let child = command("setsid")
            .args(["--ctty", "--wait", HEADWATER])
            .args(arguments)
            .stdin(Stdio::from(terminal()))
            .stdout(Stdio::from(terminal()))
            .stderr(Stdio::from(terminal()))
            .spawn()
            .unwrap();
        let keyboard = File::from(controller);
        let mut reader = keyboard.try_clone().unwrap();
        let (send, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keyboard,
            screen,
            seen: String::new(),
        }
    }

    fn wait_for(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let chunk = self.screen.recv_timeout(Duration::from_secs(60));
            let chunk = chunk.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&chunk));
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end);
    }

    fn type_line(&mut self, text: &str) {
        self.keyboard
            .write_all(format!("{text}\n").as_bytes())
            .unwrap();
    }

    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        while let Ok(chunk) = self.screen.recv_timeout(Duration::from_millis(300)) {
            self.seen.push_str(&String::from_utf8_lossy(&chunk));
        }
        (code, self.seen)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_is_asked_for_and_secrets_are_not_shown() {
    let sandbox = unlimited_sandbox(10).await;
    let base_url = format!("base_url={}", sandbox.base_url());
    let mut session = Session::start(&["check", "clari-copilot", "--set", &base_url]);
    session.wait_for("1. Open the settings");
    session.wait_for("API Key: ");
    session.type_line("bad key");
    session.wait_for("API Password: ");
    session.type_line(headwater_sandbox::API_PASSWORD);
    session.wait_for("Start date (optional): ");
    session.type_line("");
    session.wait_for("Include private calls [false]: ");
    session.type_line("");
    // Only what was refused is asked for again.
    session.wait_for("API Key holds a space");
    session.wait_for("API Key: ");
    session.type_line(headwater_sandbox::API_KEY);
    session.wait_for("✓");
    let (code, rest) = session.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(
        rest.contains("Clari Copilot accepted the key pair"),
        "{rest}"
    );
    for secret in [
        "bad key",
        headwater_sandbox::API_KEY,
        headwater_sandbox::API_PASSWORD,
    ] {
        assert!(!rest.contains(secret), "{rest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_wrong_answers_end_it() {
    let mut session = Session::start(&["check", "clari-copilot"]);
    for round in 0..3 {
        session.wait_for("API Key: ");
        session.type_line("");
        session.wait_for("API Password: ");
        session.type_line("");
        if round == 0 {
            session.wait_for("Start date (optional): ");
            session.type_line("");
            session.wait_for("Include private calls [false]: ");
            session.type_line("");
        }
    }
    let (code, rest) = session.end();
    assert_eq!(code, Some(2), "{rest}");
    assert!(rest.contains("API Key is required"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alternative_is_chosen_before_its_fields_are_asked_for() {
    for typed in ["", "2"] {
        let sandbox = acceptance::claribi::organization_of(4).await;
        let base_url = format!("base_url={}", sandbox.base_url());
        let mut session = Session::start(&["check", "claribi", "--set", &base_url]);
        session.wait_for("1. Open the settings");
        session.wait_for("1) Api-Key header");
        session.wait_for("4) E-mail and password");
        session.wait_for("Authentication [1]: ");
        session.type_line("5");
        session.wait_for("choose a number from 1 to 4");
        session.wait_for("Authentication [1]: ");
        session.type_line(typed);
        session.wait_for("API key: ");
        session.type_line("");
        session.wait_for("Read details [false]: ");
        session.type_line("");
        session.wait_for("Stale after hours [24]: ");
        session.type_line("");
        // Only what was refused is asked for again.
        session.wait_for("API key is required");
        session.wait_for("API key: ");
        session.type_line(headwater_sandbox::claribi::API_KEY);
        session.wait_for("✓");
        let (code, rest) = session.end();
        assert_eq!(code, Some(0), "{rest}");
        assert!(
            !rest.contains(headwater_sandbox::claribi::API_KEY),
            "{rest}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_asked_for_by_its_own_fields() {
    let sandbox = acceptance::claribi::organization_of(4).await;
    let base_url = format!("base_url={}", sandbox.base_url());
    let mut session = Session::start(&[
        "check",
        "claribi",
        "--set",
        &base_url,
        "--set",
        "auth.style=jwt",
    ]);
    session.wait_for("E-mail: ");
    session.type_line(headwater_sandbox::claribi::EMAIL);
    session.wait_for("Password: ");
    session.type_line(headwater_sandbox::claribi::PASSWORD);
    session.wait_for("Read details [false]: ");
    session.type_line("");
    session.wait_for("Stale after hours [24]: ");
    session.type_line("");
    session.wait_for("clariBI accepted the login");
    let (code, rest) = session.end();
    assert_eq!(code, Some(0), "{rest}");
}
