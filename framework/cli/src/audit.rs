//! `audit`: lists the changes of a store, and verifies that the list is unchanged.

use headwater_core::Kind;
use headwater_store::{AuditRow, Store};
use serde_json::{Value, json};

use crate::{
    Failure, Outcome,
    answers::env_file,
    args::{self, AuditCommand},
    saved::open_store,
    terminal::{Terminal, say, table},
};

pub(crate) fn audit(options: &args::Audit, terminal: &Terminal) -> Outcome {
    let mut store = open_store(&options.store, &env_file(None)?)?;
    match &options.command {
        AuditCommand::List { name, max } => list(&mut store, name.as_deref(), *max, terminal),
        AuditCommand::Verify => verify(&mut store, terminal),
    }
}

fn list(store: &mut Store, name: Option<&str>, max: u32, terminal: &Terminal) -> Outcome {
    let rows = store.audit(None, max as usize, name)?;
    if terminal.json {
        let rows: Vec<Value> = rows.iter().map(as_json).collect();
        return terminal.print_json(&rows);
    }
    if rows.is_empty() {
        say("the audit has no rows yet");
        return Ok(());
    }
    let mut lines = vec![
        ["row", "time", "actor", "action", "name", "outcome"]
            .map(str::to_owned)
            .to_vec(),
    ];
    lines.extend(rows.into_iter().map(|row| {
        vec![
            row.id.to_string(),
            row.time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            row.who,
            row.what,
            row.name.unwrap_or_default(),
            row.outcome,
        ]
    }));
    table(&lines).iter().try_for_each(|row| terminal.print(row))
}

fn as_json(row: &AuditRow) -> Value {
    json!({
        "row": row.id, "time": row.time, "actor": row.who, "action": row.what, "name": row.name,
        "version": row.version, "outcome": row.outcome, "request_id": row.request_id,
    })
}

fn verify(store: &mut Store, terminal: &Terminal) -> Outcome {
    let proof = store.verify_audit()?;
    if terminal.json {
        terminal.print_json(&proof)?;
    }
    let Some(row) = proof.broken_at else {
        if !terminal.json {
            terminal.print(&format!("the audit is unchanged: {} rows", proof.rows))?;
        }
        return Ok(());
    };
    say(&format!(
        "the audit was not written by headwater from row {row} on; it has {} rows and should have {}; \
         compare it with a copy",
        proof.rows, proof.expected
    ));
    Err(Failure::Reported(Kind::DataInvalid))
}
