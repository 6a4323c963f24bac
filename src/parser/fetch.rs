use super::cursor::Cursor;
use super::error::Result;
use super::render::{Render, Secrets, display_redacted, quote_ident};

/// `FETCH` and `MOVE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Whether the rows are passed over: `MOVE`.
    pub moves: bool,
    /// Which rows.
    pub rows: FetchRows,
    /// The cursor's name.
    pub cursor: String,
}

/// Which rows `FETCH` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchRows {
    /// So many from here, backward if negative; 0 is the one where the cursor stands.
    Count(i64),
    /// All from here.
    All,
    /// All before, backward.
    BackwardAll,
    /// The one with this number, from the end if negative.
    Absolute(i64),
    /// The one so many from here.
    Relative(i64),
}

display_redacted!(Fetch);

impl Fetch {
    /// After `FETCH` or `MOVE`.
    pub fn parse(cursor: &mut Cursor<'_>, moves: bool) -> Result<Fetch> {
        // A cursor may be called next.
        let rows = if cursor.peek_offset(1).is_none() { FetchRows::Count(1) } else { parse_rows(cursor)? };
        let _ = cursor.eat_one_of(&["FROM", "IN"]);
        Ok(Fetch { moves, rows, cursor: cursor.identifier()? })
    }
}

fn parse_rows(cursor: &mut Cursor<'_>) -> Result<FetchRows> {
    Ok(if cursor.eat("NEXT") {
        FetchRows::Count(1)
    } else if cursor.eat("PRIOR") {
        FetchRows::Count(-1)
    } else if cursor.eat("FIRST") {
        FetchRows::Absolute(1)
    } else if cursor.eat("LAST") {
        FetchRows::Absolute(-1)
    } else if cursor.eat("ABSOLUTE") {
        FetchRows::Absolute(cursor.signed()?)
    } else if cursor.eat("RELATIVE") {
        FetchRows::Relative(cursor.signed()?)
    } else if cursor.eat("ALL") || cursor.eat("FORWARD ALL") {
        FetchRows::All
    } else if cursor.eat("BACKWARD ALL") {
        FetchRows::BackwardAll
    } else if cursor.eat("FORWARD") {
        FetchRows::Count(if cursor.at_number() { cursor.signed()? } else { 1 })
    } else if cursor.eat("BACKWARD") {
        FetchRows::Count(if cursor.at_number() { cursor.signed()?.saturating_neg() } else { -1 })
    } else if cursor.at_number() {
        FetchRows::Count(cursor.signed()?)
    } else {
        FetchRows::Count(1)
    })
}

impl Render for Fetch {
    fn render(&self, out: &mut String, _: Secrets) {
        let rows = match self.rows {
            FetchRows::Count(count) => count.to_string(),
            FetchRows::All => "ALL".into(),
            FetchRows::BackwardAll => "BACKWARD ALL".into(),
            FetchRows::Absolute(number) => format!("ABSOLUTE {number}"),
            FetchRows::Relative(count) => format!("RELATIVE {count}"),
        };
        let verb = if self.moves { "MOVE" } else { "FETCH" };
        out.push_str(&format!("{verb} {rows} FROM {}", quote_ident(&self.cursor)));
    }
}
