//! `demo --console`: the service with its console, with a simulator behind every source.

use std::{collections::BTreeMap, sync::Arc};

use headwater_core::{AnyConnector, Egress, Error, Field, FieldKind, Guard, Kind, Registry};
use headwater_sandbox::{Sandbox, Setup};
use headwater_server::{OpenStore, Options};
use headwater_store::{Store, StoreLocation};
use serde_json::Value;

use super::{Folder, Simulated};
use crate::{
    NewContext, Outcome,
    runtime::server_runtime,
    serve,
    terminal::{Terminal, Tone, table},
};

/// Serves until a stop signal, with its store in the folder.
pub(super) fn serve(
    registry: Registry,
    simulated: &[Simulated],
    folder: &Folder,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    let location = StoreLocation::File(folder.path.join("store.db"));
    let open_store: OpenStore = Arc::new(move || Store::open(&location, None));
    // The simulators are on this machine.
    let context = context(&Egress::Guarded(Guard {
        allowed: Vec::new(),
        permits_loopback: true,
    }))?;
    let records = format!("sqlite:{}/{{connection}}.db", folder.path.display());
    let options = Options {
        destinations: BTreeMap::from([("default".to_owned(), records)]),
        schedules: true,
        ..Options::on_this_machine()
    };
    server_runtime()?.block_on(async {
        let mut sandboxes = Vec::new();
        let mut rows = vec![
            ["source", "field", "accepted value"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for (simulation, connector) in simulated {
            let unusable = |text: String| Error::new(Kind::Unavailable, text);
            let service = (simulation.service)(&Setup::default())
                .map_err(|text| unusable(format!("the simulator refuses the demo: {text}")))?;
            let sandbox = Sandbox::start(service)
                .await
                .map_err(|error| unusable(format!("the simulator cannot start: {error}")))?;
            rows.extend(accepted(
                &**connector,
                &(simulation.form)(&sandbox.base_url()),
            ));
            sandboxes.push(sandbox);
        }
        let announce = |address: &str| {
            let address = terminal.paint(Tone::Strong, address);
            let afterwards = match folder.is_kept {
                true => "stay in the folder",
                false => "are deleted afterwards",
            };
            terminal.print(&format!(
                "\nThe console is at {address} until Ctrl-C; credentials saved there {afterwards}.\n\
                 Pick a source, add a credential, and enter the values that its simulator accepts:\n"
            ))?;
            table(&rows).iter().try_for_each(|row| terminal.print(row))
        };
        serve::run(registry, open_store, context, options, announce).await
    })
}

/// The values for the form of a source, field by field.
fn accepted(connector: &dyn AnyConnector, answer: &Value) -> Vec<Vec<String>> {
    let Ok(form) = connector.form() else {
        return Vec::new();
    };
    let mut source = connector.about().name.to_owned();
    let inputs = form.inputs_of(answer).into_iter().filter(|field| {
        let value = answer.pointer(&field.pointer);
        value.is_some() && value != field.default.as_ref()
    });
    let row = |field: &Field| {
        let value = answer.pointer(&field.pointer).unwrap_or(&Value::Null);
        vec![
            std::mem::take(&mut source),
            field.title.clone(),
            shown(&field.kind, value),
        ]
    };
    inputs.map(row).collect()
}

/// A value as a person types or chooses it.
fn shown(kind: &FieldKind, value: &Value) -> String {
    match (kind, value) {
        (FieldKind::Choice { choices }, value) => {
            let chosen = choices.iter().find(|choice| choice.value == *value);
            chosen.map_or_else(|| value.to_string(), |choice| choice.title.clone())
        }
        (FieldKind::List { of }, Value::Array(values)) => {
            let values: Vec<String> = values.iter().map(|value| shown(of, value)).collect();
            values.join(", ")
        }
        (_, Value::String(text)) => text.clone(),
        (_, value) => value.to_string(),
    }
}
