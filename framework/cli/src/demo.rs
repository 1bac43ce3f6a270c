//! `demo`: form, check, read, crash and resume against the simulator, in under a minute.

mod console;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use headwater_core::{
    AnyConnector, Egress, Error, Kind, Outcome as Grade, ProbeReport, Registry, StreamSpec,
};
use headwater_files::create::{Access, make_new_folder};
use headwater_sandbox::{Sandbox, Setup, Simulation, simulations};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command, time::sleep};

use crate::{
    NewContext, Outcome,
    answers::{is_terminal, is_yes, read_line},
    args, check,
    runtime::server_runtime,
    show,
    terminal::{Terminal, Tone, say, table, thousands},
};

/// Size of the simulated workspace, for calls some 20 seconds of reading at 10 requests a second.
const SIZE: u64 = 60;
/// Records after which the first read is killed: in the middle of a stream of single requests.
const KILL_AFTER: usize = 90;
/// After this many polls without them the demo fails.
const MAX_POLLS: usize = 2_000;
const POLL: Duration = Duration::from_millis(30);

pub(crate) fn demo(
    registry: Registry,
    options: &args::Demo,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    let simulated: Vec<Simulated> = simulations()
        .iter()
        .filter_map(|one| Some((one, Arc::clone(registry.get(one.id).ok()?))))
        .collect();
    if simulated.is_empty() {
        let text = "no connector of this program has a simulator";
        return Err(Error::new(Kind::Unsupported, text).into());
    }
    let folder = Folder::new(options.keep.as_deref())?;
    if options.console {
        return console::serve(registry, &simulated, &folder, context, terminal);
    }
    for (index, (simulation, connector)) in simulated.iter().enumerate() {
        let part = folder.path.join(simulation.id);
        make_new_folder(&part, Access::OWNER).map_err(|error| unwritable(&part, &error))?;
        let setup = Setup {
            size: Some(SIZE),
            ..Setup::default()
        };
        let service = (simulation.service)(&setup).map_err(|error| {
            Error::new(
                Kind::Unexpected,
                format!("the simulator refuses the demo: {error}"),
            )
        })?;
        server_runtime()?.block_on(async {
            let sandbox = Sandbox::start(service).await.map_err(|error| {
                Error::new(
                    Kind::Unavailable,
                    format!("the simulator cannot start: {error}"),
                )
            })?;
            let demo = Demo {
                simulation,
                connector: &**connector,
                sandbox: &sandbox,
                folder: &part,
                terminal,
            };
            // The first one shows everything, the others only their differences.
            if index == 0 {
                demo.run(context).await
            } else {
                demo.run_briefly(context).await
            }
        })?;
    }
    farewell(simulated[0].0.id, terminal)?;
    if options.keep.is_some() {
        terminal.print(&format!(
            "\nRecords and states are kept in {}.",
            folder.path.display()
        ))?;
    }
    if !is_terminal() {
        return Ok(());
    }
    say("");
    let answer =
        read_line("Open the console on the simulators now, to look around in a browser? [y/N]: ")?;
    match is_yes(&answer) {
        true => console::serve(registry, &simulated, &folder, context, terminal),
        false => Ok(()),
    }
}

/// A simulated source, and its connector.
type Simulated = (&'static Simulation, Arc<dyn AnyConnector>);

struct Demo<'a> {
    simulation: &'static Simulation,
    connector: &'a dyn AnyConnector,
    sandbox: &'a Sandbox,
    folder: &'a Path,
    terminal: &'a Terminal,
}

impl Demo<'_> {
    async fn run(&self, context: NewContext) -> Outcome {
        let id = self.simulation.id;
        let base_url = self.sandbox.base_url();
        self.terminal.print(&format!(
            "A simulator of {} runs at {base_url} for this demo; nothing leaves this machine.",
            self.simulation.title
        ))?;
        self.step("The form", &format!("headwater spec {id} --form"))?;
        show::form(self.connector, self.terminal)?;

        self.step("A wrong key", &format!("headwater check {id}"))?;
        let report = self
            .probe((self.simulation.wrong_form)(&base_url), context)
            .await?;
        check::show(&report, self.terminal)?;
        self.expect(
            report.outcome() == Grade::Failed,
            "a wrong key was accepted",
        )?;

        self.step("The right key", &format!("headwater check {id}"))?;
        let report = self
            .probe((self.simulation.form)(&base_url), context)
            .await?;
        check::show(&report, self.terminal)?;
        self.expect(
            report.outcome() == Grade::Passed,
            "the right key was refused",
        )?;

        self.step(
            "A read that is killed",
            &format!("headwater read {id} --out records --state state.json"),
        )?;
        let (stream, lines) = self.read_and_kill().await?;
        self.terminal.print(&format!(
            "The process was killed in the middle of {stream}, with {} lines written.",
            thousands(lines as u64)
        ))?;

        self.step(
            "The same command resumes",
            &format!("headwater read {id} --out records --state state.json"),
        )?;
        self.read().await?;

        self.step(
            "Nothing lost, nothing repeated",
            "the folder, compared with the simulator",
        )?;
        self.compare()
    }

    /// Check and read only, without the form and the crash.
    async fn run_briefly(&self, context: NewContext) -> Outcome {
        let (id, title) = (self.simulation.id, self.simulation.title);
        let base_url = self.sandbox.base_url();
        self.step(
            &format!("Another source: {title}"),
            &format!("headwater check {id}"),
        )?;
        let report = self
            .probe((self.simulation.form)(&base_url), context)
            .await?;
        check::show(&report, self.terminal)?;
        self.expect(
            report.outcome() != Grade::Failed,
            "the right key was refused",
        )?;
        self.step(
            &format!("A read of {title}"),
            &format!("headwater read {id} --out records --state state.json"),
        )?;
        self.read().await?;
        let mut rows = vec![["stream", "in the folder"].map(str::to_owned).to_vec()];
        for stream in self.connector.catalog() {
            let lines = self.lines(stream.name).len();
            rows.push(vec![stream.name.to_owned(), thousands(lines as u64)]);
        }
        for line in table(&rows) {
            self.terminal.print(&line)?;
        }
        Ok(())
    }

    fn step(&self, title: &str, command: &str) -> Outcome {
        step(self.terminal, title, command)
    }

    fn expect(&self, is_so: bool, otherwise: &str) -> Result<(), Error> {
        if is_so {
            Ok(())
        } else {
            Err(Error::new(
                Kind::Unexpected,
                format!("the demo went wrong: {otherwise}"),
            ))
        }
    }

    async fn probe(&self, answer: Value, context: NewContext) -> Result<ProbeReport, Error> {
        let config = self.connector.validate(answer).map_err(|_| {
            Error::new(
                Kind::Unexpected,
                "the simulator's form does not fit the connector",
            )
        })?;
        let source = self.connector.open(&config, &context(&Egress::Anywhere)?)?;
        Ok(ProbeReport::of(&*source).await)
    }

    fn command(&self) -> Result<Command, Error> {
        let program = env::current_exe().map_err(|error| {
            Error::new(Kind::Unexpected, "this program does not know its own file").caused_by(error)
        })?;
        let mut command = Command::new(program);
        command.args(["read", self.simulation.id, "--config", "-"]);
        command.arg("--out").arg(self.folder.join("records"));
        command.arg("--state").arg(self.folder.join("state.json"));
        command.stdin(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// Starts a read; the config goes through a pipe, so that no secret is among the arguments.
    async fn start(&self) -> Result<tokio::process::Child, Error> {
        let failed = |error| {
            Error::new(Kind::Unexpected, "a second process cannot be started").caused_by(error)
        };
        let mut child = self.command()?.spawn().map_err(failed)?;
        let config = (self.simulation.form)(&self.sandbox.base_url()).to_string();
        if let Some(mut input) = child.stdin.take() {
            input.write_all(config.as_bytes()).await.map_err(failed)?;
        }
        Ok(child)
    }

    /// Kills the read without warning in the middle. Returns the stream, and the number of written lines.
    async fn read_and_kill(&self) -> Result<(&'static str, usize), Error> {
        let catalog = self.connector.catalog();
        let mut child = self.start().await?;
        for _ in 0..MAX_POLLS {
            sleep(POLL).await;
            let written: Vec<(&str, usize)> = catalog
                .iter()
                .map(|stream| (stream.name, self.lines(stream.name).len()))
                .collect();
            let lines: usize = written.iter().map(|(_, lines)| lines).sum();
            let reached = written.iter().rev().find(|(_, lines)| *lines > 0);
            if let Some((stream, _)) = reached.filter(|_| lines >= KILL_AFTER) {
                let killed = child.kill().await;
                killed.map_err(|error| {
                    Error::new(Kind::Unexpected, "the read cannot be killed").caused_by(error)
                })?;
                return Ok((stream, lines));
            }
        }
        Err(Error::new(
            Kind::Unexpected,
            "the demo went wrong: the read did not get half way",
        ))
    }

    async fn read(&self) -> Result<(), Error> {
        let mut child = self.start().await?;
        let status = child.wait().await.map_err(|error| {
            Error::new(Kind::Unexpected, "the end of the read cannot be awaited").caused_by(error)
        })?;
        self.expect(status.success(), "the second read failed")
    }

    fn lines(&self, stream: &str) -> Vec<String> {
        let path = self.folder.join("records").join(format!("{stream}.jsonl"));
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn compare(&self) -> Outcome {
        let mut rows = vec![
            [
                "stream",
                "in the service",
                "in the folder",
                "lost",
                "repeated",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        let mut is_exact = true;
        for stream in self.connector.catalog() {
            let truth: BTreeSet<String> = self
                .sandbox
                .keys(stream.name)
                .unwrap_or_default()
                .into_iter()
                .collect();
            let found = self.keys(&stream)?;
            let lost = truth.iter().filter(|key| !found.contains_key(*key)).count();
            let repeated: usize = found.values().map(|times| times - 1).sum();
            let foreign = found.keys().filter(|key| !truth.contains(*key)).count();
            is_exact &= lost == 0 && repeated == 0 && foreign == 0;
            let numbers =
                [truth.len(), found.len(), lost, repeated].map(|number| thousands(number as u64));
            rows.push([vec![stream.name.to_owned()], numbers.to_vec()].concat());
        }
        for line in table(&rows) {
            self.terminal.print(&line)?;
        }
        Ok(self.expect(is_exact, "records were lost or repeated")?)
    }

    /// The number of times that each key occurs in a stream's file.
    fn keys(&self, stream: &StreamSpec) -> Result<BTreeMap<String, usize>, Error> {
        let mut keys = BTreeMap::new();
        for line in self.lines(stream.name) {
            let record: Value = serde_json::from_str(&line).map_err(|error| {
                Error::new(
                    Kind::Unexpected,
                    format!("a line of {} is not JSON", stream.name),
                )
                .caused_by(error)
            })?;
            let key: Vec<&str> = stream
                .key
                .iter()
                .filter_map(|name| record[name].as_str())
                .collect();
            *keys.entry(key.join("/")).or_insert(0) += 1;
        }
        Ok(keys)
    }
}

fn step(terminal: &Terminal, title: &str, command: &str) -> Outcome {
    let title = terminal.paint(Tone::Strong, title);
    let command = terminal.paint(Tone::Faint, command);
    terminal.print(&format!("\n── {title}  ({command})\n"))
}

fn farewell(id: &str, terminal: &Terminal) -> Outcome {
    let rows = [
        (
            format!("headwater check {id}"),
            "your own workspace: asks for the key pair",
        ),
        (
            format!("headwater read {id} --out records --state state.json"),
            "all of it, and later only the changes",
        ),
        (
            "headwater sandbox".to_owned(),
            "the simulator again, to try commands with",
        ),
        (
            "headwater demo --console".to_owned(),
            "the console in a browser, on the simulators",
        ),
        ("headwater --help".to_owned(), "everything else"),
    ];
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(command, text)| vec![format!("  {command}"), text.to_owned()])
        .collect();
    step(
        terminal,
        "What to try next",
        "headwater is this program; with cargo: cargo run --release -- …",
    )?;
    for line in table(&rows) {
        terminal.print(&line)?;
    }
    Ok(())
}

/// A new folder, removed at the end unless --keep names it.
struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    fn new(keep: Option<&Path>) -> Result<Self, Error> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => env::temp_dir().join(format!("headwater-demo-{}", std::process::id())),
        };
        make_new_folder(&path, Access::OWNER).map_err(|error| unwritable(&path, &error))?;
        Ok(Self {
            path,
            is_kept: keep.is_some(),
        })
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    let text = format!("the new folder {} cannot be made: {error}", path.display());
    Error::new(Kind::OutputFailed, text)
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // Left over in the temporary folder at worst.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
