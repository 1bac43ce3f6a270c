//! `schemas/`: the schemas of every connector's form and every stream's records, the form in the languages of other
//! platforms, and the API of the service, as files.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use headwater_core::{Error, Kind, Registry, Result};
use headwater_forms::Dialect;
use serde_json::Value;

/// Writes every file and removes those that no connector has any more.
pub fn write(registry: &Registry, workspace: &Path) -> Result<()> {
    let wanted = generate(registry)?;
    let root = workspace.join("schemas");
    for stale in present(&root)?
        .keys()
        .filter(|path| !wanted.contains_key(*path))
    {
        fs::remove_file(root.join(stale)).map_err(|error| failed(stale, &error))?;
    }
    for (path, text) in &wanted {
        let path = root.join(path);
        let folder = path.parent().unwrap_or(&root);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

/// The files that are outdated, missing, or left over.
pub fn check(registry: &Registry, workspace: &Path) -> Result<Vec<String>> {
    let wanted = generate(registry)?;
    let found = present(&workspace.join("schemas"))?;
    let all: std::collections::BTreeSet<&PathBuf> = wanted.keys().chain(found.keys()).collect();
    let is_stale = |path: &&&PathBuf| wanted.get(**path) != found.get(**path);
    let stale = all.iter().filter(is_stale);
    Ok(stale
        .map(|path| {
            format!(
                "schemas/{} is not current: run `cargo dev schemas`",
                path.display()
            )
        })
        .collect())
}

fn generate(registry: &Registry) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    let api = pretty(&headwater_server::openapi())?;
    files.insert(PathBuf::from("openapi.json"), api);
    for connector in registry.iter() {
        let folder = PathBuf::from(connector.about().id);
        files.insert(folder.join("form.json"), pretty(&connector.schema())?);
        let form = connector.form().map_err(|_| {
            let text = format!("the form of {} leaves the profile", connector.about().id);
            Error::new(Kind::Unexpected, text)
        })?;
        for dialect in Dialect::ALL {
            files.insert(
                folder
                    .join("dialects")
                    .join(format!("{}.json", dialect.name())),
                pretty(&dialect.export(&**connector, &form))?,
            );
        }
        for stream in connector.catalog() {
            files.insert(
                folder.join("streams").join(format!("{}.json", stream.name)),
                pretty(&(stream.schema)())?,
            );
        }
    }
    Ok(files)
}

fn pretty(schema: &Value) -> Result<String> {
    serde_json::to_string_pretty(schema)
        .map(|text| text + "\n")
        .map_err(|error| {
            Error::new(Kind::Unexpected, "a schema does not serialise").caused_by(error)
        })
}

/// Every JSON file below a folder, by its path inside it.
fn present(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(&folder, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| failed(&folder, &error))?;
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "json") {
                let text =
                    fs::read_to_string(entry.path()).map_err(|error| failed(&path, &error))?;
                files.insert(path, text);
            }
        }
    }
    Ok(files)
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::new(Kind::OutputFailed, format!("{}: {error}", path.display()))
}
