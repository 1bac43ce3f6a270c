//! `sandbox`: a local simulator to try things out with.

use headwater_core::{Error, Kind};
use headwater_sandbox::{Limits, Options, Sandbox, simulations};
use serde_json::json;

use crate::{
    Outcome, args,
    terminal::{Terminal, Tone},
};

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Unexpected, "the runtime cannot start").caused_by(error))
}

pub(crate) fn sandbox(options: &args::Sandbox, terminal: &Terminal) -> Outcome {
    let options = Options {
        port: options.port,
        calls: options.calls,
        seed: options.seed,
        faults: options.faults.clone().unwrap_or_default(),
        limits: Limits {
            per_second: (options.per_second > 0).then_some(options.per_second),
            ..Limits::default()
        },
        ..Options::default()
    };
    runtime()?.block_on(async {
        let port = options.port;
        let sandbox = Sandbox::start(options).await.map_err(|error| {
            Error::new(
                Kind::ConfigInvalid,
                format!("port {port} of 127.0.0.1 cannot be used: {error}"),
            )
        })?;
        announce(&sandbox.base_url(), terminal)?;
        let stopped = tokio::signal::ctrl_c().await;
        sandbox.stop().await;
        stopped.map_err(|error| {
            Error::new(Kind::Unexpected, "signals cannot be heard").caused_by(error)
        })?;
        Ok(())
    })
}

fn announce(base_url: &str, terminal: &Terminal) -> Outcome {
    if terminal.json {
        let simulated: Vec<_> = simulations()
            .iter()
            .map(|simulation| json!({ "id": simulation.id, "config": (simulation.form)(base_url) }))
            .collect();
        return terminal
            .print(&json!({ "base_url": base_url, "simulations": simulated }).to_string());
    }
    for simulation in simulations() {
        let config = (simulation.form)(base_url);
        terminal.print(&format!("{} is simulated at {base_url}", simulation.title))?;
        terminal.print("\nIn another terminal:\n")?;
        for verb in ["check", "read"] {
            let command = format!(
                "  echo '{config}' | headwater {verb} {} --config -",
                simulation.id
            );
            terminal.print(&terminal.paint(Tone::Strong, &command))?;
        }
    }
    terminal.print("\nThe credentials are made up and work only here. Ctrl-C ends the simulator.")
}
