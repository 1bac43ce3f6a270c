//! The checks of a probe are seen while it is under way.

use std::{
    io::Read,
    net::TcpListener,
    sync::{Arc, Mutex, mpsc},
};

use acceptance::connector;
use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    Body, Check, Context, Egress, ProbeReport, Source, Transport, TransportError,
};
use headwater_http::ReqwestTransport;
use headwater_sandbox::{Sandbox, Setup, Simulation, simulations};
use serde_json::Value;

type Seen = Arc<Mutex<Vec<Check>>>;

/// Writes down how many checks had been seen when each request was sent.
struct Noting {
    wire: ReqwestTransport,
    seen: Seen,
    at_requests: Arc<Mutex<Vec<usize>>>,
}

#[async_trait]
impl Transport for Noting {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError> {
        let seen = self.seen.lock().unwrap().len();
        self.at_requests.lock().unwrap().push(seen);
        self.wire.send(request).await
    }
}

fn open(simulation: &Simulation, answer: Value, transport: impl Transport) -> Arc<dyn Source> {
    let connector = connector(simulation.id);
    let config = connector.validate(answer).expect("a valid answer");
    connector.open(&config, &Context::new(transport)).unwrap()
}

fn wire() -> ReqwestTransport {
    ReqwestTransport::new(&Egress::Anywhere).unwrap()
}

async fn sandbox(simulation: &Simulation) -> Sandbox {
    let setup = Setup {
        per_second: Some(0),
        ..Setup::default()
    };
    let service = (simulation.service)(&setup).unwrap();
    Sandbox::start(service).await.unwrap()
}

/// The report, the checks as they were seen, and how many of them when each request was sent.
async fn watched(simulation: &Simulation, answer: Value) -> (ProbeReport, Vec<Check>, Vec<usize>) {
    let (seen, at_requests) = (Seen::default(), Arc::default());
    let transport = Noting {
        wire: wire(),
        seen: Arc::clone(&seen),
        at_requests: Arc::clone(&at_requests),
    };
    let source = open(simulation, answer, transport);
    let watcher = Arc::clone(&seen);
    let report = ProbeReport::watched(&*source, move |check| {
        watcher.lock().unwrap().push(check.clone());
    })
    .await;
    let seen = seen.lock().unwrap().clone();
    let at_requests = at_requests.lock().unwrap().clone();
    (report, seen, at_requests)
}

#[tokio::test]
async fn checks_are_seen_while_later_ones_are_still_asked_for() {
    for simulation in simulations() {
        let sandbox = sandbox(simulation).await;
        let answer = (simulation.form)(&sandbox.base_url());
        let (report, seen, at_requests) = watched(simulation, answer).await;
        assert!(report.failure().is_none(), "{report:?}");
        assert_eq!(seen, report.checks, "{}", simulation.id);
        assert_eq!(at_requests.first(), Some(&0), "{}", simulation.id);
        let before_last = *at_requests.last().unwrap();
        assert!(before_last > 2, "{}: {at_requests:?}", simulation.id);
        assert!(
            before_last < seen.len(),
            "{}: {at_requests:?}",
            simulation.id
        );
    }
}

#[tokio::test]
async fn no_check_is_seen_twice_or_taken_back() {
    for simulation in simulations() {
        let sandbox = sandbox(simulation).await;
        let base_url = sandbox.base_url();
        for answer in [
            (simulation.form)(&base_url),
            (simulation.wrong_form)(&base_url),
            (simulation.form)(&format!("{base_url}/elsewhere")),
            (simulation.form)("http://127.0.0.1:1"),
        ] {
            let (report, seen, _) = watched(simulation, answer).await;
            assert_eq!(seen, report.checks, "{}", simulation.id);
            let mut names: Vec<&str> = seen.iter().map(|check| check.name.as_str()).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{}: {seen:?}", simulation.id);
        }
    }
}

#[tokio::test]
async fn a_probe_that_is_dropped_closes_its_connection() {
    for simulation in simulations() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, is_asked) = tokio::sync::oneshot::channel();
        let (closed, is_closed) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            assert!(stream.read(&mut buffer).unwrap() > 0);
            asked.send(()).unwrap();
            // Nothing more comes, and this returns only once the other side is gone.
            while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
            closed.send(()).unwrap();
        });
        let source = open(simulation, (simulation.form)(&base_url), wire());
        let probe = tokio::spawn(async move { ProbeReport::of(&*source).await });
        is_asked.await.unwrap();
        assert!(is_closed.try_recv().is_err(), "{}", simulation.id);
        probe.abort();
        assert!(probe.await.unwrap_err().is_cancelled());
        let gone = tokio::task::spawn_blocking(move || {
            is_closed.recv_timeout(std::time::Duration::from_secs(60))
        });
        assert!(gone.await.unwrap().is_ok(), "{}", simulation.id);
    }
}
