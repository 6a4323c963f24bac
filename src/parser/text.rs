use std::fmt;

use super::redact::{Redacted, redact_uri};
use super::render::{Render, Secrets, quote_literal};

/// What may hold placeholders.
pub trait Bind {
    /// Puts values in the place of placeholders; `None` if one is missing, NULL, or not of the right kind.
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()>;
}

impl<T: Bind> Bind for Option<T> {
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()> {
        self.as_mut().map_or(Some(()), |inner| inner.bind(parameters))
    }
}

impl<T: Bind> Bind for Vec<T> {
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()> {
        self.iter_mut().try_for_each(|inner| inner.bind(parameters))
    }
}

/// A string position: a literal, or a placeholder that the client fills in.
#[derive(Clone, PartialEq, Eq, Hash)]
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

    /// The same text as a literal; `None` if the placeholder it needs is missing or NULL.
    pub fn bound(&self, parameters: &[Option<String>]) -> Option<Text> {
        self.resolve(parameters).map(|text| Text::Literal(text.into()))
    }

    fn render_with(&self, out: &mut String, show: impl FnOnce(&str) -> String) {
        match self {
            Text::Literal(text) => out.push_str(&show(text)),
            Text::Placeholder(number) => out.push_str(&format!("${number}")),
        }
    }
}

impl Render for Text {
    fn render(&self, out: &mut String, secrets: Secrets) {
        // A URI where none belongs has its secrets too.
        self.render_with(out, |text| match secrets {
            Secrets::Hidden if text.contains("://") => quote_literal(&redact_uri(text)),
            _ => quote_literal(text),
        });
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered(Secrets::Hidden))
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

impl Bind for Uri {
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()> {
        *self = Uri::new(self.expose().bound(parameters)?);
        Some(())
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

impl Bind for Secret {
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()> {
        *self = Secret::new(self.expose().bound(parameters)?);
        Some(())
    }
}

impl Render for Secret {
    fn render(&self, out: &mut String, secrets: Secrets) {
        self.expose().render_with(out, |text| match secrets {
            Secrets::Shown => quote_literal(text),
            Secrets::Hidden => HIDDEN_LITERAL.into(),
        });
    }
}

/// What stands for a secret literal in redacted text.
pub const HIDDEN_LITERAL: &str = "'******'";

/// The value of an option that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flag {
    /// `true` or `false`.
    Value(bool),
    /// `$n`, counting from 1.
    Placeholder(u32),
}

impl Flag {
    /// The value, given those of the placeholders; `None` if the one it needs is missing or neither true nor false.
    pub fn resolve(&self, parameters: &[Option<String>]) -> Option<bool> {
        match self {
            Flag::Value(value) => Some(*value),
            Flag::Placeholder(number) => parse_bool(parameters.get(*number as usize - 1)?.as_deref()?),
        }
    }
}

impl Bind for Text {
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()> {
        *self = self.bound(parameters)?;
        Some(())
    }
}

impl Bind for Flag {
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()> {
        *self = Flag::Value(self.resolve(parameters)?);
        Some(())
    }
}

/// `true` or `false`, in any case.
pub fn parse_bool(text: &str) -> Option<bool> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("true") || is("t") { Some(true) } else { (is("false") || is("f")).then_some(false) }
}

impl Render for Flag {
    fn render(&self, out: &mut String, _: Secrets) {
        match self {
            Flag::Value(value) => out.push_str(&value.to_string()),
            Flag::Placeholder(number) => out.push_str(&format!("${number}")),
        }
    }
}

/// A whole number, such as the id of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Integer {
    /// The number itself.
    Value(i64),
    /// `$n`, counting from 1.
    Placeholder(u32),
}

impl Integer {
    /// The number, given the values of the placeholders; `None` if the one it needs is missing or no whole number.
    pub fn resolve(&self, parameters: &[Option<String>]) -> Option<i64> {
        match self {
            Integer::Value(value) => Some(*value),
            Integer::Placeholder(number) => parameters.get(*number as usize - 1)?.as_deref()?.parse().ok(),
        }
    }
}

impl Render for Integer {
    fn render(&self, out: &mut String, _: Secrets) {
        match self {
            Integer::Value(value) => out.push_str(&value.to_string()),
            Integer::Placeholder(number) => out.push_str(&format!("${number}")),
        }
    }
}
