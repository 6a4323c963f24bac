//! Names as they are written: in parts, folded to lower case unless quoted.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::error::{Error, Result, code};
use crate::parser::quote_ident_in_sql;

/// One part.
pub fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The parts of a name in a statement.
pub fn name_parts(name: &ObjectName) -> Result<Vec<String>> {
    let part = |part: &ObjectNamePart| match part {
        ObjectNamePart::Identifier(ident) => Ok(folded(ident)),
        ObjectNamePart::Function(_) => Err(Error::new(code::INVALID_NAME, "a name cannot be computed")),
    };
    name.0.iter().map(part).collect()
}

/// A name as it is written in SQL.
pub fn written_name(parts: &[String]) -> ObjectName {
    let part = |part: &String| {
        let quoted = quote_ident_in_sql(part).starts_with('"');
        let ident = if quoted { Ident::with_quote('"', part.clone()) } else { Ident::new(part.clone()) };
        ObjectNamePart::Identifier(ident)
    };
    ObjectName(parts.iter().map(part).collect())
}

/// The parts of a name in a text, such as that which `nextval` is given.
pub fn parse_name(text: &str) -> Result<Vec<String>> {
    let invalid = || Error::new(code::INVALID_NAME, format!("invalid name syntax: \"{text}\""));
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).and_then(|mut parser| {
        let name = parser.parse_object_name(false)?;
        parser.expect_token(&sqlparser::tokenizer::Token::EOF)?;
        Ok(name)
    });
    name_parts(&parsed.map_err(|_| invalid())?).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_texts() {
        assert_eq!(parse_name("S").unwrap(), ["s"]);
        assert_eq!(parse_name("a.\"B.c\".\"d\"\"e\"").unwrap(), ["a", "B.c", "d\"e"]);
        for wrong in ["", "a.", "a b", "\"a", "a; b"] {
            assert_eq!(parse_name(wrong).unwrap_err().sqlstate, code::INVALID_NAME, "{wrong}");
        }
    }
}
