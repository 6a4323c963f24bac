//! PostgreSQL's dialect as `sqlparser` has it, made safe to give to strangers.
//!
//! `sqlparser` tries one reading after the other. Where it tries two at every level of a nesting, its time doubles with
//! every level: `f(f(f(...)))` thirty deep takes hours. So the reading of function arguments as `f(name => value)` or
//! `f(expression : value)` is tried only in statements that have such an argument anywhere, and all readings together have
//! a budget.

use std::any::TypeId;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::limits::RECURSION_LIMIT;

/// Readings of an expression that every statement may take.
const LEAST_BUDGET: usize = 20_000;
/// Readings more for every token.
const BUDGET_PER_TOKEN: usize = 16;

/// PostgreSQL's dialect, for one statement.
#[derive(Debug)]
pub struct Postgres {
    named_by_expressions: bool,
    budget: AtomicUsize,
}

impl Postgres {
    /// For a statement of these tokens.
    pub fn new(tokens: &[TokenWithSpan]) -> Postgres {
        let names = |token: &TokenWithSpan| match &token.token {
            Token::RArrow | Token::Assignment | Token::Colon => true,
            Token::Word(word) => word.keyword == Keyword::VALUE,
            _ => false,
        };
        Postgres {
            named_by_expressions: tokens.iter().any(names),
            budget: AtomicUsize::new(LEAST_BUDGET + BUDGET_PER_TOKEN * tokens.len()),
        }
    }

    /// A parser of these tokens.
    pub fn parser(&self, tokens: Vec<TokenWithSpan>) -> Parser<'_> {
        Parser::new(self).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens)
    }
}

macro_rules! as_postgres {
    ($($name:ident),* $(,)?) => {
        $(fn $name(&self) -> bool {
            PostgreSqlDialect {}.$name()
        })*
    };
}

impl Dialect for Postgres {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, _: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let spend = |budget: usize| budget.checked_sub(1);
        match self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend) {
            Ok(_) => None,
            // The one error that ends every attempt.
            Err(_) => Some(Err(ParserError::RecursionLimitExceeded)),
        }
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        self.named_by_expressions
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        PostgreSqlDialect {}.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, c: char) -> bool {
        PostgreSqlDialect {}.is_delimited_identifier_start(c)
    }

    fn is_identifier_start(&self, c: char) -> bool {
        PostgreSqlDialect {}.is_identifier_start(c)
    }

    fn is_identifier_part(&self, c: char) -> bool {
        PostgreSqlDialect {}.is_identifier_part(c)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        PostgreSqlDialect {}.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, c: char) -> bool {
        PostgreSqlDialect {}.is_custom_operator_part(c)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        PostgreSqlDialect {}.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        PostgreSqlDialect {}.prec_value(precedence)
    }

    as_postgres! {
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_set_names,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_comment_optimizer_hint,
    }
}
