//! Reads `grammar/*.ebnf`.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// All rules, by name.
pub struct Grammar {
    pub rules: BTreeMap<String, Rule>,
}

pub struct Rule {
    /// The family: its file's name.
    pub family: String,
    /// Its number in the family.
    pub order: usize,
    /// The comment above it.
    pub comment: Option<String>,
    pub node: Node,
}

#[derive(Clone, Debug)]
pub enum Node {
    Keyword(String),
    Sign(String),
    Rule(String),
    Prose(String),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Optional(Box<Node>),
    Any(Box<Node>),
}

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("grammar")
}

impl Grammar {
    pub fn read() -> Grammar {
        let mut rules = BTreeMap::new();
        for entry in std::fs::read_dir(folder()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "ebnf") {
                let family = path.file_stem().unwrap().to_string_lossy().to_string();
                for (order, (name, comment, node)) in read_rules(&std::fs::read_to_string(&path).unwrap()).enumerate() {
                    let rule = Rule { family: family.clone(), order, comment, node };
                    assert!(rules.insert(name.clone(), rule).is_none(), "{name} is defined twice");
                }
            }
        }
        Grammar { rules }
    }

    /// Every keyword, in upper case.
    pub fn keywords(&self) -> Vec<String> {
        let mut keywords = Vec::new();
        self.rules.values().for_each(|rule| {
            rule.node.each(&mut |node| {
                if let Node::Keyword(word) = node {
                    keywords.push(word.to_ascii_uppercase());
                }
            });
        });
        keywords.sort();
        keywords.dedup();
        keywords
    }
}

impl Node {
    pub fn each(&self, visit: &mut impl FnMut(&Node)) {
        visit(self);
        match self {
            Node::Sequence(nodes) | Node::Choice(nodes) => nodes.iter().for_each(|node| node.each(visit)),
            Node::Optional(node) | Node::Any(node) => node.each(visit),
            _ => {}
        }
    }
}

/// Tokens of the notation: comments with their `/*`, literals with their quote, prose with its `<`.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '/' => rest.find("*/").unwrap() + 2,
            '\'' => rest[1..].find('\'').unwrap() + 2,
            '<' => rest.find('>').unwrap() + 1,
            ':' => 3,
            '(' | ')' | '|' | '?' | '*' | '+' => 1,
            _ => rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()),
        };
        assert!(end > 0, "not understood: {rest}");
        tokens.push(rest[..end].to_string());
        rest = rest[end..].trim_start();
    }
    tokens
}

fn read_rules(text: &str) -> impl Iterator<Item = (String, Option<String>, Node)> {
    let tokens = tokens(text);
    let starts: Vec<usize> = (0..tokens.len()).filter(|at| tokens.get(at + 1).is_some_and(|t| t == "::=")).collect();
    let mut rules = Vec::new();
    for (number, &start) in starts.iter().enumerate() {
        let comment = start.checked_sub(1).map(|at| &tokens[at]).filter(|token| token.starts_with("/*"));
        let comment =
            comment.map(|comment| comment[2..comment.len() - 2].split_whitespace().collect::<Vec<_>>().join(" "));
        let end = starts.get(number + 1).copied().unwrap_or(tokens.len());
        let body: Vec<&str> =
            tokens[start + 2..end].iter().map(String::as_str).filter(|token| !token.starts_with("/*")).collect();
        let mut at = 0;
        let node = read_choice(&body, &mut at);
        assert_eq!(at, body.len(), "{} is not understood from {:?}", tokens[start], body.get(at));
        rules.push((tokens[start].clone(), comment, node));
    }
    rules.into_iter()
}

fn read_choice(tokens: &[&str], at: &mut usize) -> Node {
    let mut choices = vec![read_sequence(tokens, at)];
    while tokens.get(*at) == Some(&"|") {
        *at += 1;
        choices.push(read_sequence(tokens, at));
    }
    if choices.len() == 1 { choices.remove(0) } else { Node::Choice(choices) }
}

fn read_sequence(tokens: &[&str], at: &mut usize) -> Node {
    let mut nodes = Vec::new();
    while let Some(token) = tokens.get(*at).filter(|token| !["|", ")"].contains(*token)) {
        *at += 1;
        let mut node = match token.chars().next().unwrap() {
            '(' => {
                let node = read_choice(tokens, at);
                assert_eq!(tokens.get(*at), Some(&")"));
                *at += 1;
                node
            }
            '\'' if token[1..].starts_with(char::is_alphabetic) => Node::Keyword(token[1..token.len() - 1].into()),
            '\'' => Node::Sign(token[1..token.len() - 1].into()),
            '<' => Node::Prose(token[1..token.len() - 1].into()),
            _ => Node::Rule((*token).into()),
        };
        match tokens.get(*at) {
            Some(&"?") => node = Node::Optional(Box::new(node)),
            Some(&"*") => node = Node::Any(Box::new(node)),
            Some(&"+") => node = Node::Sequence(vec![node.clone(), Node::Any(Box::new(node))]),
            _ => *at -= 1,
        }
        *at += 1;
        nodes.push(node);
    }
    if nodes.len() == 1 { nodes.remove(0) } else { Node::Sequence(nodes) }
}

#[test]
fn every_rule_is_defined_and_used() {
    let grammar = Grammar::read();
    let mut used = vec!["statement".to_string()];
    let mut next = 0;
    while let Some(name) = used.get(next).cloned() {
        let rule = grammar.rules.get(&name).unwrap_or_else(|| panic!("{name} is not defined"));
        rule.node.each(&mut |node| {
            if let Node::Rule(name) = node
                && !used.contains(name)
            {
                used.push(name.clone());
            }
        });
        next += 1;
    }
    let dead: Vec<_> = grammar.rules.keys().filter(|name| !used.contains(name)).collect();
    assert!(dead.is_empty(), "nothing leads to {dead:?}");
}
