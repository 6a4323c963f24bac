//! Writing statements in canonical form.

use std::fmt::Display;
use std::ops::ControlFlow;

use sqlparser::ast::{Value, ValueWithSpan, VisitMut, VisitorMut};

use super::reserved::{is_reserved, is_reserved_in_sql};

/// Whether secrets are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// They are replaced.
    Hidden,
    /// They are written out.
    Shown,
}

/// A statement's canonical form.
pub trait Render {
    /// Appends it to `out`.
    fn render(&self, out: &mut String, secrets: Secrets);

    /// The whole of it.
    fn rendered(&self, secrets: Secrets) -> String {
        let mut out = String::new();
        self.render(&mut out, secrets);
        out
    }
}

/// Implements `Display` as the canonical form with secrets hidden.
macro_rules! display_redacted {
    ($($kind:ty),*) => {
        $(impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$crate::parser::render::Render::rendered(self, $crate::parser::render::Secrets::Hidden))
            }
        })*
    };
}
pub(super) use display_redacted;

/// A string literal, on one line.
pub fn quote_literal(text: &str) -> String {
    if text.contains(['\n', '\r']) {
        let escaped = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\r', "\\r");
        format!("E'{escaped}'")
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// A syntax tree as SQL that reads back as the same tree.
///
/// `sqlparser` alone takes two quotes in a row, and a quote after a backslash, for quotes that are doubled already; it
/// writes the strings `''` and `\\'` in ways that are other strings, or none. Quotes that come in pairs it leaves alone.
pub fn sql_text<T: Clone + VisitMut + Display>(tree: &T) -> String {
    let mut tree = tree.clone();
    let _ = tree.visit(&mut DoubledQuotes);
    tree.to_string()
}

struct DoubledQuotes;

impl VisitorMut for DoubledQuotes {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::SingleQuotedString(text) | Value::NationalStringLiteral(text) = &mut value.value
            && text.contains('\'')
        {
            *text = text.replace('\'', "''");
        }
        ControlFlow::Continue(())
    }
}

/// An identifier in a statement that keepsafe itself reads, quoted only if it needs to be.
pub fn quote_ident(name: &str) -> String {
    quote_unless(name, |name| is_plain(name) && !is_reserved(name))
}

/// An identifier anywhere in SQL, quoted only if it needs to be.
pub fn quote_ident_in_sql(name: &str) -> String {
    quote_unless(name, |name| is_plain(name) && !is_reserved_in_sql(name))
}

fn is_plain(name: &str) -> bool {
    let starts = |first: char| first.is_ascii_lowercase() || first == '_';
    let continues = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$';
    name.starts_with(starts) && name.chars().all(continues)
}

fn quote_unless(name: &str, is_word: impl FnOnce(&str) -> bool) -> String {
    if is_word(name) { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A name of several parts.
pub fn quote_name(parts: &[String]) -> String {
    parts.iter().map(|part| quote_ident(part)).collect::<Vec<_>>().join(".")
}

/// Appends items separated by commas.
pub fn push_list<T>(out: &mut String, items: &[T], mut push: impl FnMut(&mut String, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        push(out, item);
    }
}
