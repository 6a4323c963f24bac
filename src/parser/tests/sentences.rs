//! Sentences made at random from the grammar: all of them parse, print back and parse again, and show no secret;
//! mutated ones never panic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::super::*;
use super::grammar::{Grammar, Node};
use super::keywords_looked_for;

/// How many sentences are made; `KEEPSAFE_TEST_SECONDS` makes more.
const SENTENCES: usize = 20_000;
/// Every secret has this in it.
const MARK: &str = "hush";
/// Rules deeper than this take the shortest way out.
const DEEP: usize = 9;

struct Generator<'g> {
    grammar: &'g Grammar,
    heights: BTreeMap<&'g str, usize>,
    random: StdRng,
    depth: usize,
}

impl<'g> Generator<'g> {
    fn new(grammar: &'g Grammar, seed: u64) -> Generator<'g> {
        let mut heights: BTreeMap<&str, usize> = BTreeMap::new();
        while heights.len() < grammar.rules.len() {
            let before = heights.len();
            for (name, rule) in &grammar.rules {
                if !heights.contains_key(name.as_str())
                    && let Some(height) = height(&rule.node, &heights)
                {
                    heights.insert(name, height + 1);
                }
            }
            assert!(heights.len() > before, "a rule never ends");
        }
        Generator { grammar, heights, random: StdRng::seed_from_u64(seed), depth: 0 }
    }

    /// Words and signs of a statement.
    fn statement(&mut self) -> Vec<String> {
        loop {
            let mut words = Vec::new();
            let choices = ["own_statement", "own_statement", "own_statement", "statement"];
            let rule = *choices.choose(&mut self.random).unwrap();
            self.rule(rule, &mut words);
            if makes_sense(&words) {
                return words;
            }
        }
    }

    fn pick(&mut self, choices: &[&str]) -> String {
        (*choices.choose(&mut self.random).unwrap()).to_string()
    }

    fn rule(&mut self, name: &str, words: &mut Vec<String>) {
        if let Some(word) = self.lexical(name) {
            words.push(word);
            return;
        }
        self.depth += 1;
        let node = &self.grammar.rules[name].node;
        match node {
            Node::Sequence(nodes) if name.ends_with("_options") && nodes.len() == 2 => {
                self.options(&name[..name.len() - 1], words);
            }
            node => self.node(node, words),
        }
        self.depth -= 1;
    }

    /// A list of options, each at most once.
    fn options(&mut self, item: &str, words: &mut Vec<String>) {
        let Node::Choice(alternatives) = &self.grammar.rules[item].node else { panic!("{item} is no choice") };
        let mut alternatives: Vec<&Node> = alternatives.iter().collect();
        alternatives.shuffle(&mut self.random);
        let count = self.random.random_range(1..=alternatives.len().min(5));
        for (index, node) in alternatives[..count].iter().enumerate() {
            if index > 0 {
                words.push(",".into());
            }
            self.node(node, words);
        }
    }

    fn node(&mut self, node: &Node, words: &mut Vec<String>) {
        match node {
            Node::Keyword(word) => {
                let mixed = |(at, c): (usize, char)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c };
                words.push(match self.random.random_range(0..4) {
                    0 => word.to_lowercase(),
                    1 => word.to_lowercase().chars().enumerate().map(mixed).collect(),
                    _ => word.clone(),
                });
            }
            Node::Sign(sign) => words.push(sign.clone()),
            Node::Rule(name) => self.rule(name, words),
            Node::Prose(prose) => panic!("nothing is known of <{prose}>"),
            Node::Sequence(nodes) => nodes.iter().for_each(|node| self.node(node, words)),
            Node::Choice(nodes) => {
                let lowest = || nodes.iter().min_by_key(|node| height(node, &self.heights)).unwrap();
                let node = if self.depth > DEEP { lowest() } else { nodes.choose(&mut self.random).unwrap() };
                self.node(node, words);
            }
            Node::Optional(node) => {
                if self.depth <= DEEP && self.random.random_bool(0.5) {
                    self.node(node, words);
                }
            }
            Node::Any(node) => {
                while self.depth <= DEEP && self.random.random_bool(0.35) {
                    self.node(node, words);
                }
            }
        }
    }

    /// What the grammar describes in words only, and strings that are secrets.
    fn lexical(&mut self, rule: &str) -> Option<String> {
        let choices: &[&str] = match rule {
            "identifier" => &[
                "foo",
                "Bar",
                "t1",
                "_x$",
                "backup",
                "schedule",
                "job",
                "latest",
                "label",
                "index",
                "\"Quoted\"",
                "\"select\"",
                "\"a\"\"b\"",
                "\"ünï code\"",
                "\"semi;colon\"",
                "always",
                "never",
                "\"\"\"\"",
            ],
            // Other words would be other statements.
            "setting_name" => &["kv.gc.interval", "timezone", "jobs.retention_time", "foo", "a.\"B c\".\"select\""],
            "string_literal" => &[
                "'x'",
                "''",
                "'it''s'",
                "'two\nlines'",
                "E'tab\\tand\\nline \\'q\\''",
                "$$dollar 'quoted'$$",
                "$tag$x$tag$",
                "'2026/11/22-153045.12'",
                "'--no comment'",
                "'ü;ñ'",
                "'back\\slash'",
                "'@daily'",
            ],
            "uri" => &[
                "'nodelocal://1/a'",
                "'s3://b/p?AWS_SECRET_ACCESS_KEY=hush&AWS_ACCESS_KEY_ID=id'",
                "$$gs://b?CREDENTIALS=hush$$",
                "E'azure-blob://c?AZURE_ACCOUNT_KEY=hush\\n'",
                "\"s3://b?AWS_SESSION_TOKEN=hush&UNKNOWN=hush\"",
                "'https://me:hush@host/p?x'",
                "$1",
                "place",
            ],
            "secret" => &["'hush'", "'hush''hush'", "$2", "hush", "\"Hush hush\"", "$$hush$$", "E'hush\\n'"],
            "placeholder" => &["$1", "$7", "$65535"],
            "integer_literal" => &["0", "1", "590204387299262465", "'42'", "9223372036854775807"],
            "boolean_literal" => &["'true'", "'false'"],
            "expression" => &[
                "1",
                "-1",
                "'-10s'",
                "1700000000000000000.0000000000",
                "now()",
                "$3",
                "(1 + 2) * 3",
                "NULL",
                "'on'",
                "cluster_logical_timestamp()",
                "a.b",
                "CASE WHEN x THEN 1 ELSE 2 END",
                "ARRAY[1, 2]",
                "x IN (1, 2)",
                "now() - INTERVAL '1 day'",
                "f(x, 'y;z')",
                "'two\nlines'",
                "CAST(a AS TEXT)",
            ],
            "label" => &["'x'", "''", "'it''s'", "'two words'", "E'a\\tb\\nc'"],
            "signed" => &["1", "-5", "+ 3", "9223372036854775807", "-9223372036854775808"],
            "maintenance_value" => &["true", "off", "auto", "4", "ON"],
            _ => return None,
        };
        Some(self.pick(choices))
    }

    /// Words with something between them.
    fn text(&mut self, words: &[String]) -> String {
        let between =
            |random: &mut StdRng| *[" ", " ", " ", "  ", "\n", "\t", " /* ; */ ", "\r\n"].choose(random).unwrap();
        words.iter().map(|word| format!("{word}{}", between(&mut self.random))).collect()
    }
}

/// How many rules a node needs at least; `None` if one is not known yet.
fn height(node: &Node, known: &BTreeMap<&str, usize>) -> Option<usize> {
    match node {
        Node::Rule(name) => known.get(name.as_str()).copied(),
        Node::Sequence(nodes) => {
            nodes.iter().map(|node| height(node, known)).try_fold(0, |most, one| Some(most.max(one?)))
        }
        Node::Choice(nodes) => nodes.iter().filter_map(|node| height(node, known)).min(),
        _ => Some(0),
    }
}

/// What the grammar says in comments only.
fn makes_sense(words: &[String]) -> bool {
    let at = |expected: &str| words.iter().position(|word| word.eq_ignore_ascii_case(expected));
    let begins_option = |at: usize| at > 0 && [",", "(", "WITH"].contains(&words[at - 1].to_ascii_uppercase().as_str());
    let option = |expected: &str| at(expected).is_some_and(begins_option);
    if option("encryption_passphrase") && option("kms") || option("verify_backup_table_data") && !option("schema_only")
    {
        return false;
    }
    let restores = words.iter().position(|word| word.eq_ignore_ascii_case("RESTORE")).filter(|at| *at < 4);
    if let Some(start) = restores
        && let Some(from) = at("FROM")
    {
        let targets = &words[start + 1..from];
        let database = targets.first().is_some_and(|word| word.eq_ignore_ascii_case("DATABASE"));
        let tables = !database && !targets.is_empty() && !targets[0].eq_ignore_ascii_case("SYSTEM");
        let one = !targets.contains(&",".to_string());
        if option("new_db_name") && !(database && one) || option("into_db") && !tables {
            return false;
        }
    }
    // An option of a sequence is given once.
    let is_sequence = words.iter().take(6).any(|word| word.eq_ignore_ascii_case("SEQUENCE"));
    let count = |option: &&str| words.iter().filter(|word| word.eq_ignore_ascii_case(option)).count();
    let options = ["AS", "INCREMENT", "MINVALUE", "MAXVALUE", "START", "CACHE", "CYCLE", "OWNED"];
    if is_sequence && options.iter().any(|option| count(option) > 1) {
        return false;
    }
    // A schedule's backups are always detached.
    let attached = |three: &[String]| {
        three[0].eq_ignore_ascii_case("detached") && three[1] == "=" && three[2].eq_ignore_ascii_case("false")
    };
    !(words.windows(3).any(attached) && at("ALTER").is_some())
}

fn seed() -> u64 {
    std::env::var("KEEPSAFE_TEST_SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap())
}

/// Runs a check on one random statement after the other.
fn for_many(seed: u64, mut check: impl FnMut(&mut Generator<'_>)) {
    let grammar = Grammar::read();
    let mut generator = Generator::new(&grammar, seed);
    let seconds = std::env::var("KEEPSAFE_TEST_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut count = 0;
    while count < SENTENCES || Instant::now() < end {
        check(&mut generator);
        count += 1;
    }
}

fn parse_one(sql: &str, seed: u64) -> Statement {
    let mut statements = parse(sql).unwrap_or_else(|error| panic!("seed {seed}: {error:?}\n{sql}"));
    assert_eq!(statements.len(), 1, "seed {seed}: {sql}");
    statements.remove(0).statement
}

#[test]
fn sentences_parse_and_print_back_and_the_keywords_are_the_grammars() {
    let seed = seed();
    for_many(seed, |generator| {
        let words = generator.statement();
        let sql = generator.text(&words);
        let statement = parse_one(&sql, seed);
        let exposed = statement.exposed();
        assert!(!exposed.contains('\n'), "seed {seed}: {sql}\nmore than one line: {exposed}");
        let again = parse_one(&exposed, seed);
        assert_eq!(again.exposed(), exposed, "seed {seed}: {sql}");
        assert!(again == statement, "seed {seed}: {sql}\nprints as another statement: {exposed}");
        let redacted = statement.to_string();
        assert_eq!(parse_one(&redacted, seed).to_string(), redacted, "seed {seed}: {sql}");
        for shown in [&redacted, &format!("{statement:?}")] {
            assert!(!shown.to_lowercase().contains(MARK), "seed {seed}: {sql}\nshows a secret: {shown}");
        }
    });
    // What the parser looks for, the grammar has; what the grammar has, this parser or sqlparser looks for.
    let grammar: BTreeSet<String> = Grammar::read().keywords().into_iter().collect();
    let ours = keywords_looked_for();
    // Looked for only to say what is wrong, or in what is sqlparser's.
    let mistakes = [
        "COMMENT",
        "EXCEPT",
        "FORCE_QUOTE",
        "INTERSECT",
        "UNION",
        "MAPPING",
        "TO",
        "WHERE",
        "GENERATED",
        "INSERT",
        "PASSWORD",
        "USER",
        "GROUP",
        "ROLE",
        "BOTH",
        "IDENTITY",
        "KEY",
        "LEADING",
        "ONLY",
        "OPERATOR",
        "SHARE",
        "TRAILING",
        "AGGREGATE",
        "CAST",
        "CHECKPOINT",
        "EVENT",
        "FOREIGN",
        "LANGUAGE",
        "PUBLICATION",
        "REFRESH",
        "REINDEX",
        "RULE",
        "SECURITY",
        "SUBSCRIPTION",
        "UNLOGGED",
    ];
    let missing: Vec<_> =
        ours.iter().filter(|word| !grammar.contains(*word) && !mistakes.contains(&word.as_str())).collect();
    assert!(missing.is_empty(), "not in the grammar: {missing:?}");
    let theirs = sqlparser::keywords::ALL_KEYWORDS;
    let unknown: Vec<_> =
        grammar.iter().filter(|word| !ours.contains(*word) && !theirs.contains(&word.as_str())).collect();
    assert!(unknown.is_empty(), "only in the grammar: {unknown:?}");
}

#[test]
fn mutated_sentences_never_panic_and_errors_keep_secrets() {
    let seed = seed();
    for_many(seed, |generator| {
        let mut words = generator.statement();
        let other = generator.statement();
        // Whether something else may be in quotes now.
        let mut requoted = false;
        for _ in 0..generator.random.random_range(1..4) {
            let at = generator.random.random_range(0..words.len());
            match generator.random.random_range(0..6) {
                0 => drop(words.remove(at)),
                1 => words.insert(at, words[at].clone()),
                2 => words[at] = other.choose(&mut generator.random).unwrap().clone(),
                3 => words.truncate(at + 1),
                4 => {
                    let new =
                        generator.pick(&["(", ")", "[", "]", ",", ".", "'", "\"", "$", "$$", "=", "é", "WITH", ";"]);
                    requoted |= ["'", "\"", "$", "$$"].contains(&new.as_str());
                    words.insert(at, new);
                }
                _ => {
                    let cut = words[at].char_indices().nth(1).map_or(words[at].len(), |(at, _)| at);
                    words[at].truncate(cut);
                }
            }
            if words.is_empty() {
                return;
            }
        }
        let sql = generator.text(&words);
        // What is no longer in quotes is no longer a literal.
        let quoted =
            !requoted && sql.matches('\'').count() % 2 == 0 && sql.matches('"').count() % 2 == 0 && !sql.contains("$$");
        match parse(&sql) {
            Ok(statements) => statements.iter().for_each(|parsed| drop(parsed.statement.exposed())),
            Err(error) => {
                assert!((1..=sql.chars().count() + 1).contains(&error.position), "seed {seed}: {error:?}\n{sql}");
                // A bare word is no literal: an error may name it.
                let bare = words.iter().any(|word| word == MARK);
                let leaks = format!("{error:?}").to_lowercase().contains(MARK);
                assert!(!leaks || !quoted || bare, "seed {seed}: {error:?}\n{sql}");
            }
        }
    });
}
