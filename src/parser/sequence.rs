use super::cursor::Cursor;
use super::error::{Error, Result};
use super::render::{Render, Secrets, display_redacted, quote_ident, quote_name};

/// `CREATE SEQUENCE` and `ALTER SEQUENCE`, with options in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceStatement {
    /// The sequence.
    pub name: Vec<String>,
    /// What is to be done.
    pub action: SequenceAction,
}

/// What is to be done with a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SequenceAction {
    /// Make it.
    Create {
        /// Whether it goes with the session.
        temporary: bool,
        /// Whether it is no error if it is there.
        if_not_exists: bool,
        /// What it is like.
        options: SequenceOptions,
    },
    /// Change it.
    Alter {
        /// Whether it is no error if it is not there.
        if_exists: bool,
        /// What changes.
        options: SequenceOptions,
    },
    /// Call it something else.
    Rename {
        /// Whether it is no error if it is not there.
        if_exists: bool,
        /// Its new name.
        to: String,
    },
}

/// What a sequence is like; what is not said is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequenceOptions {
    /// The type of its numbers.
    pub data_type: Option<String>,
    /// `INCREMENT`
    pub increment: Option<i64>,
    /// `MINVALUE`; the inner `None` is `NO MINVALUE`.
    pub minimum: Option<Option<i64>>,
    /// `MAXVALUE`; the inner `None` is `NO MAXVALUE`.
    pub maximum: Option<Option<i64>>,
    /// `START`
    pub start: Option<i64>,
    /// `RESTART`; the inner `None` is from the start.
    pub restart: Option<Option<i64>>,
    /// `CACHE`
    pub cache: Option<i64>,
    /// `CYCLE` or `NO CYCLE`
    pub cycle: Option<bool>,
    /// `OWNED BY` a column; the inner `None` is `NONE`.
    pub owned_by: Option<Option<Vec<String>>>,
}

display_redacted!(SequenceStatement);

impl SequenceStatement {
    /// After `CREATE SEQUENCE`, or `CREATE TEMPORARY SEQUENCE`.
    pub fn parse_create(cursor: &mut Cursor<'_>, temporary: bool) -> Result<SequenceStatement> {
        let if_not_exists = cursor.eat("IF NOT EXISTS");
        let name = cursor.name()?;
        let options = SequenceOptions::parse(cursor, false)?;
        Ok(SequenceStatement { name, action: SequenceAction::Create { temporary, if_not_exists, options } })
    }

    /// After `ALTER SEQUENCE`.
    pub fn parse_alter(cursor: &mut Cursor<'_>) -> Result<SequenceStatement> {
        let if_exists = cursor.eat("IF EXISTS");
        let name = cursor.name()?;
        let action = if cursor.eat("RENAME TO") {
            SequenceAction::Rename { if_exists, to: cursor.identifier()? }
        } else {
            SequenceAction::Alter { if_exists, options: SequenceOptions::parse(cursor, true)? }
        };
        Ok(SequenceStatement { name, action })
    }
}

impl SequenceOptions {
    /// All that follow. `RESTART` is an option of `ALTER SEQUENCE` alone, which has at least one.
    fn parse(cursor: &mut Cursor<'_>, alter: bool) -> Result<SequenceOptions> {
        let mut options = SequenceOptions::default();
        if alter && cursor.is_at_end() {
            return Err(cursor.expected("an option of a sequence"));
        }
        while !cursor.is_at_end() {
            let at = cursor.location();
            let is_new = if cursor.eat("AS") {
                options.data_type.replace(cursor.identifier()?).is_none()
            } else if cursor.eat("INCREMENT") {
                cursor.eat("BY");
                options.increment.replace(cursor.signed()?).is_none()
            } else if cursor.eat("MINVALUE") {
                options.minimum.replace(Some(cursor.signed()?)).is_none()
            } else if cursor.eat("NO MINVALUE") {
                options.minimum.replace(None).is_none()
            } else if cursor.eat("MAXVALUE") {
                options.maximum.replace(Some(cursor.signed()?)).is_none()
            } else if cursor.eat("NO MAXVALUE") {
                options.maximum.replace(None).is_none()
            } else if cursor.eat("START") {
                cursor.eat("WITH");
                options.start.replace(cursor.signed()?).is_none()
            } else if alter && cursor.eat("RESTART") {
                let has_number = cursor.eat("WITH") || cursor.at_number();
                let number = if has_number { Some(cursor.signed()?) } else { None };
                options.restart.replace(number).is_none()
            } else if cursor.eat("CACHE") {
                options.cache.replace(cursor.signed()?).is_none()
            } else if cursor.eat("CYCLE") {
                options.cycle.replace(true).is_none()
            } else if cursor.eat("NO CYCLE") {
                options.cycle.replace(false).is_none()
            } else if cursor.eat("OWNED BY") {
                let owner = if cursor.eat("NONE") { None } else { Some(cursor.name()?) };
                options.owned_by.replace(owner).is_none()
            } else {
                return Err(cursor.expected("an option of a sequence"));
            };
            if !is_new {
                return Err(Error::syntax("syntax error: this option of a sequence is given twice", at));
            }
        }
        Ok(options)
    }
}

impl Render for SequenceStatement {
    fn render(&self, out: &mut String, secrets: Secrets) {
        let name = quote_name(&self.name);
        match &self.action {
            SequenceAction::Create { temporary, if_not_exists, options } => {
                let condition = if *if_not_exists { "IF NOT EXISTS " } else { "" };
                let kind = if *temporary { "TEMPORARY SEQUENCE" } else { "SEQUENCE" };
                out.push_str(&format!("CREATE {kind} {condition}{name}"));
                options.render(out, secrets);
            }
            SequenceAction::Alter { if_exists, options } => {
                let condition = if *if_exists { "IF EXISTS " } else { "" };
                out.push_str(&format!("ALTER SEQUENCE {condition}{name}"));
                options.render(out, secrets);
            }
            SequenceAction::Rename { if_exists, to } => {
                let condition = if *if_exists { "IF EXISTS " } else { "" };
                out.push_str(&format!("ALTER SEQUENCE {condition}{name} RENAME TO {}", quote_ident(to)));
            }
        }
    }
}

impl Render for SequenceOptions {
    fn render(&self, out: &mut String, _: Secrets) {
        let bound = |word: &str, bound: &Option<Option<i64>>| match bound {
            None => String::new(),
            Some(None) => format!(" NO {word}"),
            Some(Some(value)) => format!(" {word} {value}"),
        };
        let number = |words: &str, value: Option<i64>| value.map_or(String::new(), |value| format!(" {words} {value}"));
        out.push_str(
            &self.data_type.as_ref().map_or(String::new(), |data_type| format!(" AS {}", quote_ident(data_type))),
        );
        out.push_str(&number("INCREMENT BY", self.increment));
        out.push_str(&bound("MINVALUE", &self.minimum));
        out.push_str(&bound("MAXVALUE", &self.maximum));
        out.push_str(&number("START WITH", self.start));
        match self.restart {
            None => {}
            Some(None) => out.push_str(" RESTART"),
            Some(Some(value)) => out.push_str(&format!(" RESTART WITH {value}")),
        }
        out.push_str(&number("CACHE", self.cache));
        out.push_str(match self.cycle {
            None => "",
            Some(true) => " CYCLE",
            Some(false) => " NO CYCLE",
        });
        match &self.owned_by {
            None => {}
            Some(None) => out.push_str(" OWNED BY NONE"),
            Some(Some(column)) => out.push_str(&format!(" OWNED BY {}", quote_name(column))),
        }
    }
}
