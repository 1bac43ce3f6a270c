//! The arguments of the command line.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, value_parser};
use headwater_core::{AllowedHost, Date};
use headwater_host::{Level, drift::DriftRule};
use headwater_sandbox::{Faults, simulations};
use headwater_server::Origin;
use headwater_store::{Scope, read_expiry};

pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  2    an argument, a config or a state file cannot be used
  3    the service does not accept the credentials, or does not allow this
  4    no such connector, stream or address
  5    the service is unreachable, requests a wait, or its allowance is used up
  6    an answer of the service does not follow its API
  7    this program or this connector does not support the request
  8    a run ended with data missing
  70   a defect in this program
  74   records or state cannot be written
  130  stopped by the user, or the reader of the records closed its end";

/// Reads SaaS products through connectors: form, check, streams of records.
#[derive(Debug, Parser)]
#[command(name = "headwater", bin_name = "headwater", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(disable_help_subcommand = true, propagate_version = true)]
pub(crate) struct Args {
    /// Answer in JSON, for machines; errors are JSON on standard error.
    #[arg(long, global = true)]
    pub json: bool,

    /// Log runs and checks to standard error; -vv adds requests, pages and commits. RUST_LOG overrides it.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the connectors.
    List,
    /// Show a connector's credential form: its JSON Schema, or how it is rendered.
    Spec(Spec),
    /// Show a connector's streams; needs no credentials.
    Discover(Discover),
    /// Check credentials against the service.
    Check(Check),
    /// Show the plan of a run: partitions, requests and export jobs.
    Plan(Plan),
    /// Read streams as JSON lines.
    Read(Read),
    /// Read streams into a database or files, and keep the position there.
    Sync(Sync),
    /// Show or change the position of the next run.
    #[command(subcommand)]
    State(StateCommand),
    /// Manage connections: saved configs with sealed secrets.
    Connection(Connection),
    /// Serve the API and the console over HTTP.
    Serve(Box<Serve>),
    /// Manage the access tokens of the service.
    Token(Token),
    /// List the audit, or verify that it is unchanged.
    Audit(Audit),
    /// Run a local simulator of a service.
    Sandbox(Sandbox),
    /// Show form, check, read, crash and resume in a minute, without an account.
    Demo(Demo),
}

impl Command {
    /// Whether its only effect is text on standard output.
    pub(crate) const fn is_for_output(&self) -> bool {
        match self {
            Self::List | Self::Spec(_) | Self::Discover(_) | Self::Plan(_) => true,
            Self::Read(read) => read.out.is_none(),
            Self::State(state) => matches!(
                state,
                StateCommand::Show(_) | StateCommand::Explain { .. } | StateCommand::Diff { .. }
            ),
            Self::Connection(connection) => matches!(
                connection.command,
                ConnectionCommand::List | ConnectionCommand::Show(_)
            ),
            Self::Token(token) => {
                matches!(token.command, TokenCommand::Add(_) | TokenCommand::List)
            }
            Self::Audit(_) => true,
            _ => false,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Spec {
    /// The connector, as `headwater list` names it.
    pub connector: String,

    /// Show the form model that every renderer uses instead of the schema.
    #[arg(long)]
    pub form: bool,

    /// Write the form in the language of another platform: airbyte, json-schema, meltano or rjsf.
    #[arg(long, value_name = "DIALECT", conflicts_with = "form")]
    pub dialect: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Discover {
    /// The connector, as `headwater list` names it.
    pub connector: String,

    /// Print the JSON Schema of this stream's records.
    #[arg(long, value_name = "STREAM")]
    pub schema: Option<String>,

    #[command(flatten)]
    pub treatment: Treatment,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    #[command(flatten)]
    pub config: Config,

    /// Validate the form only, without a request or a reference. For a config of another machine.
    #[arg(long)]
    pub offline: bool,

    /// Write the change that the service suggests into the file of --config. The rest of the file stays unchanged.
    #[arg(long, conflicts_with = "offline")]
    pub apply: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Config {
    /// The connector, as `headwater list` names it, or for a read a saved connection.
    pub connector: String,

    /// Read the config, a JSON object, from a file, or from standard input with `-`. A secret may be a reference:
    /// `env:NAME`, `file:PATH`, `command:PROGRAM ARGUMENT…` or `aws-sm:NAME#KEY`. Without a config, headwater asks for
    /// each field at a terminal.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set a field of the config, overriding the file. A secret has to be a reference, because every user of this
    /// machine can see arguments.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub set: Vec<String>,

    /// Resolve `env:NAME` references from this file of NAME=VALUE lines before the environment. No `.env` is read
    /// unless it is named here.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Read {
    #[command(flatten)]
    pub config: Config,

    #[command(flatten)]
    pub store: StoreOption,

    #[command(flatten)]
    pub run: Run,

    /// Write one file per stream, STREAM.jsonl, into this folder instead of standard output. On standard output,
    /// one stream comes as bare records and several as {"stream":…,"record":…}.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,

    /// Resume from this state file, and keep it up to date.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// The largest number of records to read of each stream.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Sync {
    #[command(flatten)]
    pub config: Config,

    #[command(flatten)]
    pub store: StoreOption,

    /// The destination: sqlite:FILE, postgres://HOST/DATABASE, parquet:FOLDER, s3://BUCKET/PREFIX or jsonl:FOLDER. It
    /// also keeps the position. A destination with a password has to be a reference, as in env:NAME. A saved connection
    /// remembers it.
    #[arg(long, value_name = "DESTINATION")]
    pub to: Option<String>,

    #[command(flatten)]
    pub run: Run,

    /// How to treat a record that breaks its stream's schema: accept (the default), reject (it goes to the dead
    /// letters) or stop (the stream ends before it). For one stream as in calls=stop; may be repeated.
    #[arg(long, value_name = "POLICY")]
    pub drift: Vec<DriftRule>,

    /// The file for rejected records, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub dead_letters: Option<PathBuf>,

    /// Refuse to run with a weaker guarantee for a stream than this: exactly-once or at-least-once.
    #[arg(long, value_name = "LEVEL")]
    pub guarantee: Option<Level>,
}

/// Common options of `read` and `sync`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// A stream to read; may be repeated. All of them by default.
    #[arg(long = "stream", value_name = "STREAM")]
    pub streams: Vec<String>,

    /// Read exactly this partition of one --stream, as `headwater plan --json` shows it: JSON, or a file with it. The
    /// stream's bookmark stays unchanged.
    #[arg(long, value_name = "PARTITION", requires = "streams")]
    pub partition: Option<String>,

    /// The largest number of concurrent page requests, over all streams.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// Megabytes of pages that may await writing before fetching pauses.
    #[arg(long, value_name = "MEGABYTES", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub memory: u16,

    /// Wait as long as the service requests, at most eight days, and a hundred times without an answer. Without this
    /// option, the run ends there and reports when to resume.
    #[arg(long)]
    pub stay: bool,

    /// Resume although the state seems to belong to another account. Use it once, after the account has moved to
    /// another address or has changed beyond recognition.
    #[arg(long)]
    pub same_account: bool,

    /// When stopped (Ctrl-C), cancel the running export jobs. Without this option, they continue at the service, and a
    /// later run with the same state reads their results.
    #[arg(long)]
    pub cancel_jobs: bool,

    /// No progress and no summary.
    #[arg(long, short)]
    pub quiet: bool,

    /// The form of progress on standard error: bars on a terminal, or one JSON object per event.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = ProgressMode::Bars)]
    pub progress: ProgressMode,

    #[command(flatten)]
    pub redact: Redact,
}

/// Its values have no help, as in [`Fate`].
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum ProgressMode {
    Bars,
    Json,
    None,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub config: Config,

    #[command(flatten)]
    pub store: StoreOption,

    /// A stream to plan; may be repeated. All of them by default.
    #[arg(long = "stream", value_name = "STREAM")]
    pub streams: Vec<String>,

    /// The destination; the plan continues from the position there.
    #[arg(long, value_name = "DESTINATION", conflicts_with = "state")]
    pub to: Option<String>,

    /// Plan from this state file.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Do not ask the service for the amount of data.
    #[arg(long)]
    pub no_survey: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Show how far each stream got.
    Show(StateLocation),
    /// Explain which data was read, which data the next run reads again, and why.
    Explain {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        store: StoreOption,
        #[command(flatten)]
        at: At,
    },
    /// Forget a stream: the next run reads it from the start. The main stream of a group takes its secondary streams
    /// along.
    Reset {
        #[command(flatten)]
        location: StateLocation,
        /// A stream; may be repeated.
        #[arg(
            long = "stream",
            value_name = "STREAM",
            required_unless_present = "all"
        )]
        streams: Vec<String>,
        /// All streams, and the account of their data.
        #[arg(long, conflicts_with = "streams")]
        all: bool,
    },
    /// Read quarantined positions again with the next run.
    Retry {
        #[command(flatten)]
        location: StateLocation,
        /// The stream.
        #[arg(long)]
        stream: String,
    },
    /// Make the next run read a stream again from this time on.
    Rewind {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        store: StoreOption,
        #[command(flatten)]
        at: At,
        /// The stream.
        #[arg(long)]
        stream: String,
        /// The moment, as 2026-01-31 or 2026-01-31T12:00:00Z.
        #[arg(long, value_name = "TIME")]
        to: String,
    },
    /// Show the differences between two states.
    Diff {
        /// The earlier state file.
        first: PathBuf,
        /// The later one.
        second: PathBuf,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StateLocation {
    /// A state file, or a destination that keeps the position, such as sqlite:FILE.
    #[arg(value_name = "LOCATION")]
    pub location: String,

    /// The connection, if the location is a destination.
    #[arg(long, value_name = "NAME")]
    pub connection: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct At {
    /// A state file, or a destination that keeps the position.
    #[arg(long, value_name = "LOCATION")]
    pub at: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Redact {
    #[command(flatten)]
    pub treatment: Treatment,

    /// Make pseudonyms with a secret key, so that trying out likely values reveals none. The key is given by reference,
    /// as for secrets of the config, and has at least 16 bytes.
    #[arg(long, value_name = "REFERENCE", requires = "redact")]
    pub redact_key: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Treatment {
    /// Replace personal data in fields that the streams' schemas mark: addresses, names and phone numbers by stable
    /// pseudonyms, free text by null; links lose their signature.
    #[arg(long)]
    pub redact: bool,

    /// Drop free text, which makes it null, or keep it.
    #[arg(long, value_name = "WHAT", requires = "redact", value_enum, default_value_t = Fate::Drop)]
    pub redact_text: Fate,

    /// Drop money, which makes it null, or keep it.
    #[arg(long, value_name = "WHAT", requires = "redact", value_enum, default_value_t = Fate::Keep)]
    pub redact_money: Fate,
}

/// Its values have no help, because that would make clap spread out the help of the whole command.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Fate {
    Drop,
    Keep,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Connection {
    #[command(flatten)]
    pub store: StoreOption,

    #[command(subcommand)]
    pub command: ConnectionCommand,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// The address to listen on. On other addresses than this machine's own, requests need a token.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8484")]
    pub listen: SocketAddr,

    /// Require a token on this machine as well.
    #[arg(long)]
    pub require_token: bool,

    /// A name of the service for browsers. With a name that is not this machine's, requests need a token, because a
    /// proxy forwards them for others.
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,

    /// Require no token on this machine's own addresses, even behind a proxy: every client of the proxy may do
    /// everything.
    #[arg(long, conflicts_with = "require_token")]
    pub open: bool,

    /// The address of a proxy that names its clients in `X-Forwarded-For`. Wrong tokens are then counted by client.
    #[arg(long = "trusted-proxy", value_name = "ADDRESS")]
    pub trusted_proxies: Vec<IpAddr>,

    /// A source address of the service's requests, which forms show for lists of allowed addresses.
    #[arg(long = "calls-from", value_name = "ADDRESS")]
    pub calls_from: Vec<IpAddr>,

    /// The origin of a page that may show forms of the service in a frame, as `https://app.example`. Without this
    /// option, no page may.
    #[arg(long = "embed-origin", value_name = "ORIGIN")]
    pub embed_origins: Vec<Origin>,

    /// A destination of syncs as `NAME=DESTINATION`, with `{connection}` for the name of the connection. Without this
    /// option, `default` is a SQLite file for each connection in the folder `records` next to the store.
    #[arg(long = "to", value_name = "NAME=DESTINATION")]
    pub destinations: Vec<String>,

    /// A host that base URLs may use although it is not public, as `HOST`, `*.HOST` or a network, with `:PORT` unless
    /// it is 443. Metadata addresses of clouds stay refused.
    #[arg(long = "allow-host", value_name = "HOST")]
    pub allowed: Vec<AllowedHost>,

    /// Allow base URLs of this machine, for simulators and tests.
    #[arg(long)]
    pub development: bool,

    /// The certificate of the service with its chain, as a PEM file; without it, a proxy in front has to speak TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,

    /// The private key of the certificate, as a PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,

    /// Allow references to variables, files and programs of this machine in configs from the network.
    #[arg(long)]
    pub allow_references: bool,

    /// Start no scheduled runs, for a platform with its own scheduler.
    #[arg(long)]
    pub no_schedules: bool,

    /// The largest number of open connections.
    #[arg(long = "most-connections", value_name = "NUMBER", default_value_t = 1024, value_parser = value_parser!(u16).range(1..))]
    pub max_connections: u16,

    /// A file of variables for references to secrets.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,

    #[command(flatten)]
    pub store: StoreOption,
}

/// Which store to use.
#[derive(Debug, ClapArgs)]
pub(crate) struct StoreOption {
    /// The store: a SQLite file, or a PostgreSQL database at `postgres://USER@HOST/DATABASE`. By default the one that
    /// HEADWATER_STORE names, else `store.db` in HEADWATER_HOME or in the data folder of this user.
    #[arg(long, value_name = "STORE", global = true)]
    pub store: Option<String>,

    /// The key of the store, by reference as for secrets of a config. By default it is in HEADWATER_STORE_KEY, at the
    /// reference in HEADWATER_STORE_KEY_REF, or in a file next to the store that is created with it.
    #[arg(long, value_name = "REFERENCE", global = true)]
    pub key: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionCommand {
    /// Save a config under a name, once the service has accepted it.
    Add(AddConnection),
    /// List the connections.
    List,
    /// Show a connection without its secrets, and its last runs.
    Show(ConnectionName),
    /// Check the credentials of a connection against the service.
    Test(TestConnection),
    /// Replace secrets or change other fields; saved once the service has accepted them.
    Rotate(RotateConnection),
    /// Remove a connection with its secrets and its history.
    Remove(RemoveConnection),
    /// Seal all secrets with a new key, or resume an interrupted change of the key.
    Rekey,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConnectionName {
    /// The connection, as `headwater connection list` names it.
    pub name: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AddConnection {
    /// Its name: lower case letters, digits, `-` and `_`.
    pub name: String,

    #[command(flatten)]
    pub config: Config,

    /// The last day of the secrets, as in 2027-01-31; the console reminds you 14 days before.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub expires: Option<Date>,

    /// Save it without a test at the service.
    #[arg(long)]
    pub no_test: bool,
}

fn day(text: &str) -> Result<Date, String> {
    read_expiry(text, None).map_err(|error| error.message().to_owned())
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TestConnection {
    /// The connection, as `headwater connection list` names it.
    pub name: String,

    /// Resolve `env:NAME` references from this file of NAME=VALUE lines before the environment.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RotateConnection {
    /// The connection, as `headwater connection list` names it.
    pub name: String,

    #[command(flatten)]
    pub changes: Changes,

    /// The last day of the new secrets, as in 2027-01-31. Without it, new secrets have none.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub expires: Option<Date>,

    /// Resolve `env:NAME` references from this file of NAME=VALUE lines before the environment.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,

    /// Save it without a test at the service.
    #[arg(long)]
    pub no_test: bool,
}

/// Changes of a config.
#[derive(Debug, ClapArgs)]
pub(crate) struct Changes {
    /// Read the changed fields, a JSON object, from a file, or from standard input with `-`. All others stay unchanged.
    /// Without it and without --set, headwater asks for the secrets at a terminal.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set a field of the config, overriding the file. A secret has to be a reference.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RemoveConnection {
    /// The connection, as `headwater connection list` names it.
    pub name: String,

    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Token {
    #[command(flatten)]
    pub store: StoreOption,

    #[command(subcommand)]
    pub command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token and show it once.
    Add(AddToken),
    /// List the tokens without their texts.
    List,
    /// Remove a token; requests with it are refused at once.
    Remove {
        /// The token, as `headwater token list` names it.
        name: String,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Audit {
    #[command(flatten)]
    pub store: StoreOption,

    #[command(subcommand)]
    pub command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List the rows of the audit, the newest first.
    List {
        /// Only rows of this connection or token.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,

        /// The largest number of rows.
        #[arg(long = "most", value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        max: u32,
    },
    /// Verify all rows; exit code 6 if one was changed, added or removed.
    Verify,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AddToken {
    /// Its name: lower case letters, digits, `-` and `_`.
    pub name: String,

    /// What it allows: read (look), use (also check, preview and run) or admin (also change).
    #[arg(long, value_name = "SCOPE")]
    pub scope: Scope,

    /// Days until it expires. By default it lasts until it is removed.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: Option<u16>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Sandbox {
    /// The connector of the simulated service.
    #[arg(default_value_t = first_simulated())]
    pub connector: String,

    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,

    #[arg(long, value_name = "COUNT", help = sizes())]
    pub size: Option<u64>,

    /// Seed of the simulated data.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Faults to simulate, such as `latency=200ms,status=503:3,reset=2`.
    #[arg(long, value_name = "FAULTS")]
    pub faults: Option<Faults>,

    /// Allowed requests per second; 0 for no limit. By default the limit of the service.
    #[arg(long, value_name = "COUNT")]
    pub per_second: Option<u32>,

    #[arg(long = "switch", value_name = "NAME=VALUE", value_parser = switch, help = SWITCH, long_help = switches())]
    pub switches: Vec<(String, String)>,
}

const SWITCH: &str = "Choose a behaviour that the documentation of the service leaves open; may be repeated (--help lists the choices)";

fn first_simulated() -> String {
    simulations()
        .first()
        .map(|one| one.id.to_owned())
        .unwrap_or_default()
}

fn sizes() -> String {
    let sizes: Vec<String> = simulations()
        .iter()
        .map(|one| format!("{}: {}", one.id, one.size))
        .collect();
    format!("Amount of data ({})", sizes.join("; "))
}

fn switches() -> String {
    let mut text = format!("{SWITCH}:");
    for simulation in simulations() {
        for switch in simulation.switches {
            text += &format!(
                "\n{} {}={}: {}",
                simulation.id,
                switch.name,
                switch.values.join("|"),
                switch.meaning
            );
        }
    }
    text
}

fn switch(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("expected a name, an equals sign and a value")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Demo {
    /// Keep the records and the state in this new folder.
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,

    /// Serve the console on the simulators instead, until Ctrl-C.
    #[arg(long)]
    pub console: bool,
}
