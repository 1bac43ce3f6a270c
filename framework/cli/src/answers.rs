//! Reads a config from a file, standard input, `--set`, or questions at the terminal.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, BufRead, IsTerminal, Read},
    path::Path,
    sync::Arc,
};

use headwater_core::{
    AnyConnector, Choice, Error, Field, FieldError, FieldKind, FormModel, Kind, Notice, Registry,
    ValidConfig,
};
use headwater_files::open_trusted;
use headwater_host::references::{self, EnvFile, UnfollowedReference};
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{
    Failure,
    args::{Changes, Config},
    runtime::runtime,
    terminal::{say, until_stopped},
};

/// A form's answers are small; anything larger is the wrong file.
const LARGEST_CONFIG: u64 = 1 << 20;
/// Rounds of questions at a terminal.
const MAX_ROUNDS: usize = 3;

/// A config from the options or the terminal, in both of its forms.
pub(crate) struct ResolvedInput<'r> {
    pub connector: &'r Arc<dyn AnyConnector>,
    pub form: FormModel,
    /// As entered, with its references.
    pub answer: Value,
    /// With resolved references.
    pub config: ValidConfig,
}

/// The named connector, and a valid config for it.
pub(crate) fn gather<'r>(
    registry: &'r Registry,
    options: &Config,
) -> Result<(&'r Arc<dyn AnyConnector>, ValidConfig), Failure> {
    let input = gather_answer(registry, options)?;
    Ok((input.connector, input.config))
}

/// As [`gather`], with the answer itself.
pub(crate) fn gather_answer<'r>(
    registry: &'r Registry,
    options: &Config,
) -> Result<ResolvedInput<'r>, Failure> {
    let connector = registry.get(&options.connector)?;
    let form = form(&**connector)?;
    let env_file = env_file(options.env_file.as_deref())?;
    let may_ask = options.config.is_none() && is_terminal();
    if !(has_config(options) || may_ask) {
        let text = "a config is missing and there is no terminal to ask at; use --config FILE, or --config - for \
                    standard input";
        return Err(Error::new(Kind::ConfigInvalid, text).into());
    }
    let answer = from_options(&form, options)?;
    let (answer, config) = if may_ask {
        let validate = |answer| resolve(&**connector, &form, answer, &env_file);
        ask(&form, answer, validate)?
    } else {
        let config = validated(&**connector, &form, &answer, &env_file)?;
        (answer, config)
    };
    show_notices(&config.notices);
    Ok(ResolvedInput {
        connector,
        form,
        answer,
        config,
    })
}

/// The valid config of an answer.
pub(crate) fn validated(
    connector: &dyn AnyConnector,
    form: &FormModel,
    answer: &Value,
    env_file: &EnvFile,
) -> Result<ValidConfig, Failure> {
    // A command of a reference does not get the Ctrl-C of the terminal itself.
    let config = resolve(connector, form, answer.clone(), env_file);
    runtime()?.block_on(until_stopped(config))?
}

/// A config with the changes of the options. Without any, it asks for the secrets at the terminal.
pub(crate) fn changed(
    form: &FormModel,
    config: &Value,
    options: &Changes,
) -> Result<Value, Failure> {
    let mut answer = config.clone();
    if let Some(path) = &options.config {
        merge(form, &mut answer, from_file(path)?);
    }
    set_fields(form, &mut answer, &options.set)?;
    if options.config.is_some() || !options.set.is_empty() {
        return Ok(answer);
    }
    if !is_terminal() {
        let text = "a new secret is missing and there is no terminal to ask at; use --config FILE, or --config - for \
                    standard input, with the changed fields";
        return Err(Error::new(Kind::ConfigInvalid, text).into());
    }
    say("A blank secret stays unchanged.");
    let inputs = form.inputs_of(&answer);
    for field in inputs
        .iter()
        .filter(|field| field.kind == FieldKind::Secret)
    {
        let before = answer.pointer(&field.pointer).cloned();
        question(field, &mut answer)?;
        if let (Some(before), None) = (before, answer.pointer(&field.pointer)) {
            put(&mut answer, &field.pointer, before);
        }
    }
    Ok(answer)
}

/// Overrides the fields of a config by those of another one. Another alternative drops the fields of the first.
fn merge(form: &FormModel, answer: &mut Value, changes: Value) {
    let (Value::Object(answer), Value::Object(changes)) = (&mut *answer, &changes) else {
        *answer = changes;
        return;
    };
    for (name, value) in changes {
        let is_other_alternative = form.fields.iter().any(|field| match &field.kind {
            FieldKind::OneOf { tag, .. } if field.pointer == format!("/{name}") => {
                let chosen = answer.get(name).and_then(|chosen| chosen.get(tag));
                value.get(tag).is_some_and(|tag| Some(tag) != chosen)
            }
            _ => false,
        });
        match (answer.get_mut(name), value) {
            (Some(Value::Object(inner)), Value::Object(value)) if !is_other_alternative => {
                inner.extend(value.clone());
            }
            _ => {
                answer.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Whether a person can answer questions.
pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// The named connector, and the references of a config that is valid as far as is known without following them.
pub(crate) fn examine<'r>(
    registry: &'r Registry,
    options: &Config,
) -> Result<(&'r Arc<dyn AnyConnector>, Vec<UnfollowedReference>), Failure> {
    let connector = registry.get(&options.connector)?;
    let form = form(&**connector)?;
    if !has_config(options) {
        let text = "a config is missing; use --config FILE, or --config - for standard input";
        return Err(Error::new(Kind::ConfigInvalid, text).into());
    }
    env_file(options.env_file.as_deref())?;
    let mut answer = from_options(&form, options)?;
    let (references, mut errors) = match references::check(&form, &answer) {
        Ok(references) => (references, Vec::new()),
        Err(errors) => (Vec::new(), errors),
    };
    // A placeholder replaces an unknown secret; errors about it mean nothing.
    let mut unknown = BTreeSet::new();
    for field in form.inputs_of(&answer) {
        if let (FieldKind::Secret, Some(Value::String(text))) =
            (&field.kind, answer.pointer_mut(&field.pointer))
            && references::is_reference(text)
        {
            "placeholder".clone_into(text);
            unknown.insert(field.pointer.as_str());
        }
    }
    match connector.validate(answer) {
        Ok(config) => show_notices(
            config
                .notices
                .iter()
                .filter(|notice| !unknown.contains(notice.pointer.as_str())),
        ),
        Err(found) => errors.extend(
            found
                .into_iter()
                .filter(|error| !unknown.contains(error.pointer.as_str())),
        ),
    }
    if errors.is_empty() {
        Ok((connector, references))
    } else {
        errors.sort_by(|left, right| left.pointer.cmp(&right.pointer));
        Err(Failure::Form(errors))
    }
}

pub(crate) fn form(connector: &dyn AnyConnector) -> Result<FormModel, Error> {
    connector.form().map_err(|violations| {
        let listed: Vec<String> = violations.iter().map(ToString::to_string).collect();
        Error::new(
            Kind::Unexpected,
            format!("the form leaves the profile: {}", listed.join("; ")),
        )
    })
}

/// Only a named file is read, never a `.env` in the current folder.
pub(crate) fn env_file(path: Option<&Path>) -> Result<EnvFile, Error> {
    match path {
        Some(path) => EnvFile::load(path),
        None => Ok(EnvFile::default()),
    }
}

fn has_config(options: &Config) -> bool {
    options.config.is_some() || !options.set.is_empty()
}

/// The answer of the options, before any question.
fn from_options(form: &FormModel, options: &Config) -> Result<Value, Failure> {
    let mut answer = match &options.config {
        Some(path) => from_file(path)?,
        None => Value::Object(Map::new()),
    };
    set_fields(form, &mut answer, &options.set)?;
    Ok(answer)
}

fn show_notices<'n>(notices: impl IntoIterator<Item = &'n Notice>) {
    for notice in notices {
        say(&format!("note: {}", notice.message));
    }
}

async fn resolve(
    connector: &dyn AnyConnector,
    form: &FormModel,
    mut answer: Value,
    env_file: &EnvFile,
) -> Result<ValidConfig, Failure> {
    references::resolve(form, &mut answer, env_file)
        .await
        .map_err(Failure::Form)?;
    connector.validate(answer).map_err(Failure::Form)
}

fn from_file(path: &Path) -> Result<Value, Failure> {
    let (name, opened): (String, io::Result<Box<dyn Read>>) = if path == Path::new("-") {
        ("standard input".to_owned(), Ok(Box::new(io::stdin())))
    } else {
        (
            path.display().to_string(),
            open_trusted(path).map(|file| Box::new(file) as Box<dyn Read>),
        )
    };
    let invalid = |problem: String| {
        Failure::Error(Error::new(
            Kind::ConfigInvalid,
            format!("the config {name} {problem}"),
        ))
    };
    // Large enough from the start: a buffer that moves leaves a copy of its secrets.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_CONFIG as usize + 64));
    opened
        .and_then(|source| source.take(LARGEST_CONFIG + 1).read_to_end(&mut bytes))
        .map_err(|error| invalid(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > LARGEST_CONFIG {
        return Err(invalid(
            "is larger than 1 MiB, the limit of a config".to_owned(),
        ));
    }
    let text = str::from_utf8(&bytes)
        .map_err(|error| invalid(format!("is not UTF-8 text (byte {})", error.valid_up_to())))?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(invalid(
            "is empty; it should be a JSON object with the fields of the form".to_owned(),
        ));
    }
    // serde_json's text may quote the input, so only the position is shown.
    let position =
        |error: &serde_json::Error| format!("(line {}, column {})", error.line(), error.column());
    let answer = serde_json::from_str(text)
        .map_err(|error| invalid(format!("is not valid JSON {}", position(&error))))?;
    // A field with two values is refused; serde_json would use the last.
    if let (Value::Object(_), Err(error)) = (&answer, serde_json::from_str::<EachFieldOnce>(text)) {
        return Err(invalid(format!("has a field twice {}", position(&error))));
    }
    Ok(answer)
}

/// Reads an object and fails at the first repeated field.
struct EachFieldOnce;

impl<'de> Deserialize<'de> for EachFieldOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for EachFieldOnce {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, _>()? {
            if !names.insert(name) {
                return Err(de::Error::custom("a field occurs twice"));
            }
        }
        Ok(self)
    }
}

fn set_fields(form: &FormModel, answer: &mut Value, assignments: &[String]) -> Result<(), Failure> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    let inputs = form.inputs();
    for assignment in assignments {
        // The text after the name may be a secret by mistake, so no message repeats it.
        let Some((name, value)) = assignment.split_once('=') else {
            let text = "--set takes FIELD=VALUE, as in --set base_url=https://example.com";
            return Err(Error::new(Kind::ConfigInvalid, text).into());
        };
        let pointer = format!("/{}", name.replace('.', "/"));
        let mut refuse = |code: &'static str, message: String| {
            errors.push(FieldError {
                pointer: pointer.clone(),
                code: code.into(),
                message,
            });
        };
        if !seen.insert(name) {
            refuse("duplicate", format!("{name} is set twice"));
            continue;
        }
        let field = inputs.iter().find(|field| field.pointer == pointer);
        if let Some(field) = field.filter(|field| field.kind == FieldKind::Secret)
            && !references::is_reference(value)
        {
            refuse(
                "secret_in_arguments",
                format!(
                    "{} is a secret, and every user of this machine can see arguments; use --config, or a \
                     reference as in --set {name}=env:NAME ({})",
                    field.title,
                    references::forms()
                ),
            );
            continue;
        }
        match parse(field.copied(), value) {
            Ok(value) => put(answer, &pointer, value),
            Err(problem) => refuse("type", problem),
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failure::Form(errors))
    }
}

/// The value of a text for a field's kind. Unknown fields stay text, and validation refuses them.
fn parse(field: Option<&Field>, text: &str) -> Result<Value, String> {
    let Some(field) = field else {
        return Ok(text.into());
    };
    let parsed = match &field.kind {
        FieldKind::Boolean => match text {
            "true" | "yes" | "y" => Some(true.into()),
            "false" | "no" | "n" => Some(false.into()),
            _ => None,
        },
        FieldKind::Integer => text.parse::<i64>().ok().map(Value::from),
        FieldKind::Number => text
            .parse::<f64>()
            .ok()
            .and_then(|number| serde_json::Number::from_f64(number).map(Value::Number)),
        FieldKind::List { .. } => Some(
            text.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .collect(),
        ),
        _ => Some(text.into()),
    };
    let expected = match field.kind {
        FieldKind::Boolean => "true or false",
        FieldKind::Integer => "a whole number",
        _ => "a number",
    };
    parsed.ok_or_else(|| format!("{} must be {expected}", field.title))
}

/// Puts a value at a pointer and creates the objects on the way. Validation refuses an answer that is not an object.
fn put(answer: &mut Value, pointer: &str, value: Value) {
    let mut node = answer;
    for name in pointer.split('/').skip(1) {
        if node.is_null() {
            *node = Value::Object(Map::new());
        }
        let Some(object) = node.as_object_mut() else {
            return;
        };
        node = object.entry(name).or_insert(Value::Null);
    }
    *node = value;
}

/// Asks for missing fields, then again for refused ones.
fn ask<F: Future<Output = Result<ValidConfig, Failure>>>(
    form: &FormModel,
    mut answer: Value,
    validate: impl Fn(Value) -> F,
) -> Result<(Value, ValidConfig), Failure> {
    let undecided = undecided(form, &answer);
    let is_missing = |field: &&Field, answer: &Value| {
        !field.advanced && answer.pointer(&field.pointer).is_none()
    };
    let mut inputs = form.inputs_of(&answer).into_iter();
    let has_questions =
        !undecided.is_empty() || inputs.any(|field| field.required && is_missing(&field, &answer));
    let mut open = Vec::new();
    if has_questions {
        say(&format!("{}\n", form.title));
        for (index, step) in form.guide.iter().enumerate() {
            say(&format!("  {}. {}: {}", index + 1, step.title, step.text));
        }
        say("");
        // The fields of an alternative are known once it is chosen.
        for alternatives in undecided {
            choose(&alternatives, &mut answer)?;
        }
        open = form.inputs_of(&answer);
        open.retain(|field| is_missing(field, &answer));
    }
    for round in 1.. {
        for field in &open {
            question(field, &mut answer)?;
        }
        let errors = match runtime()?.block_on(validate(answer.clone())) {
            Err(Failure::Form(errors)) if round < MAX_ROUNDS => errors,
            other => return other.map(|config| (answer, config)),
        };
        open = form
            .inputs_of(&answer)
            .into_iter()
            .filter(|field| errors.iter().any(|error| error.pointer == field.pointer))
            .collect();
        if open.is_empty() {
            return Err(Failure::Form(errors));
        }
        for error in errors {
            say(&format!("  {}", error.message));
        }
    }
    Err(Error::new(Kind::Cancelled, "no valid answer").into())
}

/// A field whose value is one of several alternatives.
struct Alternatives<'f> {
    field: &'f Field,
    tag: &'f str,
    branches: &'f [Choice],
}

/// The alternatives for which the answer has no known choice.
fn undecided<'f>(form: &'f FormModel, answer: &Value) -> Vec<Alternatives<'f>> {
    let fields = form.fields.iter();
    let alternatives = fields.filter_map(|field| match &field.kind {
        FieldKind::OneOf { tag, branches } => Some(Alternatives {
            field,
            tag,
            branches,
        }),
        _ => None,
    });
    alternatives
        .filter(
            |Alternatives {
                 field,
                 tag,
                 branches,
             }| {
                let chosen = answer.pointer(&format!("{}/{tag}", field.pointer));
                let is_missing = !field.required && answer.pointer(&field.pointer).is_none();
                !is_missing && !branches.iter().any(|branch| Some(&branch.value) == chosen)
            },
        )
        .collect()
}

/// Asks for an alternative by its number. The first is the default.
fn choose(alternatives: &Alternatives<'_>, answer: &mut Value) -> Result<(), Failure> {
    let Alternatives {
        field,
        tag,
        branches,
    } = alternatives;
    for (index, branch) in branches.iter().enumerate() {
        say(&format!("  {}) {}", index + 1, branch.title));
    }
    let chosen = loop {
        let text = read_line(&format!("{} [1]: ", field.title))?;
        let number = match text.trim() {
            "" => Some(1),
            text => text.parse::<usize>().ok(),
        };
        match number.and_then(|number| branches.get(number.checked_sub(1)?)) {
            Some(branch) => break branch,
            None => say(&format!("  choose a number from 1 to {}", branches.len())),
        }
    };
    let pointer = format!("{}/{tag}", field.pointer);
    put(answer, &pointer, chosen.value.clone());
    Ok(())
}

fn question(field: &Field, answer: &mut Value) -> Result<(), Failure> {
    let default = field.default.as_ref().map(|value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    });
    let hint = match (&default, field.required) {
        (Some(default), _) => format!(" [{default}]"),
        (None, true) => String::new(),
        (None, false) => " (optional)".to_owned(),
    };
    if let Some(help) = &field.help {
        say(&format!("  {help}"));
    }
    let prompt = format!("{}{hint}: ", field.title);
    let text = Zeroizing::new(if field.kind == FieldKind::Secret {
        rpassword::prompt_password(prompt).map_err(unanswered)?
    } else {
        read_line(&prompt)?
    });
    // The end of the line belongs to no answer; a password keeps everything else.
    let text = match field.kind {
        FieldKind::Secret => field.tidied(text.trim_end_matches(['\r', '\n'])),
        _ => text.trim(),
    };
    if text.is_empty() {
        let (inside, name) = field.pointer.rsplit_once('/').unwrap_or_default();
        if let Some(object) = answer.pointer_mut(inside).and_then(Value::as_object_mut) {
            object.remove(name);
        }
        return Ok(());
    }
    match parse(Some(field), text) {
        Ok(value) => put(answer, &field.pointer, value),
        Err(problem) => {
            // Kept as text, so that validation refuses it and the question comes again.
            say(&format!("  {problem}"));
            put(answer, &field.pointer, text.into());
        }
    }
    Ok(())
}

pub(crate) fn read_line(prompt: &str) -> Result<String, Failure> {
    eprint_now(prompt);
    let mut line = String::new();
    if io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(unanswered)?
        == 0
    {
        return Err(unanswered(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(line)
}

/// Whether a question was answered with yes.
pub(crate) fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

fn unanswered(error: io::Error) -> Failure {
    Failure::Error(Error::new(Kind::Cancelled, format!("no answer: {error}")))
}

fn eprint_now(text: &str) {
    let mut error = io::stderr().lock();
    let _ = io::Write::write_all(&mut error, text.as_bytes());
    let _ = io::Write::flush(&mut error);
}
