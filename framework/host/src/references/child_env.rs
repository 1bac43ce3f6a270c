//! The environment of a command: the variables that a program needs to run as this user, and those that the operator
//! names. Any other variable may be a secret of another purpose.

use std::{
    env,
    ffi::{OsStr, OsString},
};

/// Names more variables for commands, separated by commas.
const MORE: &str = "HEADWATER_COMMAND_ENV";
/// Every command gets these: the user, the paths, the language. The sockets of agents hold no secret; the agent decides
/// who may use them.
const KEPT: [&str; 15] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
    "GPG_AGENT_INFO",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
];
/// The same, by the beginning of their names.
const KEPT_PREFIXES: [&str; 2] = ["LC_", "XDG_"];
/// No command gets variables that begin with this, named or not: they open every saved secret.
const NEVER: &str = "HEADWATER_STORE_KEY";

/// Returns the variables of this process that a command gets, or the error in their list.
pub(super) fn kept() -> Result<Vec<(OsString, OsString)>, String> {
    let more = env::var_os(MORE).unwrap_or_default();
    let named = named(&more).map_err(|what| format!("cannot be started: {MORE} {what}"))?;
    Ok(env::vars_os()
        .filter(|(name, _)| is_kept(name, &named))
        .collect())
}

fn is_kept(name: &OsStr, named: &[&str]) -> bool {
    name.to_str().is_some_and(|name| {
        KEPT.contains(&name)
            || KEPT_PREFIXES.iter().any(|begin| name.starts_with(begin))
            || named.contains(&name)
    })
}

fn named(more: &OsStr) -> Result<Vec<&str>, String> {
    let more = more.to_str().ok_or("is not UTF-8 text")?;
    let names = more.split(',').map(str::trim);
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    // A value in this list by mistake may be a secret, so no message repeats it.
    let is_name = |name: &&str| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !names.iter().all(is_name) {
        return Err("is not a list of names separated by commas".to_owned());
    }
    match names.iter().find(|name| name.starts_with(NEVER)) {
        Some(name) => Err(format!("names {name}, which no command gets")),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_what_every_program_needs_and_what_is_named() {
        let named = named(OsStr::new(" OP_TOKEN,,VAULT_ADDR ")).unwrap();
        for name in [
            "PATH",
            "HOME",
            "LC_ALL",
            "XDG_RUNTIME_DIR",
            "OP_TOKEN",
            "VAULT_ADDR",
        ] {
            assert!(is_kept(OsStr::new(name), &named), "{name}");
        }
        for name in [
            "HEADWATER_STORE_KEY",
            "COPILOT_KEY",
            "OP_TOKEN_2",
            "XDG",
            "path",
        ] {
            assert!(!is_kept(OsStr::new(name), &named), "{name}");
        }
    }

    #[test]
    fn the_key_of_the_store_cannot_be_named_and_a_mistake_is_not_repeated() {
        for name in ["HEADWATER_STORE_KEY", "A,HEADWATER_STORE_KEY_REF"] {
            let message = named(OsStr::new(name)).unwrap_err();
            assert!(message.contains("which no command gets"), "{message}");
        }
        let message = named(OsStr::new("A=hidden")).unwrap_err();
        assert_eq!(message, "is not a list of names separated by commas");
    }
}
