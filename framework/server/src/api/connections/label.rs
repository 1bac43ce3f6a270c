//! The label of a connection: its title, its description and the date of expiry of its secrets.

use headwater_core::Date;
use headwater_store::{Label, read_expiry};

use super::save::{Change, New};
use crate::problem::Problem;

/// A validated label to save.
pub(super) struct NewLabel {
    pub title: String,
    pub description: String,
    pub expires: Option<Date>,
}

impl NewLabel {
    /// The label of a new connection, with the title `otherwise` by default.
    pub(super) fn of_new(new: &New, otherwise: &str) -> Result<Self, Problem> {
        check_title(new.title.as_deref())?;
        let title = new.title.as_ref().or(new.name.as_ref());
        let label = Self {
            title: title.map_or(otherwise, String::as_str).to_owned(),
            description: new.description.clone(),
            expires: expiry(new.expires.as_deref(), None)?,
        };
        label.checked()
    }

    /// The label of a saved connection with a change.
    pub(super) fn changed(saved: Label<'_>, change: &Change) -> Result<Self, Problem> {
        check_title(change.title.as_deref())?;
        let text = |new: &Option<String>, old: &str| new.as_deref().unwrap_or(old).to_owned();
        let label = Self {
            title: text(&change.title, saved.title),
            description: text(&change.description, saved.description),
            expires: match &change.expires {
                None => saved.expires,
                Some(new) => expiry(new.as_deref(), saved.expires)?,
            },
        };
        label.checked()
    }

    fn checked(self) -> Result<Self, Problem> {
        self.as_label().check().map_err(Problem::of_store)?;
        Ok(self)
    }

    pub(super) fn as_label(&self) -> Label<'_> {
        Label {
            title: &self.title,
            description: &self.description,
            expires: self.expires,
        }
    }
}

fn check_title(title: Option<&str>) -> Result<(), Problem> {
    title
        .map_or(Ok(()), Label::check_given)
        .map_err(Problem::of_store)
}

fn expiry(text: Option<&str>, known: Option<Date>) -> Result<Option<Date>, Problem> {
    let read = text.map(|text| read_expiry(text, known));
    read.transpose().map_err(Problem::of_store)
}
