//! Time grows with the input and no faster; depth is bounded.

use std::time::{Duration, Instant};

use super::super::*;

/// A name and how to make one of a size.
type Shape = (&'static str, fn(usize) -> String);

/// Statements that can be made as long as one likes.
const SHAPES: [Shape; 15] = [
    ("statements on one line", |n| "SHOW JOBS; ".repeat(n)),
    ("statements on lines", |n| "SELECT a\nFROM t;\n".repeat(n)),
    ("rows", |n| format!("INSERT INTO t VALUES {}", vec!["(1, 'a')"; n].join(", "))),
    ("upserted rows", |n| format!("UPSERT INTO t VALUES {}", vec!["(1, 'a')"; n].join(", "))),
    ("a list", |n| format!("SELECT * FROM t WHERE a IN ({})", vec!["1"; n].join(", "))),
    ("targets", |n| format!("BACKUP TABLE {} INTO 'x'", vec!["d.s.t"; n].join(", "))),
    ("places", |n| format!("BACKUP INTO ({}) WITH kms = ({})", vec!["'x'"; n].join(","), vec!["'k'"; n].join(","))),
    ("zone changes", |n| format!("ALTER TABLE t CONFIGURE ZONE USING {}", vec!["a.b = 1 + 2"; n].join(", "))),
    ("schedule changes", |n| {
        format!("ALTER BACKUP SCHEDULE 1 {}", vec!["SET LABEL x, SET WITH detached"; n].join(", "))
    }),
    ("shows", |n| format!("SELECT * FROM {}", vec!["[SHOW JOBS]"; n].join(", "))),
    ("indexes", |n| format!("CREATE TABLE t (a INT{})", ", INDEX (a), b INT".repeat(n))),
    ("ids", |n| format!("PAUSE JOBS VALUES {} WITH REASON = 'x'", vec!["(1)"; n].join(", "))),
    ("a literal", |n| format!("SELECT '{}'", "it''s ".repeat(n))),
    ("comments", |n| "/* a */ -- b\n".repeat(n)),
    ("a late error", |n| format!("{} BACKUP", "SELECT 1;\n".repeat(n))),
];

fn time(sql: &str) -> Duration {
    let times = (0..3).map(|_| {
        let start = Instant::now();
        let parsed = parse(sql);
        let time = start.elapsed();
        drop(parsed);
        time
    });
    times.min().unwrap()
}

#[test]
fn doubling_an_input_takes_at_most_two_and_a_half_times_as_long() {
    for (name, shape) in SHAPES {
        // Large enough that memory comes from the system at every size, small enough to be quick. Three doublings together: one alone may meet a step of the
        // allocator's. Other work on the machine may disturb some tries.
        let mut size = 256;
        while time(&shape(size)) < Duration::from_millis(8) {
            size *= 2;
        }
        let ratio = || (time(&shape(size * 8)).as_secs_f64() / time(&shape(size)).as_secs_f64()).cbrt();
        let ratios: Vec<f64> = std::iter::repeat_with(ratio).take(6).take_while(|ratio| *ratio > 2.5).collect();
        assert!(ratios.len() < 6, "{name}: twice the input takes {ratios:.1?} times as long");
    }
}

/// Runs `work` with the stack that the server's threads have.
fn in_deep_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap().join().unwrap();
}

#[test]
fn nesting_deeper_than_128_is_refused() {
    in_deep_stack(nest);
}

fn nest() {
    let nested = |open: &str, middle: &str, close: &str, depth: usize| {
        format!("SELECT {}{middle}{}", open.repeat(depth), close.repeat(depth))
    };
    let shapes = [
        ("(", "1", ")"),
        ("ARRAY[", "1", "]"),
        ("CASE WHEN a THEN ", "1", " END"),
        ("f(", "", ")"),
        ("(SELECT ", "1", ")"),
    ];
    for (open, middle, close) in shapes {
        parse(&nested(open, middle, close, 128)).unwrap_or_else(|error| panic!("{open}: {error:?}"));
        let error = parse(&nested(open, middle, close, 129)).unwrap_err();
        assert_eq!(error.sqlstate, "54001", "{open}");
        assert_eq!(error.position, 8 + open.len() * 128 + open.find(['(', '[']).unwrap_or(0), "{open}");
    }
    for prefix in ["NOT ", "- ", "~ "] {
        parse(&format!("SELECT {}a", prefix.repeat(129))).unwrap_or_else(|error| panic!("{prefix}: {error:?}"));
        assert_eq!(parse(&format!("SELECT {}a", prefix.repeat(5000))).unwrap_err().sqlstate, "54001", "{prefix}");
    }
    let shows = |depth: usize| format!("{}SELECT 1{}", "SHOW JOBS SELECT * FROM [".repeat(depth), "]".repeat(depth));
    assert_eq!(parse(&shows(100)).unwrap_err().sqlstate, "42601", "SELECT in brackets is no SHOW");
    assert_eq!(parse(&shows(129)).unwrap_err().sqlstate, "54001");
}

#[test]
fn attempts_to_read_a_nesting_do_not_double_with_every_level() {
    in_deep_stack(|| {
        let shapes = [("f(", "1", ")"), ("(VALUES (", "1", "))"), ("x -> f(", "1", ")"), ("ROW(", "1", ")")];
        for (open, middle, close) in shapes {
            let depth = 128 / open.matches('(').count();
            let sql = format!("SELECT {}{middle}{}", open.repeat(depth), close.repeat(depth));
            parse(&sql).unwrap_or_else(|error| panic!("{open}: {error:?}"));
        }
        // Where an argument is named, all may be, so there the budget has to end it.
        let named = |depth: usize| format!("SELECT f(a => 1), {}1{}", "f(".repeat(depth), ")".repeat(depth));
        parse("SELECT json_object('a' : json_object('b' : 1))").unwrap();
        parse(&named(8)).unwrap();
        assert_eq!(parse(&named(60)).unwrap_err().sqlstate, "54001");
    });
}

#[test]
fn long_chains_of_operators_are_refused_before_they_are_trees() {
    let chain =
        |operator: &str, count: usize| format!("SELECT {}", vec!["1"; count + 1].join(&format!(" {operator} ")));
    for operator in ["+", "OR", "||", "UNION SELECT"] {
        let longest = chain(operator, 1024);
        in_deep_stack(move || {
            let statement = parse(&longest).unwrap().remove(0).statement;
            assert!(parse(&statement.to_string()).unwrap().remove(0).statement.clone() == statement);
        });
        let chain = |count| chain(operator, count);
        assert_eq!(parse(&chain(1025)).unwrap_err().sqlstate, "54001", "{operator}");
        assert_eq!(parse(&chain(200_000)).unwrap_err().sqlstate, "54001", "{operator}");
    }
    parse(&format!("SELECT {}", vec!["a + b"; 10_000].join(", "))).expect("a comma begins another expression");
    for repeated in [" OPERATOR(+) 1", " UNION SELECT 1, 2", " XOR a", " NOT NULL", "[1]", ".b"] {
        let error = parse(&format!("SELECT a{}", repeated.repeat(5000))).unwrap_err();
        assert_eq!(error.sqlstate, "54001", "{repeated}");
    }
    assert_eq!(parse(&format!("SELECT {}'1'", "INTERVAL ".repeat(5000))).unwrap_err().sqlstate, "54001");
    assert_eq!(parse(&format!("SELECT 1::int{}", "[]".repeat(5000))).unwrap_err().sqlstate, "54001");
    assert_eq!(parse("SELECT $65536").unwrap_err().sqlstate, "54001");
    assert_eq!(parse("SELECT $99999999999999999999").unwrap_err().sqlstate, "54001");
}
