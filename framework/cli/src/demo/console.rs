//! `demo --console`: the service with its console, where every source is a simulator.

use std::{net::SocketAddr, path::Path, sync::Arc};

use headwater_core::{AnyConnector, Context, Egress, Error, Guard, Kind, Registry};
use headwater_output::SQLITE;
use headwater_sandbox::{Sandbox, Setup, Simulation};
use headwater_server::{OpenStore, Options};
use headwater_store::{Place, Store};
use serde_json::Value;

use super::simulated;
use crate::{
    NewContext, Outcome,
    sandbox::runtime,
    serve,
    terminal::{Terminal, Tone, table},
};

/// Serves until Ctrl-C, with everything that is saved in `folder`.
pub(super) fn console(
    registry: Registry,
    folder: &Path,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    let place = Place::File(folder.join("store.db"));
    let open_store: OpenStore = Arc::new(move || Store::open(&place, None));
    let context = context(&Egress::Guarded(Guard {
        allowed: Vec::new(),
        permits_loopback: true,
    }))?;
    let records = format!("sqlite:{}/{{connection}}.db", folder.display());
    let options = Options::on_this_machine(records);
}
