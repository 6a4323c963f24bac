//! Railroad diagrams of the grammar. `KEEPSAFE_BLESS=1 cargo test --lib parser` draws them.

use std::fmt::Write;

use railroad::{
    Choice, Comment, Diagram, Node as Drawn, NonTerminal, Optional, Repeat, Sequence, SimpleEnd, SimpleStart, Stack,
    Stylesheet, Terminal,
};

use super::expect_file;
use super::grammar::{Grammar, Node, Rule, folder};

type Boxed = Box<dyn Drawn>;

fn draw(node: &Node) -> Boxed {
    match node {
        Node::Keyword(text) | Node::Sign(text) => Box::new(Terminal::new(text.clone())),
        Node::Rule(name) => Box::new(NonTerminal::new(name.clone())),
        Node::Prose(text) => Box::new(Comment::new(text.clone())),
        Node::Sequence(nodes) => Box::new(Sequence::new(draw_sequence(nodes))),
        Node::Choice(nodes) => Box::new(Choice::new(nodes.iter().map(draw).collect::<Vec<Boxed>>())),
        Node::Optional(node) => Box::new(Optional::new(draw(node))),
        Node::Any(node) => Box::new(Optional::new(Repeat::new(draw(node), railroad::Empty))),
    }
}

/// `x ( ',' x )*` is one loop.
fn draw_sequence(nodes: &[Node]) -> Vec<Boxed> {
    let mut drawn: Vec<Boxed> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        match (index.checked_sub(1).map(|before| &nodes[before]), node) {
            (Some(Node::Rule(first)), Node::Any(again)) if is_list_of(first, again).is_some() => {
                drawn.pop();
                let sign = is_list_of(first, again).unwrap();
                drawn.push(Box::new(Repeat::new(NonTerminal::new(first.clone()), Terminal::new(sign))));
            }
            _ => drawn.push(draw(node)),
        }
    }
    drawn
}

fn is_list_of(first: &str, again: &Node) -> Option<String> {
    match again {
        Node::Sequence(nodes) => match &nodes[..] {
            [Node::Sign(sign), Node::Rule(name)] if name == first => Some(sign.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Rows are broken where they get wider than this.
const WIDEST: i64 = 900;

/// A rule from start to end, on as many rows as it needs.
fn draw_rule(node: &Node) -> Boxed {
    let parts = match node {
        Node::Sequence(nodes) => draw_sequence(nodes),
        node => vec![draw(node)],
    };
    let mut rows: Vec<Vec<Boxed>> = vec![Vec::new()];
    let mut width = 0;
    for part in parts {
        if width > 0 && width + part.width() > WIDEST {
            rows.push(Vec::new());
            width = 0;
        }
        width += part.width();
        rows.last_mut().unwrap().push(part);
    }
    let mut rows: Vec<Boxed> = rows.into_iter().map(|row| Box::new(Sequence::new(row)) as Boxed).collect();
    let body: Boxed = if rows.len() == 1 { rows.remove(0) } else { Box::new(Stack::new(rows)) };
    Box::new(Sequence::new(vec![Box::new(SimpleStart) as Boxed, body, Box::new(SimpleEnd)]))
}

fn svg(name: &str, rule: &Rule) -> String {
    let mut diagram = Diagram::new_with_stylesheet(draw_rule(&rule.node), &Stylesheet::Light);
    let (width, height) = (diagram.width().to_string(), diagram.height().to_string());
    diagram.attr("width".to_owned()).or_insert(width);
    diagram.attr("height".to_owned()).or_insert(height);
    diagram.add_element(railroad::svg::Element::new("title").text(name));
    format!("{diagram}\n")
}

#[test]
fn diagrams_are_drawn_from_the_grammar() {
    let grammar = Grammar::read();
    let mut rules: Vec<_> = grammar.rules.iter().collect();
    let families = ["statement", "backup", "restore", "show_backup", "alter_backup", "schedule", "job"];
    let last = ["sql", "common"];
    let place = |rule: &Rule| {
        let known = families.iter().position(|family| *family == rule.family);
        let late = last.iter().position(|family| *family == rule.family).map(|at| 100 + at);
        (known.or(late).unwrap_or(50), rule.family.clone(), rule.order)
    };
    rules.sort_by_key(|(_, rule)| place(rule));
    let mut index = String::from(
        "# The grammar\n\nWhat keepsafe adds to SQL, drawn from the `.ebnf` files beside this page by\n\
         `KEEPSAFE_BLESS=1 cargo test --lib parser`. Keywords are in rounded boxes, in any case; they are not reserved.\n",
    );
    let mut family = "";
    for (name, rule) in rules {
        if rule.family != family {
            family = &rule.family;
            writeln!(index, "\n## [{family}.ebnf]({family}.ebnf)").unwrap();
        }
        writeln!(index, "\n### {name}\n").unwrap();
        if let Some(comment) = &rule.comment {
            writeln!(index, "{comment}\n").unwrap();
        }
        writeln!(index, "![{name}](diagrams/{name}.svg)").unwrap();
        expect_file(&folder().join(format!("diagrams/{name}.svg")), &svg(name, rule));
    }
    expect_file(&folder().join("README.md"), &index);
    // Nothing is left of rules that are gone.
    for entry in std::fs::read_dir(folder().join("diagrams")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().to_string();
        assert!(grammar.rules.contains_key(&name), "{} is of no rule", path.display());
    }
}
