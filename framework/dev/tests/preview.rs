//! `cargo dev preview` as an author runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

struct Preview {
    child: Child,
    host: String,
}

impl Preview {
    fn start(file: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_headwater-dev"))
            .arg("preview")
            .arg(file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let host = line
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        Self {
            host: host.unwrap_or_else(|| panic!("{line}")).to_owned(),
            child,
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.host
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Preview {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_preview_shows_the_file_and_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("form.json");
    fs::write(&file, r#"{ "type": "object", "properties": {} }"#).unwrap();
    let preview = Preview::start(&file);
    let page = preview.get("/author");
    assert!(page.contains("From form.json."), "{page}");
    assert!(page.contains("No field is a secret"), "{page}");
    assert!(
        preview
            .get("/author/file")
            .ends_with(r#""properties": {} }"#)
    );
    fs::write(&file, "[1]").unwrap();
    assert!(preview.get("/author/file").ends_with("\r\n\r\n[1]"));
    assert!(preview.get("/author").contains("objects with properties"));
    fs::remove_file(&file).unwrap();
    let gone = preview.get("/author/file");
    assert!(gone.starts_with("HTTP/1.1 404"), "{gone}");
    // The linked connectors are there as well.
    assert!(preview.get("/author").contains("cannot be read"));
    assert!(preview.get("/").contains("/sources/"));
}

#[test]
fn a_file_that_is_not_there_is_told_before_anything_is_served() {
    let ran = Command::new(env!("CARGO_BIN_EXE_headwater-dev"))
        .args(["preview", "/nowhere/form.json"])
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.status.code(), Some(4), "{said}");
    assert!(said.contains("/nowhere/form.json cannot be read"), "{said}");
}
