//! Connections that cannot be read: their remains, and entering them again with all secrets.

use std::sync::Arc;

use headwater_core::{AnyConnector, FieldKind, FormModel};
use headwater_store::CorruptConnection;
use serde_json::{Map, Value};

use super::{
    Change, actor,
    change::{merge, remove},
    label::NewLabel,
    save::{Watch, accepted, record},
};
use crate::{
    app::{App, form},
    guard::Caller,
    probing::{CheckedInput, ResolvedInput, Tester, connector},
    problem::Problem,
};

/// A connection that cannot be read.
pub(crate) struct Unreadable {
    pub remains: CorruptConnection,
    /// The reason.
    pub problem: Problem,
    /// Its connector and form; `None` if this service does not have them.
    pub connector: Option<(Arc<dyn AnyConnector>, FormModel)>,
}

/// The remains of a connection if `problem` is that it cannot be read; any other problem stays a refusal. So does this
/// one for an embedded form, which may show only a part of the connection.
pub(crate) async fn unreadable(
    app: &App,
    caller: &Caller,
    name: String,
    problem: Problem,
) -> Result<Unreadable, Problem> {
    if problem.code != "unreadable" || caller.embed.is_some() {
        return Err(problem);
    }
    let remains = app
        .store(move |store| store.remains(&name).map_err(Problem::of_store))
        .await?;
    let connector = connector(app, &remains.connector).ok();
    let connector = connector.and_then(|connector| {
        let form = form(&*connector).ok()?;
        Some((connector, form))
    });
    Ok(Unreadable {
        remains,
        problem,
        connector,
    })
}

impl Unreadable {
    /// The config without the fields of secrets, since a value or a reference there may be one.
    pub(crate) fn open_config(&self) -> Value {
        let Some((_, form)) = &self.connector else {
            return Value::Null;
        };
        let mut config = self.remains.config.clone();
        for field in form.inputs() {
            if field.kind == FieldKind::Secret {
                remove(&mut config, &field.pointer);
            }
        }
        config
    }
}

/// A whole config for a connection that cannot be read, as it would be saved.
pub(crate) struct Again {
    pub form: FormModel,
    /// The config with its secrets.
    pub answer: Value,
    pub config: ResolvedInput,
}

/// Reads a config that keeps nothing of the old one: a change (JSON Merge Patch) of an empty config.
pub(crate) async fn whole_config(
    app: &App,
    caller: &Caller,
    left: &Unreadable,
    change: Value,
) -> Result<Again, Problem> {
    let Some((connector, form)) = left.connector.clone() else {
        return Err(left.problem.clone());
    };
    if !change.is_object() {
        return Err(Problem::field("", "type", "the config has to be an object"));
    }
    let mut answer = Value::Object(Map::new());
    merge(&mut answer, change);
    let known = (&connector, &form);
    let permitted = CheckedInput::entered(app, caller, known, answer, &Value::Null);
    let permitted = permitted.map_err(Problem::form)?;
    Ok(Again {
        answer: permitted.answer().clone(),
        config: permitted.follow(app).await?,
        form,
    })
}

/// Replaces a config that cannot be read with a whole one.
pub(crate) async fn enter_again(
    app: &App,
    caller: &Caller,
    left: Unreadable,
    revision: i64,
    change: Change,
    watch: Watch,
) -> Result<(), Problem> {
    if left.remains.revision != revision {
        return Err(Problem::changed());
    }
    let remains = &left.remains;
    let label = NewLabel::changed(remains.label(), &change)?;
    let Some(patch) = change.config else {
        return Err(left.problem);
    };
    let mut new = whole_config(app, caller, &left, patch).await?;
    let report = match change.test {
        true => {
            let tester = Tester::Draft(actor(caller), Some(left.remains.name.clone()));
            Some(accepted(app, &new.config, &mut new.answer, tester, watch).await?)
        }
        false => None,
    };
    let (actor, remains) = (actor(caller), left.remains);
    app.store(move |store| {
        let version = store
            .enter_again(&new.form, &remains, &new.answer, label.as_label(), &actor)
            .map_err(Problem::of_store)?;
        record(store, &remains.name, version, report.as_ref(), &actor);
        Ok(())
    })
    .await
}
