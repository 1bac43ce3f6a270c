//! `headwater serve` as a process of its own, and requests to it.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use reqwest::{Client, Method, RequestBuilder, Response, header};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{binary::command, client};

/// A service with a store of its own; killed when it is dropped.
pub struct Service {
    /// The address, `http://127.0.0.1:PORT`.
    pub address: String,
    /// Its home: the store and the records.
    pub home: TempDir,
    client: Client,
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts the binary on a free port. Base URLs may lead to this machine.
    pub fn start(program: &str, options: &[&str]) -> Self {
        let all: Vec<&str> = ["--development"].iter().chain(options).copied().collect();
        Self::start_in(tempfile::tempdir().unwrap(), program, &all)
    }

    /// The same with a home that is there, and with these options only.
    pub fn start_in(home: TempDir, program: &str, options: &[&str]) -> Self {
        // A pipe that is read at the end would fill with a log.
        let log = home.path().join("log");
        let stderr = if options.contains(&"-vvv") {
            File::create(&log).unwrap().into()
        } else {
            Stdio::piped()
        };
        let mut child = command(program)
            .args(["--json", "serve", "--listen", "127.0.0.1:0"])
            .args(options)
            .current_dir(home.path())
            .env("HEADWATER_HOME", home.path().join("home"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let Ok(said) = serde_json::from_str::<Value>(&line) else {
            let mut error = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut error)
                .unwrap();
            panic!("the service does not start: {error}");
        };
        Self {
            address: said["address"].as_str().unwrap().to_owned(),
            home,
            log,
            client: client()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            child,
        }
    }

    /// A request to a path of the service.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.address))
    }

    /// What a path answers.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    /// A request with JSON.
    pub fn send(&self, method: Method, path: &str, body: &Value) -> RequestBuilder {
        let request = self.request(method, path).body(body.to_string());
        request.header(header::CONTENT_TYPE, "application/json")
    }

    /// What a path answers to JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let sent = self.send(Method::POST, path, body).send().await;
        Answer::of(sent.unwrap()).await
    }

    /// What a path answers to a change of what has this tag.
    pub async fn patch(&self, path: &str, tag: &str, body: &Value) -> Answer {
        let request = self.send(Method::PATCH, path, body);
        Answer::of(request.header("if-match", tag).send().await.unwrap()).await
    }

    /// Where everything is that the service keeps.
    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the service as an operator does, and returns what it said on standard error.
    pub fn stop(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
        let Some(stderr) = self.child.stderr.take() else {
            return fs::read_to_string(&self.log).unwrap();
        };
        let mut error = String::new();
        BufReader::new(stderr).read_to_string(&mut error).unwrap();
        error
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The entity tag.
    pub tag: Option<String>,
    /// The kind of body.
    pub kind: String,
    /// The body.
    pub text: String,
}

impl Answer {
    /// Reads an answer.
    pub async fn of(response: Response) -> Self {
        let header = |name| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        Self {
            status: response.status().as_u16(),
            tag: header("etag"),
            kind: header("content-type").unwrap_or_default(),
            text: response.text().await.unwrap(),
        }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    /// Status and code of a problem.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.kind, "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], json!(self.status));
        (self.status, problem["code"].as_str().unwrap().to_owned())
    }

    /// The fields that a problem names.
    pub fn pointers(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let pointer = |error: &Value| error["pointer"].as_str().unwrap().to_owned();
        errors.iter().map(pointer).collect()
    }
}
