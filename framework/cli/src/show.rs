//! `list`, `spec` and `discover`: connectors, forms and streams, without credentials.

use headwater_core::{
    AnyConnector, Error, Field, FieldKind, FormModel, Kind, Registry, StreamSpec,
};
use headwater_forms::Dialect;
use headwater_host::{Action, RedactedField, Redaction, Redactor};
use serde_json::{Value, json};

use crate::{
    Outcome,
    args::{Discover, Spec},
    read::treatment,
    terminal::{Terminal, Tone, table},
};

pub(crate) fn list(registry: &Registry, terminal: &Terminal) -> Outcome {
    if terminal.json {
        let connectors: Vec<_> = registry.iter().map(|connector| connector.about()).collect();
        return terminal.print_json(&connectors);
    }
    let rows: Vec<Vec<String>> = registry
        .iter()
        .map(|connector| {
            let about = connector.about();
            [about.id, about.name, about.summary]
                .map(str::to_owned)
                .to_vec()
        })
        .collect();
    for line in table(&rows) {
        terminal.print(&line)?;
    }
    Ok(())
}

pub(crate) fn spec(registry: &Registry, options: &Spec, terminal: &Terminal) -> Outcome {
    let connector = registry.get(&options.connector)?;
    if let Some(name) = &options.dialect {
        let dialect = Dialect::named(name)?;
        let form = model(&**connector)?;
        return terminal.print_json(&dialect.export(&**connector, &form));
    }
    if !options.form {
        return terminal.print_json(&connector.schema());
    }
    if terminal.json {
        return terminal.print_json(&model(&**connector)?);
    }
    form(&**connector, terminal)
}

fn model(connector: &dyn AnyConnector) -> Result<FormModel, Error> {
    let outside = |_| Error::new(Kind::Unexpected, "the form leaves the profile");
    connector.form().map_err(outside)
}

/// The form as people see it.
pub(crate) fn form(connector: &dyn AnyConnector, terminal: &Terminal) -> Outcome {
    let form = model(connector)?;
    terminal.print(&terminal.paint(Tone::Strong, &form.title))?;
    let mut group = None;
    for field in &form.fields {
        if field.group != group {
            group.clone_from(&field.group);
            if let Some(name) = &group {
                terminal.print(&format!("\n  {}", terminal.paint(Tone::Strong, name)))?;
            }
        }
        show_field(field, "  ", terminal)?;
    }
    terminal.print(&format!(
        "\n  {}",
        terminal.paint(Tone::Strong, "Setup guide")
    ))?;
    for (index, step) in form.guide.iter().enumerate() {
        terminal.print(&format!("    {}. {}. {}", index + 1, step.title, step.text))?;
    }
    Ok(())
}

fn show_field(field: &Field, margin: &str, terminal: &Terminal) -> Outcome {
    terminal.print(&format!(
        "\n{margin}{}  {}",
        field.title,
        terminal.paint(Tone::Faint, &remarks(field))
    ))?;
    terminal.print(&format!("{margin}  {}", field.description))?;
    if let Some(help) = &field.help {
        terminal.print(&format!("{margin}  Where: {help}"))?;
    }
    let FieldKind::OneOf { tag, branches } = &field.kind else {
        return Ok(());
    };
    for branch in branches {
        let value = branch.value.as_str().unwrap_or_default();
        terminal.print(&format!(
            "\n{margin}  {}  {}",
            branch.title,
            terminal.paint(Tone::Faint, &format!("{tag} {value}"))
        ))?;
        for field in &branch.fields {
            show_field(field, &format!("{margin}    "), terminal)?;
        }
    }
    Ok(())
}

fn remarks(field: &Field) -> String {
    let kind = match &field.kind {
        FieldKind::Secret => "secret",
        FieldKind::Url => "address",
        FieldKind::Date => "date",
        FieldKind::Integer | FieldKind::Number => "number",
        FieldKind::Boolean => "yes or no",
        FieldKind::Choice { .. } | FieldKind::OneOf { .. } => "choice",
        FieldKind::List { .. } => "list",
        FieldKind::Text | FieldKind::Group { .. } => "text",
    };
    let mut remarks = vec![
        field.pointer.trim_start_matches('/').to_owned(),
        kind.to_owned(),
    ];
    if field.required {
        remarks.push("required".to_owned());
    }
    if field.advanced {
        remarks.push("advanced".to_owned());
    }
    if let Some(default) = &field.default {
        remarks.push(format!(
            "default {}",
            default
                .as_str()
                .map_or_else(|| default.to_string(), str::to_owned)
        ));
    }
    remarks.join(", ")
}

pub(crate) fn discover(registry: &Registry, options: &Discover, terminal: &Terminal) -> Outcome {
    let connector = registry.get(&options.connector)?;
    let streams = connector.catalog();
    if let Some(name) = &options.schema {
        let Some(stream) = streams.iter().find(|stream| stream.name == name) else {
            let names: Vec<&str> = streams.iter().map(|stream| stream.name).collect();
            let text = format!(
                "there is no stream {name:?}; there are {}",
                names.join(", ")
            );
            return Err(Error::new(Kind::NotFound, text).into());
        };
        return terminal.print_json(&(stream.schema)());
    }
    let redaction = treatment(&options.treatment);
    if terminal.json {
        let listed: Vec<Value> = streams
            .iter()
            .map(|stream| {
                let mut entry = json!(stream);
                entry["schema"] = (stream.schema)();
                if let Some(redaction) = &redaction {
                    entry["redaction"] = json!(treated(stream, redaction)?);
                }
                Ok(entry)
            })
            .collect::<Result<_, Error>>()?;
        return terminal.print_json(&listed);
    }
    if let Some(redaction) = &redaction {
        return treatments(&streams, redaction, terminal);
    }
    let mut rows = vec![
        ["stream", "key", "later reads", "description"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(streams.iter().map(|stream| {
        let later = if stream.incremental {
            "changes"
        } else {
            "everything"
        };
        [
            stream.name,
            &stream.key.join(", "),
            later,
            stream.description,
        ]
        .map(str::to_owned)
        .to_vec()
    }));
    for line in table(&rows) {
        terminal.print(&line)?;
    }
    Ok(())
}

/// The treatment of each classed field of a stream in a redacted read.
fn treated(stream: &StreamSpec, redaction: &Redaction) -> Result<Vec<Value>, Error> {
    let fields = Redactor::new(stream, redaction)?.report().fields;
    let field = |field: RedactedField| json!({ "path": field.path, "class": field.class, "action": field.action });
    Ok(fields.into_iter().map(field).collect())
}

fn treatments(streams: &[StreamSpec], redaction: &Redaction, terminal: &Terminal) -> Outcome {
    let mut rows = vec![
        ["stream", "field", "class", "in a redacted read"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for stream in streams {
        for field in Redactor::new(stream, redaction)?.report().fields {
            let action = match field.action {
                Action::Replaced => "a pseudonym",
                Action::Cut => "the link without its query",
                Action::Removed => "null",
                Action::Kept => "unchanged",
            };
            let class = field.class.to_string();
            rows.push(
                [stream.name, &field.path, &class, action]
                    .map(str::to_owned)
                    .to_vec(),
            );
        }
    }
    for line in table(&rows) {
        terminal.print(&line)?;
    }
    Ok(())
}
