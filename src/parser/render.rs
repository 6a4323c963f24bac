//! Writing statements in canonical form.

use std::fmt;

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
}

/// Implements `Display` as the canonical form with secrets hidden.
macro_rules! display_redacted {
    ($($kind:ty),*) => {
        $(impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut out = String::new();
                $crate::parser::render::Render::render(self, &mut out, $crate::parser::render::Secrets::Hidden);
                f.write_str(&out)
            }
        })*
    };
}
pub(super) use display_redacted;

/// A string literal.
pub fn quote_literal(text: &str) -> String {
    if text.contains('\n') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// An identifier, quoted only if it needs to be.
pub fn quote_ident(name: &str) -> String {
    let plain_start = |first: char| first.is_ascii_lowercase() || first == '_';
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$';
    let reserved =
        sqlparser::keywords::RESERVED_FOR_IDENTIFIER.iter().chain(sqlparser::keywords::RESERVED_FOR_COLUMN_ALIAS);
    let upper = name.to_ascii_uppercase();
    let is_reserved = reserved.into_iter().any(|keyword| format!("{keyword:?}") == upper);
    if name.starts_with(plain_start) && name.chars().all(plain) && !is_reserved {
        name.to_string()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
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

/// Appends a displayable value.
pub fn push_display(out: &mut String, value: &impl fmt::Display) {
    out.push_str(&value.to_string());
}
