use sqlparser::tokenizer::Location;

/// Turns lines and columns into byte offsets, from left to right: all of a text in one pass.
pub struct Places<'a> {
    text: &'a str,
    offset: usize,
    at: Location,
}

impl<'a> Places<'a> {
    pub fn new(text: &'a str) -> Places<'a> {
        Places { text, offset: 0, at: Location { line: 1, column: 1 } }
    }

    /// The byte offset of a place that is not before the last one asked for.
    pub fn offset_of(&mut self, place: Location) -> usize {
        let before = |at: &Location| (at.line, at.column) < (place.line, place.column);
        for c in self.text[self.offset..].chars() {
            if !before(&self.at) {
                break;
            }
            self.offset += c.len_utf8();
            self.at = match c {
                '\n' => Location { line: self.at.line + 1, column: 1 },
                _ => Location { line: self.at.line, column: self.at.column + 1 },
            };
        }
        self.offset
    }
}
