//! `COPY ... FROM STDIN` and `COPY ... TO STDOUT`, in text and CSV; in binary, rows come as such.
//!
//! Data comes in pieces that know nothing of lines. A reader keeps what is not a whole line yet; whole lines become rows, and
//! rows are written some thousand at a time.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use sqlparser::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource, CopyTarget, Ident, ObjectName};

use super::super::arrays::datum_at;
use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::{folded, name_parts};
use super::super::query::OutputColumn;
use super::super::text;
use super::super::time_zone::TimeZone;
use super::Row;
use super::insert::{positions_of, table_named};
use super::writer::{OnConflict, TableWriter};
use crate::catalog::{ColumnType, Datum, Descriptor, TableDescriptor};
use crate::parser::quote_ident_in_sql;

/// Rows written at once.
const ROWS_AT_ONCE: usize = 4096;
/// A line longer than this is an error and not a reason to use up all memory.
const MAX_LINE_BYTES: usize = 256 << 20;

/// How rows look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFormat {
    /// Binary, which whoever speaks the protocol writes and reads; nothing else here counts then.
    pub binary: bool,
    /// CSV instead of text.
    pub csv: bool,
    /// Between columns.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// Whether the first line has names.
    pub header: bool,
    /// Around CSV values that need it.
    pub quote: u8,
    /// Before a quote inside a CSV value.
    pub escape: u8,
    /// Whose CSV values are quoted, needed or not.
    force_quote: Forced,
    /// Whose CSV values are never NULL, though they look like it.
    force_not_null: Forced,
    /// Whose CSV values are NULL if they look like it, though they are quoted.
    force_null: Forced,
    /// Where an instant without an offset is, and how instants are written.
    pub zone: TimeZone,
}

/// Columns that an option names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Forced {
    /// `*`
    All,
    Named(Vec<String>),
}

impl Forced {
    const NONE: Forced = Forced::Named(Vec::new());

    fn of(columns: &[Ident]) -> Forced {
        match columns {
            [all] if all.value == "*" => Forced::All,
            columns => Forced::Named(columns.iter().map(folded).collect()),
        }
    }

    fn has(&self, column: &str) -> bool {
        match self {
            Forced::All => true,
            Forced::Named(names) => names.iter().any(|name| name == column),
        }
    }

    /// Refuses names of no column that is copied.
    fn check(&self, option: &str, copied: &[&str]) -> Result<()> {
        let Forced::Named(names) = self else { return Ok(()) };
        match names.iter().find(|name| !copied.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let message = format!("{option} column \"{name}\" not referenced by COPY");
                Err(Error::new(code::INVALID_COLUMN_REFERENCE, message))
            }
        }
    }
}

impl CopyFormat {
    /// From the options of a statement.
    pub fn from_options(options: &[CopyOption], zone: TimeZone) -> Result<CopyFormat> {
        let is_format = |wanted: &str| {
            options
                .iter()
                .any(|option| matches!(option, CopyOption::Format(format) if format.value.eq_ignore_ascii_case(wanted)))
        };
        let (csv, binary) = (is_format("csv"), is_format("binary"));
        let mut format = CopyFormat {
            binary,
            csv,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { String::new() } else { "\\N".into() },
            header: false,
            quote: b'"',
            escape: b'"',
            force_quote: Forced::NONE,
            force_not_null: Forced::NONE,
            force_null: Forced::NONE,
            zone,
        };
        let mut escape = None;
        for option in options {
            match option {
                CopyOption::Format(name) if ["csv", "text", "binary"].contains(&name.value.to_lowercase().as_str()) => {
                }
                CopyOption::Freeze(_) => {}
                CopyOption::Delimiter(_) | CopyOption::Null(_) | CopyOption::Header(true) if binary => {
                    return Err(Error::new(code::SYNTAX_ERROR, format!("cannot specify {option} in BINARY mode")));
                }
                CopyOption::Delimiter(delimiter) => format.delimiter = one_byte(*delimiter, "delimiter")?,
                CopyOption::Null(null) => format.null.clone_from(null),
                CopyOption::Header(header) => format.header = *header,
                CopyOption::Quote(quote) if csv => format.quote = one_byte(*quote, "quote")?,
                CopyOption::Escape(character) if csv => escape = Some(one_byte(*character, "escape")?),
                CopyOption::Quote(_)
                | CopyOption::Escape(_)
                | CopyOption::ForceQuote(_)
                | CopyOption::ForceNotNull(_)
                | CopyOption::ForceNull(_)
                    if !csv =>
                {
                    let name = option.to_string();
                    let name = name.split([' ', '(']).next().unwrap_or_default().to_lowercase();
                    let message = format!("COPY {} available only in CSV mode", name.replace('_', " "));
                    return Err(Error::new(code::FEATURE_NOT_SUPPORTED, message));
                }
                CopyOption::ForceQuote(columns) => format.force_quote = Forced::of(columns),
                CopyOption::ForceNotNull(columns) => format.force_not_null = Forced::of(columns),
                CopyOption::ForceNull(columns) => format.force_null = Forced::of(columns),
                CopyOption::Encoding(encoding) if ["utf8", "utf-8"].contains(&encoding.to_lowercase().as_str()) => {}
                other => return Err(Error::unsupported(format!("COPY option {other}"))),
            }
        }
        format.escape = escape.unwrap_or(format.quote);
        Ok(format)
    }
}

impl CopyFormat {
    /// Refuses options that force something upon columns that are not copied, or in the other direction.
    pub fn check_forced<'a>(&self, is_to: bool, copied: impl Iterator<Item = &'a str>) -> Result<()> {
        let copied: Vec<&str> = copied.collect();
        for (option, forced, of_to) in [
            ("FORCE_QUOTE", &self.force_quote, true),
            ("FORCE_NOT_NULL", &self.force_not_null, false),
            ("FORCE_NULL", &self.force_null, false),
        ] {
            if *forced != Forced::NONE && of_to != is_to {
                let option = option.to_lowercase().replace('_', " ");
                let direction = if of_to { "TO" } else { "FROM" };
                let message = format!("COPY {option} only available using COPY {direction}");
                return Err(Error::new(code::FEATURE_NOT_SUPPORTED, message));
            }
            forced.check(option, &copied)?;
        }
        Ok(())
    }
}

/// Options in the way they were written before PostgreSQL 9.
pub fn modern(legacy: &[CopyLegacyOption]) -> Result<Vec<CopyOption>> {
    let mut options = Vec::new();
    for option in legacy {
        match option {
            CopyLegacyOption::Binary => options.push(CopyOption::Format(Ident::new("binary"))),
            CopyLegacyOption::Delimiter(character) => options.push(CopyOption::Delimiter(*character)),
            CopyLegacyOption::Null(text) => options.push(CopyOption::Null(text.clone())),
            CopyLegacyOption::Csv(of_csv) => {
                options.push(CopyOption::Format(Ident::new("csv")));
                for option in of_csv {
                    options.push(match option {
                        CopyLegacyCsvOption::Header => CopyOption::Header(true),
                        CopyLegacyCsvOption::Quote(character) => CopyOption::Quote(*character),
                        CopyLegacyCsvOption::Escape(character) => CopyOption::Escape(*character),
                        CopyLegacyCsvOption::ForceQuote(columns) => CopyOption::ForceQuote(columns.clone()),
                        CopyLegacyCsvOption::ForceNotNull(columns) => CopyOption::ForceNotNull(columns.clone()),
                    });
                }
            }
            other => return Err(Error::unsupported(format!("COPY option {other}"))),
        }
    }
    Ok(options)
}

fn one_byte(character: char, what: &str) -> Result<u8> {
    let byte = u8::try_from(character).ok().filter(u8::is_ascii);
    byte.ok_or_else(|| {
        Error::new(code::FEATURE_NOT_SUPPORTED, format!("COPY {what} must be a single one-byte character"))
    })
}

/// What a `COPY` statement copies.
pub enum CopyWhat<'a> {
    /// Rows that the client sends.
    In {
        /// The table.
        table: &'a ObjectName,
        /// Its columns; none stands for all.
        columns: &'a [Ident],
    },
    /// The result of a query.
    Out(String),
}

/// Takes a `COPY` statement apart.
pub async fn what<'a>(
    context: &Context,
    source: &'a CopySource,
    to: bool,
    target: &CopyTarget,
) -> Result<CopyWhat<'a>> {
    match (source, to, target) {
        (CopySource::Table { table_name, columns }, false, CopyTarget::Stdin) => {
            Ok(CopyWhat::In { table: table_name, columns })
        }
        (CopySource::Table { table_name, columns }, true, CopyTarget::Stdout) => {
            let mut names: Vec<String> = columns.iter().map(Ident::to_string).collect();
            // What is computed is not copied, unless it is named.
            if let (true, Some(Descriptor::Table(table))) =
                (names.is_empty(), context.find_object(&name_parts(table_name)?).await?.as_deref())
                && table.columns.iter().any(|column| !column.hidden && column.generated.is_some())
            {
                let given = table.visible_columns().filter(|column| column.generated.is_none());
                names = given.map(|column| quote_ident_in_sql(&column.name)).collect();
            }
            let columns = if names.is_empty() { "*".to_string() } else { names.join(", ") };
            Ok(CopyWhat::Out(format!("SELECT {columns} FROM {table_name}")))
        }
        (CopySource::Query(query), true, CopyTarget::Stdout) => Ok(CopyWhat::Out(query.to_string())),
        _ => Err(Error::unsupported("COPY from or to anything but STDIN and STDOUT")),
    }
}

/// A `COPY ... FROM STDIN` under way.
pub struct CopyIn {
    writer: TableWriter,
    table: Arc<TableDescriptor>,
    positions: Vec<usize>,
    format: CopyFormat,
    /// Received, and not a whole line yet.
    pending: Vec<u8>,
    rows: Vec<Row>,
    line: u64,
    count: u64,
    ended: bool,
}

impl CopyIn {
    /// Begins to copy into a table.
    pub async fn new(context: &Context, table: &ObjectName, columns: &[Ident], format: CopyFormat) -> Result<CopyIn> {
        let table = table_named(context, &name_parts(table)?).await?;
        let fold =
            |ident: &Ident| if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
        let mut positions = positions_of(&table, &columns.iter().map(fold).collect::<Vec<_>>())?;
        let is_computed = |position: &usize| table.columns[*position].generated.is_some();
        if columns.is_empty() {
            positions.retain(|position| !is_computed(position));
        } else if let Some(position) = positions.iter().find(|position| is_computed(position)) {
            let message = format!("column \"{}\" is a generated column", table.columns[*position].name);
            return Err(
                Error::new(code::INVALID_COLUMN_REFERENCE, message).detail("Generated columns cannot be used in COPY.")
            );
        }
        format.check_forced(false, positions.iter().map(|&position| table.columns[position].name.as_str()))?;
        let mut writer = TableWriter::new(context, table.clone()).await?;
        writer.use_bulk_load();
        Ok(CopyIn {
            writer,
            table,
            positions,
            format,
            pending: Vec::new(),
            rows: Vec::new(),
            line: 0,
            count: 0,
            ended: false,
        })
    }

    /// The types of the columns of each row.
    pub fn types(&self) -> Vec<ColumnType> {
        self.positions.iter().map(|&position| self.table.columns[position].column_type.clone()).collect()
    }

    /// Takes rows.
    pub async fn push_rows(&mut self, rows: Vec<Row>) -> Result<()> {
        self.rows.extend(rows);
        if self.rows.len() >= ROWS_AT_ONCE { self.write().await } else { Ok(()) }
    }

    /// Takes a piece of data.
    pub async fn push(&mut self, data: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(data);
        let pending = std::mem::take(&mut self.pending);
        let mut start = 0;
        while let Some(end) = line_end(&self.format, &pending[start..]) {
            self.take_line(&pending[start..start + end])?;
            start += end + 1;
            if self.rows.len() >= ROWS_AT_ONCE {
                self.write().await?;
            }
        }
        self.pending = pending[start..].to_vec();
        if self.pending.len() > MAX_LINE_BYTES {
            return Err(self.error("a line is too long".into()));
        }
        Ok(())
    }

    /// The data has ended: writes what is left, and returns the number of rows.
    pub async fn finish(mut self) -> Result<u64> {
        if !self.pending.is_empty() {
            let last = std::mem::take(&mut self.pending);
            self.take_line(&last)?;
        }
        self.write().await?;
        self.writer.finish().await?;
        Ok(self.count)
    }

    async fn write(&mut self) -> Result<()> {
        let given = std::mem::take(&mut self.rows);
        self.count += given.len() as u64;
        let rows = self.writer.complete(&self.positions, given)?;
        self.writer.insert(rows, &OnConflict::Fail).await.map(drop)
    }

    fn error(&self, message: String) -> Error {
        let place = format!("COPY {}, line {}", self.table.identity.name, self.line);
        Error::new(code::BAD_COPY_FORMAT, message).detail(place)
    }

    fn take_line(&mut self, line: &[u8]) -> Result<()> {
        self.line += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.ended || (self.line == 1 && self.format.header) {
            return Ok(());
        }
        if line == b"\\." {
            self.ended = true;
            return Ok(());
        }
        let no_text =
            || Error { sqlstate: "22021", ..self.error("invalid byte sequence for encoding \"UTF8\"".into()) };
        let line = std::str::from_utf8(line).ok().filter(|line| !line.contains('\0')).ok_or_else(no_text)?;
        let values: Vec<Option<String>> = if self.format.csv {
            let fields = split_csv(&self.format, line);
            let fields = fields.ok_or_else(|| self.error("unterminated CSV quoted field".into()))?;
            fields.into_iter().enumerate().map(|(at, field)| self.csv_value(at, field)).collect()
        } else {
            split_text(&self.format, line).ok_or_else(no_text)?
        };
        if values.len() < self.positions.len() {
            let column = &self.table.columns[self.positions[values.len()]].name;
            return Err(self.error(format!("missing data for column \"{column}\"")));
        }
        if values.len() > self.positions.len() {
            return Err(self.error("extra data after last expected column".into()));
        }
        let parse = |(value, &position): (Option<String>, &usize)| {
            let column = &self.table.columns[position];
            let place = || format!("COPY {}, line {}, column {}", self.table.identity.name, self.line, column.name);
            match value {
                None => Ok(Datum::Null),
                Some(value) => {
                    text::parse(&value, &column.column_type, self.format.zone).map_err(|error| error.detail(place()))
                }
            }
        };
        let row = values.into_iter().zip(&self.positions).map(parse).collect::<Result<Row>>()?;
        self.rows.push(row);
        Ok(())
    }

    /// What a field of a line of CSV says.
    fn csv_value(&self, at: usize, CsvField { text, is_quoted }: CsvField) -> Option<String> {
        let format = &self.format;
        let column = self.positions.get(at).map_or("", |position| self.table.columns[*position].name.as_str());
        let is_null = text == format.null
            && if is_quoted { format.force_null.has(column) } else { !format.force_not_null.has(column) };
        (!is_null).then_some(text)
    }
}

/// Where the first line ends: at a newline that is not escaped or quoted.
fn line_end(format: &CopyFormat, data: &[u8]) -> Option<usize> {
    if !format.csv {
        // One that an odd number of backslashes stands before is escaped.
        let is_end = |at: &usize| data[..*at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0;
        return memchr::memchr_iter(b'\n', data).find(is_end);
    }
    let (mut quoted, mut at) = (false, 0);
    while let Some(&byte) = data.get(at) {
        let escapes = quoted && byte == format.escape && byte != format.quote;
        if escapes && data.get(at + 1).is_some_and(|next| [format.quote, format.escape].contains(next)) {
            at += 1;
        } else if byte == format.quote {
            quoted = !quoted;
        } else if byte == b'\n' && !quoted {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The values of a line; `None` if one is no text.
fn split_text(format: &CopyFormat, line: &str) -> Option<Vec<Option<String>>> {
    let mut values = Vec::new();
    let mut start = 0;
    let bytes = line.as_bytes();
    let mut at = 0;
    while at <= bytes.len() {
        if at == bytes.len() || bytes[at] == format.delimiter {
            let raw = &line[start..at];
            values.push(if raw == format.null { None } else { Some(unescape(raw)?) });
            start = at + 1;
        } else if bytes[at] == b'\\' {
            at += 1;
        }
        at += 1;
    }
    // A backslash at the very end escapes nothing.
    if start <= bytes.len() && at > bytes.len() + 1 {
        let raw = &line[start..];
        values.push(if raw == format.null { None } else { Some(unescape(raw)?) });
    }
    Some(values)
}

/// What is written so; `None` if that is no text.
fn unescape(raw: &str) -> Option<String> {
    if !raw.contains('\\') {
        return Some(raw.to_string());
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let Some((&escaped, tail)) = rest.split_first() else {
            bytes.push(b'\\');
            break;
        };
        rest = tail;
        match escaped {
            b'b' => bytes.push(8),
            b'f' => bytes.push(12),
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'v' => bytes.push(11),
            b'0'..=b'7' => {
                let digits = rest.iter().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                let value = rest[..digits]
                    .iter()
                    .fold(u32::from(escaped - b'0'), |value, digit| value * 8 + u32::from(digit - b'0'));
                bytes.push(value as u8);
                rest = &rest[digits..];
            }
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                let digits = rest.iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
                let hex = std::str::from_utf8(&rest[..digits]).unwrap_or_default();
                bytes.push(u8::from_str_radix(hex, 16).unwrap_or_default());
                rest = &rest[digits..];
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// A value as it stands in a line of CSV.
struct CsvField {
    text: String,
    is_quoted: bool,
}

/// The fields of a line; `None` if a quote is missing.
fn split_csv(format: &CopyFormat, line: &str) -> Option<Vec<CsvField>> {
    let mut values = Vec::new();
    let mut value = Vec::new();
    let (mut quoted, mut was_quoted) = (false, false);
    let bytes = line.as_bytes();
    let mut at = 0;
    // Delimiters and quotes are ASCII: what is between them is as good UTF-8 as the line.
    let finish = |value: &mut Vec<u8>, is_quoted: bool| CsvField {
        text: String::from_utf8_lossy(&std::mem::take(value)).into_owned(),
        is_quoted,
    };
    while at < bytes.len() {
        let byte = bytes[at];
        if quoted {
            let escapes = byte == format.escape
                && bytes.get(at + 1).is_some_and(|next| *next == format.quote || *next == format.escape);
            if escapes {
                at += 1;
                value.push(bytes[at]);
            } else if byte == format.quote {
                quoted = false;
            } else {
                value.push(byte);
            }
        } else if byte == format.quote {
            (quoted, was_quoted) = (true, true);
        } else if byte == format.delimiter {
            values.push(finish(&mut value, was_quoted));
            was_quoted = false;
        } else {
            value.push(byte);
        }
        at += 1;
    }
    if quoted {
        return None;
    }
    values.push(finish(&mut value, was_quoted));
    Some(values)
}

/// The header line, if the format has one.
pub fn header(format: &CopyFormat, columns: &[OutputColumn]) -> Option<String> {
    let mut line = String::new();
    for (index, column) in columns.iter().enumerate() {
        push_delimiter(&mut line, format, index);
        push_value(&mut line, format, &column.name, false);
    }
    line.push('\n');
    format.header.then_some(line)
}

/// Writes the rows of a batch, one line each.
pub fn write_batch(
    format: &CopyFormat,
    columns: &[OutputColumn],
    batch: &RecordBatch,
    lines: &mut Vec<String>,
) -> Result<()> {
    let types: Vec<&ColumnType> = columns.iter().map(|column| &column.column_type).collect();
    for row in 0..batch.num_rows() {
        let mut line = String::new();
        for (index, (array, column_type)) in batch.columns().iter().zip(&types).enumerate() {
            push_delimiter(&mut line, format, index);
            let datum = datum_at(&**array, row, column_type)?;
            if datum.is_null() {
                line.push_str(&format.null);
            } else {
                let mut value = String::new();
                text::format(&mut value, &datum, column_type, format.zone);
                push_value(&mut line, format, &value, format.force_quote.has(&columns[index].name));
            }
        }
        line.push('\n');
        lines.push(line);
    }
    Ok(())
}

fn push_delimiter(line: &mut String, format: &CopyFormat, index: usize) {
    if index > 0 {
        line.push(char::from(format.delimiter));
    }
}

fn push_value(line: &mut String, format: &CopyFormat, value: &str, is_forced: bool) {
    if !format.csv {
        for c in value.chars() {
            match c {
                '\\' => line.push_str("\\\\"),
                '\n' => line.push_str("\\n"),
                '\r' => line.push_str("\\r"),
                '\t' => line.push_str("\\t"),
                '\u{8}' => line.push_str("\\b"),
                '\u{b}' => line.push_str("\\v"),
                '\u{c}' => line.push_str("\\f"),
                c if c == char::from(format.delimiter) => line.extend(['\\', c]),
                c => line.push(c),
            }
        }
        return;
    }
    let (quote, escape, delimiter) =
        (char::from(format.quote), char::from(format.escape), char::from(format.delimiter));
    let special = |c: char| c == quote || c == delimiter || c == '\n' || c == '\r';
    if !is_forced && value != format.null && !value.contains(special) && value != "\\." {
        line.push_str(value);
        return;
    }
    line.push(quote);
    for c in value.chars() {
        if c == quote || c == escape {
            line.push(escape);
        }
        line.push(c);
    }
    line.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|value| (*value != "NULL").then(|| value.to_string())).collect()
    }

    fn csv_values(format: &CopyFormat, line: &str) -> Option<Vec<Option<String>>> {
        let value = |field: CsvField| (field.is_quoted || field.text != format.null).then_some(field.text);
        Some(split_csv(format, line)?.into_iter().map(value).collect())
    }

    #[test]
    fn text_lines_are_split_and_unescaped() {
        let format = CopyFormat::from_options(&[], TimeZone::UTC).unwrap();
        assert_eq!(split_text(&format, "1\t\\N\ta\\tb\t").unwrap(), some(&["1", "NULL", "a\tb", ""]));
        assert_eq!(split_text(&format, "\\\\\\x41\\101\\q").unwrap(), some(&["\\AAq"]));
        assert_eq!(split_text(&format, "").unwrap(), some(&[""]));
        assert_eq!(split_text(&format, "\\xff"), None);
        assert_eq!(line_end(&format, b"a\\\nb\nc"), Some(4));
    }

    #[test]
    fn csv_lines_may_hold_quotes_delimiters_and_newlines() {
        let format = CopyFormat::from_options(&[CopyOption::Format(Ident::new("csv"))], TimeZone::UTC).unwrap();
        assert_eq!(csv_values(&format, "1,,\"\",\"a \"\"b\"\", c\"").unwrap(), some(&["1", "NULL", "", "a \"b\", c"]));
        assert_eq!(csv_values(&format, "\"open"), None);
        assert_eq!(line_end(&format, b"\"a\nb\"\nc"), Some(5));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for csv in [false, true] {
            let options = if csv { vec![CopyOption::Format(Ident::new("csv"))] } else { vec![] };
            let format = CopyFormat::from_options(&options, TimeZone::UTC).unwrap();
            for value in ["plain", "", "\\N", "tab\tnewline\nreturn\r", "quote\" comma, \\back", "\\.", "é"] {
                let mut line = String::new();
                push_value(&mut line, &format, value, false);
                let split = if csv { csv_values(&format, &line) } else { split_text(&format, &line) };
                assert_eq!(split.unwrap(), [Some(value.to_string())], "{value:?} as {line:?}");
                line.push('\n');
                assert_eq!(line_end(&format, line.as_bytes()), Some(line.len() - 1));
            }
        }
    }
}
