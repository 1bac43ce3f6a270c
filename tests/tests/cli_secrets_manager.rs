//! References to AWS Secrets Manager, against moto's imitation of it: a server in Python.
//!
//! The interpreter is the one that `HEADWATER_PYTHON` names, or else `python3`. Without it or without the package
//! `moto[server]` the tests are skipped, and say so; with `HEADWATER_REQUIRE_PYTHON=1` they fail.

use std::{
    env,
    io::{BufRead, BufReader, ErrorKind, Write},
    process::{Child, Stdio},
};

use acceptance::{
    binary::{Ran, command},
    unlimited_sandbox,
};
use headwater_sandbox::{API_KEY, API_PASSWORD};
use serde_json::{Value, json};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const ID: &str = "clari-copilot";

/// Starts the server on a free port, puts the secrets in, tells where it is, and ends with its standard input: also
/// when the test is killed.
const SERVER: &str = r#"
import json, sys
try:
    import boto3
    from moto.server import ThreadedMotoServer
except ImportError:
    sys.exit(3)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
port = server.get_host_and_port()[1]
address = f"http://127.0.0.1:{port}"
arns = {}
for region, name, value in json.loads(sys.argv[1]):
    service = boto3.client("secretsmanager", region_name=region, endpoint_url=address,
                           aws_access_key_id="test", aws_secret_access_key="test")
    kind = {"SecretBinary": b"\xff"} if value is None else {"SecretString": value}
    arns[name] = service.create_secret(Name=name, **kind)["ARN"]
print(json.dumps({"address": address, "arns": arns}), flush=True)
sys.stdin.read()
"#;

/// A running server.
struct Vault {
    server: Child,
    address: String,
    arns: Value,
}

impl Vault {
    /// None where it cannot run and need not.
    fn start(secrets: &Value) -> Option<Self> {
        let python = env::var("HEADWATER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let spawned = command(&python)
            .args(["-c", SERVER, &secrets.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut server = match spawned {
            Ok(server) => server,
            Err(error) if error.kind() == ErrorKind::NotFound => return skip(&python),
            Err(error) => panic!("{python}: {error}"),
        };
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        if line.is_empty() {
            let status = server.wait().unwrap();
            assert_eq!(status.code(), Some(3), "the server did not start");
            return skip(&python);
        }
        let told: Value = serde_json::from_str(&line).unwrap();
        Some(Self {
            server,
            address: told["address"].as_str().unwrap().to_owned(),
            arns: told["arns"].clone(),
        })
    }

    /// Runs a check that takes its credentials of AWS, if any, from the environment and from nowhere else.
    fn check(&self, answer: &Value, has_credentials: bool) -> Ran {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.json");
        std::fs::write(&config, answer.to_string()).unwrap();
        let mut check = command(HEADWATER);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                check.env_remove(name);
            }
        }
        check
            .args(["check", ID, "--config"])
            .arg(config)
            .env("HOME", folder.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL", &self.address)
            .env("AWS_REGION", "eu-west-1");
        if has_credentials {
            check.env("AWS_ACCESS_KEY_ID", "test");
            check.env("AWS_SECRET_ACCESS_KEY", "test");
        }
        let ran: Ran = check.output().unwrap().into();
        for secret in [API_KEY, API_PASSWORD] {
            assert!(!ran.all().contains(secret), "{}", ran.all());
        }
        ran
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn skip(python: &str) -> Option<Vault> {
    let what = format!("{python} with the package of tests/moto/requirements.txt is not here");
    assert_ne!(
        env::var("HEADWATER_REQUIRE_PYTHON").as_deref(),
        Ok("1"),
        "{what}"
    );
    // Straight to the stream: what a macro prints is captured while the test passes.
    let mut error = std::io::stderr();
    let _ = writeln!(
        error,
        "SKIPPED: {what}; references to AWS Secrets Manager were not tested"
    );
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_found_by_its_name_by_its_arn_and_by_a_key_in_it() {
    let pair = json!({ "key": API_KEY, "a#b": 1, "password": API_PASSWORD }).to_string();
    let secrets = json!([
        ["eu-west-1", "team/key", API_KEY],
        ["eu-west-1", "team/password", API_PASSWORD],
        ["eu-west-1", "team/pair", pair],
        // Not in the region that the environment names.
        ["us-east-2", "elsewhere", API_KEY],
    ]);
    let Some(vault) = Vault::start(&secrets) else {
        return;
    };
    let sandbox = unlimited_sandbox(10).await;
    let arn = |name: &str| format!("aws-sm:{}", vault.arns[name].as_str().unwrap());
    let password_in_arn = format!("{}#password", arn("team/pair"));
    for (key, password) in [
        ("aws-sm:team/key", "aws-sm:team/password"),
        ("aws-sm:team/pair#key", "aws-sm:team/pair#password"),
        (&arn("team/key"), &password_in_arn),
        (&arn("elsewhere"), "aws-sm:team/password"),
    ] {
        let answer =
            json!({ "api_key": key, "api_password": password, "base_url": sandbox.base_url() });
        let ran = vault.check(&answer, true);
        assert_eq!(ran.code, Some(0), "{key}: {}", ran.all());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_at_the_field_without_what_the_service_said() {
    let secrets = json!([
        [
            "eu-west-1",
            "pair",
            json!({ "key": API_KEY, "number": 5 }).to_string()
        ],
        ["eu-west-1", "text", API_KEY],
        ["eu-west-1", "binary", null],
    ]);
    let Some(mut vault) = Vault::start(&secrets) else {
        return;
    };
    let refused = |vault: &Vault, reference: &str, has_credentials, says: &str| {
        let answer = json!({ "api_key": reference, "api_password": "env:HOME" });
        let ran = vault.check(&answer, has_credentials);
        assert_eq!(ran.code, Some(2), "{reference}: {}", ran.all());
        let says = format!("/api_key: API Key {says}");
        assert!(ran.err.contains(&says), "{reference}: {}", ran.err);
    };
    for (reference, says) in [
        (
            "aws-sm:nowhere",
            "refers to the secret \"nowhere\" of AWS Secrets Manager, which does not exist in this account and region",
        ),
        (
            "aws-sm:pair#none",
            "refers to \"none\" in the secret \"pair\" of AWS Secrets Manager, which is not there; the secret has no \
             such key",
        ),
        (
            "aws-sm:pair#number",
            "refers to \"number\" in the secret \"pair\" of AWS Secrets Manager, which is not a text",
        ),
        (
            "aws-sm:text#key",
            "refers to \"key\" in the secret \"text\" of AWS Secrets Manager, which is not there; the secret is not \
             a JSON object",
        ),
        (
            "aws-sm:binary",
            "refers to the secret \"binary\" of AWS Secrets Manager, which is binary; a text is needed",
        ),
        (
            "aws-sm:",
            "is a reference without a target; write aws-sm:NAME",
        ),
        ("aws-sm:pair#", "is a reference without a name or a key"),
    ] {
        refused(&vault, reference, true, says);
    }
    let unsigned =
        "refers to the secret \"text\" of AWS Secrets Manager, which needs credentials of AWS";
    refused(&vault, "aws-sm:text", false, unsigned);
    // Nobody listens any more.
    vault.server.kill().unwrap();
    vault.server.wait().unwrap();
    let unreachable =
        "refers to the secret \"text\" of AWS Secrets Manager, which cannot be reached";
    refused(&vault, "aws-sm:text", true, unreachable);
}
