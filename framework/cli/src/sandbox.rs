//! `sandbox`: a local simulator of a service.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use headwater_core::{Error, Kind};
use headwater_sandbox::{Sandbox, Setup, Simulation, simulations};
use serde_json::json;

use crate::{
    Outcome, args,
    runtime::server_runtime,
    terminal::{Terminal, Tone},
};

pub(crate) fn sandbox(options: &args::Sandbox, terminal: &Terminal) -> Outcome {
    let simulation = find(&options.connector)?;
    let setup = Setup {
        port: options.port,
        seed: options.seed,
        size: options.size,
        faults: options.faults.clone().unwrap_or_default(),
        per_second: options.per_second,
        switches: options.switches.clone(),
    };
    let service =
        (simulation.service)(&setup).map_err(|error| Error::new(Kind::ConfigInvalid, error))?;
    server_runtime()?.block_on(async {
        let port = options.port;
        let sandbox = Sandbox::start(service).await.map_err(|error| {
            Error::new(
                Kind::ConfigInvalid,
                format!("port {port} of 127.0.0.1 cannot be used: {error}"),
            )
        })?;
        let mut interrupted = pin!(tokio::signal::ctrl_c());
        // The first poll sets the handler, before the address is known.
        let early = poll_fn(|context| Poll::Ready(interrupted.as_mut().poll(context))).await;
        announce(simulation, &sandbox.base_url(), terminal)?;
        let stopped = match early {
            Poll::Ready(stopped) => stopped,
            Poll::Pending => interrupted.await,
        };
        sandbox.stop().await;
        stopped.map_err(|error| {
            Error::new(Kind::Unexpected, "signals cannot be received").caused_by(error)
        })?;
        Ok(())
    })
}

fn find(connector: &str) -> Result<&'static Simulation, Error> {
    let found = simulations().iter().find(|one| one.id == connector);
    found.ok_or_else(|| {
        let ids: Vec<&str> = simulations().iter().map(|one| one.id).collect();
        let ids = ids.join(", ");
        Error::new(
            Kind::NotFound,
            format!("there is no simulator of {connector:?}; choose one of {ids}"),
        )
    })
}

fn announce(simulation: &Simulation, base_url: &str, terminal: &Terminal) -> Outcome {
    let config = (simulation.form)(base_url);
    if terminal.json {
        let simulated = [json!({ "id": simulation.id, "config": config })];
        return terminal
            .print(&json!({ "base_url": base_url, "simulations": simulated }).to_string());
    }
    terminal.print(&format!("{} is simulated at {base_url}", simulation.title))?;
    terminal.print("\nIn another terminal:\n")?;
    for verb in ["check", "read"] {
        let command = format!(
            "  echo '{config}' | headwater {verb} {} --config -",
            simulation.id
        );
        terminal.print(&terminal.paint(Tone::Strong, &command))?;
    }
    terminal.print("\nThe credentials are made up and work only here. Ctrl-C ends the simulator.")
}
