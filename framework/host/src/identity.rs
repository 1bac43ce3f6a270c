//! The account of a state: a position of one account is meaningless for another account's records.

use std::collections::BTreeSet;

use headwater_core::{Error, Kind, Result, Source};
use sha2::{Digest, Sha256};

use crate::state::{State, StoredIdentity};

/// Maximum number of account facts in a state: the smallest digests, so that two answers of one account share some
/// although the account has changed.
const MAX_FACTS: usize = 16;

/// Refuses a state of another account, unless `is_same` declares it the same, and stores the account in the state.
/// Where the service does not report the account, address and sign-in decide.
pub(crate) async fn check(source: &dyn Source, state: &mut State, is_same: bool) -> Result<()> {
    let Some(identity) = source.identity() else {
        return Ok(());
    };
    // The streams report a failing service better.
    let facts = source.account().await.ok().flatten().unwrap_or_default();
    let mut now = StoredIdentity {
        source: identity,
        account: digests(state.connector(), &facts),
    };
    if let Some(known) = state.identity() {
        if state.has_history()
            && !is_same
            && let Some(difference) = difference(known, &now)
        {
            return Err(refused(state.connector(), &difference));
        }
        if now.account.is_empty() && (is_same || known.source == now.source) {
            now.account.clone_from(&known.account);
        }
    }
    state.set_identity(now);
    Ok(())
}

/// The difference between two accounts, if they differ.
fn difference(known: &StoredIdentity, now: &StoredIdentity) -> Option<String> {
    if !known.account.is_empty() && !now.account.is_empty() {
        let is_same = !known.account.is_disjoint(&now.account);
        return (!is_same).then(|| {
            "the credentials belong to another account than the one that was read before".to_owned()
        });
    }
    let (before, after) = (&known.source, &now.source);
    if before.address != after.address {
        return Some(format!(
            "it was read from {}, and the address is {} now",
            before.address, after.address
        ));
    }
    (before.sign_in != after.sign_in).then(|| {
        format!(
            "it was read with the sign-in {:?}, which is {:?} now, and the service does not report whether the account \
             is the same",
            before.sign_in, after.sign_in
        )
    })
}

fn refused(connector: &str, difference: &str) -> Error {
    let text = format!(
        "the state belongs to another account of {connector}: {difference}. Nothing was read. To read this account, use \
         another destination, or start over with `headwater state reset --all`. If it is the same account, confirm that \
         once: --same-account, same_account in a request to the service, or \"The account has moved\" next to the streams \
         in the console"
    );
    Error::new(Kind::ConfigInvalid, text)
}

/// The smallest digests of the facts. The connector's name goes into them, so that they are useless elsewhere.
fn digests(connector: &str, facts: &[String]) -> BTreeSet<String> {
    const BYTES: usize = 12;
    let digest = |fact: &String| -> String {
        let digest = Sha256::new()
            .chain_update(connector)
            .chain_update([0])
            .chain_update(fact)
            .finalize();
        digest
            .iter()
            .take(BYTES)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    let all: BTreeSet<String> = facts.iter().map(digest).collect();
    all.into_iter().take(MAX_FACTS).collect()
}

#[cfg(test)]
mod tests {
    use headwater_core::Identity;

    use super::*;

    fn known(address: &str, sign_in: &str, facts: &[&str]) -> StoredIdentity {
        let facts: Vec<String> = facts.iter().map(|fact| (*fact).to_owned()).collect();
        StoredIdentity {
            source: Identity {
                address: address.to_owned(),
                sign_in: sign_in.to_owned(),
            },
            account: digests("test", &facts),
        }
    }

    #[test]
    fn one_fact_in_common_is_the_same_account_wherever_it_is() {
        let before = known("https://a", "key", &["1", "2", "3"]);
        for same in [
            known("https://a", "key", &["3", "4"]),
            known("https://b", "password", &["1"]),
            known("https://a", "key", &[]),
        ] {
            assert_eq!(difference(&before, &same), None, "{same:?}");
        }
        for other in [
            known("https://a", "key", &["4", "5"]),
            known("https://b", "key", &[]),
            known("https://a", "password", &[]),
        ] {
            assert!(difference(&before, &other).is_some(), "{other:?}");
        }
    }

    #[test]
    fn accounts_that_grew_still_share_some_of_what_is_kept() {
        let names = |range: std::ops::Range<u32>| -> Vec<String> {
            range.map(|number| format!("user {number}")).collect()
        };
        let before = digests("test", &names(0..100));
        assert_eq!(before.len(), MAX_FACTS);
        assert!(!before.is_disjoint(&digests("test", &names(0..150))));
        assert!(before.is_disjoint(&digests("test", &names(100..200))));
        assert!(before.is_disjoint(&digests("other", &names(0..100))));
    }

    #[test]
    fn a_state_keeps_digests_and_no_facts() {
        let kept = serde_json::to_string(&known("https://a", "key", &["ann@example.com"])).unwrap();
        assert!(!kept.contains("ann"), "{kept}");
        let read: StoredIdentity = serde_json::from_str(&kept).unwrap();
        assert_eq!(read, known("https://a", "key", &["ann@example.com"]));
    }
}
