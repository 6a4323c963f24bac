//! What was measured, on the terminal and in `docs/benchmarks.md`.

use std::path::PathBuf;

/// The lines of one run.
#[derive(Default)]
pub struct Report {
    lines: Vec<(String, String)>,
}

/// What a ratio should be.
#[derive(Clone, Copy)]
pub enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

impl Report {
    /// Two medians: ours, and what it is compared with; `ratio` is what is wanted of them.
    pub fn add(&mut self, what: &str, ours: String, against: &str, theirs: String, ratio: f64, wanted: Wanted) {
        let (wanted, met) = match wanted {
            Wanted::AtLeast(bound) => (format!("at least {bound}"), ratio >= bound),
            Wanted::AtMost(bound) => (format!("at most {bound}"), ratio <= bound),
        };
        let met = if met { "" } else { ", **missed**" };
        println!("{what}: {ours}; {against}: {theirs}; {ratio:.3} ({wanted}{met})\n");
        self.lines.push((what.into(), format!("| {ours} | {against} | {theirs} | {ratio:.3} | {wanted}{met} |")));
    }

    /// Puts the lines into the table of the page, in place of the same ones of an earlier run.
    pub fn save(&self) {
        if super::servers::scale(0) != 0 {
            return;
        }
        let page = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md"));
        let text = std::fs::read_to_string(&page).unwrap();
        let mut rows: Vec<String> = text.lines().map(String::from).collect();
        for (what, rest) in &self.lines {
            let start = format!("| {what} |");
            let row = format!("| {what} {rest}");
            match rows.iter().position(|row| row.starts_with(&start)) {
                Some(at) => rows[at] = row,
                None => {
                    let end = rows.iter().rposition(|row| row.starts_with('|')).unwrap();
                    rows.insert(end + 1, row);
                }
            }
        }
        std::fs::write(page, rows.join("\n") + "\n").unwrap();
    }
}

const ROUNDS: usize = 3;

/// Runs both three times in turn; their medians.
pub fn in_turn(mut one: impl FnMut(usize) -> f64, mut other: impl FnMut(usize) -> f64) -> (f64, f64) {
    let pairs: Vec<(f64, f64)> = (0..ROUNDS).map(|round| (one(round), other(round))).collect();
    let (ones, others): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    println!("  {ones:.2?} {others:.2?}");
    (median(ones), median(others))
}

/// The middle one.
pub fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Seconds, printed.
pub fn seconds(time: f64) -> String {
    format!("{time:.2} s")
}

/// Bytes, printed.
pub fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}
