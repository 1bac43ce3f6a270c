//! Proxies of the environment: no command connects to one, for any connector.

use std::io::{Read, Write};

use acceptance::{
    binary::{Ran, command},
    simulation,
};
use headwater_core::Registry;
use headwater_sandbox::{Sandbox, Setup};
use headwater_testkit::{Reply, Script};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");
const NAMES: [&str; 8] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "FTP_PROXY",
    "CGI_HTTP_PROXY",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_command_connects_to_a_proxy_of_the_environment() {
    let proxy = Script::start(|_: &_| Reply::json(200, "{}")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| -> Ran {
        let mut command = command(HEADWATER);
        command
            .args(arguments)
            .current_dir(folder.path())
            .env("HEADWATER_HOME", folder.path().join("home"))
            .env("NO_PROXY", "")
            .env("no_proxy", "");
        for name in NAMES {
            command.env(name, proxy.base_url());
        }
        command.output().unwrap().into()
    };
    let mut count = 0;
    for connector in Registry::collect().unwrap().iter() {
        let id = connector.about().id;
        let simulation = simulation(id);
        let sandbox = Sandbox::start((simulation.service)(&Setup::default()).unwrap())
            .await
            .unwrap();
        let config = (simulation.form)(&sandbox.base_url()).to_string();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let stream = connector.catalog()[0].name;
        let add = ["connection", "add", id, id, "--config", "config.json"];
        let read = [
            "read",
            id,
            "--config",
            "config.json",
            "--stream",
            stream,
            "--limit",
            "5",
        ];
        for arguments in [&["check", id, "--config", "config.json"][..], &add, &read] {
            let before = sandbox.stats().requests;
            let ran = run(arguments);
            assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.all());
            assert!(sandbox.stats().requests > before, "{arguments:?}");
            count += 1;
        }
    }
    assert!(count >= 9, "{count}");
    assert_eq!(proxy.connections(), 0);
    // The counter counts a connection that asks nothing.
    let address = proxy.base_url().replace("http://", "");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream
        .write_all(b"CONNECT h:443 HTTP/1.1\r\nhost: h\r\n\r\n")
        .unwrap();
    let _ = stream.read(&mut [0; 64]);
    assert_eq!(proxy.connections(), 1);
}
