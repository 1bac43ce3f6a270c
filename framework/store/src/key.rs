//! The keys that secrets are sealed with: where they come from, and the file that keeps them.

use std::{
    env, fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use headwater_core::{Error, Kind, Result, Secret};
use headwater_files::{
    create::{Access, ReplacementFile},
    open_regular,
};
use headwater_host::references::{self, EnvFile};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The bytes of a key.
const LENGTH: usize = 32;
/// Far more than the keys of any rotation.
const LARGEST_FILE: u64 = 4096;

/// A key. Its id is a digest of it, so different keys have different ids.
#[derive(Clone)]
pub(crate) struct Key {
    pub id: String,
    pub bytes: Zeroizing<[u8; LENGTH]>,
}

impl Key {
    fn new(bytes: Zeroizing<[u8; LENGTH]>) -> Self {
        let digest = Sha256::new()
            .chain_update("headwater store key")
            .chain_update(&bytes[..])
            .finalize();
        Self {
            id: hex(&digest[..8]),
            bytes,
        }
    }

    fn random() -> Result<Self> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        fill(&mut bytes[..])?;
        Ok(Self::new(bytes))
    }

    /// 64 hex digits, or 32 bytes in base64.
    fn parse(text: &str) -> Option<Self> {
        let decoded = Zeroizing::new(from_hex(text).or_else(|| STANDARD.decode(text).ok())?);
        let mut bytes = Zeroizing::new([0; LENGTH]);
        if decoded.len() != LENGTH {
            return None;
        }
        bytes.copy_from_slice(&decoded);
        Some(Self::new(bytes))
    }
}

/// The key to seal with, followed by the keys it replaces.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Key>,
    /// The file of the keys; another process may replace them there.
    file: Option<PathBuf>,
    /// Keys that appeared in the file later.
    found: Arc<Mutex<Vec<Key>>>,
}

fn with_id(keys: &[Key], id: &str) -> Option<Key> {
    keys.iter().find(|key| key.id == id).cloned()
}

impl Keyring {
    /// Reads keys from a text, separated by commas or white space, the newest first. Each is 64 hex digits, or 32 bytes
    /// in base64.
    ///
    /// # Errors
    ///
    /// Fails if the text has no key, or if a part of it is none.
    pub fn parse(text: &Secret) -> Result<Self> {
        let words = text
            .expose()
            .split(|c: char| c == ',' || c.is_ascii_whitespace())
            .filter(|word| !word.is_empty());
        let keys: Option<Vec<Key>> = words.map(Key::parse).collect();
        keys.filter(|keys| !keys.is_empty()).map(Self::of).ok_or_else(|| {
            let text = "the store's key is neither 64 hex digits nor 32 bytes in base64; `openssl rand -hex 32` \
                        creates one";
            Error::new(Kind::ConfigInvalid, text)
        })
    }

    fn of(keys: Vec<Key>) -> Self {
        Self {
            keys,
            file: None,
            found: Arc::default(),
        }
    }

    fn of_file(self, path: &Path) -> Self {
        Self {
            file: Some(path.to_owned()),
            ..self
        }
    }

    /// The key to seal with once a rotation is over.
    pub(crate) fn primary(&self) -> &Key {
        &self.keys[0]
    }

    /// The key with an id. An unknown key is read from the key file: another process may have replaced the key since
    /// this process started.
    pub(crate) fn get(&self, id: &str) -> Option<Key> {
        if let Some(key) = with_id(&self.keys, id) {
            return Some(key);
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = with_id(&found, id) {
            return Some(key);
        }
        let in_file = Self::load(self.file.as_deref()?).ok()??;
        let key = with_id(&in_file.keys, id)?;
        found.push(key.clone());
        Some(key)
    }

    /// Whether another key replaces the last one.
    pub(crate) fn is_rotating(&self) -> bool {
        self.keys.len() > 1
    }

    pub(crate) fn with_new_primary(&self) -> Result<Self> {
        let mut keys = vec![Key::random()?];
        keys.extend(self.keys.iter().cloned());
        Ok(Self {
            keys,
            ..self.clone()
        })
    }

    pub(crate) fn primary_alone(&self) -> Self {
        Self {
            keys: vec![self.primary().clone()],
            ..self.clone()
        }
    }

    /// Reads a key file; `None` without a file.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>> {
        let file = match open_regular(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(refused(path, "is not a regular file"));
            }
            Err(error) => return Err(refused(path, &format!("cannot be opened: {error}"))),
        };
        let about = file
            .metadata()
            .map_err(|error| refused(path, &format!("cannot be read: {error}")))?;
        if about.permissions().mode() & 0o077 != 0 {
            return Err(refused(
                path,
                "is readable by other users; replace the key if they have read it, otherwise run `chmod 600` on it",
            ));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(LARGEST_FILE)
            .read_to_string(&mut text)
            .map_err(|error| refused(path, &format!("cannot be read: {error}")))?;
        Self::parse(&Secret::new(text.as_str()))
            .map(|keys| Some(keys.of_file(path)))
            .map_err(|_| refused(path, "is damaged; restore it from a copy"))
    }

    /// Creates a key and its file. If another process was faster, returns its key.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let made = Self::of(vec![Key::random()?]).of_file(path);
        let replacement = made.write_replacement(path)?;
        match replacement.appear(path) {
            Ok(()) => Ok(made),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::load(path)?.ok_or_else(|| refused(path, "is a link that leads nowhere"))
            }
            Err(error) => Err(unwritable(path, &error)),
        }
    }

    /// Replaces a key file in one step.
    pub(crate) fn replace(&self, path: &Path) -> Result<()> {
        // A link stays a link.
        let path = fs::canonicalize(path)
            .map_err(|error| refused(path, &format!("cannot be replaced: {error}")))?;
        let replaced = self.write_replacement(&path)?.replace(&path);
        replaced.map_err(|error| refused(&path, &format!("cannot be replaced: {error}")))
    }

    /// A whole, durable file with these keys, for its owner only.
    fn write_replacement(&self, path: &Path) -> Result<ReplacementFile> {
        let mut text = Zeroizing::new(String::new());
        for key in &self.keys {
            text.push_str(&Zeroizing::new(hex(&key.bytes[..])));
            text.push('\n');
        }
        let replacement = ReplacementFile::new(path, Access::OWNER);
        let written = replacement.and_then(|file| file.fill(text.as_bytes()).map(|()| file));
        written.map_err(|error| unwritable(path, &error))
    }
}

/// The key that a user gives: by the reference of an option, in `HEADWATER_STORE_KEY`, or by the reference in
/// `HEADWATER_STORE_KEY_REF`, in this order. `None` without any of them; the store then uses its key file.
///
/// Needs a tokio runtime with its I/O and its clock.
///
/// # Errors
///
/// Fails if a variable is not UTF-8 text, or if the reference is malformed or cannot be followed.
pub async fn key_text(reference: Option<&str>, env_file: &EnvFile) -> Result<Option<Secret>> {
    let variable = |name| match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(Zeroizing::new(value))),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            let text = format!("{name} is not UTF-8 text");
            Err(Error::new(Kind::ConfigInvalid, text))
        }
    };
    if reference.is_none()
        && let Some(key) = variable("HEADWATER_STORE_KEY")?
    {
        return Ok(Some(Secret::new(key.as_str())));
    }
    let named = match reference {
        Some(reference) => Some(Zeroizing::new(reference.to_owned())),
        None => variable("HEADWATER_STORE_KEY_REF")?,
    };
    let Some(named) = named else {
        return Ok(None);
    };
    let invalid = |what: &str| Error::new(Kind::ConfigInvalid, format!("the store's key {what}"));
    match references::resolve_text(&named, env_file).await {
        Some(Ok(key)) => Ok(Some(Secret::new(key))),
        Some(Err(reason)) => Err(invalid(&reason)),
        None => Err(invalid(&format!(
            "is a reference, never the key itself; write one of {}",
            references::forms()
        ))),
    }
}

/// Random bytes from the system.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        let text = "the system cannot provide random numbers";
        Error::new(Kind::Unexpected, text).caused_by(error)
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len() == 2 * LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = is_hex.then(|| (0..LENGTH).map(|index| &text[2 * index..2 * index + 2]))?;
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::new(
        Kind::OutputFailed,
        format!("the key file {} cannot be written: {error}", path.display()),
    )
}

fn refused(path: &Path, what: &str) -> Error {
    Error::new(
        Kind::ConfigInvalid,
        format!("the key file {} {what}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn file(mode: u32, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn refusal(path: &Path) -> String {
        let error = Keyring::load(path).map(|_| ()).unwrap_err();
        error.to_string().replace(&path.display().to_string(), "K")
    }

    #[test]
    fn a_key_is_hex_or_base64_and_the_same_key_has_the_same_id() {
        let hexadecimal = "00ff".repeat(16);
        let base = STANDARD.encode([0x00, 0xff].repeat(16));
        let ring = Keyring::parse(&Secret::new(format!(" {hexadecimal},\n{base}\n"))).unwrap();
        assert_eq!(ring.keys[0].id, ring.keys[1].id);
        for text in [
            "",
            " , ",
            "00ff",
            &format!("{hexadecimal}00"),
            "é".repeat(32).as_str(),
        ] {
            let error = Keyring::parse(&Secret::new(text)).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("64 hex digits"), "{error}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(Keyring::load(&path).unwrap().is_none());
        let makers: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || Keyring::create(&path).unwrap().keys[0].id.clone())
            })
            .collect();
        let mut ids: Vec<String> = makers
            .into_iter()
            .map(|maker| maker.join().unwrap())
            .collect();
        ids.dedup();
        assert_eq!(
            ids,
            [Keyring::load(&path).unwrap().unwrap().keys[0].id.clone()]
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_file_that_is_not_fit_is_refused() {
        let key = "ab".repeat(32);
        for mode in [0o644, 0o640, 0o604] {
            let (_folder, path) = file(mode, &key);
            let refused = refusal(&path);
            assert!(refused.contains("is readable by other users"), "{refused}");
        }
        let (_folder, path) = file(0o602, &key);
        let refused = refusal(&path);
        assert!(refused.contains("every user may write to it"), "{refused}");
        for text in ["", "ab", &key[1..]] {
            let (_folder, path) = file(0o600, text);
            assert_eq!(
                refusal(&path),
                "the key file K is damaged; restore it from a copy"
            );
        }
        let (folder, path) = file(0o600, &key);
        assert_eq!(
            refusal(folder.path()),
            "the key file K is not a regular file"
        );
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        symlink(&one, &other).unwrap();
        symlink(&other, &one).unwrap();
        assert!(refusal(&one).contains("cannot be opened"));
        let good = folder.path().join("good");
        symlink(&path, &good).unwrap();
        assert!(Keyring::load(&good).unwrap().is_some());
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
            let refused = refusal(&path);
            assert!(
                refused.contains("it belongs to another user (12345)"),
                "{refused}"
            );
        }
    }
}
