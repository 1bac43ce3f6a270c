//! The table of crates in `docs/architecture.md` decides which crate may depend on which.

use std::path::Path;

use headwater_core::Result;

use super::{dependencies, folders, read};

const LAW: &str = "docs/architecture.md";

/// One row of the table.
struct Row<'a> {
    folder: &'a str,
    package: &'a str,
    /// The last parts of the folders of other rows.
    may_use: Vec<&'a str>,
}

/// Returns the crates of the framework without a row, and the dependencies that no row permits.
pub(super) fn are_kept(workspace: &Path) -> Result<Vec<String>> {
    let law = read(&workspace.join(LAW))?;
    let rows = rows(&law);
    let mut problems = Vec::new();
    for name in folders(&workspace.join("framework"))? {
        let folder = format!("framework/{name}");
        let Some(row) = rows.iter().find(|row| row.folder == folder) else {
            problems.push(format!("{folder} has no row in the table of {LAW}"));
            continue;
        };
        let allowed = |package: &str| {
            let mut rows = rows.iter().filter(|other| other.package == package);
            rows.any(|other| row.may_use.contains(&last(other.folder)))
        };
        let manifest = read(&workspace.join(&folder).join("Cargo.toml"))?;
        let found = dependencies(&manifest).into_iter();
        problems.extend(
            found
                .filter(|package| package.starts_with("headwater") && !allowed(package))
                .map(|package| {
                    format!("{folder} depends on {package}, which its row in {LAW} does not permit")
                }),
        );
    }
    Ok(problems)
}

/// Returns the rows of crates.
fn rows(law: &str) -> Vec<Row<'_>> {
    let cells = |line| str::split(line, '|').map(str::trim).collect::<Vec<_>>();
    let row = |line| match cells(line)[..] {
        ["", folder, package, _, may_use, ""] if folder.starts_with('`') => Some(Row {
            folder: folder.trim_matches('`'),
            package: package.trim_matches('`'),
            may_use: may_use.split(", ").map(last_word).collect(),
        }),
        _ => None,
    };
    law.lines().filter_map(row).collect()
}

fn last(folder: &str) -> &str {
    folder.rsplit('/').next().unwrap_or(folder)
}

/// Returns the name in "the bundle".
fn last_word(name: &str) -> &str {
    name.rsplit(' ').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_a_crate_and_what_it_may_use() {
        let law = "| folder | package | purpose | may depend on |\n| --- | --- | --- | --- |\n\
                   | `framework/dev` | `headwater-dev` | generators | core, the bundle |\n\n| word | meaning |\n";
        let rows = rows(law);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].folder, "framework/dev");
        assert_eq!(rows[0].package, "headwater-dev");
        assert_eq!(rows[0].may_use, ["core", "bundle"]);
    }
}
