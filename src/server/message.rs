//! Messages to the client.

use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::data::{FieldDescription, RowDescription};
use pgwire::messages::response::{
    CommandComplete, ErrorResponse, NoticeResponse, NotificationResponse, ReadyForQuery, TransactionStatus,
};

use crate::catalog::ColumnType;
use crate::sql::notifications::Notification;
use crate::sql::types::pg_type;
use crate::sql::{Error, OutputColumn, Status};

/// The format codes of the protocol.
pub const TEXT: i16 = 0;
/// Binary values.
pub const BINARY: i16 = 1;

fn fields(severity: &str, error: &Error) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_string()),
        (b'V', severity.to_string()),
        (b'C', error.sqlstate.to_string()),
        (b'M', error.message.clone()),
    ];
    fields.extend(error.detail.clone().map(|detail| (b'D', detail)));
    fields.extend(error.hint.clone().map(|hint| (b'H', hint)));
    fields.extend(error.position.map(|position| (b'P', position.to_string())));
    if let Some(place) = error.place.clone() {
        fields.extend(place.schema.map(|schema| (b's', schema)));
        fields.push((b't', place.table));
        fields.extend(place.column.map(|column| (b'c', column)));
    }
    fields.extend(error.constraint.as_deref().map(|constraint| (b'n', constraint.to_string())));
    fields
}

/// An error that ends the statement.
pub fn error(error: &Error) -> Message {
    Message::ErrorResponse(ErrorResponse::new(fields("ERROR", error)))
}

/// An error that ends the connection.
pub fn fatal(error: &Error) -> Message {
    Message::ErrorResponse(ErrorResponse::new(fields("FATAL", error)))
}

/// Something the user should know.
pub fn notice(text: String) -> Message {
    Message::NoticeResponse(NoticeResponse::new(fields("NOTICE", &Error::new("00000", text))))
}

/// A message of another session.
pub fn notification(sent: Notification) -> Message {
    let Notification { sender, channel, payload } = sent;
    Message::NotificationResponse(NotificationResponse::new(sender, channel, payload))
}

/// A statement is done.
pub fn complete(tag: String) -> Message {
    Message::CommandComplete(CommandComplete::new(tag))
}

/// The server waits for the next query.
pub fn ready(status: Status) -> Message {
    let status = match status {
        Status::Idle => TransactionStatus::Idle,
        Status::Open => TransactionStatus::Transaction,
        Status::Failed => TransactionStatus::Error,
    };
    Message::ReadyForQuery(ReadyForQuery::new(status))
}

/// The columns of a result.
pub fn row_description(columns: &[OutputColumn], formats: &[i16]) -> Message {
    let describe = |(index, column): (usize, &OutputColumn)| {
        let mut field = FieldDescription::default();
        field.name.clone_from(&column.name);
        field.type_id = pg_type(&column.column_type).oid();
        if let Some(origin) = column.origin {
            (field.table_id, field.column_id) = (origin.table_oid(), origin.column_number());
        }
        (field.type_size, field.type_modifier) = size_and_modifier(&column.column_type);
        field.format_code = format_of(formats, index);
        field
    };
    Message::RowDescription(RowDescription::new(columns.iter().enumerate().map(describe).collect()))
}

/// The format of a column: none stands for text, one for all.
pub fn format_of(formats: &[i16], index: usize) -> i16 {
    match formats {
        [] => TEXT,
        [one] => *one,
        many => many.get(index).copied().unwrap_or(TEXT),
    }
}

/// PostgreSQL's `typlen` and `atttypmod`.
fn size_and_modifier(column_type: &ColumnType) -> (i16, i32) {
    const HEADER: i32 = 4;
    match column_type {
        ColumnType::Bool => (1, -1),
        ColumnType::Int2 => (2, -1),
        ColumnType::Int4 | ColumnType::Float4 | ColumnType::Date => (4, -1),
        ColumnType::Int8 | ColumnType::Float8 | ColumnType::Time | ColumnType::Timestamp | ColumnType::TimestampTz => {
            (8, -1)
        }
        ColumnType::Enum(_) => (4, -1),
        ColumnType::Interval | ColumnType::Uuid => (16, -1),
        ColumnType::VarChar(Some(length)) | ColumnType::Char(length) => (-1, *length as i32 + HEADER),
        ColumnType::Decimal { precision: Some(precision), scale } => {
            (-1, (i32::from(*precision) << 16 | i32::from(*scale)) + HEADER)
        }
        _ => (-1, -1),
    }
}
