//! The divisions of `docs/architecture.md` that the compiler does not see.

mod invariants;
mod layers;
mod words;

use std::{fs, path::Path};

use headwater_core::{Error, Kind, Registry, Result};

/// All violations; empty when the workspace is tidy.
pub fn check(workspace: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    problems.extend(connectors_use_the_facade_only(workspace)?);
    problems.extend(the_framework_names_no_connector(workspace)?);
    problems.extend(layers::are_kept(workspace)?);
    problems.extend(pure_crates_do_no_io(workspace)?);
    problems.extend(every_connector_has_a_readme(workspace)?);
    problems.extend(files_are_made_in_one_place(workspace)?);
    problems.extend(words::are_plain(workspace)?);
    problems.extend(invariants::have_their_enforcers(workspace)?);
    Ok(problems)
}

/// A connector that used more than the facade would break with every change there.
fn connectors_use_the_facade_only(workspace: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for connector in connectors(workspace)? {
        let manifest = read(
            &workspace
                .join("connectors")
                .join(&connector)
                .join("Cargo.toml"),
        )?;
        let ours = dependencies(&manifest)
            .into_iter()
            .filter(|name| name.starts_with("headwater") && name != "headwater");
        problems.extend(ours.map(|name| {
            format!("connectors/{connector} depends on {name}; it may use headwater only")
        }));
    }
    Ok(problems)
}

/// The simulator names the services that it simulates; nothing else in the framework knows any by name.
fn the_framework_names_no_connector(workspace: &Path) -> Result<Vec<String>> {
    let registry = Registry::collect()?;
    let ids: Vec<&str> = registry
        .iter()
        .map(|connector| connector.about().id)
        .collect();
    let mut problems = Vec::new();
    for package in folders(&workspace.join("framework"))? {
        if package == "sandbox" {
            continue;
        }
        for (path, text) in sources(&workspace.join("framework").join(&package).join("src"))? {
            for id in &ids {
                let named = text.contains(id) || text.contains(&id.replace('-', "_"));
                if named {
                    problems.push(format!(
                        "framework/{package}/src/{path} names the connector {id}"
                    ));
                }
            }
        }
    }
    Ok(problems)
}

/// A crate that reads or decides, without a runtime or a network.
fn pure_crates_do_no_io(workspace: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for package in ["core", "forms", "json"] {
        let folder = format!("framework/{package}");
        let manifest = read(&workspace.join(&folder).join("Cargo.toml"))?;
        let banned = ["tokio", "reqwest", "hyper", "rustls"];
        let found = dependencies(&manifest).into_iter();
        problems.extend(
            found
                .filter(|name| banned.contains(&name.as_str()))
                .map(|name| format!("{folder} depends on {name}; it has no I/O and no runtime")),
        );
    }
    Ok(problems)
}

fn every_connector_has_a_readme(workspace: &Path) -> Result<Vec<String>> {
    let missing = |connector: &String| {
        !workspace
            .join("connectors")
            .join(connector)
            .join("README.md")
            .is_file()
    };
    let without = connectors(workspace)?.into_iter().filter(missing);
    Ok(without
        .map(|connector| format!("connectors/{connector} has no README.md"))
        .collect())
}

/// Code that makes files elsewhere could follow a stranger's link, or make a file that every user can read. Exempt are
/// this package, which runs on the machines of developers of the framework, and the testkit, which runs in tests only.
fn files_are_made_in_one_place(workspace: &Path) -> Result<Vec<String>> {
    const WAYS: [&str; 6] = [
        "File::create",
        "fs::write(",
        "create_dir",
        ".create(true)",
        ".create_new(true)",
        "DirBuilder",
    ];
    let mut problems = Vec::new();
    for package in folders(&workspace.join("framework"))? {
        if ["dev", "testkit"].contains(&package.as_str()) {
            continue;
        }
        for (path, text) in sources(&workspace.join("framework").join(&package).join("src"))? {
            if path.contains("tests") || (package == "files" && path == "create.rs") {
                continue;
            }
            let product = text.split("#[cfg(test)]\nmod tests").next();
            let way = |way: &&str| product.is_some_and(|text| text.contains(way));
            problems.extend(WAYS.iter().copied().filter(way).map(|way| {
                format!(
                    "framework/{package}/src/{path} makes files by {way}; headwater_files::create does that"
                )
            }));
        }
    }
    Ok(problems)
}

/// The documents under `docs`, by their paths in the workspace.
fn documents(workspace: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec!["docs".to_owned()];
    while let Some(folder) = open.pop() {
        let path = workspace.join(&folder);
        open.extend(
            folders(&path)?
                .into_iter()
                .map(|name| format!("{folder}/{name}")),
        );
        for entry in fs::read_dir(&path).map_err(|error| failed(&path, &error))? {
            let name = entry.map_err(|error| failed(&path, &error))?.file_name();
            if let Some(name) = name.to_str().filter(|name| name.ends_with(".md")) {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn connectors(workspace: &Path) -> Result<Vec<String>> {
    let mut all = folders(&workspace.join("connectors"))?;
    all.retain(|name| name != "bundle");
    Ok(all)
}

/// The names under `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1);
    section
        .take_while(|line| !line.trim_start().starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn folders(path: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(path).map_err(|error| failed(path, &error))?;
    let mut names: Vec<String> = entries
        .filter_map(std::result::Result::ok)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// The Rust files in a folder and below, with their texts.
fn sources(path: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, &error))? {
            let entry = entry.map_err(|error| failed(&folder, &error))?.path();
            if entry.is_dir() {
                open.push(entry);
            } else if entry.extension().is_some_and(|ending| ending == "rs") {
                let name = entry
                    .strip_prefix(path)
                    .unwrap_or(&entry)
                    .display()
                    .to_string();
                found.push((name, read(&entry)?));
            }
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::NotFound, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_those_of_their_section() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\n# why\na.workspace = true\nb = \"1\"\n\n[dev-dependencies]\nc = \"1\"\n";
        assert_eq!(dependencies(manifest), ["a", "b"]);
    }
}
