//! Saving new and changed connections, by default after a test that has to pass.

use std::sync::Arc;

use headwater_core::{Check, Date, Field, ProbeReport};
use headwater_store::{Actor, LastCheck, NewConnection, Reply, Store};
use http::StatusCode;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{
    ConnectionWithForm, actor,
    again::{enter_again, unreadable},
    change::changed_config,
    embedded::keeps_label,
    find,
    label::NewLabel,
};
use crate::{
    app::{App, form},
    embeds::{Claim, limited},
    guard::Caller,
    probing::{CheckedInput, ResolvedInput, Tester, admit, connector},
    problem::Problem,
};

/// A connection to save.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewConnection")]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    /// The connector.
    pub connector: String,
    /// The name in URLs; derived from the title by default.
    pub name: Option<String>,
    /// The title for people.
    pub title: Option<String>,
    /// The description for people.
    #[serde(default)]
    pub description: String,
    /// The day on which its secrets expire, if known.
    #[schemars(with = "Option<Date>")]
    pub expires: Option<String>,
    /// The config with its secrets.
    pub config: Value,
    /// Whether it has to pass a test first; true by default.
    #[serde(default = "yes")]
    pub test: bool,
}

/// A change of a connection. Absent members stay unchanged.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ConnectionChange")]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub title: Option<String>,
    pub description: Option<String>,
    /// The day on which its secrets expire; null removes it. Give it with new secrets.
    #[serde(default, deserialize_with = "nullable")]
    #[schemars(with = "Option<Date>", transform = without_default)]
    pub expires: Option<Option<String>>,
    /// The fields to change (JSON Merge Patch): absent keeps, null removes. A secret is kept while the address and the
    /// way to sign in stay the same.
    pub config: Option<Value>,
    /// Whether a new config has to pass a test first; true by default.
    #[serde(default = "yes")]
    pub test: bool,
}

fn yes() -> bool {
    true
}

/// Null is not a default where it has a meaning.
fn without_default(schema: &mut Schema) {
    schema.remove("default");
}

/// Distinguishes null from an absent member.
fn nullable<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// Receives each check of the test before a save.
pub(crate) type Watch = Box<dyn FnMut(&Check) + Send>;

/// A watch that ignores the checks.
pub(crate) fn unwatched() -> Watch {
    Box::new(|_| {})
}

/// Saves a new connection and returns its name, which is saved as the reply to the request with the key. Dropping it
/// during the test ends the test and saves nothing; after the test, the store finishes without it.
pub(crate) async fn save_new(
    app: &Arc<App>,
    caller: &Caller,
    new: New,
    key: Option<String>,
    watch: Watch,
) -> Result<String, Problem> {
    let connector = connector(app, &new.connector)?;
    if let Some(embed) = &caller.embed {
        embed.adds(&new.connector)?;
    }
    let is_embedded = caller.embed.is_some();
    let claim = app.embeds.claim(caller)?;
    let label = NewLabel::of_new(&new, connector.about().name)?;
    let form = form(&*connector)?;
    let known = (&connector, &form);
    let permitted = CheckedInput::entered(app, caller, known, new.config, &Value::Null);
    let permitted = permitted.map_err(Problem::form)?;
    // The service chooses the name, and saves only working connections.
    if is_embedded && (new.name.is_some() || !new.test) {
        return Err(limited());
    }
    let mut answer = permitted.answer().clone();
    let report = match new.test {
        true => {
            let (ready, tester) = (
                permitted.follow(app).await?,
                Tester::Draft(actor(caller), None),
            );
            Some(accepted(app, &ready, &mut answer, tester, watch).await?)
        }
        false => {
            permitted.validate()?;
            None
        }
    };
    let (actor, id) = (actor(caller), connector.about().id);
    let name = new.name;
    let saved = app.store(move |store| {
        let name = match name {
            Some(name) => name,
            // A number would reveal existing names.
            None if is_embedded => Store::random_name(&label.title)?,
            None => store.free_name(&label.title)?,
        };
        let new = NewConnection {
            name: &name,
            label: label.as_label(),
            connector: id,
            answer: &answer,
        };
        let added = match key {
            Some(key) => {
                let reply = Reply {
                    status: StatusCode::CREATED.as_u16(),
                    body: json!(name),
                };
                store.add_once(&form, &new, &key, &reply, &actor)
            }
            None => store.add(&form, &new, &actor),
        };
        added.map_err(Problem::of_store)?;
        spend(claim);
        record(store, &name, 1, report.as_ref(), &actor);
        Ok::<_, Problem>(name)
    });
    saved.await
}

/// Probes a config to save, and refuses it if the probe fails. Applies the corrections that the probe suggests.
pub(super) async fn accepted(
    app: &App,
    config: &ResolvedInput,
    answer: &mut Value,
    tester: Tester,
    watch: Watch,
) -> Result<ProbeReport, Problem> {
    let report = admit(app, config, tester)?.watched(app, watch).await;
    if let Some(failed) = report.failure() {
        return Err(Problem::test_failed(failed, &report));
    }
    if let Some(patch) = &report.patch {
        patch.apply(answer);
    }
    Ok(report)
}

/// Saves the result of the test before a save. The save counts even if this fails.
pub(super) fn record(
    store: &mut Store,
    name: &str,
    version: i64,
    report: Option<&ProbeReport>,
    actor: &Actor,
) {
    if let Some(report) = report {
        let _ = store.record_check(name, version, &LastCheck::of(report), actor);
    }
}

/// Changes a connection, if it is unchanged since it was read. An unreadable connection is entered again as a whole.
/// Dropping it has the same effect as for [`save_new`].
pub(crate) async fn save_change(
    app: &Arc<App>,
    caller: &Caller,
    name: String,
    revision: i64,
    change: Change,
    watch: Watch,
) -> Result<(), Problem> {
    let claim = app.embeds.claim(caller)?;
    let actor = actor(caller);
    let test = change.test;
    let found = match find(app, name.clone()).await {
        Ok(found) => found,
        Err(problem) => {
            let left = unreadable(app, caller, name, problem).await?;
            return enter_again(app, caller, left, revision, change, watch).await;
        }
    };
    if found.connection.revision != revision {
        return Err(Problem::changed());
    }
    let label = NewLabel::changed(found.connection.label(), &change)?;
    if let Some(embed) = &caller.embed {
        keeps_label(embed, &found, &label)?;
    }
    let patch = change
        .config
        .filter(|patch| patch.as_object().is_none_or(|patch| !patch.is_empty()));
    let Some(patch) = patch else {
        return app
            .store(move |store| {
                store
                    .describe(&found.connection, label.as_label(), &actor)
                    .map_err(Problem::of_store)?;
                spend(claim);
                Ok(())
            })
            .await;
    };
    let inputs = found.form.inputs();
    let is_new = |field: &&Field| patch.pointer(&field.pointer).is_some_and(Value::is_string);
    // Creating the new secrets has ended the old ones.
    let is_final = test && inputs.iter().any(|field| field.single && is_new(field));
    let mut new = changed_config(app, caller, name.clone(), patch).await?;
    let report = match test {
        true => {
            let tester = Tester::Draft(actor.clone(), Some(name.clone()));
            Some(accepted(app, &new.config, &mut new.answer, tester, watch).await?)
        }
        false => None,
    };
    app.store(move |store| {
        let ConnectionWithForm {
            connection, form, ..
        } = found;
        let label = Some(label.as_label());
        store
            .replace(&form, &connection, &new.answer, label, &actor)
            .map_err(Problem::of_store)?;
        spend(claim);
        let version = connection.version + 1;
        record(store, &name, version, report.as_ref(), &actor);
        if is_final {
            store.forget_previous(&name)?;
        }
        Ok(())
    })
    .await
}

/// Called by the task of the store after the save, which finishes even if the client leaves.
fn spend(claim: Option<Claim>) {
    if let Some(claim) = claim {
        claim.spend();
    }
}
