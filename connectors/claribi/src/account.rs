//! The account in the response of `/api/auth/status/`.

use headwater::{http::document, prelude::*};
use serde::Deserialize;
use serde_json::Value;

/// The organisation behind the credentials.
#[derive(Default, Deserialize)]
pub(crate) struct Account {
    user: Option<User>,
    organization: Option<Organization>,
}

#[derive(Default, Deserialize)]
struct User {
    role: Option<String>,
}

#[derive(Default, Deserialize)]
struct Organization {
    name: Option<String>,
    plan: Option<String>,
}

impl Account {
    /// Reads the account; `None` for a response without user and organisation, which is another service's.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let account: Self = document(body)?;
        (account.user.is_some() || account.organization.is_some()).then_some(account)
    }

    /// Returns the check "clariBI accepted …", with the known facts of the organisation.
    pub(crate) fn accepted(self, what: &str) -> Check {
        let organization = self.organization.unwrap_or_default();
        let role = self.user.and_then(|user| user.role);
        let mut text = format!("clariBI accepted the {what}");
        if let Some(name) = &organization.name {
            text += &format!(" of {name}");
        }
        if let Some(plan) = &organization.plan {
            text += &format!(" (plan {plan})");
        }
        let facts = [
            ("organization", organization.name),
            ("plan", organization.plan),
            ("role", role),
        ];
        facts
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .fold(
                Check::passed("credentials", text),
                |check, (name, value)| check.fact(name, value),
            )
    }
}

/// Returns facts of the organization, or of the user where the response names no organization. Each fact joins the id
/// with the address or with the name, so the organization is recognised after a change of one of them, not of both.
pub(crate) fn facts(address: &str, body: &[u8]) -> Option<Vec<String>> {
    let answer: Value = document(body)?;
    ["organization", "user"].into_iter().find_map(|owner| {
        let account = answer.get(owner)?;
        let id = account.get("id")?;
        let is_id = id.is_number() || id.as_str().is_some_and(|id| !id.is_empty());
        let name = ["name", "email"]
            .into_iter()
            .find_map(|name| account.get(name)?.as_str());
        let mut facts = vec![format!("{owner} {id} at {address}")];
        facts.extend(name.map(|name| format!("{owner} {id} called {name}")));
        is_id.then_some(facts)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_its_organization_or_its_user() {
        let read = |body: &str| facts("https://a", body.as_bytes()).unwrap_or_default();
        assert_eq!(
            read(r#"{"user":{"id":1},"organization":{"id":7,"name":"Acme","plan":"trial"}}"#),
            ["organization 7 at https://a", "organization 7 called Acme"]
        );
        assert_eq!(
            read(r#"{"user":{"id":"u-1"},"organization":null}"#),
            ["user \"u-1\" at https://a"]
        );
        for none in ["{}", "[]", "<html>", r#"{"organization":{"id":null}}"#] {
            assert_eq!(read(none), [""; 0], "{none}");
        }
    }

    #[test]
    fn what_is_not_told_is_left_out() {
        let message = |body: &str| Some(Account::read(body.as_bytes())?.accepted("key").message);
        let full = r#"{"user":{"id":1,"role":"administrator"},"organization":{"name":"Acme","plan":"trial"}}"#;
        assert_eq!(
            message(full).as_deref(),
            Some("clariBI accepted the key of Acme (plan trial)")
        );
        assert_eq!(
            message(r#"{"user":{}}"#).as_deref(),
            Some("clariBI accepted the key")
        );
        for other in ["{}", "[]", r#"{"error":"x"}"#, r#"{"user":null}"#, "<html>"] {
            assert_eq!(message(other), None, "{other}");
        }
    }
}
