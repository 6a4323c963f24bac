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

/// What begins a parameter, by the rules of URIs or against them.
const SEPARATORS: [char; 4] = ['?', '&', ';', '#'];

/// A storage URI with its secrets replaced: userinfo passwords and every query parameter not known to be harmless. Whatever looks
/// like a password is one, also where the characters around it break the rules of URIs.
pub fn redact_uri(uri: &str) -> String {
    let end = uri.find(SEPARATORS).unwrap_or(uri.len());
    let (address, mut parameters) = uri.split_at(end);
    let mut redacted = match address.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", redact_userinfo(rest)),
        None => redact_userinfo(address),
    };
    while let Some(separator) = parameters.chars().next() {
        redacted.push(separator);
        let end = parameters[1..].find(SEPARATORS).map_or(parameters.len(), |at| at + 1);
        redacted.push_str(&redact_parameter(&parameters[1..end]));
        parameters = &parameters[end..];
    }
    redacted
}

fn redact_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        _ if parameter.is_empty() => String::new(),
        // An address in a value may have a password of its own.
        Some((name, value))
            if HARMLESS_PARAMETERS.contains(&name) && !value.contains('@') && !value.contains("%40") =>
        {
            parameter.to_string()
        }
        Some((name, _)) => format!("{name}=redacted"),
        None => "redacted".into(),
    }
}

/// The part of a URI between `://` and its parameters without the secrets before its host.
fn redact_userinfo(rest: &str) -> String {
    let authority = rest.split('/').next().unwrap_or_default();
    let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    match (rest.rsplit_once('@'), authority.split_once(':')) {
        (Some((user, host)), _) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:redacted@{host}"),
            // A path may have an @ in it.
            None if user.contains('/') => rest.to_string(),
            None => format!("redacted@{host}"),
        },
        (None, Some((host, port))) if !is_port(port) => format!("{host}:redacted{}", &rest[authority.len()..]),
        _ => rest.to_string(),
    }
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
            ("https://me:12/hush@host/p", "https://me:redacted@host/p"),
            ("me:hush@host/p", "me:redacted@host/p"),
            ("s3://bucket/p@q", "s3://bucket/p@q"),
            ("s3://host:9000/p", "s3://host:9000/p"),
            ("s3://a?AWS_REGION=eu?AWS_SECRET_ACCESS_KEY=hush", "s3://a?AWS_REGION=eu?AWS_SECRET_ACCESS_KEY=redacted"),
            ("s3://a?AWS_REGION=eu;X=hush#hush", "s3://a?AWS_REGION=eu;X=redacted#redacted"),
            ("s3://a&X=hush", "s3://a&X=redacted"),
            ("s3://a?AWS_ENDPOINT=https://me:hush@host/", "s3://a?AWS_ENDPOINT=redacted"),
        ] {
            assert_eq!(redact_uri(uri), shown, "{uri}");
            assert_eq!(redact_uri(shown), shown, "redacting twice changes nothing");
        }
        assert_eq!(redact_uri("nodelocal://1/bank"), "nodelocal://1/bank");
        assert_eq!(format!("{:?}", Redacted::new("hush")), "******");
    }
}
