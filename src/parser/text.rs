use super::redact::{Redacted, redact_uri};
use super::render::{Render, Secrets, quote_literal};

/// A string position: a literal, or a placeholder that the client fills in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Text {
    /// The text itself.
    Literal(String),
    /// `$n`, counting from 1.
    Placeholder(u32),
}

impl Text {
    /// The text, given the values of the placeholders; `None` if the one it needs is missing or NULL.
    pub fn resolve<'a>(&'a self, parameters: &'a [Option<String>]) -> Option<&'a str> {
        match self {
            Text::Literal(text) => Some(text),
            Text::Placeholder(number) => parameters.get(*number as usize - 1)?.as_deref(),
        }
    }

    /// The number of the placeholder, if it is one.
    pub fn placeholder(&self) -> Option<u32> {
        if let Text::Placeholder(number) = self { Some(*number) } else { None }
    }

    fn render_with(&self, out: &mut String, show: impl FnOnce(&str) -> String) {
        match self {
            Text::Literal(text) => out.push_str(&show(text)),
            Text::Placeholder(number) => out.push_str(&format!("${number}")),
        }
    }
}

impl Render for Text {
    fn render(&self, out: &mut String, _: Secrets) {
        self.render_with(out, quote_literal);
    }
}

/// A storage URI. Shown with its secrets redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri(Redacted<Text>);

impl Uri {
    /// From a string position.
    pub fn new(text: Text) -> Uri {
        Uri(Redacted::new(text))
    }

    /// The string position, secrets included.
    pub fn expose(&self) -> &Text {
        self.0.expose()
    }
}

impl Render for Uri {
    fn render(&self, out: &mut String, secrets: Secrets) {
        self.expose().render_with(out, |text| match secrets {
            Secrets::Shown => quote_literal(text),
            Secrets::Hidden => quote_literal(&redact_uri(text)),
        });
    }
}

/// A passphrase or the like. Never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret(Redacted<Text>);

impl Secret {
    /// From a string position.
    pub fn new(text: Text) -> Secret {
        Secret(Redacted::new(text))
    }

    /// The string position.
    pub fn expose(&self) -> &Text {
        self.0.expose()
    }
}

impl Render for Secret {
    fn render(&self, out: &mut String, secrets: Secrets) {
        self.expose().render_with(out, |text| match secrets {
            Secrets::Shown => quote_literal(text),
            Secrets::Hidden => "'******'".into(),
        });
    }
}
