//! The one place where errors become SQLSTATEs.

use std::fmt;

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use crate::catalog::{DescriptorId, TableDescriptor};
use crate::{backup, catalog, jobs, kv, parser, runfile, schedule, storage};

/// An error as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// PostgreSQL's five-character code.
    pub sqlstate: &'static str,
    /// What went wrong.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the query, counting characters from 1.
    pub position: Option<u32>,
    /// The constraint that was violated.
    pub constraint: Option<Box<str>>,
    /// The table it is about.
    pub place: Option<Box<Place>>,
}

/// The table an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The schema's number.
    pub schema_id: DescriptorId,
    /// The schema's name, once it has been looked up.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
    /// The column.
    pub column: Option<String>,
}

/// The SQL layer's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// SQLSTATEs by their PostgreSQL names.
pub mod code {
    #![allow(missing_docs)]
    pub const ACTIVE_TRANSACTION: &str = "25001";
    pub const CANNOT_COERCE: &str = "42846";
    pub const CHECK_VIOLATION: &str = "23514";
    pub const CONNECTION_FAILURE: &str = "08006";
    pub const DATA_CORRUPTED: &str = "XX001";
    pub const DATATYPE_MISMATCH: &str = "42804";
    pub const DATETIME_OVERFLOW: &str = "22008";
    pub const DEPENDENT_OBJECTS: &str = "2BP01";
    pub const DISK_FULL: &str = "53100";
    pub const DIVISION_BY_ZERO: &str = "22012";
    pub const DUPLICATE_COLUMN: &str = "42701";
    pub const DUPLICATE_DATABASE: &str = "42P04";
    pub const DUPLICATE_OBJECT: &str = "42710";
    pub const DUPLICATE_SCHEMA: &str = "42P06";
    pub const DUPLICATE_TABLE: &str = "42P07";
    pub const FAILED_TRANSACTION: &str = "25P02";
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub const FOREIGN_KEY_VIOLATION: &str = "23503";
    pub const BAD_COPY_FORMAT: &str = "22P04";
    pub const BAD_DATETIME: &str = "22007";
    pub const BAD_TEXT: &str = "22P02";
    pub const IDLE_IN_TRANSACTION: &str = "25P03";
    pub const INTERNAL: &str = "XX000";
    pub const LIMIT_EXCEEDED: &str = "54000";
    pub const INVALID_AUTHORIZATION: &str = "28000";
    pub const INVALID_COLUMN_REFERENCE: &str = "42P10";
    pub const INVALID_DATABASE: &str = "3D000";
    pub const INVALID_FOREIGN_KEY: &str = "42830";
    pub const INVALID_LOGARITHM: &str = "2201E";
    pub const INVALID_POWER: &str = "2201F";
    pub const INVALID_NAME: &str = "42602";
    pub const INVALID_OBJECT_DEFINITION: &str = "42P17";
    pub const INVALID_PASSWORD: &str = "28P01";
    pub const INVALID_PARAMETER: &str = "22023";
    pub const INVALID_SAVEPOINT: &str = "3B001";
    pub const INVALID_SCHEMA: &str = "3F000";
    pub const INVALID_TABLE_DEFINITION: &str = "42P16";
    pub const IO_ERROR: &str = "58030";
    pub const NO_ACTIVE_TRANSACTION: &str = "25P01";
    pub const NOT_IN_PREREQUISITE_STATE: &str = "55000";
    pub const NOT_NULL_VIOLATION: &str = "23502";
    pub const NUMERIC_OUT_OF_RANGE: &str = "22003";
    pub const OBJECT_IN_USE: &str = "55006";
    pub const LOCK_NOT_AVAILABLE: &str = "55P03";
    pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    pub const QUERY_CANCELED: &str = "57014";
    pub const READ_ONLY_TRANSACTION: &str = "25006";
    pub const RESOURCES_EXHAUSTED: &str = "53200";
    pub const SERIALIZATION_FAILURE: &str = "40001";
    pub const SHUTDOWN: &str = "57P01";
    pub const SNAPSHOT_TOO_OLD: &str = "72000";
    pub const STRING_TOO_LONG: &str = "22001";
    pub const SYNTAX_ERROR: &str = "42601";
    pub const TRANSACTION_TIMEOUT: &str = "25P04";
    pub const UNDEFINED_COLUMN: &str = "42703";
    pub const UNDEFINED_FUNCTION: &str = "42883";
    pub const UNDEFINED_OBJECT: &str = "42704";
    pub const UNDEFINED_TABLE: &str = "42P01";
    pub const UNDEFINED_FILE: &str = "58P01";
    pub const UNIQUE_VIOLATION: &str = "23505";
    pub const UNTRANSLATABLE: &str = "22P05";
    pub const WINDOWING_ERROR: &str = "42P20";
    pub const WRONG_OBJECT_TYPE: &str = "42809";
    pub const GENERATED_ALWAYS: &str = "428C9";
    pub const GROUPING_ERROR: &str = "42803";
    pub const CARDINALITY_VIOLATION: &str = "21000";
    pub const INVALID_ESCAPE_SEQUENCE: &str = "22025";
    pub const AMBIGUOUS_COLUMN: &str = "42702";
    pub const UNDEFINED_PREPARED_STATEMENT: &str = "26000";
    pub const UNDEFINED_CURSOR: &str = "34000";
    pub const DUPLICATE_CURSOR: &str = "42P03";
    pub const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
}

impl Error {
    /// An error with a code and a message.
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Error {
        let message = message.into();
        Error { sqlstate, message, detail: None, hint: None, position: None, constraint: None, place: None }
    }

    /// Something known that this version does not do.
    pub fn unsupported(what: impl fmt::Display) -> Error {
        Error::new(code::FEATURE_NOT_SUPPORTED, format!("{what} is not supported"))
    }

    /// A broken promise of keepsafe's own.
    pub fn internal(what: impl fmt::Display) -> Error {
        Error::new(code::INTERNAL, format!("internal error: {what}"))
    }

    /// Adds a DETAIL.
    pub fn detail(mut self, detail: impl Into<String>) -> Error {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a HINT.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Names the constraint.
    pub fn constraint(mut self, name: &str) -> Error {
        self.constraint = Some(name.into());
        self
    }

    /// Names the table.
    pub fn table(mut self, table: &TableDescriptor) -> Error {
        let (schema_id, table) = (table.schema, table.identity.name.clone());
        self.place = Some(Box::new(Place { schema_id, schema: None, table, column: None }));
        self
    }

    /// Names the column of the table.
    pub fn column(mut self, name: &str) -> Error {
        if let Some(place) = &mut self.place {
            place.column = Some(name.into());
        }
        self
    }

    /// Whether running the transaction again may succeed.
    pub fn is_retryable(&self) -> bool {
        self.sqlstate == code::SERIALIZATION_FAILURE
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<kv::Error> for Error {
    fn from(error: kv::Error) -> Error {
        let sqlstate = match &error {
            kv::Error::Retry(_) => code::SERIALIZATION_FAILURE,
            kv::Error::BelowThreshold { .. } => code::SNAPSHOT_TOO_OLD,
            kv::Error::Future { .. } => code::INVALID_PARAMETER,
            kv::Error::ReadOnly => code::READ_ONLY_TRANSACTION,
            kv::Error::TooLarge(_) => code::RESOURCES_EXHAUSTED,
            kv::Error::DiskFull { .. } => code::DISK_FULL,
            kv::Error::KeyTooLong(_) => code::LIMIT_EXCEEDED,
            kv::Error::Corrupt(_) => code::DATA_CORRUPTED,
            kv::Error::Engine(_) | kv::Error::Unopenable(_) => code::IO_ERROR,
            kv::Error::Dropped(_) | kv::Error::Ended | kv::Error::Unsorted => code::INTERNAL,
        };
        Error::new(sqlstate, error.to_string())
    }
}

impl From<catalog::Error> for Error {
    fn from(error: catalog::Error) -> Error {
        match error {
            catalog::Error::Store(error) => error.into(),
            catalog::Error::Corrupt(_) => Error::new(code::DATA_CORRUPTED, error.to_string()),
            catalog::Error::Exists(_) => Error::new(code::DUPLICATE_TABLE, error.to_string()),
        }
    }
}

impl From<parser::Error> for Error {
    fn from(error: parser::Error) -> Error {
        let position = u32::try_from(error.position).ok().filter(|position| *position > 0);
        Error { position, hint: error.hint, ..Error::new(error.sqlstate, error.message) }
    }
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Error {
        let sqlstate = match &error {
            storage::Error::Unsupported(_) => code::FEATURE_NOT_SUPPORTED,
            storage::Error::BadUri { .. } => code::INVALID_PARAMETER,
            storage::Error::Disabled => code::NOT_IN_PREREQUISITE_STATE,
            storage::Error::NotFound(_) => code::UNDEFINED_FILE,
            storage::Error::Exists(_) => code::DUPLICATE_OBJECT,
            storage::Error::Failed { .. } => code::IO_ERROR,
        };
        Error::new(sqlstate, error.to_string())
    }
}

impl From<runfile::Error> for Error {
    fn from(error: runfile::Error) -> Error {
        match error {
            runfile::Error::Storage(error) => error.into(),
            runfile::Error::Store(error) => error.into(),
            runfile::Error::Corrupt { .. } | runfile::Error::Sealed { .. } => {
                Error::new(code::DATA_CORRUPTED, error.to_string())
            }
            runfile::Error::Newer { .. } => Error::new(code::FEATURE_NOT_SUPPORTED, error.to_string()),
        }
    }
}

impl From<jobs::Error> for Error {
    fn from(error: jobs::Error) -> Error {
        match error {
            jobs::Error::Catalog(error) => error.into(),
            jobs::Error::NotFound(_) => Error::new(code::UNDEFINED_OBJECT, error.to_string()),
            jobs::Error::LostLease(_) | jobs::Error::Stopping => Error::new(code::SHUTDOWN, error.to_string()),
            jobs::Error::WrongState { .. } => Error::new(code::NOT_IN_PREREQUISITE_STATE, error.to_string()),
            jobs::Error::Interrupted(_) | jobs::Error::Canceled(_) => {
                Error::new(code::QUERY_CANCELED, error.to_string())
            }
            jobs::Error::Paused(job) => {
                Error::new(code::QUERY_CANCELED, error.to_string()).hint(format!("RESUME JOB {job} goes on with it."))
            }
            jobs::Error::Failed { message, sqlstate } => Error::new(intern(&sqlstate), message),
        }
    }
}

impl From<backup::Error> for Error {
    fn from(error: backup::Error) -> Error {
        let hint = error.hint();
        let sqlstate = intern(error.sqlstate());
        Error { hint, ..Error::new(sqlstate, error.to_string()) }
    }
}

impl From<schedule::Error> for Error {
    fn from(error: schedule::Error) -> Error {
        match error {
            schedule::Error::Backup(error) => error.into(),
            schedule::Error::Job(error) => error.into(),
            schedule::Error::Catalog(error) => error.into(),
            schedule::Error::NotFound(_) => Error::new(code::UNDEFINED_OBJECT, error.to_string()),
        }
    }
}

/// A code that came as text: those that jobs fail with, and backups and schedules are refused with.
fn intern(sqlstate: &str) -> &'static str {
    const KNOWN: [&str; 21] = [
        code::SHUTDOWN,
        code::SYNTAX_ERROR,
        code::DISK_FULL,
        code::INVALID_PASSWORD,
        code::SERIALIZATION_FAILURE,
        code::SNAPSHOT_TOO_OLD,
        code::DATA_CORRUPTED,
        code::FEATURE_NOT_SUPPORTED,
        code::INVALID_PARAMETER,
        code::INVALID_DATABASE,
        code::INVALID_SCHEMA,
        code::IO_ERROR,
        code::UNDEFINED_FILE,
        code::UNDEFINED_OBJECT,
        code::UNDEFINED_TABLE,
        code::DUPLICATE_OBJECT,
        code::DUPLICATE_TABLE,
        code::DUPLICATE_DATABASE,
        code::NOT_IN_PREREQUISITE_STATE,
        code::OBJECT_IN_USE,
        code::DEPENDENT_OBJECTS,
    ];
    KNOWN.into_iter().find(|known| *known == sqlstate).unwrap_or(code::INTERNAL)
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Error {
        match error {
            ArrowError::ExternalError(source) => from_source(source),
            ArrowError::DivideByZero => Error::new(code::DIVISION_BY_ZERO, "division by zero"),
            ArrowError::ArithmeticOverflow(_) => Error::new(code::NUMERIC_OUT_OF_RANGE, "value out of range"),
            ArrowError::CastError(message) => from_cast(message),
            ArrowError::ParseError(message) => Error::new(code::BAD_TEXT, message),
            ArrowError::ComputeError(message) if message.contains("overflow") => {
                let name = message.split("Array").next().map_or("value", type_name);
                Error::new(code::NUMERIC_OUT_OF_RANGE, format!("{name} out of range"))
            }
            ArrowError::InvalidArgumentError(message) => Error::new(code::INVALID_PARAMETER, message),
            other => Error::internal(other),
        }
    }
}

/// Arrow's words for a failed cast, in PostgreSQL's.
fn from_cast(message: String) -> Error {
    if let Some(rest) = message.strip_prefix("Cannot cast string '")
        && let Some((value, rest)) = rest.rsplit_once("' to value of ")
    {
        let name = type_name(rest.trim_end_matches(" type").trim());
        return Error::new(code::BAD_TEXT, format!("invalid input syntax for type {name}: \"{value}\""));
    }
    if message.contains("out of range") || message.contains("Overflowing") || message.starts_with("Can't cast value") {
        return Error::new(code::NUMERIC_OUT_OF_RANGE, message);
    }
    Error::new(code::BAD_TEXT, message)
}

fn from_source(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let source = match source.downcast::<Error>() {
        Ok(own) => return *own,
        Err(source) => source,
    };
    match source.downcast::<DataFusionError>() {
        Ok(error) => (*error).into(),
        Err(source) => Error::internal(source),
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> DataFusionError {
        DataFusionError::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Error {
        match error {
            DataFusionError::External(source) => from_source(source),
            DataFusionError::ArrowError(error, _) => (*error).into(),
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => (*inner).into(),
            DataFusionError::Collection(errors) => match errors.into_iter().next() {
                Some(first) => first.into(),
                None => Error::internal("no error in a collection of errors"),
            },
            DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
                Ok(error) => error.into(),
                Err(shared) => from_shared(shared.find_root()),
            },
            DataFusionError::SchemaError(error, _) => from_schema(*error),
            DataFusionError::SQL(error, _) => parser::Error::from_sqlparser(*error).into(),
            DataFusionError::NotImplemented(message) => Error::new(code::FEATURE_NOT_SUPPORTED, message),
            DataFusionError::Plan(message) => from_plan(message),
            DataFusionError::ResourcesExhausted(message) => Error::new(code::RESOURCES_EXHAUSTED, message),
            DataFusionError::Execution(message) if message.contains("returned more than one row") => Error::new(
                code::CARDINALITY_VIOLATION,
                "more than one row returned by a subquery used as an expression",
            ),
            DataFusionError::Execution(message) if message.contains(NO_FUNCTION) => from_plan(message),
            DataFusionError::Execution(message) => Error::new(code::INVALID_PARAMETER, message),
            other => Error::internal(other),
        }
    }
}

/// Shared errors cannot be taken apart; what they wrap is looked at instead.
fn from_shared(root: &DataFusionError) -> Error {
    match root {
        DataFusionError::External(source) => match source.downcast_ref::<Error>() {
            Some(own) => own.clone(),
            None => Error::internal(source),
        },
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::DivideByZero => ArrowError::DivideByZero.into(),
            ArrowError::CastError(message) => from_cast(message.clone()),
            other => Error::internal(other),
        },
        DataFusionError::Plan(message) => from_plan(message.clone()),
        other => Error::internal(other),
    }
}

fn from_schema(error: SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => match &field.relation {
            Some(relation) if !valid_fields.iter().any(|valid| valid.relation.as_ref() == Some(relation)) => {
                Error::new(
                    code::UNDEFINED_TABLE,
                    format!("missing FROM-clause entry for table \"{}\"", relation.table()),
                )
            }
            Some(relation) => {
                Error::new(code::UNDEFINED_COLUMN, format!("column {relation}.{} does not exist", field.name))
            }
            None => Error::new(code::UNDEFINED_COLUMN, format!("column \"{}\" does not exist", field.name)),
        },
        SchemaError::AmbiguousReference { field } => {
            Error::new(code::AMBIGUOUS_COLUMN, format!("column reference \"{}\" is ambiguous", field.name))
        }
        other => Error::new(code::DUPLICATE_COLUMN, other.to_string()),
    }
}

fn from_plan(message: String) -> Error {
    let has = |part: &str| message.contains(part);
    let sqlstate = if has("Invalid function") || has("No function matches") || has("Cannot infer common") {
        code::UNDEFINED_FUNCTION
    } else if has("must be in GROUP BY")
        || has("must appear in the GROUP BY")
        || has("Aggregate functions are not allowed")
        || has("Aggregate function calls cannot be nested")
    {
        code::GROUPING_ERROR
    } else if has("Order by column out of bounds") {
        code::INVALID_COLUMN_REFERENCE
    } else if has("LIMIT must be") {
        "2201W"
    } else if has("OFFSET must be") {
        "2201X"
    } else if has("Cannot coerce") || has("Cannot automatically convert") || has("Unsupported CAST") {
        code::CANNOT_COERCE
    } else if has("different number of columns") {
        code::SYNTAX_ERROR
    } else {
        code::DATATYPE_MISMATCH
    };
    if let Some(rest) = message.strip_prefix("Invalid function '") {
        let name = rest.split('\'').next().unwrap_or_default();
        return Error::new(code::UNDEFINED_FUNCTION, format!("function {name} does not exist"));
    }
    no_function(&message).unwrap_or_else(|| Error::new(sqlstate, message))
}

/// What DataFusion says of a call that fits no function.
const NO_FUNCTION: &str = "No function matches the given name and argument types '";

/// The same in PostgreSQL's words: `function substr(bytea, boolean) does not exist`.
fn no_function(message: &str) -> Option<Error> {
    let (_, call) = message.split_once(NO_FUNCTION)?;
    let (name, types) = call.split_once("'. You might")?.0.strip_suffix(')')?.split_once('(')?;
    let (mut depth, mut args) = (0_i32, vec![String::new()]);
    for letter in types.chars() {
        match letter {
            ',' if depth == 0 => args.push(String::new()),
            _ => {
                depth += i32::from(letter == '(') - i32::from(letter == ')');
                args.last_mut()?.push(letter);
            }
        }
    }
    let args: Vec<&str> = args.iter().map(|arg| type_name(arg.trim())).collect();
    let message = format!("function {name}({}) does not exist", args.join(", "));
    let hint = "No function matches the given name and argument types. You might need to add explicit type casts.";
    Some(Error::new(code::UNDEFINED_FUNCTION, message).hint(hint))
}

/// What PostgreSQL calls a type of Arrow's.
fn type_name(arrow: &str) -> &str {
    match arrow.split('(').next().unwrap_or_default() {
        "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Boolean" => "boolean",
        "Utf8" | "LargeUtf8" | "Utf8View" => "text",
        "Binary" => "bytea",
        "Date32" => "date",
        "Time64" => "time",
        "Timestamp" if arrow.contains("Some") || arrow.contains('"') => "timestamp with time zone",
        "Timestamp" => "timestamp without time zone",
        "Decimal128" => "numeric",
        "Interval" => "interval",
        "Null" => "unknown",
        "List" => "anyarray",
        _ => arrow,
    }
}
