//! What can be asked on the command line.

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
  5    the service is out of reach, asks to wait, or its allowance is used up
  6    the service answered with something that does not follow its own API
  7    this program or this connector cannot do what was asked
  8    a run got to its end with something missing
  70   a defect in this program
  74   records or state cannot be written
  130  stopped by the user, or the reader of the records went away";

/// Reads SaaS products through connectors: form, check, streams of records.
#[derive(Debug, Parser)]
#[command(name = "headwater", bin_name = "headwater", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(disable_help_subcommand = true, propagate_version = true)]
pub(crate) struct Args {
    /// Answer in JSON, for machines; errors are JSON on standard error.
    #[arg(long, global = true)]
    pub json: bool,

    /// Log what happens to standard error: runs and checks; twice: requests, pages and commits. RUST_LOG goes before.
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
    /// Show what a run would read, and what that takes.
    Plan(Plan),
    /// Read streams as JSON lines.
    Read(Read),
    /// Read streams into a database or into files, and keep the position with them.
    Sync(Sync),
    /// Look at how far a run got, and change from where the next one goes on.
    #[command(subcommand)]
    State(StateCommand),
    /// Keep connections: configs by name, with their secrets sealed.
    Connection(Connection),
    /// Serve the API and the console over HTTP.
    Serve(Box<Serve>),
    /// Keep the tokens that the service asks for.
    Token(Token),
    /// See who did what, and whether the list is whole.
    Audit(Audit),
    /// Run a local simulator of a service, for trying things out.
    Sandbox(Sandbox),
    /// See the whole way in a minute, without an account: form, check, read, crash, resume.
    Demo(Demo),
}

impl Command {
    /// Whether it does nothing but to write to standard output.
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

    /// Check the form only: ask nobody, follow no reference. For a config that is used elsewhere.
    #[arg(long)]
    pub offline: bool,

    /// Write what the service would rather have in the config, if anything, into the file given with --config.
    /// Everything else in the file stays as it is.
    #[arg(long, conflicts_with = "offline")]
    pub apply: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Config {
    /// The connector, as `headwater list` names it; or, where one is read from, a saved connection.
    pub connector: String,

    /// Read the config, a JSON object, from a file, or from standard input with `-`. A secret may be a reference:
    /// `env:NAME`, `file:PATH`, `command:PROGRAM ARGUMENT…` or `aws-sm:NAME#KEY`. Without a config, a terminal is asked
    /// field by field.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set a field of the config; over the file's. Secrets are refused here unless they are references, since
    /// arguments can be seen by everybody on this machine.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub set: Vec<String>,

    /// Look into this file of NAME=VALUE lines before the environment where a reference says `env:NAME`. No `.env` is
    /// read unless it is named here.
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

    /// Go on where this state file says, and keep it up to date.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Read at most so many records of each stream.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Sync {
    #[command(flatten)]
    pub config: Config,

    #[command(flatten)]
    pub store: StoreOption,

    /// Where the records go: sqlite:FILE, postgres://HOST/DATABASE, parquet:FOLDER, s3://BUCKET/PREFIX or
    /// jsonl:FOLDER. The position is kept there, too. With a password in it, by reference only, as in env:NAME. A
    /// saved connection remembers it.
    #[arg(long, value_name = "DESTINATION")]
    pub to: Option<String>,

    #[command(flatten)]
    pub run: Run,

    /// What becomes of a record that breaks its stream's schema: accept (the default), reject (it goes to the dead
    /// letters) or stop (the stream ends before it). For one stream as in calls=stop; may be repeated.
    #[arg(long, value_name = "POLICY")]
    pub drift: Vec<DriftRule>,

    /// The file for rejected records, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub dead_letters: Option<PathBuf>,

    /// Refuse to run where less than this can be promised of a stream: exactly-once or at-least-once.
    #[arg(long, value_name = "LEVEL")]
    pub guarantee: Option<Level>,
}

/// What `read` and `sync` have in common.
#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// A stream to read; may be repeated. All of them by default.
    #[arg(long = "stream", value_name = "STREAM")]
    pub streams: Vec<String>,

    /// Read exactly this partition of one --stream, as `headwater plan --json` shows it: JSON, or a file with it. The
    /// stream's bookmark stays where it is.
    #[arg(long, value_name = "PARTITION", requires = "streams")]
    pub partition: Option<String>,

    /// Ask for at most so many pages at once, over all streams.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// Megabytes of pages that may wait to be written before no more are asked for.
    #[arg(long, value_name = "MEGABYTES", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub memory: u16,

    /// Where the service asks to come back later, wait for it, eight days at most, and a hundred times without an answer.
    /// Without this, the run ends there and says when to go on.
    #[arg(long)]
    pub stay: bool,

    /// Go on although the state seems to be about another account: say so once, after the account has moved to another
    /// address or has changed beyond recognition.
    #[arg(long)]
    pub same_account: bool,

    /// When stopped (Ctrl-C), cancel the export jobs that are under way. Without this, they go on at the service and a
    /// later run with the same state takes their results.
    #[arg(long)]
    pub cancel_jobs: bool,

    /// No progress and no summary.
    #[arg(long, short)]
    pub quiet: bool,

    /// How progress is shown on standard error: bars on a terminal, or one JSON object per event.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = ProgressMode::Bars)]
    pub progress: ProgressMode,

    #[command(flatten)]
    pub redact: Redact,
}

/// Without words about its values, as in [`Fate`].
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

    /// Where the records would go; the plan goes on from the position there.
    #[arg(long, value_name = "DESTINATION", conflicts_with = "state")]
    pub to: Option<String>,

    /// Plan from this state file.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Do not ask the service how much there is.
    #[arg(long)]
    pub no_survey: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Show how far each stream got.
    Show(StateLocation),
    /// Say in words what was read, what will be read again, and why.
    Explain {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        store: StoreOption,
        #[command(flatten)]
        at: At,
    },
    /// Forget a stream: the next run reads it from the start. One that leads a group takes its companions along.
    Reset {
        #[command(flatten)]
        place: StateLocation,
        /// A stream; may be repeated.
        #[arg(
            long = "stream",
            value_name = "STREAM",
            required_unless_present = "all"
        )]
        streams: Vec<String>,
        /// All streams, and whose data they are.
        #[arg(long, conflicts_with = "streams")]
        all: bool,
    },
    /// Read again what was set aside, with the next run.
    Retry {
        #[command(flatten)]
        place: StateLocation,
        /// The stream.
        #[arg(long)]
        stream: String,
    },
    /// Make the next run read a stream again from a moment on.
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
    /// Show what changed from one state to another.
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
    #[arg(value_name = "PLACE")]
    pub place: String,

    /// The connection, where the place is a destination.
    #[arg(long, value_name = "NAME")]
    pub connection: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct At {
    /// A state file, or a destination that keeps the position.
    #[arg(long, value_name = "PLACE")]
    pub at: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Redact {
    #[command(flatten)]
    pub treatment: Treatment,

    /// Make pseudonyms with a secret key, so that nobody finds them by trying out likely values. The key is given by
    /// reference, as secrets of the config may be, and has at least 16 bytes.
    #[arg(long, value_name = "REFERENCE", requires = "redact")]
    pub redact_key: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Treatment {
    /// Replace personal data, where the streams' schemas say that there is any: addresses, names and phone numbers by
    /// pseudonyms that are the same everywhere, free text by null; links lose their signature.
    #[arg(long)]
    pub redact: bool,

    /// What becomes of free text; dropped, it is null.
    #[arg(long, value_name = "WHAT", requires = "redact", value_enum, default_value_t = Fate::Drop)]
    pub redact_text: Fate,

    /// What becomes of money; dropped, it is null.
    #[arg(long, value_name = "WHAT", requires = "redact", value_enum, default_value_t = Fate::Keep)]
    pub redact_money: Fate,
}

/// Without words about its values, which would make clap spread the help of the whole command.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Fate {
    Drop,
    Keep,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Connection {
    #[command(flatten)]
    pub place: StoreOption,

    #[command(subcommand)]
    pub command: ConnectionCommand,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// Where to listen. Everywhere but on this machine's own addresses, requests need a token.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8484")]
    pub listen: SocketAddr,

    /// Ask for a token on this machine as well.
    #[arg(long)]
    pub require_token: bool,

    /// A name that browsers may call the service by. With one that is not this machine's, requests need a token, since a
    /// proxy passes them on for others.
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,

    /// Ask for no token on this machine's own addresses, also where a proxy passes requests on: every client of the proxy
    /// may do everything.
    #[arg(long, conflicts_with = "require_token")]
    pub open: bool,

    /// The address of a proxy that says in `X-Forwarded-For` whose requests it passes on. Wrong tokens are counted by
    /// that address then.
    #[arg(long = "trusted-proxy", value_name = "ADDRESS")]
    pub trusted_proxies: Vec<IpAddr>,

    /// An address that the service calls from, which forms name for lists of allowed ones.
    #[arg(long = "calls-from", value_name = "ADDRESS")]
    pub calls_from: Vec<IpAddr>,

    /// The origin of a page that may show forms of the service in a frame, as `https://app.example`. Without any, none may.
    #[arg(long = "embed-origin", value_name = "ORIGIN")]
    pub embed_origins: Vec<Origin>,

    /// Where syncs may put their records: `NAME=DESTINATION`, in which `{connection}` stands for the connection. Without
    /// one, `default` is a SQLite file for each connection in the folder `records` beside the store.
    #[arg(long = "to", value_name = "NAME=DESTINATION")]
    pub destinations: Vec<String>,

    /// A host that base URLs may lead to although it is not public, as `HOST`, `*.HOST` or a network, with `:PORT` where
    /// it is not 443. Addresses at which clouds keep their metadata stay refused.
    #[arg(long = "allow-host", value_name = "HOST")]
    pub allowed: Vec<AllowedHost>,

    /// Let base URLs lead to this machine itself, as simulators and tests need it.
    #[arg(long)]
    pub development: bool,

    /// The certificate of the service with its chain, as a PEM file; without it, a proxy in front has to speak TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,

    /// The private key of the certificate, as a PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,

    /// Let configs that come over the network name variables, files and programs of this machine.
    #[arg(long)]
    pub allow_references: bool,

    /// Start no runs by their schedules, as where a platform has a scheduler of its own.
    #[arg(long)]
    pub no_schedules: bool,

    /// How many connections may be open at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 1024, value_parser = value_parser!(u16).range(1..))]
    pub max_connections: u16,

    /// A file of variables that references to secrets may name.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,

    #[command(flatten)]
    pub place: StoreOption,
}

/// Which store to use.
#[derive(Debug, ClapArgs)]
pub(crate) struct StoreOption {
    /// The store: a SQLite file, or a PostgreSQL database at `postgres://USER@HOST/DATABASE`. By default the one that
    /// HEADWATER_STORE names, else `store.db` in HEADWATER_HOME or in the data folder of this user.
    #[arg(long, value_name = "PLACE", global = true)]
    pub store: Option<String>,

    /// The key of the store, by reference as secrets of a config may be. By default it is in HEADWATER_STORE_KEY, or where
    /// the reference in HEADWATER_STORE_KEY_REF says, or in a file beside the store that is made with it.
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
    /// Give new secrets, or change other fields; saved once the service has accepted them.
    Rotate(RotateConnection),
    /// Remove a connection with its secrets and its history.
    Remove(RemoveConnection),
    /// Seal all secrets with a new key, or go on with that where it was interrupted.
    Rekey,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConnectionName {
    /// The connection, as `headwater connection list` names it.
    pub name: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AddConnection {
    /// What to call it: lower case letters, digits, `-` and `_`.
    pub name: String,

    #[command(flatten)]
    pub config: Config,

    /// The last day of the secrets, as in 2027-01-31; the console reminds you 14 days before.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub expires: Option<Date>,

    /// Save it without asking the service.
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

    /// Look into this file of NAME=VALUE lines before the environment where a reference says `env:NAME`.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RotateConnection {
    /// The connection, as `headwater connection list` names it.
    pub name: String,

    #[command(flatten)]
    pub changes: Changes,

    /// The last day of the new secrets, as in 2027-01-31. That of the old ones goes with them.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub expires: Option<Date>,

    /// Look into this file of NAME=VALUE lines before the environment where a reference says `env:NAME`.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,

    /// Save it without asking the service.
    #[arg(long)]
    pub no_test: bool,
}

/// What is to change in a config.
#[derive(Debug, ClapArgs)]
pub(crate) struct Changes {
    /// Read the fields that change, a JSON object, from a file, or from standard input with `-`. All others stay as they
    /// are. Without it and without --set, a terminal is asked for the secrets.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set a field of the config; over the file's. Secrets are refused here unless they are references.
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
    pub place: StoreOption,

    #[command(subcommand)]
    pub command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and show it, this once.
    Add(AddToken),
    /// List the tokens without their texts.
    List,
    /// Take a token away; whoever has it is refused at once.
    Remove {
        /// The token, as `headwater token list` names it.
        name: String,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Audit {
    #[command(flatten)]
    pub place: StoreOption,

    #[command(subcommand)]
    pub command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List what was done, the newest first.
    List {
        /// Of this connection or token only.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,

        /// How many rows at most.
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        most: u32,
    },
    /// Look through all rows; exit code 6 where one was changed, added or taken away.
    Verify,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AddToken {
    /// What to call it: lower case letters, digits, `-` and `_`.
    pub name: String,

    /// What it allows: read (look), use (also check, preview and run) or admin (also change).
    #[arg(long, value_name = "SCOPE")]
    pub scope: Scope,

    /// After how many days it ends. It lasts until it is removed by default.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: Option<u16>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Sandbox {
    /// The connector whose service is simulated.
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

    /// Things that go wrong, such as `latency=200ms,status=503:3,reset=2`.
    #[arg(long, value_name = "FAULTS")]
    pub faults: Option<Faults>,

    /// Requests a second that are let through; 0 for no limit. As many as the service allows by default.
    #[arg(long, value_name = "COUNT")]
    pub per_second: Option<u32>,

    #[arg(long = "switch", value_name = "NAME=VALUE", value_parser = switch, help = SWITCH, long_help = switches())]
    pub switches: Vec<(String, String)>,
}

const SWITCH: &str = "Choose how the service behaves where it is not known for sure; may be repeated (--help lists the choices)";

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
    format!("How much data there is ({})", sizes.join("; "))
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
