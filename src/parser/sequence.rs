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
            options.read(cursor, alter)?;
        }
        Ok(options)
    }

    /// The next one, which was not given before.
    pub fn read(&mut self, cursor: &mut Cursor<'_>, alter: bool) -> Result<()> {
        let at = cursor.location();
        let is_new = if cursor.eat("AS") {
            self.data_type.replace(cursor.identifier()?).is_none()
        } else if cursor.eat("INCREMENT") {
            cursor.eat("BY");
            self.increment.replace(cursor.signed()?).is_none()
        } else if cursor.eat("MINVALUE") {
            self.minimum.replace(Some(cursor.signed()?)).is_none()
        } else if cursor.eat("NO MINVALUE") {
            self.minimum.replace(None).is_none()
        } else if cursor.eat("MAXVALUE") {
            self.maximum.replace(Some(cursor.signed()?)).is_none()
        } else if cursor.eat("NO MAXVALUE") {
            self.maximum.replace(None).is_none()
        } else if cursor.eat("START") {
            cursor.eat("WITH");
            self.start.replace(cursor.signed()?).is_none()
        } else if alter && cursor.eat("RESTART") {
            let has_number = cursor.eat("WITH") || cursor.at_number();
            let number = if has_number { Some(cursor.signed()?) } else { None };
            self.restart.replace(number).is_none()
        } else if cursor.eat("CACHE") {
            self.cache.replace(cursor.signed()?).is_none()
        } else if cursor.eat("CYCLE") {
            self.cycle.replace(true).is_none()
        } else if cursor.eat("NO CYCLE") {
            self.cycle.replace(false).is_none()
        } else if cursor.eat("OWNED BY") {
            let owner = if cursor.eat("NONE") { None } else { Some(cursor.name()?) };
            self.owned_by.replace(owner).is_none()
        } else {
            return Err(cursor.expected("an option of a sequence"));
        };
        match is_new {
            true => Ok(()),
            false => Err(Error::syntax("syntax error: this option of a sequence is given twice", at)),
        }
    }

    /// How each that is said is written.
    pub fn clauses(&self) -> Vec<String> {
        let bound = |word: &str, bound: &Option<Option<i64>>| {
            bound.map(|bound| bound.map_or_else(|| format!("NO {word}"), |value| format!("{word} {value}")))
        };
        let number = |words: &str, value: Option<i64>| value.map(|value| format!("{words} {value}"));
        let clauses = [
            self.data_type.as_ref().map(|data_type| format!("AS {}", quote_ident(data_type))),
            number("INCREMENT BY", self.increment),
            bound("MINVALUE", &self.minimum),
            bound("MAXVALUE", &self.maximum),
            number("START WITH", self.start),
            self.restart.map(|restart| restart.map_or("RESTART".into(), |value| format!("RESTART WITH {value}"))),
            number("CACHE", self.cache),
            self.cycle.map(|cycle| if cycle { "CYCLE" } else { "NO CYCLE" }.to_string()),
            self.owned_by.as_ref().map(|owner| match owner {
                None => "OWNED BY NONE".into(),
                Some(column) => format!("OWNED BY {}", quote_name(column)),
            }),
        ];
        clauses.into_iter().flatten().collect()
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
        self.clauses().iter().for_each(|clause| out.push_str(&format!(" {clause}")));
    }
}
