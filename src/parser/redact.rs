use std::fmt;

/// A value that logs, errors and `Debug` never show. [`Redacted::expose`] is the one way to it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// Hides a value.
    pub fn new(value: T) -> Redacted<T> {
        Redacted(value)
    }

    /// The value, for whoever has to use it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("******")
    }
}

/// Query parameters of storage URIs that are no secret.
const HARMLESS_PARAMETERS: [&str; 17] = [
    "ASSUME_ROLE",
    "AUTH",
    "AWS_ACCESS_KEY_ID",
    "AWS_ENDPOINT",
    "AWS_REGION",
    "AWS_SERVER_ENC_MODE",
    "AWS_SERVER_KMS_ID",
    "AWS_SKIP_CHECKSUM",
    "AWS_USE_PATH_STYLE",
    "AZURE_ACCOUNT_NAME",
    "AZURE_CLIENT_ID",
    "AZURE_ENVIRONMENT",
    "AZURE_TENANT_ID",
    "AZURE_VAULT_NAME",
    "COCKROACH_LOCALITY",
    "REGION",
    "S3_STORAGE_CLASS",
];

/// A storage URI with its secrets replaced: userinfo passwords and every query parameter not known to be harmless.
pub fn redact_uri(uri: &str) -> String {
    let (address, query) = uri.split_once('?').map_or((uri, None), |(address, query)| (address, Some(query)));
    let mut redacted = match address.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", redact_userinfo(rest)),
        None => address.to_string(),
    };
    let Some(query) = query else { return redacted };
    for (index, parameter) in query.split('&').enumerate() {
        redacted.push(if index == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) if !HARMLESS_PARAMETERS.contains(&name) => redacted.push_str(&format!("{name}=redacted")),
            None if !parameter.is_empty() => redacted.push_str("redacted"),
            _ => redacted.push_str(parameter),
        }
    }
    redacted
}

/// The part of a URI between `://` and `?` without the secrets before its host. Whatever looks like a password is one, also
/// where the characters in it break the rules of URIs.
fn redact_userinfo(rest: &str) -> String {
    let authority = rest.split('/').next().unwrap_or_default();
    let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    let user = match authority.rsplit_once('@') {
        Some((user, _)) => user,
        None => match (authority.split_once(':'), rest.rfind('@')) {
            (Some((_, port)), Some(at)) if !is_port(port) => &rest[..at],
            (Some((host, port)), None) if !is_port(port) => {
                return format!("{host}:redacted{}", &rest[authority.len()..]);
            }
            _ => return rest.to_string(),
        },
    };
    let shown = user.split_once(':').map_or("redacted".into(), |(name, _)| format!("{name}:redacted"));
    format!("{shown}{}", &rest[user.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_harmless_is_shown() {
        let uri = "s3://bucket/a?AWS_ACCESS_KEY_ID=id&AWS_SECRET_ACCESS_KEY=hush&NEW_THING=hush&AWS_REGION=eu&hush";
        let shown = "s3://bucket/a?AWS_ACCESS_KEY_ID=id&AWS_SECRET_ACCESS_KEY=redacted&NEW_THING=redacted&AWS_REGION=eu&redacted";
        assert_eq!(redact_uri(uri), shown);
        assert_eq!(redact_uri(shown), shown, "redacting twice changes nothing");
        for (uri, shown) in [
            ("https://me:hush@host/p", "https://me:redacted@host/p"),
            ("https://hush@host/p", "https://redacted@host/p"),
            ("https://me:hu/sh@host/p", "https://me:redacted@host/p"),
            ("https://me:hu@sh@host:80/p", "https://me:redacted@host:80/p"),
            ("https://me:hu?sh@host/p", "https://me:redacted?redacted"),
            ("s3://host:9000/p@q", "s3://host:9000/p@q"),
        ] {
            assert_eq!(redact_uri(uri), shown, "{uri}");
            assert_eq!(redact_uri(shown), shown, "redacting twice changes nothing");
        }
        assert_eq!(redact_uri("nodelocal://1/bank"), "nodelocal://1/bank");
        assert_eq!(format!("{:?}", Redacted::new("hush")), "******");
    }
}
