//! Words that are no names unless quoted.

use std::collections::HashSet;
use std::sync::LazyLock;

/// PostgreSQL's reserved words (appendix C of its manual), those that may be function or type names included.
const RESERVED: [&str; 100] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "binary",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "natural",
    "not",
    "notnull",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "overlaps",
    "placing",
    "primary",
    "references",
    "returning",
    "right",
    "select",
    "session_user",
    "similar",
    "some",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
];

static QUOTED: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let theirs = sqlparser::keywords::RESERVED_FOR_IDENTIFIER.iter();
    let theirs = theirs.chain(sqlparser::keywords::RESERVED_FOR_COLUMN_ALIAS);
    let theirs = theirs.map(|keyword| format!("{keyword:?}").to_lowercase());
    RESERVED.iter().map(|word| word.to_string()).chain(theirs).collect()
});

/// Whether an unquoted word is never a name.
pub fn is_reserved(word: &str) -> bool {
    word.len() <= 17 && RESERVED.binary_search(&word.to_ascii_lowercase().as_str()).is_ok()
}

/// Whether a lower-case word is somewhere in SQL, as `sqlparser` reads it, no name unless quoted.
pub fn is_reserved_in_sql(word: &str) -> bool {
    QUOTED.contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order() {
        assert!(RESERVED.is_sorted());
        assert!(is_reserved("SELECT") && is_reserved("with") && !is_reserved("backup") && !is_reserved("schedule"));
    }
}
