//! The binary, the sinks and the store against the simulators.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected shall fail"
)]

mod claribi_cli;
mod claribi_django;
mod claribi_lists;
mod claribi_probe;
mod claribi_streams;
mod cli_bad_input;
mod cli_check;
mod cli_connection;
mod cli_prompt;
mod cli_read;
mod cli_redact;
mod cli_references;
mod cli_sandbox;
mod cli_snapshots;
mod cli_sync;
mod cli_tables;
mod cli_token;
mod clocks;
mod conformance;
mod console;
mod copilot_probe;
mod copilot_streams;
mod copilot_traps;
mod demo;
mod documents;
mod drift;
mod hostile;
mod io_faults;
mod machines;
mod memory;
mod obeyed_files;
mod parquet_readers;
mod plan;
mod positions;
mod postgres_sink;
mod probe_progress;
mod proxies;
mod refusals;
mod revenue_cli;
mod revenue_jobs;
mod revenue_probe;
mod revenue_streams;
mod revenue_traps;
mod secrets;
mod serve;
mod shared_folders;
mod side_by_side;
mod store;
mod sync_bad_input;
