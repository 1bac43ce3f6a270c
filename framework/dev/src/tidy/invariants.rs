//! `docs/architecture.md` is the law: each enforcer that it names has to exist.

use std::path::Path;

use headwater_core::Result;

use super::{folders, read, sources};

const LAW: &str = "docs/architecture.md";

/// Returns the enforcers that are named and do not exist.
pub(super) fn have_their_enforcers(workspace: &Path) -> Result<Vec<String>> {
    let mut code = String::new();
    for group in ["framework", "connectors"] {
        for package in folders(&workspace.join(group))? {
            for folder in ["src", "tests"] {
                append(
                    &mut code,
                    &workspace.join(group).join(&package).join(folder),
                )?;
            }
        }
    }
    append(&mut code, &workspace.join("tests/tests"))?;
    append(&mut code, &workspace.join("tests/src"))?;
    let law = read(&workspace.join(LAW))?;
    let mut names = enforcers(&law);
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(vec![format!("{LAW} names no enforcer")]);
    }
    let missing = names.into_iter().filter(|name| {
        if name.contains('/') {
            !workspace.join(name).exists()
        } else {
            !is_defined(&code, name)
        }
    });
    Ok(missing
        .map(|name| format!("{LAW} names the enforcer {name}, which does not exist"))
        .collect())
}

fn append(code: &mut String, folder: &Path) -> Result<()> {
    if folder.is_dir() {
        for (_, text) in sources(folder)? {
            code.push_str(&text);
        }
    }
    Ok(())
}

/// The names in backticks between "Enforced by" and the end of its paragraph.
fn enforcers(law: &str) -> Vec<&str> {
    let paragraphs = law.split("\n\n");
    let named = paragraphs.filter_map(|paragraph| {
        let at = paragraph
            .find("*Enforced by*")
            .or_else(|| paragraph.find("*Enforced\nby*"))?;
        Some(&paragraph[at..])
    });
    let quoted = named.flat_map(|text| text.split('`').skip(1).step_by(2));
    quoted.collect()
}

/// Whether each part of a name, as of `Type::method(…)`, is in the code: the types and modules by their declaration.
fn is_defined(code: &str, name: &str) -> bool {
    let name = name.split(['(', '<']).next().unwrap_or(name);
    // A command, or a rule of conformance by its sentence.
    if name.contains(' ') {
        return name.starts_with("cargo ") || code.contains(&format!("\"{name}\""));
    }
    let Some((around, last)) = name.rsplit_once("::") else {
        return is_declared(code, name);
    };
    let mut around = around.split("::");
    around.all(|part| part.starts_with("headwater") || is_declared(code, part))
        && has_word(code, last)
}

fn is_declared(code: &str, name: &str) -> bool {
    let kinds = [
        "fn ", "struct ", "enum ", "trait ", "type ", "mod ", "const ", "static ",
    ];
    kinds
        .iter()
        .any(|kind| has_word(code, &format!("{kind}{name}")))
}

fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[at + word.len()..].starts_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enforcers_are_the_names_after_the_words() {
        let law = "**A `x` holds.** Why. *Enforced by* the type `Page`, by `Writer::commit` and\n`a/b.rs`.\n\n`other`\n";
        assert_eq!(enforcers(law), ["Page", "Writer::commit", "a/b.rs"]);
    }

    #[test]
    fn an_item_is_found_by_its_last_part() {
        let code = "pub struct Page {}\nstruct Writer;\nimpl Writer { fn commit(&self) {} }\nenum Kind { Gone }";
        for name in ["Page", "Writer::commit", "commit(…)", "Kind::Gone"] {
            assert!(is_defined(code, name), "{name}");
        }
        for name in [
            "Pag",
            "Writer::commits",
            "commi",
            "Gone",
            "Sort::Gone",
            "Sort::commit",
            "a.b",
        ] {
            assert!(!is_defined(code, name), "{name}");
        }
    }
}
