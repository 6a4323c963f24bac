use std::borrow::Cow;

/// One value as it is stored. Which SQL type it has, its column says: dates, times and timestamps are integers,
/// a decimal is its digits without the point, a UUID is sixteen bytes, JSON is its text.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum<'a> {
    /// SQL NULL.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// The digits of a decimal; its column knows the scale.
    Decimal(i128),
    /// Text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// An interval.
    Interval(Interval),
    /// The elements of an array.
    Array(Vec<Datum<'a>>),
}

/// PostgreSQL's interval: three parts that do not convert into each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

impl Interval {
    /// Its length for comparisons, as PostgreSQL takes it: a month is 30 days, a day 24 hours.
    pub fn comparable_micros(self) -> i128 {
        let days = i128::from(self.months) * 30 + i128::from(self.days);
        days * 86_400_000_000 + i128::from(self.micros)
    }
}

impl<'a> Datum<'a> {
    /// Borrowed text.
    pub fn text(text: &'a str) -> Datum<'a> {
        Datum::Text(Cow::Borrowed(text))
    }

    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// The same value, borrowing nothing.
    pub fn into_owned(self) -> Datum<'static> {
        match self {
            Datum::Null => Datum::Null,
            Datum::Bool(value) => Datum::Bool(value),
            Datum::Int(value) => Datum::Int(value),
            Datum::Float(value) => Datum::Float(value),
            Datum::Decimal(value) => Datum::Decimal(value),
            Datum::Text(text) => Datum::Text(Cow::Owned(text.into_owned())),
            Datum::Bytes(bytes) => Datum::Bytes(Cow::Owned(bytes.into_owned())),
            Datum::Interval(value) => Datum::Interval(value),
            Datum::Array(items) => Datum::Array(items.into_iter().map(Datum::into_owned).collect()),
        }
    }

    /// The whole number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Datum::Int(value) = self { Some(*value) } else { None }
    }

    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        if let Datum::Text(text) = self { Some(text) } else { None }
    }
}

impl From<i64> for Datum<'_> {
    fn from(value: i64) -> Self {
        Datum::Int(value)
    }
}

impl From<u64> for Datum<'_> {
    fn from(value: u64) -> Self {
        Datum::Int(value as i64)
    }
}

impl From<String> for Datum<'_> {
    fn from(text: String) -> Self {
        Datum::Text(Cow::Owned(text))
    }
}

impl<'a> From<&'a str> for Datum<'a> {
    fn from(text: &'a str) -> Self {
        Datum::text(text)
    }
}

impl<'a, T: Into<Datum<'a>>> From<Option<T>> for Datum<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Datum::Null, Into::into)
    }
}
