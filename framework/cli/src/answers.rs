//! Where a config comes from: a file, standard input, `--set`, or questions at the terminal.

use std::{
    collections::BTreeSet,
    fmt,
    fs::File,
    io::{self, BufRead, IsTerminal, Read},
    path::Path,
    sync::Arc,
};

use headwater_core::{
    AnyConnector, Choice, Error, Field, FieldError, FieldKind, FormModel, Kind, Notice, Registry,
    ValidConfig,
};
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
/// How often a terminal is asked again.
const MAX_ROUNDS: usize = 3;

/// A config that was given, in both of its forms.
pub(crate) struct ResolvedInput<'r> {
    pub connector: &'r Arc<dyn AnyConnector>,
    pub form: FormModel,
    /// As it was given, with its references.
    pub answer: Value,
    /// With what the references led to.
    pub config: ValidConfig,
}

/// The connector that was named, and a valid config for it.
pub(crate) fn gather<'r>(
    registry: &'r Registry,
    options: &Config,
) -> Result<(&'r Arc<dyn AnyConnector>, ValidConfig), Failure> {
    let gathered = gather_answer(registry, options)?;
    Ok((gathered.connector, gathered.config))
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
    if !(is_given(options) || may_ask) {
        let text = "no config was given and there is no terminal to ask at; use --config FILE, or --config - for \
                    standard input";
        return Err(Error::new(Kind::ConfigInvalid, text).into());
    }
    let answer = given(&form, options)?;
    let (answer, config) = if may_ask {
        let judge = |answer| judge(&**connector, &form, answer, &env_file);
        ask(&form, answer, judge)?
    } else {
        let config = judged(&**connector, &form, &answer, &env_file)?;
        (answer, config)
    };
    tell(&config.notices);
    Ok(ResolvedInput {
        connector,
        form,
        answer,
        config,
    })
}

/// The config that an answer is.
pub(crate) fn judged(
    connector: &dyn AnyConnector,
    form: &FormModel,
    answer: &Value,
    env_file: &EnvFile,
) -> Result<ValidConfig, Failure> {
    // A command of a reference does not get the Ctrl-C of the terminal itself.
    let judged = judge(connector, form, answer.clone(), env_file);
    runtime()?.block_on(until_stopped(judged))?
}

/// A config with what the options change in it. Where they say nothing, a terminal is asked for the secrets.
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
        let text = "no new secret was given and there is no terminal to ask at; use --config FILE, or --config - for \
                    standard input, with the fields that change";
        return Err(Error::new(Kind::ConfigInvalid, text).into());
    }
    say("A secret that is left blank stays as it is.");
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

/// Puts the fields of a config over those of another one. Another alternative comes without the fields of the first.
fn merge(form: &FormModel, answer: &mut Value, given: Value) {
    let (Value::Object(answer), Value::Object(given)) = (&mut *answer, &given) else {
        *answer = given;
        return;
    };
    for (name, value) in given {
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

/// Whether there is somebody to ask.
pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// The connector that was named, and the references in a config that is valid as far as can be told without following
/// them.
pub(crate) fn examine<'r>(
    registry: &'r Registry,
    options: &Config,
) -> Result<(&'r Arc<dyn AnyConnector>, Vec<UnfollowedReference>), Failure> {
    let connector = registry.get(&options.connector)?;
    let form = form(&**connector)?;
    if !is_given(options) {
        let text = "no config was given; use --config FILE, or --config - for standard input";
        return Err(Error::new(Kind::ConfigInvalid, text).into());
    }
    env_file(options.env_file.as_deref())?;
    let mut answer = given(&form, options)?;
    let (references, mut errors) = match references::check(&form, &answer) {
        Ok(references) => (references, Vec::new()),
        Err(errors) => (Vec::new(), errors),
    };
    // Something has to stand in the place of a secret that is not known; what is wrong with it says nothing.
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
        Ok(config) => tell(
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

/// Nothing is read that was not asked for: a `.env` that happens to lie around says nothing.
pub(crate) fn env_file(path: Option<&Path>) -> Result<EnvFile, Error> {
    match path {
        Some(path) => EnvFile::load(path),
        None => Ok(EnvFile::default()),
    }
}

fn is_given(options: &Config) -> bool {
    options.config.is_some() || !options.set.is_empty()
}

/// What the options say, before anything is asked.
fn given(form: &FormModel, options: &Config) -> Result<Value, Failure> {
    let mut answer = match &options.config {
        Some(path) => from_file(path)?,
        None => Value::Object(Map::new()),
    };
    set_fields(form, &mut answer, &options.set)?;
    Ok(answer)
}

fn tell<'n>(notices: impl IntoIterator<Item = &'n Notice>) {
    for notice in notices {
        say(&format!("note: {}", notice.message));
    }
}

async fn judge(
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
            File::open(path).map(|file| Box::new(file) as Box<dyn Read>),
        )
    };
    let invalid = |what: String| {
        Failure::Error(Error::new(
            Kind::ConfigInvalid,
            format!("the config {name} {what}"),
        ))
    };
    // Large enough from the start: a buffer that moves leaves a copy of its secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_CONFIG as usize + 64));
    opened
        .and_then(|source| source.take(LARGEST_CONFIG + 1).read_to_end(&mut bytes))
        .map_err(|error| invalid(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > LARGEST_CONFIG {
        return Err(invalid(
            "is larger than 1 MiB, which no config is".to_owned(),
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
    // serde_json's text may quote the input, so only the place is told.
    let place =
        |error: &serde_json::Error| format!("(line {}, column {})", error.line(), error.column());
    let answer = serde_json::from_str(text)
        .map_err(|error| invalid(format!("is not valid JSON {}", place(&error))))?;
    // Of two answers to one question none is taken; serde_json would take the last.
    if let (Value::Object(_), Err(error)) = (&answer, serde_json::from_str::<EachFieldOnce>(text)) {
        return Err(invalid(format!("has a field twice {}", place(&error))));
    }
    Ok(answer)
}

/// Reads an object and fails at the first field that it has had before.
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
                return Err(de::Error::custom("a field stands there twice"));
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
        // What follows the name may be a secret that was put here by mistake: it is never repeated.
        let Some((name, value)) = assignment.split_once('=') else {
            let text = "--set takes FIELD=VALUE, as in --set base_url=https://example.com";
            return Err(Error::new(Kind::ConfigInvalid, text).into());
        };
        let pointer = format!("/{}", name.replace('.', "/"));
        let mut refuse = |code, message: String| {
            errors.push(FieldError {
                pointer: pointer.clone(),
                code,
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
                    "{} is a secret, and arguments can be seen by everybody on this machine; use --config, or a \
                     reference as in --set {name}=env:NAME ({})",
                    field.title,
                    references::forms()
                ),
            );
            continue;
        }
        match parse(field.copied(), value) {
            Ok(value) => put(answer, &pointer, value),
            Err(complaint) => refuse("type", complaint),
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failure::Form(errors))
    }
}

/// The value that a field's kind makes of a text. Unknown fields stay text and are refused by validation.
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
    let wanted = match field.kind {
        FieldKind::Boolean => "true or false",
        FieldKind::Integer => "a whole number",
        _ => "a number",
    };
    parsed.ok_or_else(|| format!("{} must be {wanted}", field.title))
}

/// Puts a value at a pointer, making the objects on the way. An answer that is no object is left for validation.
fn put(answer: &mut Value, pointer: &str, value: Value) {
    let mut place = answer;
    for name in pointer.split('/').skip(1) {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let Some(object) = place.as_object_mut() else {
            return;
        };
        place = object.entry(name).or_insert(Value::Null);
    }
    *place = value;
}

/// Asks for what is missing, then again for what was refused.
fn ask<F: Future<Output = Result<ValidConfig, Failure>>>(
    form: &FormModel,
    mut answer: Value,
    judge: impl Fn(Value) -> F,
) -> Result<(Value, ValidConfig), Failure> {
    let undecided = undecided(form, &answer);
    let is_missing = |field: &&Field, answer: &Value| {
        !field.advanced && answer.pointer(&field.pointer).is_none()
    };
    let mut inputs = form.inputs_of(&answer).into_iter();
    let is_asked =
        !undecided.is_empty() || inputs.any(|field| field.required && is_missing(&field, &answer));
    let mut open = Vec::new();
    if is_asked {
        say(&format!("{}\n", form.title));
        for (index, step) in form.guide.iter().enumerate() {
            say(&format!("  {}. {}: {}", index + 1, step.title, step.text));
        }
        say("");
        // What alternatives ask for is known once one is chosen.
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
        let errors = match runtime()?.block_on(judge(answer.clone())) {
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

/// The alternatives of which the answer has not named one that there is.
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
    // The end of the line is of no answer; a password keeps everything else.
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
        Err(complaint) => {
            // Kept as text: validation refuses it and the field is asked for again.
            say(&format!("  {complaint}"));
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
