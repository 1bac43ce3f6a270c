//! `aws-sm:`: AWS Secrets Manager, through the vendor's SDK. Credentials, region and endpoint come from the usual
//! sources of AWS programs: environment variables, profiles, the machine's role.

use std::{collections::BTreeMap, fmt, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_secretsmanager::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::get_secret_value::GetSecretValueError,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use headwater_core::Secret;
use serde_json::Value;
use tokio::time::timeout;

/// A secret, or one text in a secret that is a JSON object.
pub(super) struct Address<'t> {
    /// A name or a full ARN.
    name: &'t str,
    key: Option<&'t str>,
}

impl<'t> Address<'t> {
    /// Names and ARNs hold no `#`.
    pub(super) fn parse(text: &'t str) -> Result<Self, String> {
        let (name, key) = match text.rsplit_once('#') {
            Some((name, key)) => (name, Some(key)),
            None => (text, None),
        };
        if name.is_empty() || key.is_some_and(str::is_empty) {
            return Err(
                "is a reference without a name or a key; write aws-sm:NAME or aws-sm:NAME#KEY"
                    .to_owned(),
            );
        }
        Ok(Self { name, key })
    }

    /// The region in an ARN.
    fn region(&self) -> Option<Region> {
        let mut parts = self.name.split(':');
        let is_arn = parts.next() == Some("arn");
        let region = parts.nth(2).filter(|region| is_arn && !region.is_empty());
        region.map(|region| Region::new(region.to_owned()))
    }
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = self.key {
            write!(f, "{key:?} in ")?;
        }
        write!(f, "the secret {:?} of AWS Secrets Manager", self.name)
    }
}

/// The secrets fetched so far. A pair in one secret is fetched once, so both halves are of one version.
#[derive(Default)]
pub(super) struct Vault(BTreeMap<String, Secret>);

impl Vault {
    pub(super) async fn fetch(
        &mut self,
        address: &Address<'_>,
        limit: Duration,
    ) -> Result<String, String> {
        let secret = match self.0.get(address.name) {
            Some(known) => known.clone(),
            None => {
                let fetched = timeout(limit, fetch(address)).await;
                let secret = fetched
                    .map_err(|_| format!("did not come within {} s", limit.as_secs_f64()))??;
                self.0.insert(address.name.to_owned(), secret.clone());
                secret
            }
        };
        match address.key {
            Some(key) => text_at(secret.expose(), key),
            None => Ok(secret.expose().to_owned()),
        }
    }
}

fn text_at(secret: &str, key: &str) -> Result<String, String> {
    match serde_json::from_str(secret) {
        Ok(Value::Object(mut object)) => match object.remove(key) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err("is not a text".to_owned()),
            None => Err("is not there; the secret has no such key".to_owned()),
        },
        _ => Err("is not there; the secret is not a JSON object".to_owned()),
    }
}

async fn fetch(address: &Address<'_>) -> Result<Secret, String> {
    let config = config(address.region()).await;
    if config.region().is_none() {
        return Err("needs a region; set AWS_REGION or the region of a profile".to_owned());
    }
    let fetched = Client::new(&config)
        .get_secret_value()
        .secret_id(address.name)
        .send()
        .await;
    let answer = fetched.map_err(|error| error_message(&error))?;
    let text = answer.secret_string();
    text.map(Secret::new)
        .ok_or_else(|| "is binary; a text is needed".to_owned())
}

async fn config(region: Option<Region>) -> SdkConfig {
    // The TLS of the rest of this program. No proxy is taken from the environment, here as there.
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = region {
        loader = loader.region(region);
    }
    loader.load().await
}

/// The error in our words, without the service's own sentence.
fn error_message(error: &SdkError<GetSecretValueError>) -> String {
    let what = match error {
        SdkError::ServiceError(_) => return refusal(error.code().unwrap_or_default()),
        SdkError::TimeoutError(_) => "cannot be reached in time",
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "cannot be reached in time",
        SdkError::DispatchFailure(failure) if failure.is_io() => "cannot be reached",
        // Nothing was sent: there was nothing to sign it with.
        SdkError::DispatchFailure(_) => {
            "needs credentials of AWS; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or sign in again"
        }
        SdkError::ResponseError(_) => "cannot be read: AWS sent an invalid answer",
        _ => "cannot be requested",
    };
    what.to_owned()
}

fn refusal(code: &str) -> String {
    let what = match code {
        "ResourceNotFoundException" => "does not exist in this account and region",
        "AccessDeniedException" => {
            "these credentials of AWS may not read; it takes secretsmanager:GetSecretValue, and kms:Decrypt for a key of your own"
        }
        "ExpiredTokenException" => "was refused because the credentials of AWS have expired",
        "UnrecognizedClientException" | "InvalidSignatureException" => {
            "was refused because AWS does not accept the credentials"
        }
        "DecryptionFailure" => "cannot be decrypted with its key",
        // A code is one word; anything else is not from this service.
        _ if !code.is_empty()
            && code.len() <= 64
            && code.bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            return format!("was refused with {code}");
        }
        _ => "was refused",
    };
    what.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (&str, Option<&str>, Option<Region>) {
        let address = Address::parse(text).unwrap();
        (address.name, address.key, address.region())
    }

    #[test]
    fn an_address_is_a_name_or_an_arn_with_or_without_a_key() {
        assert_eq!(parsed("team/pair"), ("team/pair", None, None));
        assert_eq!(parsed("pair#a#b"), ("pair#a", Some("b"), None));
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:pair-AbCdEf";
        let region = Some(Region::new("eu-west-1"));
        assert_eq!(parsed(arn), (arn, None, region.clone()));
        assert_eq!(parsed(&format!("{arn}#key")), (arn, Some("key"), region));
        for text in ["#key", "name#", "#"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_answer_that_does_not_come_is_not_waited_for() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let address = Address::parse("arn:aws:secretsmanager:eu-west-1:1:secret:a").unwrap();
        let mut vault = Vault::default();
        let fetched = runtime
            .unwrap()
            .block_on(vault.fetch(&address, Duration::ZERO));
        assert_eq!(fetched.unwrap_err(), "did not come within 0 s");
    }

    #[test]
    fn a_code_is_told_and_a_sentence_is_not() {
        assert_eq!(refusal("LimitExceeded"), "was refused with LimitExceeded");
        assert_eq!(refusal("a sentence"), "was refused");
        assert_eq!(refusal(""), "was refused");
    }
}
