//! References in place of secrets: a secret field may name the location of its value, so that no config holds it.

mod child_env;
mod command;
mod env_file;
#[cfg(feature = "aws-sm")]
mod secrets_manager;

use std::{
    env, fmt,
    io::{self, Read},
    path::PathBuf,
    thread,
    time::Duration,
};

use headwater_core::{Field, FieldError, FieldKind, FormModel, wipe};
use headwater_files::open_regular;
use serde_json::Value;
use tokio::{sync::oneshot, time::timeout};
use zeroize::Zeroizing;

pub use env_file::EnvFile;

/// Maximum bytes of a file or of a command's output: far more than any key.
const LARGEST_SECRET: u64 = 64 << 10;
/// Long enough for a vault behind a network, short enough for a waiting user.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The kinds of references, each with what follows its prefix.
const KINDS: [Kind; 4] = [
    Kind {
        prefix: "env",
        form: "env:NAME",
        parse: |name| Ok(Reference::Variable(name)),
    },
    Kind {
        prefix: "file",
        form: "file:PATH",
        parse: |path| Ok(Reference::File(path)),
    },
    Kind {
        prefix: "command",
        form: "command:PROGRAM ARGUMENT…",
        parse: |line| command::split(line).map(Reference::Command),
    },
    Kind {
        prefix: "aws-sm",
        form: "aws-sm:NAME",
        parse: secret,
    },
];

struct Kind {
    prefix: &'static str,
    form: &'static str,
    parse: for<'t> fn(&'t str) -> Result<Reference<'t>, String>,
}

/// The value of a secret field instead of the secret.
enum Reference<'t> {
    Variable(&'t str),
    File(&'t str),
    /// The program and its arguments.
    Command(Vec<String>),
    #[cfg(feature = "aws-sm")]
    Secret(secrets_manager::Address<'t>),
}

#[cfg(feature = "aws-sm")]
fn secret(address: &str) -> Result<Reference<'_>, String> {
    secrets_manager::Address::parse(address).map(Reference::Secret)
}

#[cfg(not(feature = "aws-sm"))]
fn secret(_: &str) -> Result<Reference<'_>, String> {
    Err(
        "refers to AWS Secrets Manager, which this build leaves out; build it with `--features aws-sm`"
            .to_owned(),
    )
}

impl<'t> Reference<'t> {
    /// `None` where the text is the secret itself, which may well contain a colon.
    fn parse(text: &'t str) -> Option<Result<Self, String>> {
        let (prefix, rest) = text.split_once(':')?;
        let kind = KINDS.iter().find(|kind| kind.prefix == prefix)?;
        Some(if rest.is_empty() {
            Err(format!(
                "is a reference without a target; write {}",
                kind.form
            ))
        } else {
            (kind.parse)(rest)
        })
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the environment variable {name:?}"),
            Self::File(path) => write!(f, "the file {path:?}"),
            // Arguments are left out: secrets do not belong there, but a user may have put one there.
            Self::Command(line) => {
                let program = line.first().map_or("", String::as_str);
                write!(f, "the command {program:?}")
            }
            #[cfg(feature = "aws-sm")]
            Self::Secret(address) => write!(f, "{address}"),
        }
    }
}

/// Whether a text is a reference and not a secret. [`check`] finds references that cannot be used.
pub fn is_reference(text: &str) -> bool {
    Reference::parse(text).is_some()
}

/// The forms of references, for a sentence such as `use env:NAME, file:PATH or …`.
pub fn forms() -> String {
    let forms = KINDS.map(|kind| kind.form);
    forms.join(", ")
}

/// A reference that was read but not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfollowedReference {
    /// JSON Pointer of the field.
    pub pointer: String,
    /// Its target, such as `the environment variable "NAME"`.
    pub target: String,
}

/// Parses the references in the secret fields of an answer without following any; of alternatives, those of the chosen
/// one. Reports every malformed reference at its field.
///
/// # Errors
///
/// Fails with an error for every malformed reference.
pub fn check(
    form: &FormModel,
    answer: &Value,
) -> Result<Vec<UnfollowedReference>, Vec<FieldError>> {
    let mut references = Vec::new();
    let mut errors = Vec::new();
    for field in secrets(form, answer) {
        let text = answer.pointer(&field.pointer).and_then(Value::as_str);
        match text.and_then(Reference::parse) {
            None => {}
            Some(Ok(reference)) => references.push(UnfollowedReference {
                pointer: field.pointer.clone(),
                target: reference.to_string(),
            }),
            Some(Err(message)) => errors.push(error(field, &message)),
        }
    }
    if errors.is_empty() {
        Ok(references)
    } else {
        Err(errors)
    }
}

/// Replaces each reference in a secret field by its target. Does not follow references in alternatives that the answer
/// has not chosen. Reports every failure at its field, and wipes the answer then. A command and a vault have 30 seconds
/// each; dropping the future ends a command.
///
/// Needs a tokio runtime with its I/O and its clock.
///
/// # Errors
///
/// Fails with an error for every reference that cannot be followed.
pub async fn resolve(
    form: &FormModel,
    answer: &mut Value,
    env_file: &EnvFile,
) -> Result<(), Vec<FieldError>> {
    let mut resolver = Resolver::new(env_file);
    let mut errors = Vec::new();
    for field in secrets(form, answer) {
        let Some(Value::String(text)) = answer.pointer_mut(&field.pointer) else {
            continue;
        };
        let Some(resolved) = resolver.text(text).await else {
            continue;
        };
        match resolved {
            Ok(value) => *text = value,
            Err(message) => errors.push(error(field, &message)),
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        wipe(answer);
        Err(errors)
    }
}

/// The secret fields of an answer.
fn secrets<'f>(form: &'f FormModel, answer: &Value) -> impl Iterator<Item = &'f Field> + use<'f> {
    let inputs = form.inputs_of(answer).into_iter();
    inputs.filter(|field| field.kind == FieldKind::Secret)
}

fn error(field: &Field, message: &str) -> FieldError {
    FieldError {
        pointer: field.pointer.clone(),
        code: "reference".into(),
        message: format!("{} {message}", field.title),
    }
}

struct Resolver<'e> {
    env_file: &'e EnvFile,
    #[cfg(feature = "aws-sm")]
    vault: secrets_manager::Vault,
}

/// The target of a reference, or the error; `None` for a text that is not a reference.
///
/// Needs a tokio runtime with its I/O and its clock.
pub async fn resolve_text(text: &str, env_file: &EnvFile) -> Option<Result<String, String>> {
    Resolver::new(env_file).text(text).await
}

impl<'e> Resolver<'e> {
    fn new(env_file: &'e EnvFile) -> Self {
        Self {
            env_file,
            #[cfg(feature = "aws-sm")]
            vault: secrets_manager::Vault::default(),
        }
    }

    async fn text(&mut self, text: &str) -> Option<Result<String, String>> {
        Some(match Reference::parse(text)? {
            Ok(reference) => self.resolve(&reference).await,
            Err(message) => Err(message),
        })
    }

    async fn resolve(&mut self, reference: &Reference<'_>) -> Result<String, String> {
        let resolved = match reference {
            Reference::Variable(name) => self.variable(name),
            Reference::File(path) => file(path, TIME_LIMIT).await,
            Reference::Command(line) => command::run(line, TIME_LIMIT).await,
            #[cfg(feature = "aws-sm")]
            Reference::Secret(address) => self.vault.fetch(address, TIME_LIMIT).await,
        };
        resolved.map_err(|message| format!("refers to {reference}, which {message}"))
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        if let Some(value) = self.env_file.get(name) {
            return Ok(value.to_owned());
        }
        env::var(name).map_err(|error| match error {
            env::VarError::NotPresent => "is not set".to_owned(),
            env::VarError::NotUnicode(_) => "is not UTF-8 text".to_owned(),
        })
    }
}

/// Reads a file on a thread of its own, and abandons the thread if the file does not answer: the file may be on a
/// device or in a file system that hangs.
async fn file(path: &str, limit: Duration) -> Result<String, String> {
    let (sender, receiver) = oneshot::channel();
    let path = PathBuf::from(path);
    thread::spawn(move || {
        let mut bytes = buffer();
        let read = open_regular(&path)
            .and_then(|file| file.take(LARGEST_SECRET + 1).read_to_end(&mut bytes));
        sender.send(read.map(|_| bytes))
    });
    let read = match timeout(limit, receiver).await {
        Ok(Ok(read)) => read,
        Ok(Err(_)) => return Err("cannot be read".to_owned()),
        Err(_) => return Err(format!("did not answer within {} seconds", limit.as_secs())),
    };
    let bytes = read.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            format!("cannot be opened: {error}")
        }
        _ => format!("cannot be read: {error}"),
    })?;
    if bytes.len() as u64 > LARGEST_SECRET {
        return Err("is far too large for a secret".to_owned());
    }
    let mut text = text(bytes).ok_or("is not UTF-8 text")?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

/// Makes a buffer for the largest secret, which is wiped on drop. It never grows: a buffer that moves leaves a copy
/// behind.
fn buffer() -> Zeroizing<Vec<u8>> {
    // Reading to the end looks for the end with some room to spare.
    Zeroizing::new(Vec::with_capacity(LARGEST_SECRET as usize + 64))
}

/// Copies the bytes as text into a string of exactly that size.
fn text(bytes: Zeroizing<Vec<u8>>) -> Option<String> {
    std::str::from_utf8(&bytes).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Two alternatives with a secret at the same pointer.
    fn form() -> FormModel {
        let hints = |order: u64| json!({ "order": order });
        let branch = |tag: &str| {
            json!({
                "type": "object",
                "title": tag,
                "properties": {
                    "by": { "const": tag },
                    "secret": {
                        "type": "string", "format": "password", "writeOnly": true,
                        "title": "Secret", "description": "The shared part.", "x-headwater": hints(1),
                    },
                },
                "required": ["by", "secret"],
            })
        };
        let schema = json!({
            "type": "object",
            "properties": { "auth": {
                "title": "Sign in", "description": "How.", "x-headwater": hints(1),
                "oneOf": [branch("key"), branch("token")],
            }},
        });
        FormModel::from_schema("Test", &[], &schema).unwrap()
    }

    #[test]
    fn what_a_reference_leads_to_is_not_followed_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "env:PATH\n").unwrap();
        let mut answer =
            json!({ "auth": { "by": "key", "secret": format!("file:{}", path.display()) } });
        assert_eq!(
            check(&form(), &answer).unwrap(),
            [UnfollowedReference {
                pointer: "/auth/secret".to_owned(),
                target: format!("the file {path:?}"),
            }]
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let (form, no_file) = (form(), EnvFile::default());
        let resolved = resolve(&form, &mut answer, &no_file);
        runtime.unwrap().block_on(resolved).unwrap();
        assert_eq!(answer["auth"]["secret"], "env:PATH");
    }

    #[test]
    fn an_alternative_that_is_not_chosen_is_not_followed() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("made");
        let secret = format!("command:touch {}", made.display());
        for by in [json!("neither"), json!(null), json!(["key"])] {
            let mut answer = json!({ "auth": { "by": by, "secret": secret } });
            let before = answer.clone();
            assert_eq!(check(&form(), &answer), Ok(Vec::new()));
            let (form, no_file) = (form(), EnvFile::default());
            let resolved = resolve(&form, &mut answer, &no_file);
            runtime.block_on(resolved).unwrap();
            assert_eq!(answer, before);
            assert!(!made.exists());
        }
    }

    #[test]
    fn a_form_of_every_kind_is_a_reference_and_other_colons_are_not() {
        for kind in KINDS {
            assert!(is_reference(kind.form), "{}", kind.form);
            assert!(is_reference(&format!("{}:", kind.prefix)));
        }
        for text in ["", "env", "ENV:A", " env:A", "vault:a", "https://a", ":a"] {
            assert!(!is_reference(text), "{text}");
        }
    }
}
