use super::cursor::Cursor;
use super::error::Result;
use super::render::{Render, Secrets, display_redacted, push_list, quote_name};

/// `SET CONSTRAINTS {ALL | name, ...} {DEFERRED | IMMEDIATE}`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetConstraints {
    /// The constraints, each with the schema it was given; none is all.
    pub names: Vec<Vec<String>>,
    /// Whether they wait for the end of the transaction.
    pub deferred: bool,
}

display_redacted!(SetConstraints);

impl SetConstraints {
    /// After `SET CONSTRAINTS`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<SetConstraints> {
        let names = if cursor.eat("ALL") { Vec::new() } else { cursor.list(Cursor::name)? };
        let deferred = cursor.eat("DEFERRED");
        if !deferred {
            cursor.require("IMMEDIATE").map_err(|_| cursor.expected("DEFERRED or IMMEDIATE"))?;
        }
        Ok(SetConstraints { names, deferred })
    }
}

impl Render for SetConstraints {
    fn render(&self, out: &mut String, _: Secrets) {
        out.push_str("SET CONSTRAINTS ");
        if self.names.is_empty() {
            out.push_str("ALL");
        }
        push_list(out, &self.names, |out, name| out.push_str(&quote_name(name)));
        out.push_str(if self.deferred { " DEFERRED" } else { " IMMEDIATE" });
    }
}
